/*
 * tls_shared.c - what all processes share from the start on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "tls_shared.h"
#include "host/compat.h"
#include "tls_mem.h"

void *tls_shared_new(size_t size)
{
	void *p = tls_mem_shared_alloc(size);

	if (p == NULL)
		LM_ERR("no shared memory; give Kamailio more with -m\n");
	return p;
}

void *tls_shared_new_locked(size_t size)
{
	gen_lock_t *lock = tls_shared_new(size);

	if (lock == NULL || lock_init(lock) != NULL)
		return lock;
	LM_ERR("no lock\n");
	return NULL;
}
