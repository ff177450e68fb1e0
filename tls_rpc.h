/*
 * tls_rpc.h - RPC commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_RPC_H
#define TLS_RPC_H

#include "tls.h"
#include "connection/stats.h"

/* Registers the commands. Returns 0 or -1 (logged). */
int tls_rpc_start(void);

/* What can be looked up: tls.info prints it, and it stands among the statistics. Ends with a NULL name. */
extern const struct tls_gauge tls_rpc_gauges[];

#endif
