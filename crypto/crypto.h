/*
 * crypto/crypto.h - the seam: what the module asks of its TLS library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Which library it is, is decided when the module is linked: the files of one folder below this one define these
 * functions, and nothing outside that folder knows a type or a constant of the library's.
 */
#ifndef TLS_CRYPTO_H
#define TLS_CRYPTO_H

#include "tls.h"
#include "tls_config.h"
#include "connection/stats.h"

/* The library's state of one connection, the context of one domain, a certificate: only the library's folder looks inside. */
struct tls_ssl;
struct tls_ctx;
struct tls_cert;

struct tls_cache;
struct tls_config;
struct tls_domain;
struct tls_domain_use;
struct tls_report;
struct tls_section;

/* ---- the library as a whole */

/*
 * When the module is loaded: gives the library our allocation functions, which it takes only before its first
 * allocation, and keeps it from cleaning up in an exit handler: the host's configuration check still needs it in one.
 * Returns 0, -1 when the library is already in use.
 */
int tls_crypto_load(void);

/* Whether the running library can stand in for the one that the module was compiled with. */
bool tls_crypto_fits(void);

/* The running library and the one that the module was compiled with, as text for people. */
const char *tls_crypto_version(void);
const char *tls_crypto_built_with(void);

/* Whether the library can compress certificates (RFC 8879). */
bool tls_crypto_has_certificate_compression(void);

/*
 * WANTED (tls_disable_compression=0): tries in a child whether the running library can compress TLS records by a method
 * of ours and, if so, gives it one. Logs the outcome once; when it fails, connections stay uncompressed. Main process,
 * before the forks and before any context, outside the shared scope.
 */
void tls_compress_start(bool wanted);

/*
 * Builds every table that the library keeps for a whole process, in private memory, and keeps what belongs to a
 * forking thread out of the child. Main process, before tls_mem_start() and before any fork. Returns 0 or -1 (logged).
 */
int tls_crypto_start(void);

/*
 * Makes the library context that all processes share, and everything in it that the library makes on first use. Main
 * process, after tls_mem_start() and before any fork. Returns 0 or -1 (logged).
 */
int tls_crypto_start_shared(void);

/* In each process after its fork. */
void tls_crypto_process(void);

/*
 * Runs WORK(ARG) in the shared scope. Before the first fork that happens in a thread of its own, which is joined, so
 * that no process inherits what the library keeps per thread; later, in place. Returns what WORK returns, or -1 when
 * any allocation failed meanwhile (logged).
 */
int tls_crypto_run_shared(int (*work)(void *arg), void *arg);

/*
 * Between these two, what this thread allocates through the library is shared, and the shared library context is the
 * default one. They nest. Freeing and resizing go by the block's address and need no scope.
 */
void tls_crypto_enter(void);
void tls_crypto_leave(void);

/*
 * Empties this thread's error queue into OUT as "reason; reason", oldest first, each once, as many as fit; "no reason
 * given" when it is empty. Returns OUT.
 */
const char *tls_crypto_errors(char *out, size_t size);

/* Empties this thread's error queue. */
void tls_crypto_clear_errors(void);

/*
 * SIZE random bytes. Any process, after tls_crypto_start_shared(); in the way of tls_crypto_run_shared(). Returns 0 or
 * -1, with the error queue empty.
 */
int tls_crypto_random(void *out, size_t size);

#define TLS_DIGEST_SIZE 32

struct tls_piece {
	const void *data;
	size_t size;
};

/*
 * SHA-256 over COUNT pieces, one after the other. Any process, after tls_crypto_start_shared(); any scope.
 * Returns 0, -1 without memory.
 */
int tls_crypto_digest(const struct tls_piece *pieces, size_t count, unsigned char out[TLS_DIGEST_SIZE]);

/*
 * A lock of the library's own, to see whether it works between processes. New ones come from the current scope's memory;
 * NULL without memory. The others return 0 or -1.
 */
