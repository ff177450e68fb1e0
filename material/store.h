/*
 * material/store.h - what a configuration has loaded from files, each distinct file once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_STORE_H
#define TLS_MATERIAL_STORE_H

#include <limits.h>

#include "tls.h"
#include "tls_config.h"

struct ssl_ctx_st;
struct ssl_st;
struct tls_report;
struct x509_st;

/* What has become of the files of a configuration since it was loaded. */
struct tls_look {
	int changed;          /* how many have changed, or are gone */
	int unreadable;       /* how many this process's user may not read, or not even look at */
	uint64_t stamp;       /* a number that changes when one of them does */
	char first[PATH_MAX]; /* one that it may not read */
};

/*
 * What one configuration has loaded from files, each distinct file or set of files once. Everything lives in
 * the shared world. All functions that take a store run inside the shared scope, in one process; problems go
 * to R with the file they are in.
 */
struct tls_store;
struct stack_st_X509;
struct x509_store_st;

/* A private key. RSA keys are not used themselves: each process signs with a copy of its own. */
struct tls_key;

/* A certificate with the chain that is sent with it. */
struct tls_chain;

/* Trust anchors and revocation lists. */
struct tls_trust;

/*
 * An empty store that takes over what PREVIOUS (NULL: nothing) has from files that are unchanged. PREVIOUS
 * must stay until tls_store_seal().
 */
struct tls_store *tls_store_new(const struct tls_store *previous);

/* When everything is loaded. */
void tls_store_seal(struct tls_store *store);

/*
 * Whether so little shared memory is left that nothing more may be loaded: what is left is for the traffic.
 */
bool tls_store_memory_short(void);

/* Frees STORE; contexts and connections that still use parts of it keep those. Any process, any scope. */
void tls_store_free(struct tls_store *store);

/*
 * Makes PATH, which somebody else has begun to read at READ_AT (nanoseconds since 1970), one of the files
 * that tls_store_look() looks at. Changed since then, it counts as changed. Returns 0 or -1.
 */
int tls_store_watch(struct tls_store *store, const char *path, int64_t read_at, struct tls_report *r);

/* Looks at every file of STORE. Any process. */
void tls_store_look(const struct tls_store *store, struct tls_look *look);

/* Each returns what the store owns, or NULL with the reason in R. PASSWORD may be NULL. */
struct tls_key *tls_store_key(struct tls_store *store, const char *path, const char *password,
                              const struct tls_origin *from, struct tls_report *r);
struct tls_chain *tls_store_chain(struct tls_store *store, const char *path, const struct tls_origin *from,
                                  struct tls_report *r);
/* Each of the three may be NULL; FROM has where each is set, in this order. */
struct tls_trust *tls_store_trust(struct tls_store *store, const char *ca_list, const char *ca_path,
                                  const char *crl, const struct tls_origin from[3], struct tls_report *r);

/*
 * Gives CTX the pair; FROM has where the certificate is set, and the key. Returns 0, or -1 when they do not
 * match, OpenSSL finds them too weak, or memory is short (reported).
 */
int tls_store_use_pair(struct ssl_ctx_st *ctx, struct tls_chain *chain, struct tls_key *key,
                       const struct tls_origin from[2], struct tls_report *r);

/* Makes CTX trust TRUST. */
int tls_store_use_trust(struct ssl_ctx_st *ctx, struct tls_trust *trust);

/*
 * In the shared scope, in the process that is about to sign: gives SSL this process's own copy of KEY when it
 * is of a kind that needs one. Returns 0, -1 when memory is short.
 */
int tls_key_adopt(struct ssl_st *ssl, struct tls_key *key);

/* The certificate itself, still the chain's. */
struct x509_st *tls_chain_certificate(const struct tls_chain *chain);

/* What the file of a chain holds. */
struct tls_chain_file {
	char *path;
	struct x509_st *leaf;
	struct stack_st_X509 *others;
	int *lines;  /* of the leaf's BEGIN, then of those of the others */
	bool unread; /* something in it was passed over, and that is reported */
};

/* Still the chain's. */
const struct tls_chain_file *tls_chain_file(const struct tls_chain *chain);

/* Still the trust's. */
struct x509_store_st *tls_trust_anchors(const struct tls_trust *trust);

/*
 * Says which of TRUST anchor nothing, and which revocation lists of CRL (NULL: none count) keep everybody out, for
 * somebody who verifies peers by it; FROM as for tls_store_trust(). Shared scope.
 */
void tls_trust_say(const struct tls_trust *trust, const char *crl, const struct tls_origin from[3],
                   struct tls_report *r);

#endif
