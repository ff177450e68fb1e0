/*
 * connection/keylog.h - secrets for Wireshark
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_KEYLOG_H
#define TLS_CONNECTION_KEYLOG_H

#include "tls.h"

/*
 * Creates the file, for the user that the server will run as. Main process, before the forks, after tls_runtime_start()
 * and tls_init_start(). Returns 0, -1 when the settings cannot be carried out (logged).
 *
 * The TLS library's side then calls tls_keylog_enabled() and tls_keylog_line(), which crypto/crypto.h declares.
 */
int tls_keylog_start(void);

#endif
