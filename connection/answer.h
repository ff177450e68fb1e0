/*
 * connection/answer.h - a text that grows, as an answer to a script or an operator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_ANSWER_H
#define TLS_CONNECTION_ANSWER_H

#include "tls.h"

/* All zero is empty. In private memory; the buffer is kept for the next answer. */
struct tls_answer {
	char *s; /* with a zero byte behind the end */
	size_t used, room;
	bool broken; /* too long or no memory: logged, and nothing is added */
};

/* Empties A. A buffer that has become large goes. */
void tls_answer_begin(struct tls_answer *a);

void tls_answer_add(struct tls_answer *a, const char *bytes, size_t size);

/* Each returns whether there was anything to add. S may be NULL. */
bool tls_answer_add_string(struct tls_answer *a, const char *s);
bool tls_answer_add_number(struct tls_answer *a, long n);

/* Sinks (crypto/crypto.h) into a struct tls_answer: as it is, and encoded as for a URL. */
void tls_answer_sink(void *answer, const char *bytes, size_t size);
void tls_answer_sink_url(void *answer, const char *bytes, size_t size);

#endif
