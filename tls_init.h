/*
 * tls_init.h - brings the TLS library up
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_INIT_H
#define TLS_INIT_H

#include "tls.h"

/* Each returns 0, or -1 after it has logged what to do. */

/* When the module is loaded: gives the TLS library our allocation functions. */
int tls_init_load(void);

/*
 * In the main process before any fork: the library's private world, the shared memory, the lock proof, the library's
 * shared world. FORCE: go on, with a warning, when a sanity check fails.
 */
int tls_init_start(bool force);

/*
 * Keeps the host's shared memory, with the keys and the secrets of connections in it, out of core dumps of
 * this process and of those that it forks. Logs a warning when that is impossible.
 */
void tls_init_hide_memory(void);

#endif
