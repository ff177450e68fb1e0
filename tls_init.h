/*
 * tls_init.h - brings the TLS library up
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_INIT_H
#define TLS_INIT_H

#include "tls.h"

struct ossl_lib_ctx_st;

/* Each returns 0, or -1 after it has logged what to do. */

/* When the module is loaded: tls_mem_install(), no exit handlers. */
int tls_init_load(void);

/*
 * In the main process before any fork: OpenSSL's process-wide roots, the lock proof, the shared library
 * context with its provider, one handshake for each protocol version. FORCE: go on, with a warning, when a
 * sanity check fails.
 */
int tls_init_start(bool force);

/*
 * Keeps the host's shared memory, with the keys and the secrets of connections in it, out of core dumps of
 * this process and of those that it forks. Warns when that cannot be.
 */
void tls_init_hide_memory(void);

/* In each process after its fork. */
void tls_init_process(void);

/* The shared library context, NULL before tls_init_start(). */
struct ossl_lib_ctx_st *tls_init_libctx(void);

/*
 * Runs WORK(ARG) inside the shared scope. Before the first fork it does so in a thread of its own that is
 * joined, so that nothing thread-local of OpenSSL's is left to be inherited; later, in place. Returns what
 * WORK returns; -1, too, when a single allocation has failed meanwhile (logged).
 */
int tls_init_run_shared(int (*work)(void *arg), void *arg);

/*
 * Empties this thread's OpenSSL error queue into OUT as "reason; reason", oldest first, each once, as many as
 * fit; "no reason given" when empty. Returns OUT.
 */
const char *tls_init_errors(char *out, size_t size);

#endif
