/*
 * host/child.h - work in a child process, of which the host does not hear
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_CHILD_H
#define TLS_HOST_CHILD_H

#include "tls.h"

/*
 * Runs WORK(ARG) here and returns what it returns; the end of a child that it forks and awaits is nobody's to hear of,
 * as SIGCHLD does meanwhile what it does by default. Main process, one thread.
 */
int tls_child_unheard(int (*work)(void *arg), void *arg);

/*
 * Runs WORK(ARG) in a child, unheard as above, and waits for it. Returns the lowest 8 bits of what WORK returned, or
 * -1: no child, or it ended by a signal. Main process.
 */
int tls_child_run(int (*work)(void *arg), void *arg);

#endif
