/*
 * settings/report.h - problems of a configuration, gathered to be logged or answered
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_REPORT_H
#define TLS_SETTINGS_REPORT_H

#include "tls.h"

/* How bad a problem is: errors stop a start or a reload, warnings are logged and passed over. */
enum tls_severity { TLS_WARNING, TLS_ERROR };

struct tls_problem {
	struct tls_problem *next;
	enum tls_severity severity;
	int line;   /* 0: not in a file */
	char *text; /* complete and clean: "FILE:LINE: SETTING: what is wrong; what is allowed or what to do" */
};

/*
 * The size in bytes of the character at S, which must not be at its end: 1 to 4; 0 when it is a control
 * character or no UTF-8. What is neither may stand in logs and in RPC answers.
 */
size_t tls_text_character(const char *s);

/* Puts a '?' in the place of each byte of TEXT that tls_text_character() takes for nothing; returns TEXT. */
char *tls_text_clean(char *text);

/* Problems in the order in which they were found. All memory is libc's. */
struct tls_report {
	struct tls_problem *first, **last;
	int errors, warnings;
};

/* Makes an empty report of R. */
void tls_report_init(struct tls_report *r);

/* Frees what R holds and empties it. */
void tls_report_clear(struct tls_report *r);

/*
 * Adds a problem. FILE may be NULL (module parameter), LINE 0, SETTING NULL. Never fails: when memory is
 * short the count still rises and a fixed text stands in.
 */
void tls_report_add(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                    const char *setting, const char *format, ...) TLS_FORMAT(6, 7);

#endif
