/*
 * settings/advice.h - warns of what is legal and has no effect, or not the one that it seems to have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_ADVICE_H
#define TLS_SETTINGS_ADVICE_H

#include "tls.h"

struct tls_config;
struct tls_report;

/*
 * Warns of what CFG, in which nothing is wrong, says in vain: a name that leads around a port's demand for
 * certificates, an address that no connection has, a password in a file that everybody may read.
 * UNKNOWN_REFUSED: clients that ask for a name that no section has are refused. Any process; without memory it
 * says less.
 */
void tls_advice_add(const struct tls_config *cfg, bool unknown_refused, struct tls_report *r);

#endif
