/*
 * connection/verdict.h - whether a connection that its peer has opened may carry a message for a client section
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_VERDICT_H
#define TLS_CONNECTION_VERDICT_H

#include "tls.h"
#include "host/compat.h"
#include "settings/hostname.h"

struct tls_connection;
struct tls_domain;
struct tls_domain_query;
struct tls_generation;

#define TLS_DEMAND_KEY_SIZE 32

enum tls_demand_kind {
	TLS_DEMAND_NOTHING,    /* every connection that its peer has opened is suitable */
	TLS_DEMAND_PEER,       /* one whose peer the client section would accept as the server */
	TLS_DEMAND_IMPOSSIBLE, /* none */
};

/* What a message demands of a connection that its peer has opened. */
struct tls_demand {
	enum tls_demand_kind kind;
	unsigned char key[TLS_DEMAND_KEY_SIZE];
	/* until tls_verdict_end_demand(): */
	struct tls_generation *generation; /* pinned */
	const struct tls_domain *domain;
	struct tls_hostname name; /* whom the certificate must name, where the section asks for that */
};

/* Any process; takes the lock of the generation. What Q points to must stay until tls_verdict_end_demand(). */
void tls_verdict_begin_demand(struct tls_demand *out, const struct tls_domain_query *q);

/* Unpins the generation. Kind and key stay valid for tls_verdict_look() and tls_verdict_holds(). */
void tls_verdict_end_demand(struct tls_demand *demand);

enum tls_verdict { TLS_VERDICT_OPEN, TLS_VERDICT_GOOD, TLS_VERDICT_BAD };

/* What a connection keeps of a verdict. */
struct tls_verdict_note;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_verdict_start(void);

/*
 * What is known of T, which its peer has opened and which cannot go away meanwhile; OPEN: nothing yet. Any
 * process, with any of the host's locks; compares some bytes.
 */
enum tls_verdict tls_verdict_look(const struct tls_connection *t, const struct tls_demand *d);

/*
 * Whether D, which has not ended, lets T carry its message. Finds it out when it is not known, which takes as
 * long as to verify a chain. Any process, with a reference to T's connection, and no lock. Without memory the
 * answer is no.
 */
bool tls_verdict_reach(struct tls_connection *t, const struct tls_demand *d);

/* Whether that is known, and the peer's certificate is still the same. T's write_lock held. */
bool tls_verdict_holds(const struct tls_connection *t, const struct tls_demand *d);

/* NOTE may be NULL. Any process. */
void tls_verdict_free(struct tls_verdict_note *note);

#endif
