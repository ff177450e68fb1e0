/* links: HEAPED tls_rpc.c tls_select.c connection/item.c test/unit/asker.c -Wl,--wrap=CRYPTO_set_mem_functions -Wl,--wrap=nanosleep -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=strdup */
/*
 * test_faults_heap.c - the same as test_faults.c, with the shared allocator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#define HEAPED 1

#include "test_faults.c"
