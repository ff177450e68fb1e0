/*
 * fake_memory.h - the host's shared memory, of which any allocation can be made to fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A block that is written to beyond its end or after it was freed ends the process, the latter when its
 * memory is used again. With AddressSanitizer, what the instrumented code does wrong is seen at once.
 */
#ifndef FAKE_MEMORY_H
#define FAKE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Maps SIZE bytes that forked processes share. Once. Returns 0 or -1. */
int fake_memory_start(size_t size);

/* Makes the N-th allocation from now fail, counted from 1; FOREVER: and all later ones. 0: none. */
void fake_memory_fail_at(long n, bool forever);

/* How many allocations there were since the last fake_memory_fail_at(). */
long fake_memory_asked(void);

/* When set: whether an allocation that is to fail may do so. */
extern bool (*fake_memory_spares)(void);

/* Blocks that are in use. */
long fake_memory_blocks(void);

/* Whether SIZE bytes like those at BYTES are anywhere in it, in use or freed. */
bool fake_memory_has(const void *bytes, size_t size);

/* How much is left, as the module is told; 0: the truth. */
void fake_memory_pretend_left(size_t bytes);

#endif