struct tls_crypto_lock;
struct tls_crypto_lock *tls_crypto_lock_new(void);
int tls_crypto_lock_take(struct tls_crypto_lock *lock);
int tls_crypto_lock_release(struct tls_crypto_lock *lock);
void tls_crypto_lock_free(struct tls_crypto_lock *lock);

/* ---- contexts: what all connections of a domain share */

/*
 * Gives D a new context by the settings of SECTION and by what D has loaded: keys, chains, trust and how it verifies.
 * Sets D's versions and session context. Shared scope. Returns 0, -1 with the problems in R; D may have a context even
 * then.
 */
int tls_ctx_make(struct tls_domain *d, const struct tls_section *section, struct tls_report *r);

/* Warns in R of what the settings of SECTION make of the context of D. Shared scope. */
void tls_ctx_check(const struct tls_domain *d, const struct tls_section *section, struct tls_report *r);

/* Another reference to CTX, to be freed on its own. NULL when that is impossible. Any process, any scope. */
struct tls_ctx *tls_ctx_share(struct tls_ctx *ctx);

/* Drops a reference to CTX (may be NULL). Any process, any scope. */
void tls_ctx_free(struct tls_ctx *ctx);

/* ---- session tickets */

/*
 * Makes the ticket keys that all contexts and processes share. Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_ticket_start(void);

/*
 * In the timer process, once a second: makes a new ticket key when the current one is old, and wipes the previous one
 * when no ticket that it made is still good. Blocks nobody.
 */
void tls_ticket_sweep(unsigned ticks, void *param);

/* ---- a connection: its state in the library */

/*
 * The state of a new connection of USE->domain, ready for its first handshake. A ClientHello may move USE to the domain
 * of the server name in it. USE must outlive the state. Shared scope. NULL without memory.
 */
struct tls_ssl *tls_ssl_new(struct tls_domain_use *use);

/* Frees SSL (may be NULL). Any process, any scope. */
void tls_ssl_free(struct tls_ssl *ssl);

/*
 * To be called before each step of a handshake, in the process that takes it: gives SSL this process's own copies of its
 * domain's keys, where the library would otherwise use those of the process that took the step before. Any scope.
 * Returns 0, -1 without memory.
 */
int tls_ssl_own_keys(struct tls_ssl *ssl);

/* A client asks for the host NAME (server_name, RFC 6066). Shared scope. Returns 0, -1 without memory. */
int tls_ssl_set_name(struct tls_ssl *ssl, const char *name);

/*
 * Frees what the peer sent beside its certificate: it is in the verified chain, which stays, or was of no use. After the
 * handshake; any scope.
 */
void tls_ssl_drop_sent_chain(struct tls_ssl *ssl);

/* Whether SSL holds input that it has taken and not yet delivered: cleartext, or a part of a record. */
bool tls_ssl_has_pending(const struct tls_ssl *ssl);

/* How many bytes of cleartext the next read gives without more input. */
size_t tls_ssl_pending(const struct tls_ssl *ssl);

/* Whether a handshake is in progress, the first one or a later one, or the message of one is incomplete. */
bool tls_ssl_in_handshake(const struct tls_ssl *ssl);

/* Whether the version agreed on is TLS 1.3 or newer; before there is one, whether the newest possible is. */
bool tls_ssl_is_1_3(const struct tls_ssl *ssl);

/* How far the handshake has come, for people. Static. */
const char *tls_ssl_state(const struct tls_ssl *ssl);

/* ---- a connection: input and output */

/*
 * The buffers of one call of a hook. A process handles one connection at a time, so it has one pair of
 * buffers, and a connection points to it only during the call.
 */
struct tls_io {
	const unsigned char *in;
	size_t in_size, in_taken;
	unsigned char *out;
	size_t out_used, out_room;
};

/* The outcome of one step of the library's. */
enum tls_step {
	TLS_STEP_DONE,
	TLS_STEP_WANTS_INPUT,
	TLS_STEP_CLOSED, /* close_notify */
	TLS_STEP_FAILED, /* see the error queue */
};

