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
 * Declares the host's run-time configuration group "tls" with O's values, and with S's, the default domains',
 * to read. S may hold unset fields, O none. Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_runtime_start(const struct tls_settings *s, const struct tls_options *o);

/*
 * The module's options as they are now. Good, strings too, until the process turns back to the host: look
 * again in each hook and command, keep nothing. Costs nothing.
 */
const struct tls_options *tls_runtime_options(void);

struct tls_runtime_value {
	const char *name;
	const char *rpc_name; /* in the answer of tls.options */
	bool is_number;
	int number;
	const char *text; /* NULL: not set */
};

/* The setting number I of the group, from 0, as it is now. Returns false behind the last one. */
bool tls_runtime_get(int i, struct tls_runtime_value *out);

#endif
