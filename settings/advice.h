/*
 * settings/advice.h - warnings about a valid configuration that does not do what it seems to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_ADVICE_H
#define TLS_SETTINGS_ADVICE_H

#include "tls.h"

struct tls_config;
struct tls_report;

/*
 * Warns of these mistakes in CFG, which has no errors: a name by which clients get around a port that requires
 * certificates, an address that no connection has, a password in a file that every user may read. UNKNOWN_REFUSED: clients
 * that ask for an unknown name are rejected. Any process; some warnings are left out when memory is short.
 */
void tls_advice_add(const struct tls_config *cfg, bool unknown_refused, struct tls_report *r);

#endif
