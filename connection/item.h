/*
 * connection/item.h - the pieces of information that a script may ask for about a connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_ITEM_H
#define TLS_CONNECTION_ITEM_H

#include "tls.h"

struct _str;
struct tls_answer;
struct tls_ssl;

enum tls_item_side { TLS_ITEM_PEER, TLS_ITEM_MINE };

enum {
	TLS_ITEM_SIDED = 1 << 0,   /* about a certificate: asked for by the peer's or our side */
	TLS_ITEM_INDEXED = 1 << 1, /* takes [N] */
	TLS_ITEM_NUMBER = 1 << 2,  /* the variable is a number, too */
	TLS_ITEM_KINDS = 1 << 3,   /* takes [KIND] */
};

/*
 * An item and a side are one number for the host, the CODE below; -1 is none. Words and names are as users write them,
 * in any case.
 */

/* The code of the select with these words behind "@tls". */
int tls_item_find_path(const struct _str *words, int count);

/* The code for $tls(KEY) and KSR.tls.cget(KEY): a variable with or without "tls_", its side also as p_ or m_. */
int tls_item_find_key(const struct _str *key);

/* The flags of the item with this code. */
unsigned tls_item_flags(int code);

/* For an item about alternative names of one kind: the index by which an item with TLS_ITEM_KINDS is asked for it. */
int tls_item_kind(int code);

/*
 * Calls EACH for every variable, called "tls_", then PREFIX, then the SIZE bytes at NAME. Returns 0, or at once what
 * EACH returns when that is not 0.
 */
int tls_item_walk_variables(int (*each)(const char *prefix, const char *name, int size, int code));

/*
 * Adds item CODE of SSL's connection to OUT, which has begun. INDEX is what [N] or [KIND] gave, else 0. Returns false
 * when there is no such information. The connection is held.
 */
bool tls_item_read(struct tls_ssl *ssl, int code, int index, struct tls_answer *out);

#endif
