/*
 * tls_mem.h - the two worlds of memory: private to a process, and shared by all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MEM_H
#define TLS_MEM_H

#include "tls.h"

struct ossl_lib_ctx_st;
struct tls_mem_source;
struct tls_mem_stats;

/*
 * Gives OpenSSL our allocation functions. To be called when the module is loaded: OpenSSL takes them only
 * before its first allocation. Returns 0, -1 when OpenSSL is in use already.
 */
int tls_mem_install(void);

/*
 * Opens the shared world: before it a scope changes nothing. Called once in the main
 * process before any fork; SOURCE must outlive the process. Returns 0, -1 when there is no shared memory.
 */
int tls_mem_start(const struct tls_mem_source *source);

/*
 * From now on LIBCTX is the default library context inside a scope. Not everything in OpenSSL passes on the
 * context that it was given: 3.0 decodes the peer's certificate in a session ticket with the default one, and
 * would tie a shared key to what only one process has.
 */
void tls_mem_set_library(struct ossl_lib_ctx_st *libctx);

/*
 * Between these two, what this thread allocates through OpenSSL is shared. They nest. Freeing and resizing go
 * by the block's address and never need a scope.
 */
void tls_mem_enter(void);
void tls_mem_leave(void);

/*
 * Between these two, a piece that is not there in shared memory comes from this process's own instead, for a
 * step of OpenSSL's that cannot fail without harm. The second returns false when that happened: what was made
 * is good for nothing but to be freed, here and at once.
 */
void tls_mem_cover(void);
bool tls_mem_uncover(void);

/*
 * A shared block, zeroed; no scope needed. NULL when there is no memory. The caller owns it and frees it with
 * tls_shared_free(), in whatever process.
 */
void *tls_shared_alloc(size_t size);
char *tls_shared_strdup(const char *s);
void tls_shared_free(void *p);

/* Bytes of OpenSSL's in the calling process's own world, with what malloc adds. */
long tls_mem_private(void);

/* What tls_heap_get_stats() and tls_heap_balance() tell. */
void tls_mem_get_stats(struct tls_mem_stats *out);
long tls_mem_balance(void);

/* How often this thread has found no shared memory, since it began. */
long tls_mem_refused(void);

/* Bytes that the source can still give. */
size_t tls_mem_available(void);

/*
 * While ON, this thread's blocks come from a small reserve when there is no other shared memory: for
 * established connections, which go on when nothing else does.
 */
void tls_mem_insist(bool on);

/*
 * Whether anyone, in any process, has found no shared memory since the last recovery: there may be much left,
 * in small pieces.
 */
bool tls_mem_missed(void);

/*
 * Fills the reserve, and looks whether a piece of SIZE bytes is left beside it. Returns false when not; else
 * that is a recovery. The host logs an attempt that fails, so it should not be made often. No lock is held.
 */
bool tls_mem_recover(size_t size);

#endif
