/*
 * connection/keylog.h - secrets for Wireshark
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_KEYLOG_H
#define TLS_CONNECTION_KEYLOG_H

#include "tls.h"

struct tls_options;

/*
 * The library's side calls tls_keylog_enabled() and tls_keylog_line(), which crypto/crypto.h declares.
 *
 * O must outlive the module. Makes the file, for the user as whom the server will run. Main process, before the forks,
 * after tls_init_start(). Returns 0, -1 when O asks for what cannot be (logged).
 */
int tls_keylog_start(const struct tls_options *o);

#endif
