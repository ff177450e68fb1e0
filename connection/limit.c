/*
 * connection/limit.c - handshakes in progress, counted by the peer's address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A host with one IPv6 address usually has the whole /64, so an IPv6 address counts with its /64.
 */
#include <string.h>

#include "connection/limit.h"
#include "tls.h"
#include "tls_hash.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "tls_shared.h"
#include "crypto/crypto.h"

#define BUCKETS 1024

/* The handshakes in progress of one address. Exists only while there are any; in shared memory. */
struct tls_limit {
	struct tls_limit *next;
	struct tls_address from;
	int count;
};

/* `lock` guards everything. */
struct shared {
	gen_lock_t lock;
	uint64_t secret; /* without it nobody can choose addresses that share a bucket */
	struct tls_limit *buckets[BUCKETS];
};

static struct shared *shared;

int tls_limit_start(void)
{
	shared = tls_shared_new_locked(sizeof(*shared));
	if (shared == NULL)
		return -1;
	if (tls_crypto_random(&shared->secret, sizeof(shared->secret)) == 0)
		return 0;
	LM_ERR("no random number\n");
	return -1;
}

/* The part of FROM that is counted. */
static struct tls_address part_of(const struct tls_address *from)
{
	struct tls_address part = {.family = from->family};

	memcpy(part.ip, from->ip, from->family == 6 ? 8 : 4);
	return part;
}

/* The place that points to the entry of FROM, or the NULL where it belongs. The lock is held. */
static struct tls_limit **find(const struct tls_address *from)
{
	uint64_t h = tls_hash_bytes(shared->secret, from->ip, sizeof(from->ip));
	struct tls_limit **place;

	h ^= h >> 32;
	for (place = &shared->buckets[h % BUCKETS]; *place != NULL; place = &(*place)->next)
		if ((*place)->from.family == from->family &&
		    memcmp((*place)->from.ip, from->ip, sizeof(from->ip)) == 0)
			break;
	return place;
}

/* tls_limit_enter() for a part of an address. The lock is held. */
static bool enter(const struct tls_address *from, int limit, struct tls_limit **out)
{
	struct tls_limit **place = find(from);

	if (*place != NULL && (*place)->count >= limit)
		return false;
	if (*place == NULL) {
		*place = tls_mem_shared_alloc(sizeof(**place));
		if (*place == NULL)
			return true; /* the connection itself will not find memory either */
		(*place)->from = *from;
	}
	(*place)->count++;
	*out = *place;
	return true;
}

bool tls_limit_enter(const struct tls_address *from, int limit, struct tls_limit **out)
{
	struct tls_address part = part_of(from);
	bool entered;

	*out = NULL;
	if (limit <= 0)
		return true;
	lock_get(&shared->lock);
	entered = enter(&part, limit, out);
	lock_release(&shared->lock);
	return entered;
}

void tls_limit_leave(struct tls_limit *limit)
{
	if (limit == NULL)
		return;
	lock_get(&shared->lock);
	if (--limit->count == 0) {
		*find(&limit->from) = limit->next;
		tls_mem_shared_free(limit);
	}
	lock_release(&shared->lock);
}
