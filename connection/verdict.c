/*
 * connection/verdict.c - whether a connection that its peer has opened may carry what is meant for a client section
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Whoever connects from the right address and port, or claims them by an alias, is found by the host when it
 * looks for a connection to them. A server section has let the peer in, by its own rules or without any. So
 * where the client section that a message is for verifies its servers, the peer's certificate is verified
 * once more, as that section would when connecting (RFC 5923 section 8, RFC 5922 section 7).
 *
 * That takes as long as a part of a handshake, so what came of it is kept with the connection. It is looked
 * at while the host has its table of connections locked, so nothing is done then but to compare a digest.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "connection/verdict.h"
#include "tls.h"
#include "host/compat.h"
#include "host/clock.h"
#include "tls_mem.h"
#include "tls_shared.h"
#include "settings/hostname.h"
#include "tls_config.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "connection/connection.h"

#define BAD_SECONDS 30 /* how long a refusal counts: the certificate may become valid meanwhile */

/*
 * The last verdict on a connection. In shared memory, under the lock below, which is held for some
 * instructions, after the host's locks or none; no other lock is taken after it.
 */
struct tls_verdict_note {
	unsigned char key[TLS_DEMAND_KEY_SIZE];
	bool good;
	int64_t until;         /* seconds since 1970 */
	struct tls_cert *leaf; /* it is about this certificate, a reference; NULL: the peer showed none */
};

static gen_lock_t *lock;

int tls_verdict_start(void)
{
	lock = tls_shared_new_locked(sizeof(*lock));
	return lock != NULL ? 0 : -1;
}

void tls_verdict_free(struct tls_verdict_note *note)
{
	if (note == NULL)
		return;
	tls_cert_free(note->leaf);
	tls_mem_shared_free(note);
}

/* ---- what a message demands */

/*
 * Whether Q leads to D on purpose: the script named its peer, or there is a section for that address. Other
 * sections are for all peers, among them phones, which have no certificates.
 */
static bool is_chosen(const struct tls_domain *d, const struct tls_domain_query *q)
{
	if (q->server_id != NULL || q->server_name_length > 0)
		return true;
	return d->kind == TLS_SECTION_ADDRESS && tls_domain_is_at(d, &q->address);
}

/* The name that the peer must have: what D would ask for when connecting, else the peer's address. */
static void set_name(struct tls_demand *out, const struct tls_domain *d, const struct tls_domain_query *q)
{
	const char *name = q->server_name_length > 0 ? q->server_name : d->server_name;
	size_t length = q->server_name_length > 0 || name == NULL ? q->server_name_length : strlen(name);
	int family = q->address.family == 6 ? AF_INET6 : AF_INET;

	if (name != NULL && !tls_hostname_read(name, length, &out->name))
		out->kind = TLS_DEMAND_IMPOSSIBLE;
	if (name == NULL && inet_ntop(family, q->address.ip, out->name.text, sizeof(out->name.text)) == NULL)
		out->kind = TLS_DEMAND_IMPOSSIBLE;
}

/* Sets what distinguishes OUT from other demands, in all processes. Returns 0 or -1. */
static int set_key(struct tls_demand *out)
{
	int number = tls_generation_number(out->generation);
	const struct tls_piece pieces[] = {{&number, sizeof(number)},
	                                   {&out->domain, sizeof(out->domain)},
	                                   {out->name.text, strlen(out->name.text)}};

	return tls_crypto_digest(pieces, 3, out->key);
}

/* Whether no connection at all may be opened for Q. */
static bool is_refused(struct tls_generation *g, const struct tls_domain_query *q)
{
	return q->server_id != NULL && tls_runtime_options()->unknown_server_id != 0 &&
	       !tls_domain_has_id(g, q->role, q->server_id);
}

