/*
 * tls.h - what all files of this module share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The order of the files, the lowest first. A file may include what stands before it and nothing that stands behind it,
 * and nothing but crypto/openssl/ includes crypto/openssl/ (tools/house.py checks that). What each room is for:
 * doc/design.md.
 *
 *   tls tls_hash
 *   host/compat host/clock host/child host/dry_run
 *   heap/source heap/shape heap/lock heap/pages heap/spans heap/heap heap/audit
 *   tls_mem tls_shared
 *   settings/text settings/report settings/table settings/values settings/section settings/hostname
 *   tls_config material/files tls_config_files settings/advice settings/runtime
 *   material/pem material/keyfile material/stamp material/access material/place material/remarks
 *   material/cache
 *   connection/stats
 *   tls_domain_types
 *   crypto/crypto
 *   crypto/openssl/compat crypto/openssl/types
 *   crypto/openssl/memory crypto/openssl/pair crypto/openssl/random crypto/openssl/library
 *   crypto/openssl/io crypto/openssl/lifetime crypto/openssl/names
 *   crypto/openssl/bundle crypto/openssl/crl crypto/openssl/anchors crypto/openssl/key
 *   crypto/openssl/chain crypto/openssl/trust crypto/openssl/chain_check
 *   crypto/openssl/purpose crypto/openssl/ciphers crypto/openssl/compress crypto/openssl/policy
 *   crypto/openssl/ssl crypto/openssl/ticket crypto/openssl/verify crypto/openssl/hello
 *   crypto/openssl/context
 *   crypto/openssl/facts crypto/openssl/failure crypto/openssl/describe crypto/openssl/peer
 *   tls_init
 *   tls_domain tls_build tls_generation tls_reload
 *   connection/queue connection/connection connection/list connection/limit connection/failure
 *   connection/deadline connection/pressure connection/turn connection/outgoing connection/choice
 *   connection/verdict connection/reuse connection/answer connection/item connection/keylog
 *   tls_server tls_select tls_rpc tls_mod
 */
#ifndef TLS_H
#define TLS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_FORMAT(fmt, first) __attribute__((format(printf, fmt, first)))

enum tls_role { TLS_SERVER, TLS_CLIENT };

struct tls_address {
	int family;     /* 4 or 6, 0: none */
	uint8_t ip[16]; /* network order, an IPv4 address in the first four */
	uint16_t port;  /* host order, 0: any */
};

#endif
