/*
 * tls_compat.h - every difference between versions of the host and of OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Oldest supported: OpenSSL 3.0 (library contexts do not exist before it), host 5.6. No other file looks at a
 * version number.
 */
#ifndef TLS_COMPAT_H
#define TLS_COMPAT_H

#include <openssl/opensslv.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed: older ones have no library contexts"
#endif

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* The host's headers. */
#include "core/cfg/cfg.h"
#include "core/dprint.h"
#include "core/events.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/locking.h"
#include "core/mem/shm.h"
#include "core/pass_fd.h"
#include "core/pt.h"
#include "core/resolve.h"
#include "core/rpc.h"
#include "core/sr_module.h"
#include "core/tcp_conn.h"
#include "core/tcp_info.h"
#include "core/tcp_init.h"
#include "core/tcp_int_send.h"
#include "core/tcp_options.h"
#include "core/tcp_read.h"
#include "core/timer.h"
#include "core/timer_ticks.h"
#include "core/tls_hooks.h"
#include "core/ut.h"

/* The oldest protocol version that the library was compiled with. */
#if !defined(OPENSSL_NO_TLS1) && !defined(OPENSSL_NO_TLS1_METHOD)
#define TLS_COMPAT_OLDEST TLS1_VERSION
#else
#define TLS_COMPAT_OLDEST TLS1_2_VERSION
#endif

/*
 * Fields of tls.list that the module packaged for the host has: sni and timestamp since 6.0, dom since 6.1.
 */
#define TLS_COMPAT_LIST_SNI (VERSIONVAL >= 6000000)
#define TLS_COMPAT_LIST_DOM (VERSIONVAL >= 6001000)

/*
 * The library's own choice of groups without those of RFC 7919: a client that offers nothing else makes a
 * server of OpenSSL 3.0 work for 0.1 s and more (ffdhe8192) before it has shown anything of itself. Newer
 * ones can name their own list.
 */
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define TLS_COMPAT_GROUPS "DEFAULT:-ffdhe2048:-ffdhe3072"
#else
#define TLS_COMPAT_GROUPS "X25519:P-256:X448:P-521:P-384"
#endif

/*
 * Signatures with SHA-256 or better, and with ML-DSA where there is any: in a handshake, and by the authorities
 * of a peer's certificates where the library looks at those.
 */
#define TLS_COMPAT_CLASSIC_SIGNATURES                                                               \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:" \
	"rsa_pss_rsae_sha512:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define TLS_COMPAT_SIGNATURES "?mldsa65:?mldsa87:?mldsa44:" TLS_COMPAT_CLASSIC_SIGNATURES
#else
#define TLS_COMPAT_SIGNATURES TLS_COMPAT_CLASSIC_SIGNATURES
#endif

/*
 * Certificate compression (RFC 8879), which came with 3.2, and only where the library was built with a
 * compressor. Without it the switches are no more than that.
 */
static inline bool tls_compat_has_certificate_compression(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L && !defined(OPENSSL_NO_COMP_ALG)
	return true;
#else
	return false;
#endif
}

/*
 * Whether CTX sends and takes compressed certificates. Before they are sent,
 * tls_compat_compress_certificates().
 */
static inline void tls_compat_set_certificate_compression(SSL_CTX *ctx, bool on)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
	if (on)
		SSL_CTX_clear_options(ctx,
		                      SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
#else
	(void)ctx;
	(void)on;
#endif
}

/* Compresses the chains of CTX, once and for all its connections. One that gains nothing stays as it is. */
static inline void tls_compat_compress_certificates(SSL_CTX *ctx)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L && !defined(OPENSSL_NO_COMP_ALG)
	if (SSL_CTX_compress_certs(ctx, 0) != 1)
		ERR_clear_error();
#else
	(void)ctx;
#endif
}

/* Whether the message at which SSL's handshake stands is the one with the peer's certificates, compressed or not. */
static inline bool tls_compat_reads_certificates(const SSL *ssl)
{
	switch (SSL_get_state(ssl)) {
	case TLS_ST_CR_CERT:
	case TLS_ST_SR_CERT: return true;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
	case TLS_ST_CR_COMP_CERT:
	case TLS_ST_SR_COMP_CERT: return true;
#endif
	default: return false;
	}
}

/* The host's main program has it, but no header. */
extern int config_check __attribute__((weak));

/*
 * The host's tcp_main_threads, which came with 6.1. Newer ones than that make the C library's locks work
 * between processes only while it is 0.
 */
extern int ksr_tcp_main_threads __attribute__((weak));

static inline int tls_compat_main_threads(void)
{
	return &ksr_tcp_main_threads != NULL ? ksr_tcp_main_threads : 0;
}

/* Whether the host was built to make those locks work between processes at all. */
static inline bool tls_compat_has_shared_locks(void)
{
#ifdef KSR_PTHREAD_MUTEX_SHARED
	return true;
#else
	return false;
#endif
}

/*
 * Flags of an RPC command whose calls the host spaces by its rpc_exec_delta, which 5.6 does not have.
 */
#if VERSIONVAL >= 6000000
#define TLS_COMPAT_RPC_SPACED RPC_EXEC_DELTA
#else
#define TLS_COMPAT_RPC_SPACED 0
#endif

/* Numbers of pseudo-variables. */
#if VERSIONVAL >= 6000000
typedef long tls_compat_pv_number;
#else
typedef int tls_compat_pv_number;
#endif

