/*
 * connection/queue.c - bytes that wait in shared memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Cleartext waits for the end of a handshake; ciphertext waits for space in the host's buffer. Another process may take
 * both. The host connection's write_lock guards what belongs to one connection.
 */
#include <stdatomic.h>
#include <string.h>

#include "connection/queue.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "tls_shared.h"
#include "settings/table.h"
#include "settings/runtime.h"

static atomic_ulong *waiting; /* bytes of cleartext, all connections; in shared memory */

int tls_queue_start(void)
{
	waiting = tls_shared_new(sizeof(*waiting));
	return waiting != NULL ? 0 : -1;
}

unsigned long tls_queue_total(void)
{
	return waiting != NULL ? atomic_load_explicit(waiting, memory_order_relaxed) : 0;
}

struct tls_chunk *tls_queue_new_chunk(const void *bytes, unsigned size, unsigned room)
{
	struct tls_chunk *chunk = tls_mem_shared_alloc(sizeof(*chunk) + room);

	if (chunk == NULL)
		return NULL;
	chunk->room = room;
	chunk->used = size;
	memcpy(chunk->bytes, bytes, size);
	return chunk;
}

void tls_queue_free_chunk(struct tls_chunk *chunk)
{
	if (chunk != NULL)
		explicit_bzero(chunk->bytes, chunk->used);
	tls_mem_shared_free(chunk);
}

/* A piece at the end of Q with room for SIZE bytes. NULL without memory. */
static struct tls_chunk *chunk_for(struct tls_queue *q, unsigned size, unsigned least)
{
	struct tls_chunk *chunk = q->last;

	if (chunk != NULL && chunk->room - chunk->used >= size)
		return chunk;
	chunk = tls_queue_new_chunk("", 0, size > least ? size : least);
	if (chunk == NULL)
		return NULL;
	*(q->last != NULL ? &q->last->next : &q->first) = chunk;
	q->last = chunk;
	return chunk;
}

enum tls_queue_result tls_queue_add(struct tls_queue *q, const char *bytes, unsigned size)
{
	const struct tls_options *o = tls_runtime_options();
	struct tls_chunk *chunk;

	if (size == 0)
		return TLS_QUEUE_OK;
	if ((q->bytes > 0 && q->bytes + size > (unsigned)o->con_ct_wq_max) ||
	    tls_queue_total() + size > (unsigned long)o->ct_wq_max)
		return TLS_QUEUE_FULL;
	chunk = chunk_for(q, size, (unsigned)o->ct_wq_blk_size);
	if (chunk == NULL)
		return TLS_QUEUE_NO_MEMORY;
	memcpy(chunk->bytes + chunk->used, bytes, size);
	chunk->used += size;
	q->bytes += size;
	atomic_fetch_add_explicit(waiting, size, memory_order_relaxed);
	return TLS_QUEUE_OK;
}

void tls_queue_clear(struct tls_queue *q)
{
	while (q->first != NULL) {
		struct tls_chunk *next = q->first->next;

		tls_queue_free_chunk(q->first);
		q->first = next;
	}
	atomic_fetch_sub_explicit(waiting, q->bytes, memory_order_relaxed);
	q->last = NULL;
	q->bytes = 0;
}
