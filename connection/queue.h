/*
 * connection/queue.h - bytes that wait in shared memory: cleartext to be sent, ciphertext to be read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_QUEUE_H
#define TLS_CONNECTION_QUEUE_H

#include "tls.h"

/* One piece, in shared memory. */
struct tls_chunk {
	struct tls_chunk *next;
	unsigned room, used;
	unsigned char bytes[];
};

/* Oldest first; all zero is empty. */
struct tls_queue {
	struct tls_chunk *first, *last;
	unsigned bytes;
};

enum tls_queue_result { TLS_QUEUE_OK, TLS_QUEUE_FULL, TLS_QUEUE_NO_MEMORY };

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_queue_start(void);

/*
 * Appends SIZE bytes within con_ct_wq_max and ct_wq_max, all of them or none. The first message may exceed
 * con_ct_wq_max: the process that opens a connection to send it has no other way.
 */
enum tls_queue_result tls_queue_add(struct tls_queue *q, const char *bytes, unsigned size);

/* Wipes and frees everything in Q. */
void tls_queue_clear(struct tls_queue *q);

/* Bytes in all queues. */
unsigned long tls_queue_total(void);

/*
 * A piece for ROOM bytes that begins with the SIZE bytes at BYTES. The caller owns it. NULL without memory.
 */
struct tls_chunk *tls_queue_new_chunk(const void *bytes, unsigned size, unsigned room);

/* Wipes and frees CHUNK, which may be NULL. */
void tls_queue_free_chunk(struct tls_chunk *chunk);

#endif
