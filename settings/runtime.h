/*
 * settings/runtime.h - settings that change while the server runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_RUNTIME_H
#define TLS_SETTINGS_RUNTIME_H

#include "tls.h"

struct tls_options;
struct tls_settings;

/*
 * Declares the host's run-time configuration group "tls" with the values of O and, read-only, those of the default domains,
 * S. S may have unset fields, O none. Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_runtime_start(const struct tls_settings *s, const struct tls_options *o);

/*
 * The module's options with their current values: the only way to read them, from tls_runtime_start() on. The struct and
 * its strings are valid until control returns to the host, so call this again in each hook and command and keep no
 * pointer. Takes no time; any process.
 */
const struct tls_options *tls_runtime_options(void);

struct tls_runtime_value {
	const char *name;
	const char *rpc_name; /* in the answer of tls.options */
	bool is_number;
	int number;
	const char *text; /* NULL: not set */
};

/* The current value of the group's setting number I, from 0. Returns false when there is none. */
bool tls_runtime_get(int i, struct tls_runtime_value *out);

#endif