/* How much of the output buffer may be filled before a sender is asked to come again. */
#define TLS_IO_OUT_SOFT_MAX (64 * 1024)
#define TLS_IO_IN_SIZE      (64 * 1024)

/* Main process, before the forks. Returns 0, -1 without memory (logged). */
int tls_io_start(void);

/* From now on SSL reads from and writes to *PLACE, and waits while that is NULL. Shared scope. Returns 0 or -1. */
int tls_io_attach(struct tls_ssl *ssl, struct tls_io **place);

/* Begins a call: this process's buffers, with nothing in and out. */
struct tls_io *tls_io_begin(void);

/* This process's input buffer, TLS_IO_IN_SIZE bytes. NULL without memory. */
unsigned char *tls_io_input(void);

/*
 * One step each, in the shared scope, which they enter themselves. The error queue is empty before, and holds the reason
 * after a failure.
 */
enum tls_step tls_io_handshake(struct tls_ssl *ssl);
enum tls_step tls_io_read(struct tls_ssl *ssl, void *to, size_t room, size_t *got);
enum tls_step tls_io_write(struct tls_ssl *ssl, const void *from, size_t size, size_t *taken);
enum tls_step tls_io_shutdown(struct tls_ssl *ssl);

/* ---- what is loaded from files: crypto/openssl/{key,chain,trust}.c; a struct tls_cache owns all three */

/* A private key. Each process signs with a copy of its own when the key is of a kind that needs one (RSA). */
struct tls_key;

/* A certificate, and the chain that is sent with it. */
struct tls_chain;

/* Trust anchors and revocation lists. */
struct tls_trust;

/*
 * The key in the file PATH, the chain in the file PATH, and what the files CA_LIST and CRL and the folder CA_PATH hold.
 * PASSWORD may be NULL, and so may each of the last three. FROM says where it is set; for a trust in the order ca_list,
 * ca_path, crl. Shared scope. CACHE owns the result. NULL with the reason in R.
 */
struct tls_key *tls_key_load(struct tls_cache *cache, const char *path, const char *password,
                             const struct tls_origin *from, struct tls_report *r);
struct tls_chain *tls_chain_load(struct tls_cache *cache, const char *path, const struct tls_origin *from,
                                 struct tls_report *r);
struct tls_trust *tls_trust_load(struct tls_cache *cache, const char *ca_list, const char *ca_path,
                                 const char *crl, const struct tls_origin from[3], struct tls_report *r);

/* The certificate itself, still CHAIN's. */
struct tls_cert *tls_chain_certificate(const struct tls_chain *chain);

/* ---- what is checked when a configuration is loaded: crypto/openssl/{chain_check,purpose}.c */

/*
 * Warns of chains with holes, with certificates that do not belong there and with the same one twice, and of trust
 * anchors and revocation lists that do not work, each once. DOMAINS are made from the first COUNT sections of CFG, in
 * their order. Shared scope, one process at a time.
 */
void tls_chains_check(const struct tls_domain *domains, int count, const struct tls_config *cfg,
                      struct tls_report *r);

/*
 * Warns when X, the certificate NUMBER (0 or 1) of SECTION, is one that peers refuse in its role: because of its key
 * usages, its kind of key, or because it must be stapled. Shared scope; leaves the library's error queue as it is.
 */
void tls_purpose_check(const struct tls_section *section, int number, struct tls_cert *x,
                       struct tls_report *r);

/* ---- a connection: what is known of it */

/* What verifying the peer's certificate came to. */
enum tls_verify_result {
	TLS_VERIFY_GOOD,
	TLS_VERIFY_REVOKED,
	TLS_VERIFY_EXPIRED,
	TLS_VERIFY_SELF_SIGNED,
	TLS_VERIFY_OTHER, /* refused for another reason */
};

