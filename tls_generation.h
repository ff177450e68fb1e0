/*
 * tls_generation.h - configuration generations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_GENERATION_H
#define TLS_GENERATION_H

#include "tls.h"

struct tls_config;
struct tls_generation;
struct tls_look;
struct tls_report;

/* Main process, before the forks and the first generation. Returns 0, -1 without shared memory (logged). */
int tls_generation_start(void);

/*
 * Loads everything that CFG names and checks it. Any process; holds no lock. Returns a generation that only the caller
 * knows, or NULL when R holds an error; then nothing is left behind.
 */
struct tls_generation *tls_generation_build(const struct tls_config *cfg, struct tls_report *r);

/* Makes G the one that new connections use. The previous one is freed with its last connection. */
void tls_generation_install(struct tls_generation *g);

/* tls_cache_look() at the files that G was built from, the configuration file among them. */
void tls_generation_look(const struct tls_generation *g, struct tls_look *look);

/* Frees a generation that was never installed. */
void tls_generation_discard(struct tls_generation *g);

/* Pins the current generation, NULL when there is none. */
struct tls_generation *tls_generation_pin(void);

/* Drops the pin, in any process; the last one frees G. G may be NULL. */
void tls_generation_unpin(struct tls_generation *g);

/* Numbers since start, from 1. */
int tls_generation_number(const struct tls_generation *g);

#endif
