/*
 * settings/report.c - what is wrong with a configuration, collected, so that an operator sees all of it at once
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

#define PROBLEMS_MAX 100 /* of each severity in one report */

/* Stands at the end of a report for what could not be stored. Shared by all reports, never changed. */
static char no_memory_text[] = "memory is short, problems were lost; free some memory and try again";
static struct tls_problem no_memory = {.severity = TLS_ERROR, .text = no_memory_text};

/*
 * How many bytes a character has that begins with FIRST, and what its second byte may be; 0: nothing begins
 * so.
 */
static size_t character_size(unsigned char first, unsigned char *from, unsigned char *to)
{
	*from = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80; /* nothing in more bytes than it needs */
	*to = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;   /* no surrogates, nothing above U+10FFFF */
	if (first < 0x80)
		return first >= ' ' && first != 0x7f ? 1 : 0;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t tls_text_character(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;
	unsigned char from, to;
	size_t size = character_size(c[0], &from, &to);

	for (size_t i = 1; i < size; i++) {
		if (c[i] < from || c[i] > to)
			return 0;
		from = 0x80;
		to = 0xbf;
	}
	return size;
}

char *tls_text_clean(char *text)
{
	for (char *p = text; *p != '\0';) {
		size_t size = tls_text_character(p);

		if (size == 0)
			*p = '?';
		p += size > 0 ? size : 1;
	}
	return text;
}

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

/* "FILE:LINE: SETTING: WORDS", as much of it as there is, malloc'ed; NULL when memory is short. */
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

/* Appends TEXT, NULL when it was lost, which it takes over. What stands for lost problems stays the last. */
static void append(struct tls_report *r, enum tls_severity severity, int line, char *text)
{
	struct tls_problem *problem = text != NULL ? malloc(sizeof(*problem)) : NULL;

	if (problem == NULL) {
		free(text);
		*r->last = &no_memory;
		if (r->errors == 0)
			r->errors++; /* what was lost might have been one */
		return;
	}
	*problem = (struct tls_problem){.next = *r->last, .severity = severity, .line = line, .text = text};
	*r->last = problem;
	r->last = &problem->next;
}

/*
 * Whether R says TEXT already: module parameters make two sections, and what is wrong with one is wrong with
 * both.
 */
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
	static const char more[] = "there is more of this; repair what is listed and try again";
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
