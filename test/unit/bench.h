/*
 * bench.h - the module's rooms below its face, started on a host that is not there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef BENCH_H
#define BENCH_H

#include "settings/table.h"
#include "crypto/openssl/compat.h"

/*
 * First of all: gives OpenSSL the module's allocator, and makes a folder with keys and certificates, each
 * NAME.pem (with its chain's end, ca.pem, not in it) and NAME.key: ca, server, rsa, client; and stranger,
 * which signed itself. Returns 0 or -1.
 */
int bench_prepare(void);

/*
 * Starts the rooms as the module does in the host's main process, with the domains of TEXT, a tls.cfg in
 * which "@/" stands for the folder. Settings that count only at the start are changed before by OPTIONS.
 * Returns 0 or -1 (logged by the module).
 */
int bench_start(const char *text);

/*
 * Most of a tls.cfg for bench_start(), and what its ports serve. The last section of the servers is one of
 * NAMES and waits for its server_name; the last of the clients is that for RSA_EXCHANGE.
 */
enum { ANY = 5061, RSA_EXCHANGE, CERTIFICATE_REQUIRED, NAMES };
#define BENCH_SERVERS                   \
	"[server:default]\n"                \
	"certificate = @/server.pem\n"      \
	"private_key = @/server.key\n"      \
	"[server:127.0.0.1:5062]\n"         \
	"method = TLSv1.2\n"                \
	"cipher_list = AES128-GCM-SHA256\n" \
	"certificate = @/rsa.pem\n"         \
	"private_key = @/rsa.key\n"         \
	"[server:127.0.0.1:5063]\n"         \
	"certificate = @/server.pem\n"      \
	"private_key = @/server.key\n"      \
	"ca_list = @/ca.pem\n"              \
	"verify_certificate = yes\n"        \
	"require_certificate = yes\n"       \
	"[server:127.0.0.1:5064]\n"         \
	"certificate = @/server.pem\n"      \
	"private_key = @/server.key\n"      \
	"[server:127.0.0.1:5064]\n"
#define BENCH_CLIENTS              \
	"[client:default]\n"           \
	"certificate = @/client.pem\n" \
	"private_key = @/client.key\n" \
	"ca_list = @/ca.pem\n"         \
	"verify_certificate = yes\n"   \
	"[client:127.0.0.1:5062]\n"    \
	"method = TLSv1.2\n"           \
	"cipher_list = AES128-GCM-SHA256\n"

/* As at the start; NULL fields and TLS_UNSET get their presets in bench_start(). */
extern struct tls_options bench_options;

/* Writes TEXT to FILE of the folder. */
void bench_write(const char *file, const char *text);

/* The path of FILE in the folder, good until eight others are asked for. */
const char *bench_path(const char *file);

/* Removes the folder, in the process that made it. */
void bench_end(void);

/*
 * A context of the process's own world, for an end that knows nothing of the module; NAME: its certificate,
 * NULL: none. It trusts ca.pem.
 */
SSL_CTX *bench_context(const char *name);

/*
 * Shared blocks that are in use, but for those that OpenSSL keeps for this thread. What belongs to the thread
 * goes, and comes back when it is needed: between two calls only what is really kept makes a difference.
 */
long bench_blocks(void);

#endif
