/*
 * settings/report.c - the problems of a configuration, collected so that an operator sees all of them at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings/report.h"
#include "settings/text.h"

#define PROBLEMS_MAX 100 /* of each severity in one report */

/* The last problem of a report that has lost some. Shared by all reports, never changed. */
static char no_memory_text[] =
	"out of memory, so some problems are not listed; free some memory and try again";
static struct tls_problem no_memory = {.severity = TLS_ERROR, .text = no_memory_text};

void tls_report_init(struct tls_report *r)
{
	*r = (struct tls_report){.last = &r->first};
}

void tls_report_clear(struct tls_report *r)
{
	struct tls_problem *problem = r->first;

	while (problem != NULL && problem != &no_memory) {
		struct tls_problem *next = problem->next;

		free(problem->text);
		free(problem);
		problem = next;
	}
	tls_report_init(r);
}

/* "FILE:LINE: SETTING: WORDS" without the parts that are not given, malloc'ed; NULL when memory is short. */
static char *place(const char *file, int line, const char *setting, const char *words)
{
	char number[16] = "", *text;

	if (file != NULL && line > 0)
		snprintf(number, sizeof(number), ":%d", line);
	if (asprintf(&text, "%s%s%s%s%s%s%s", file != NULL ? file : "", number, file != NULL ? ": " : "",
	             file == NULL && setting != NULL ? "parameter " : "", setting != NULL ? setting : "",
	             setting != NULL ? ": " : "", words) < 0)
		return NULL;
	return tls_text_clean(text);
}

/* Appends TEXT (NULL: it was lost) and takes it over. no_memory, once appended, remains the last. */
static void append(struct tls_report *r, enum tls_severity severity, int line, char *text)
{
	struct tls_problem *problem = text != NULL ? malloc(sizeof(*problem)) : NULL;

	if (problem == NULL) {
		free(text);
		*r->last = &no_memory;
		if (r->errors == 0)
			r->errors++; /* the lost problem may have been one */
		return;
	}
	*problem = (struct tls_problem){.next = *r->last, .severity = severity, .line = line, .text = text};
	*r->last = problem;
	r->last = &problem->next;
}

/* Whether R already has TEXT: module parameters make two sections, and their problems would be listed twice. */
static bool is_known(const struct tls_report *r, enum tls_severity severity, const char *text)
{
	for (const struct tls_problem *p = r->first; p != NULL; p = p->next)
		if (p->severity == severity && strcmp(p->text, text) == 0)
			return true;
	return false;
}

void tls_report_add(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                    const char *setting, const char *format, ...)
{
	static const char more[] = "too many problems to list; fix these first and try again";
	int *count = severity == TLS_ERROR ? &r->errors : &r->warnings;
	char *words = NULL, *words_place;
	va_list args;

	if (++*count > PROBLEMS_MAX + 1)
		return;
	if (*count > PROBLEMS_MAX) {
		append(r, severity, 0, place(NULL, 0, NULL, more));
		return;
	}
	va_start(args, format);
	if (vasprintf(&words, format, args) < 0)
		words = NULL;
	va_end(args);
	words_place = words != NULL ? place(file, line, setting, words) : NULL;
	free(words);
	if (words_place != NULL && is_known(r, severity, words_place)) {
		--*count;
		free(words_place);
	} else {
		append(r, severity, line, words_place);
	}
}

void tls_report_no_memory(struct tls_report *r, const char *file)
{
	tls_report_add(r, TLS_ERROR, file, 0, NULL, "out of memory; free some and try again");
}
