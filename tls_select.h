/*
 * tls_select.h - selects, pseudo-variables, and KSR.tls.cget()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SELECT_H
#define TLS_SELECT_H

#include "tls.h"

struct sip_msg;

struct _pv_export;
struct sr_kemi_xval;
struct _str;

/* When the module is loaded: registers @tls..., makes the variables. Returns 0 or -1 (logged). */
int tls_select_load(void);

/* The variables after tls_select_load(), as the host's pv_items want them. */
struct _pv_export *tls_select_variables(void);

/*
 * What KSR.tls.cget(KEY) returns: a string, empty when MSG's connection has no such value. In any process
 * that has a message; good until the next call.
 */
struct sr_kemi_xval *tls_select_cget(struct sip_msg *msg, struct _str *key);

#endif