/* Whether the host was started with -c: it only parses its configuration and ends. */
static inline bool tls_compat_config_check(void)
{
	return &config_check != NULL && config_check != 0;
}

/*
 * TLS compression. libssl takes a method as a structure that no header shows, and has no function that makes
 * one with the id of DEFLATE. These are the library's own structures; tls_compress.c proves that before it
 * uses them. An OpenSSL without compression lacks the functions, so they are bound only when they are there.
 */
#ifndef OPENSSL_NO_COMP
#include <openssl/comp.h>
#else
COMP_CTX *COMP_CTX_new(COMP_METHOD *method);
void COMP_CTX_free(COMP_CTX *ctx);
const COMP_METHOD *COMP_CTX_get_method(const COMP_CTX *ctx);
int COMP_get_type(const COMP_METHOD *method);
const char *COMP_get_name(const COMP_METHOD *method);
int COMP_compress_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
int COMP_expand_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
#endif
#pragma weak COMP_CTX_new
#pragma weak COMP_CTX_free
#pragma weak COMP_CTX_get_method
#pragma weak COMP_get_type
#pragma weak COMP_get_name
#pragma weak COMP_compress_block
#pragma weak COMP_expand_block

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
typedef size_t tls_compat_comp_size;
typedef ptrdiff_t tls_compat_comp_result;
#else
typedef unsigned int tls_compat_comp_size;
typedef int tls_compat_comp_result;
#endif

/* From IN to OUT. Returns the bytes written, -1 on a failure. */
typedef tls_compat_comp_result tls_compat_comp_work(COMP_CTX *ctx, unsigned char *out,
                                                    tls_compat_comp_size room, unsigned char *in,
                                                    tls_compat_comp_size size);

/* COMP_METHOD; init() returns 1, or 0 on a failure, after which finish() is not called. */
struct tls_compat_comp_method {
	int type;
	const char *name;
	int (*init)(COMP_CTX *ctx);
	void (*finish)(COMP_CTX *ctx);
	tls_compat_comp_work *compress, *expand;
};

/* COMP_CTX; DATA is the method's. */
struct tls_compat_comp_ctx {
	const COMP_METHOD *method;
	unsigned long compress_in, compress_out, expand_in, expand_out;
	void *data;
};

/* SSL_COMP, from OPENSSL_malloc(): the library may free it. */
struct tls_compat_ssl_comp {
	int id;
	const char *name;
	COMP_METHOD *method;
};

static inline bool tls_compat_has_compression(void)
{
	return COMP_CTX_new != NULL;
}

/*
 * Nothing of a message has come yet. From 6.0 on the host times a message from the first read to its last
 * byte, and would count a handshake, and all the time until the first request.
 */
static inline void tls_compat_no_message(struct tcp_connection *c)
{
#if VERSIONVAL >= 6000000
	c->req.tvrstart = (struct timeval){0, 0};
#else
	(void)c;
#endif
}

/*
 * The connection to IP and PORT that the host would send on, with a reference, NULL: none. FROM: the local
 * address to send from, NULL: any. LOCAL_PORT and, from 6.0 on, PROTOCOL count when the host is told to match
 * them, too.
 */
static inline struct tcp_connection *tls_compat_find(struct ip_addr *ip, int port, union sockaddr_union *from,
                                                     int local_port, int protocol)
{
	if (tcp_connection_match != TCPCONN_MATCH_STRICT)
		return tcpconn_get(0, ip, port, from, 0);
#if VERSIONVAL >= 6000000
	return tcpconn_lookup(0, ip, port, from, local_port, 0, (sip_protos_t)protocol);
#else
	(void)protocol;
	return tcpconn_lookup(0, ip, port, from, local_port, 0);
#endif
}

/* The host's table of connections has this lock, but no header. */
extern gen_lock_t *tcpconn_lock;

/*
 * From 6.1 on the host asks whether a connection suits the message at hand, when a switch of its own is on.
 */
#if VERSIONVAL >= 6001000
#define TLS_COMPAT_MATCH_HOOKS \
	.match_domain = tls_reuse_match, .match_connections_domain = tls_reuse_match_two,
extern int tls_connection_match_domain;
#else
#define TLS_COMPAT_MATCH_HOOKS
#endif

/*
 * What the host shows of C, an outgoing connection: the name and the id that the script chose (NULL: none).
 * They stay the module's, which takes them back with two NULL before it frees them.
 */
static inline void tls_compat_show_choice(struct tcp_connection *c, char *name, char *id)
{
#if VERSIONVAL >= 6001000
	c->cinfo.server_name = (str){name, name != NULL ? (int)strlen(name) : 0};
	c->cinfo.server_id = (str){id, id != NULL ? (int)strlen(id) : 0};
#else
	(void)c;
	(void)name;
	(void)id;
#endif
}

static inline bool tls_compat_host_asks(void)
{
	return VERSIONVAL >= 6001000;
}

static inline void tls_compat_ask_about_profiles(void)
{
#if VERSIONVAL >= 6001000
	tls_connection_match_domain = 1;
#endif
}

/*
 * Whether the running library can stand in for the one of the headers: same major version, not an older minor
 * one.
 */
static inline bool tls_compat_library_fits(void)
{
	unsigned long running = OpenSSL_version_num() >> 20, built = OPENSSL_VERSION_NUMBER >> 20;

	return running >> 8 == built >> 8 && running >= built;
}

#endif
