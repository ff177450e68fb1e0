/*
 * material/pem.h - the entries of a PEM file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_PEM_H
#define TLS_MATERIAL_PEM_H

#include "tls.h"

enum tls_pem_state {
	TLS_PEM_GOOD,
	TLS_PEM_NO_BEGIN,     /* a line that was meant as a BEGIN and is none: no entry, no label */
	TLS_PEM_NO_END,       /* the next one begins before this one has ended; what it holds is there */
	TLS_PEM_END_INDENTED, /* likewise */
	TLS_PEM_ENDS_BADLY,   /* the END line has another label, or is not exactly one */
	TLS_PEM_GLUED,        /* the next BEGIN is on the line of the END: that entry is lost */
	TLS_PEM_CUT,          /* the file ends first */
};

struct tls_pem_entry {
	enum tls_pem_state state;
	int number;         /* from 1 */
	int line, end_line; /* of its BEGIN; of its END, or of the line in its place */
	const char *label;  /* "CERTIFICATE"; not terminated */
	size_t label_size;
	const char *text; /* with BEGIN and END; without the END when that is not good */
	size_t size;
};

/* The fields are tls_pem_next()'s. */
struct tls_pem {
	const char *at, *end;
	int line, entries;
};

/* P reads the SIZE bytes at DATA, which must stay. */
void tls_pem_open(struct tls_pem *p, const char *data, size_t size);

/*
 * The next entry, or a line that was meant as the beginning of one. It points into the data. Returns false at the
 * end.
 */
bool tls_pem_next(struct tls_pem *p, struct tls_pem_entry *out);

bool tls_pem_is(const struct tls_pem_entry *e, const char *label);

/* What a file without entries is instead, and what to do, as a static text; NULL: unknown. */
const char *tls_pem_other_form(const char *data, size_t size);

#endif