void tls_verdict_begin_demand(struct tls_demand *out, const struct tls_domain_query *q)
{
	const struct tls_domain *d;
	bool named;

	*out = (struct tls_demand){.kind = TLS_DEMAND_IMPOSSIBLE, .generation = tls_generation_pin()};
	if (out->generation == NULL || is_refused(out->generation, q))
		return;
	d = tls_domain_find(out->generation, q, &named);
	if (!d->verify || d->accept_any || (!d->reuse_verified_only && !is_chosen(d, q))) {
		out->kind = TLS_DEMAND_NOTHING;
		return;
	}
	out->kind = TLS_DEMAND_PEER;
	out->domain = d;
	set_name(out, d, q);
	if (set_key(out) != 0)
		out->kind = TLS_DEMAND_IMPOSSIBLE;
}

void tls_verdict_end_demand(struct tls_demand *demand)
{
	tls_generation_unpin(demand->generation);
	demand->generation = NULL;
	demand->domain = NULL;
}

/* ---- what is known */

/* Whether NOTE answers D. The lock is held. */
static bool answers(const struct tls_verdict_note *note, const struct tls_demand *d)
{
	return note != NULL && note->until > tls_clock_wall() && memcmp(note->key, d->key, sizeof(d->key)) == 0;
}

enum tls_verdict tls_verdict_look(const struct tls_connection *t, const struct tls_demand *d)
{
	enum tls_verdict result = TLS_VERDICT_OPEN;

	if (d->kind != TLS_DEMAND_PEER)
		return d->kind == TLS_DEMAND_NOTHING ? TLS_VERDICT_GOOD : TLS_VERDICT_BAD;
	if (t->phase != TLS_PHASE_ESTABLISHED)
		return TLS_VERDICT_BAD;
	lock_get(lock);
	if (answers(t->verdict, d))
		result = t->verdict->good ? TLS_VERDICT_GOOD : TLS_VERDICT_BAD;
	lock_release(lock);
	return result;
}

bool tls_verdict_holds(const struct tls_connection *t, const struct tls_demand *d)
{
	const struct tls_cert *leaf = t->ssl != NULL ? tls_ssl_peer_cert(t->ssl) : NULL;
	bool result;

	if (d->kind != TLS_DEMAND_PEER)
		return d->kind == TLS_DEMAND_NOTHING;
	if (leaf == NULL || t->phase != TLS_PHASE_ESTABLISHED)
		return false;
	lock_get(lock);
	result = answers(t->verdict, d) && t->verdict->good && t->verdict->leaf == leaf;
	lock_release(lock);
	return result;
}

/* ---- finding out */

static struct tls_peer peer_of(struct tls_connection *t)
{
	struct tls_peer p = {NULL, NULL};

	lock_get(&t->tcp->write_lock);
	if (t->phase == TLS_PHASE_ESTABLISHED && t->ssl != NULL)
		tls_peer_take(t->ssl, &p);
	lock_release(&t->tcp->write_lock);
	return p;
}

/* Gives NOTE to T, in the place of what was there before. */
static void keep(struct tls_connection *t, struct tls_verdict_note *note)
{
	struct tls_verdict_note *before;

	lock_get(lock);
	before = t->verdict;
	t->verdict = note;
	lock_release(lock);
	tls_verdict_free(before);
}

/* Verifies and keeps the verdict. Shared scope. */
static bool judge(struct tls_connection *t, const struct tls_demand *d)
{
	struct tls_verdict_note *note = tls_mem_shared_alloc(sizeof(*note));
	struct tls_peer p;
	bool good;

	if (note == NULL)
		return false;
	p = peer_of(t);
	memcpy(note->key, d->key, sizeof(note->key));
	note->until = tls_clock_wall() + BAD_SECONDS;
	good = note->good = tls_peer_is_good(&p, d->domain, d->name.text, &note->until);
	note->leaf = p.leaf;
	keep(t, note);
	tls_peer_drop_chain(&p);
	return good;
}

bool tls_verdict_reach(struct tls_connection *t, const struct tls_demand *d)
{
	enum tls_verdict known = tls_verdict_look(t, d);
	bool good;

	if (known != TLS_VERDICT_OPEN || d->domain == NULL)
		return known == TLS_VERDICT_GOOD;
	tls_crypto_enter();
	good = judge(t, d);
	tls_crypto_leave();
	return good;
}
