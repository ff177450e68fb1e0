/*
 * tls_hash.h - one hash for tables and for telling whether something has changed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HASH_H
#define TLS_HASH_H

#include "tls.h"

#define TLS_HASH_SEED UINT64_C(14695981039346656037)

/*
 * FNV-1a: H with the SIZE bytes at DATA mixed in. It begins with TLS_HASH_SEED, or with a secret where the bytes are
 * chosen by strangers. Its low bits are good for the index of a table.
 */
static inline uint64_t tls_hash_bytes(uint64_t h, const void *data, size_t size)
{
	const unsigned char *p = (const unsigned char *)data;

	while (size-- > 0)
		h = (h ^ *p++) * UINT64_C(1099511628211);
	return h;
}

#endif