/* Texts belong to the library; they stay as they are until the connection's next step. */
struct tls_facts {
	int minor;                     /* the version is TLS 1.MINOR, so far; -1: none of these */
	const char *version;           /* its name for people */
	const char *cipher;            /* the suite's name; NULL: none yet */
	int cipher_bits;               /* of its key; 0: no suite yet */
	const char *server_name;       /* that the client asked for; NULL: none */
	const char *compression;       /* "none" without */
	enum tls_verify_result verify; /* GOOD, too, when there was nothing to verify */
	bool has_peer_certificate;     /* the peer showed a certificate */
	bool resumed;
};

/* Fills OUT. Any process, the connection's lock held; takes no memory. */
void tls_ssl_facts(const struct tls_ssl *ssl, struct tls_facts *out);

/* The suite in detail, as a line of text, into the SIZE bytes at OUT. Returns OUT, NULL when there is no suite yet. */
const char *tls_ssl_describe_cipher(const struct tls_ssl *ssl, char *out, size_t size);

/*
 * Why the step that SSL has just taken failed: returns what that counts as, puts the reason for people into the SIZE
 * bytes at OUT, and empties the error queue. The process that took the step.
 */
enum tls_stat tls_ssl_failure(struct tls_ssl *ssl, char *out, size_t size);

/*
 * Certificates of a connection, which owns them: the peer's; ours, of several the one that this peer got; number INDEX
 * of the chain by which the peer was verified, its own first. NULL when there is none. The connection's lock held.
 */
const struct tls_cert *tls_ssl_peer_cert(const struct tls_ssl *ssl);
const struct tls_cert *tls_ssl_own_cert(struct tls_ssl *ssl);
const struct tls_cert *tls_ssl_chain_cert(const struct tls_ssl *ssl, int index);

/* ---- certificates: what they say */

/* Takes a text, or SIZE bytes more of one. TO is the caller's. */
typedef void tls_sink(void *to, const char *bytes, size_t size);

enum tls_cert_field {
	TLS_CERT_SUBJECT_LINE, /* the whole name: "/C=DE/O=Example/CN=a" */
	TLS_CERT_SUBJECT_CN,   /* one field of it, in UTF-8; of several the first */
	TLS_CERT_SUBJECT_L,
	TLS_CERT_SUBJECT_C,
	TLS_CERT_SUBJECT_ST,
	TLS_CERT_SUBJECT_O,
	TLS_CERT_SUBJECT_OU,
	TLS_CERT_SUBJECT_UID,
	TLS_CERT_ISSUER_LINE,
	TLS_CERT_ISSUER_CN,
	TLS_CERT_ISSUER_L,
	TLS_CERT_ISSUER_C,
	TLS_CERT_ISSUER_ST,
	TLS_CERT_ISSUER_O,
	TLS_CERT_ISSUER_OU,
	TLS_CERT_ISSUER_UID,
	TLS_CERT_SUBJECT_RFC2253, /* the whole name: "CN=a,O=Example,C=DE" */
	TLS_CERT_VERSION,         /* as it is encoded: 2 for version 3 */
	TLS_CERT_SERIAL,          /* decimal */
	TLS_CERT_NOT_BEFORE,      /* "Nov 28 18:21:24 2026 GMT" */
	TLS_CERT_NOT_AFTER,
	TLS_CERT_PEM,
	TLS_CERT_ALT_NAMES, /* all of them: "DNS:example.org, IP Address:192.0.2.1" */
};

enum tls_cert_answer {
	TLS_CERT_GIVEN,
	TLS_CERT_NONE,       /* the certificate has no such field, or it is no text */
	TLS_CERT_UNREADABLE, /* no memory or a broken certificate: the error queue says which */
};

/*
 * Gives FIELD of CERT to SINK(TO, ...), in some pieces; a name may have a zero byte in it. Any process; takes private
 * memory, which it gives back. Only UNREADABLE leaves anything in the error queue, which the caller empties then.
 */
