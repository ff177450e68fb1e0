/*
 * tls_domain_types.h - a domain and what a connection keeps of it: the types, apart from the functions
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_DOMAIN_TYPES_H
#define TLS_DOMAIN_TYPES_H

#include <stdatomic.h>

#include "tls.h"
#include "settings/table.h"
#include "tls_config.h"

struct tls_chain;
struct tls_ctx;
struct tls_key;
struct tls_cache;
struct tls_trust;

#define TLS_SESSION_CONTEXT_SIZE 32

/* Server: what a session that is being made depends on, as far as it is known. */
struct tls_session_terms {
	int64_t end; /* of the client's verification, in seconds since 1970; 0: not known */
};

/* Protocol versions, by their numbers on the wire. */
enum {
	TLS_VERSION_1_0 = 0x0301,
	TLS_VERSION_1_1 = 0x0302,
	TLS_VERSION_1_2 = 0x0303,
	TLS_VERSION_1_3 = 0x0304,
};

struct tls_generation;

/*
 * One domain of a configuration generation. Read-only once the generation is installed, but for
 * `connections`.
 */
struct tls_domain {
	struct tls_domain *next_in_bucket, *next_by_id, *next_at_place;
	struct tls_generation *generation;
	enum tls_role role;
	enum tls_section_kind kind;
	struct tls_address address;
	struct tls_ctx *ctx;
	char *name;        /* for people: "server:127.0.0.1:5061 (example.org)" */
	char *server_name; /* lower case, NULL: none */
	char *server_id;   /* NULL: none */
	enum tls_name_mode server_name_mode;
	int oldest, newest; /* protocol versions as on the wire (TLS_VERSION_...), 0: as the library likes */
	char *groups;       /* NULL: the module's choice */
	int verify_depth;
	bool verify;      /* a server asks its clients for a certificate; what a peer shows is verified */
	bool require;     /* with verify: a client must show one */
	bool accept_any;  /* a certificate that does not verify does not end the handshake */
	bool verify_name; /* a server must be who its certificate names */
	bool wildcards;   /* in those names, and where a script asks for them */
	enum tls_verify_purpose verify_purpose;
	bool reuse_verified_only;
	struct tls_key *keys[2];
	struct tls_chain *chains[2];
	struct tls_trust *trust;       /* NULL: none */
	unsigned char fingerprint[32]; /* of the settings it was made from */
	unsigned char session_context[TLS_SESSION_CONTEXT_SIZE];
	atomic_int connections;
};

/*
 * A configuration generation. Read-only once it is installed, but for `pins`. The tables are by hash; each has as many
 * buckets as the mask says.
 */
struct tls_generation {
	atomic_int pins; /* connections, and one while it is the current one */
	int number;
	unsigned group; /* of the heap, in which its memory is: not that of its predecessor */
	struct tls_cache *cache;
	int count;
	struct tls_domain *domains;     /* COUNT of them */
	struct tls_domain *defaults[2]; /* by role */
	struct tls_domain **ids;        /* by profile */
	struct tls_domain **places;     /* by role and address: those with a name */
	struct tls_domain **buckets;    /* by role, address and name, or by profile */
	unsigned bucket_mask;
};

/* What a connection keeps of its domain; the library's state of the connection points to it. */
struct tls_domain_use {
	struct tls_domain *domain;
	struct tls_address address; /* it was chosen by this: ours when accepting, the peer's when connecting */
	const char *name; /* connecting: who the peer should be, as written; NULL: only its address is known */
	struct tls_session_terms session;
};

/* What the hooks need to choose a domain. */
struct tls_domain_query {
	enum tls_role role;
	struct tls_address address; /* ours when accepting, the peer's when connecting */
	struct tls_address own;     /* ours when connecting, family 0: not known */
	const char *server_name;    /* not NUL-terminated, NULL: none */
	size_t server_name_length;
	const char *server_id; /* NULL: none */
};

#endif
