/*
 * tls_mem.h - the two worlds of memory: private to a process, and shared by all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MEM_H
#define TLS_MEM_H

#include "tls.h"

struct tls_mem_source;
struct tls_mem_stats;

/*
 * Opens the shared world; before it a scope changes nothing. Called once in the main process before any fork. SOURCE
 * must outlive the process. Returns 0, -1 when there is no shared memory.
 */
int tls_mem_start(const struct tls_mem_source *source);

/*
 * As malloc(), realloc() and free(), for the TLS library: a block is shared when this thread is in a scope, and a
 * private one of the calling process's otherwise. Freeing and resizing go by the block's address and need no scope.
 * SIZE 0 gives NULL; P may be NULL.
 */
void *tls_mem_alloc(size_t size);
void *tls_mem_realloc(void *p, size_t size);
void tls_mem_free(void *p);

/*
 * The scope of this thread. It nests. Called by the library's side of the seam alone: everybody else calls
 * tls_crypto_enter() and tls_crypto_leave().
 */
void tls_mem_enter_scope(void);
void tls_mem_leave_scope(void);
bool tls_mem_in_scope(void);

/*
 * Between these two, a block that cannot be had from shared memory is private instead: for a step of the library's that
 * must not fail. The second returns false when that happened; then the result is good only to be freed, here and at
 * once.
 */
void tls_mem_begin_fallback(void);
bool tls_mem_end_fallback(void);

/*
 * A shared block, zeroed. It needs no scope. NULL without memory. The caller owns it and frees it with
 * tls_mem_shared_free(), in any process; NULL may be freed.
 */
void *tls_mem_shared_alloc(size_t size);
char *tls_mem_shared_strdup(const char *s);
void tls_mem_shared_free(void *p);

/* Bytes that the library holds in this process's private world, with what malloc adds. */
long tls_mem_private(void);

/* As tls_heap_get_stats(), with the reserve counted as held, and tls_heap_balance(). */
void tls_mem_get_stats(struct tls_mem_stats *out);
long tls_mem_balance(void);

/* How often this thread was refused shared memory, since it began. */
long tls_mem_refused(void);

/* How many bytes the source can still give. */
size_t tls_mem_available(void);

/*
 * While ON, this thread's blocks come from a small reserve when there is no other shared memory: for established
 * connections, which go on when nothing else does.
 */
void tls_mem_use_reserve(bool on);

/*
 * Whether any process was refused shared memory since the last recovery. There may still be much of it, in small
 * pieces.
 */
bool tls_mem_was_short(void);

/*
 * Fills the reserve and tries whether a piece of SIZE bytes can be had beside it. Returns whether both succeeded; then
 * that is a recovery. The host logs an attempt that fails, so it should not be made often. No lock is held.
 */
bool tls_mem_recover(size_t size);

#endif
