/*
 * tls_shared.h - what all processes share from the start on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SHARED_H
#define TLS_SHARED_H

#include "tls.h"

/*
 * A zeroed block of shared memory for a room of the module, which is never freed; the second for a struct whose first
 * member is a gen_lock_t, which is made ready. Main process, before the forks. NULL without memory (logged).
 */
void *tls_shared_new(size_t size);
void *tls_shared_new_locked(size_t size);

#endif
