/*
 * heap/source.h - where shared memory comes from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HEAP_SOURCE_H
#define TLS_HEAP_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The origin of shared memory: one range, at the same address in all processes. All functions may be called in any process.
 *   take       allocates a block of SIZE bytes aligned for any type, NULL when memory is short
 *   give       frees a block
 *   contains   whether P points into the range
 *   available  bytes that are free
 *   complain   logs TEXT, a line, for the operator before the process is ended
 */
struct tls_mem_source {
	void *(*take)(size_t size);
	void (*give)(void *p);
	bool (*contains)(const void *p);
	size_t (*available)(void);
	void (*complain)(const char *text);
};

#endif
