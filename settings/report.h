/*
 * settings/report.h - the problems of a configuration, collected for the log or for the answer to a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_REPORT_H
#define TLS_SETTINGS_REPORT_H

#include "tls.h"

/* How bad a problem is: an error stops a start or a reload, a warning is only logged. */
enum tls_severity { TLS_WARNING, TLS_ERROR };

struct tls_problem {
	struct tls_problem *next;
	enum tls_severity severity;
	int line;   /* 0: not in a file */
	char *text; /* complete and clean: "FILE:LINE: SETTING: what is wrong; what is allowed or what to do" */
};

/* Problems in the order in which they were found. All memory is libc's. */
struct tls_report {
	struct tls_problem *first, **last;
	int errors, warnings;
};

/* Makes R an empty report. */
void tls_report_init(struct tls_report *r);

/* Frees what R holds and empties it. */
void tls_report_clear(struct tls_report *r);

/*
 * Adds a problem, unless R already has it in the same words. FILE may be NULL (module parameter), LINE 0, SETTING NULL.
 * Never fails: when memory is short the count still rises, and a fixed text takes the place of what was lost.
 */
void tls_report_add(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                    const char *setting, const char *format, ...) TLS_FORMAT(6, 7);

/* Adds to R that memory was short while FILE (NULL: the module parameters) was read. */
void tls_report_no_memory(struct tls_report *r, const char *file);

/* Where a problem is, and the report that it goes to. */
struct tls_spot {
	struct tls_report *r;
	const char *file; /* NULL: a module parameter */
	int line;
	const char *setting;
};

/* tls_report_add() with the place in a struct tls_spot. */
#define tls_report_at(at, severity, ...) \
	tls_report_add((at)->r, severity, (at)->file, (at)->line, (at)->setting, __VA_ARGS__)

#endif
