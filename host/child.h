/*
 * host/child.h - work in a child process, hidden from the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_CHILD_H
#define TLS_HOST_CHILD_H

#include "tls.h"

/*
 * Runs WORK(ARG) in this process with SIGCHLD at its default, so that the host does not notice the end of children that
 * WORK forks and waits for. Returns what WORK returns. Main process, one thread.
 */
int tls_child_unheard(int (*work)(void *arg), void *arg);

/*
 * Runs WORK(ARG) in a child process, hidden from the host as above, and waits for it. Returns the lowest 8 bits of WORK's
 * result; -1 when there is no child, or when a signal ended it. Main process, one thread.
 */
int tls_child_run(int (*work)(void *arg), void *arg);

/* The state of the process or thread ID, a letter of /proc/ID/stat; 0 when it cannot be read. Any process. */
char tls_child_state(long id);

#endif