enum tls_cert_answer tls_cert_describe(const struct tls_cert *cert, enum tls_cert_field field, tls_sink *sink,
                                       void *to);

/* Kinds of alternative names. */
enum tls_alt_kind { TLS_ALT_EMAIL = 1, TLS_ALT_DNS, TLS_ALT_URI, TLS_ALT_IP };

/*
 * Calls EACH(ARG, ...) for every alternative name of CERT of these kinds, in its order: SIZE bytes as they are encoded,
 * of an address in network order, good until EACH returns. Without memory, or of a broken certificate, there are none.
 */
void tls_cert_walk_names(const struct tls_cert *cert,
                         void (*each)(void *arg, enum tls_alt_kind kind, const char *bytes, size_t size),
                         void *arg);

/* When CERT expires, in seconds since 1970. Returns false when that cannot be read. */
bool tls_cert_end(const struct tls_cert *cert, int64_t *out);

/* The kind of CERT's key and how many bits it has. Returns "unknown", and 0 bits, when that cannot be read. */
const char *tls_cert_key(const struct tls_cert *cert, int *bits);

/* ---- certificates: whose they are */

/*
 * Whether CERT is for NAME, a host name or an address of LENGTH bytes ("[" and "]" around an IPv6 address or not), by
 * RFC 5922 section 7; with WILDCARDS, those of DNS names count (RFC 9525 section 6.3). Any process; holds no lock.
 * Without memory the answer is no.
 */
bool tls_cert_is_for(const struct tls_cert *cert, const char *name, size_t length, bool wildcards);

/* Lets a reference to CERT (may be NULL) go. Any process. */
void tls_cert_free(struct tls_cert *cert);

struct tls_cert_list;

/* A peer's certificate and the certificates between it and a trust anchor, with a reference to each. */
struct tls_peer {
	struct tls_cert *leaf; /* NULL: it showed none */
	struct tls_cert_list *chain;
};

/*
 * References to what SSL's peer showed and how it was verified. The connection's lock held; shared scope. Leaves the
 * error queue as it was. Without memory there is no chain.
 */
void tls_peer_take(const struct tls_ssl *ssl, struct tls_peer *out);

/* Lets the chain go; the leaf stays the caller's. */
void tls_peer_drop_chain(struct tls_peer *peer);

/*
 * Whether CLIENT, a client's domain that verifies servers, would accept PEER as the server NAME. If so, *UNTIL is when
 * that ends, in seconds since 1970. Takes as long as the verification of a chain. Any process, no lock held; shared
 * scope. Leaves the error queue as it was. Without memory the answer is no.
 */
bool tls_peer_is_good(const struct tls_peer *peer, const struct tls_domain *client, const char *name,
                      int64_t *until);

/* ---- what the library's side asks of the module */

/* Whether the secrets of connections are written out, and one line of them in the NSS format. Any process. */
bool tls_keylog_enabled(void);
void tls_keylog_line(const char *line);

/* Alerts, by their numbers in TLS (RFC 8446 section 6). */
enum tls_alert {
	TLS_ALERT_ILLEGAL_PARAMETER = 47,
	TLS_ALERT_UNRECOGNIZED_NAME = 112,
};

/* Why a handshake is refused: for the peer, and for the log. */
struct tls_refusal {
	enum tls_alert alert;
	char text[512];
};

/*
 * A client of USE asks for NAME, LENGTH bytes as it sent them; NULL: for none. Returns the domain that takes the
 * connection, which may be USE->domain, or NULL to refuse it, with the reason in OUT. In the process that goes on with
 * the handshake. Defined in tls_domain.c.
 */
struct tls_domain *tls_domain_choose(const struct tls_domain_use *use, const char *name, size_t length,
                                     struct tls_refusal *out);

/* USE's connection has the context of D from now on. Defined in tls_domain.c. */
void tls_domain_move(struct tls_domain_use *use, struct tls_domain *d);

#endif
