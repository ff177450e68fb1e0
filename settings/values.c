/*
 * settings/values.c - values of settings, by their rows in the table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Neither the TLS library nor the host is known here, so that this file can be tested and fuzzed alone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "settings/values.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/text.h"

/* ---- fields */

int *tls_setting_number(const struct tls_setting *row, const void *base)
{
	return (int *)((uintptr_t)base + row->offset);
}

char **tls_setting_string(const struct tls_setting *row, const void *base)
{
	return (char **)((uintptr_t)base + row->offset);
}

/* The number that stands for "unset"; the enums of the words have their own. */
static int unset_number(const struct tls_setting *row)
{
	return row->type == TLS_CHOICE ? -1 : TLS_UNSET;
}

bool tls_setting_is_set(const struct tls_setting *row, const void *base)
{
	return row->type == TLS_STRING ? *tls_setting_string(row, base) != NULL
	                               : *tls_setting_number(row, base) != unset_number(row);
}

static void unset(const struct tls_setting *row, void *base)
{
	if (row->type == TLS_STRING)
		*tls_setting_string(row, base) = NULL;
	else
		*tls_setting_number(row, base) = unset_number(row);
}

int tls_setting_store(const struct tls_setting *row, void *base, const char *new)
{
	char *old = *tls_setting_string(row, base), *copy = NULL;

	if (new != NULL && (copy = strdup(new)) == NULL)
		return -1;
	if (old != NULL && (row->flags & TLS_SECRET) != 0)
		explicit_bzero(old, strlen(old));
	free(old);
	*tls_setting_string(row, base) = copy;
	return 0;
}

void tls_settings_init(struct tls_settings *s)
{
	TLS_EACH_DOMAIN_SETTING(row)
		unset(row, s);
}

void tls_settings_init_options(struct tls_options *o)
{
	*o = (struct tls_options){0};
	TLS_EACH_SETTING(row)
		if (!tls_setting_is_of_domain(row))
			unset(row, o);
}

static bool number_allowed(const struct tls_setting *row, long value)
{
	return value == row->default_number || (value >= row->min && value <= row->max);
}

int tls_setting_set_default(const struct tls_setting *row, void *base)
{
	bool set = tls_setting_is_set(row, base);

	if (row->type == TLS_STRING)
		return set ? 0 : tls_setting_store(row, base, row->default_text);
	if (!set || ((row->flags & TLS_LENIENT) != 0 && !number_allowed(row, *tls_setting_number(row, base))))
		*tls_setting_number(row, base) = row->default_number;
	return 0;
}

int tls_settings_set_defaults(struct tls_settings *s)
{
	TLS_EACH_DOMAIN_SETTING(row)
		if (tls_setting_set_default(row, s) < 0)
			return -1;
	return 0;
}

void tls_settings_set_option_defaults(struct tls_options *o)
{
	TLS_EACH_SETTING(row) {
		if (tls_setting_is_of_domain(row) || tls_setting_is_set(row, o))
			continue;
		if (row->type == TLS_STRING)
			*tls_setting_string(row, o) = (char *)row->default_text;
		else
			*tls_setting_number(row, o) = row->default_number;
	}
}

void tls_settings_free(struct tls_settings *s)
{
	TLS_EACH_DOMAIN_SETTING(row) {
		if (row->type == TLS_STRING)
			tls_setting_store(row, s, NULL);
		unset(row, s);
	}
}

int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s)
{
	tls_settings_init(to);
	TLS_EACH_DOMAIN_SETTING(row) {
		if (row->type != TLS_STRING)
			*tls_setting_number(row, to) = *tls_setting_number(row, s);
		else if (tls_setting_store(row, to, *tls_setting_string(row, s)) < 0) {
			tls_settings_free(to);
			return -1;
		}
	}
	return 0;
}

/* ---- values */

/* Words that are recognised but refused or warned of. */
static const struct remark {
	const char *word;
	enum tls_severity severity;
	const char *text;
} remarks[] = {
	{"SSLv2", TLS_ERROR, "SSLv2 is broken and prohibited by RFC 6176; use TLSv1.2+"},
	{"SSLv3", TLS_ERROR, "SSLv3 is broken and prohibited by RFC 7568; use TLSv1.2+"},
	{"SSLv23", TLS_WARNING,
     "SSLv23 accepts every version that the library still supports, including retired ones; use TLSv1.2+"},
};

static const struct remark *find_remark(const char *word)
{
	for (size_t i = 0; i < sizeof(remarks) / sizeof(remarks[0]); i++)
		if (strcmp(remarks[i].word, word) == 0)
			return &remarks[i];
	return NULL;
}

/*
 * What ROW allows, for a message. A default outside the range means "chosen by the module or the library" and is allowed
 * as well.
 */
static struct allowed {
	char text[256];
} allowed(const struct tls_setting *row)
{
	struct allowed a = {""};

	if (row->type == TLS_INT) {
		if (row->default_number < row->min)
			tls_text_append(a.text, sizeof(a.text), "%d or ", row->default_number);
		tls_text_append(a.text, sizeof(a.text), row->max == INT32_MAX ? "%d or more" : "%d to %d", row->min,
		                row->max);
		if (row->unit != NULL)
			tls_text_append(a.text, sizeof(a.text), " %s", row->unit);
		return a;
	}
	for (const struct tls_choice *choice = row->choices; choice->word != NULL; choice++)
		if (find_remark(choice->word) == NULL)
			tls_text_append(a.text, sizeof(a.text), "%s%s", a.text[0] != '\0' ? ", " : "", choice->word);
	return a;
}

/* Reports that ROW does not allow WORD. Returns -1. */
static int refuse(const struct tls_spot *at, const struct tls_setting *row, const char *word, const char *why)
{
	tls_report_at(at, TLS_ERROR, "%s is %s; allowed: %s", tls_text_excerpt(word, strlen(word)).text, why,
	              allowed(row).text);
	return -1;
}

static int parse_number(const struct tls_spot *at, const struct tls_setting *row, const char *digits,
                        int *value)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(digits, &end, 10);
	if (end == digits || *end != '\0')
		return refuse(at, row, digits, "not a whole number");
	if (errno != 0 || !number_allowed(row, n)) {
		if ((row->flags & TLS_LENIENT) == 0)
			return refuse(at, row, digits, "out of range");
		tls_report_at(at, TLS_WARNING, "%s counts as %d; allowed: %s",
		              tls_text_excerpt(digits, strlen(digits)).text, row->default_number, allowed(row).text);
		n = row->default_number;
	}
	*value = (int)n;
	return 0;
}

static int parse_word(const struct tls_spot *at, const struct tls_setting *row, const char *word, int *value)
{
	const struct tls_choice *choice = row->choices;
	const struct remark *remark;

	while (choice->word != NULL && strcasecmp(choice->word, word) != 0)
		choice++;
	if (choice->word == NULL)
		return refuse(at, row, word, "not known");
	if ((remark = find_remark(choice->word)) != NULL)
		tls_report_at(at, remark->severity, "%s", remark->text);
	if (remark != NULL && remark->severity == TLS_ERROR)
		return -1;
	*value = choice->value;
	return 0;
}

/* Strings may appear in logs and RPC answers, which must be clean. Secrets never appear, so they may hold anything. */
static int check_text(const struct tls_spot *at, const struct tls_setting *row, const char *words)
{
	if ((row->flags & TLS_SECRET) != 0)
		return 0;
	for (const char *c = words; *c != '\0';) {
		size_t size = tls_text_character(c);

		bool control = (unsigned char)*c < ' ' || *c == 0x7f;

		if (size == 0 && (control || (row->flags & TLS_IS_PATH) == 0)) {
			tls_report_at(at, TLS_ERROR, "%s %s; allowed: any other text",
			              tls_text_excerpt(words, strlen(words)).text,
			              control ? "contains a control character" : "is not valid UTF-8");
			return -1;
		}
		c += size > 0 ? size : 1;
	}
	if ((row->flags & TLS_IS_PATH) != 0 && strlen(words) >= PATH_MAX) {
		tls_report_at(at, TLS_ERROR, "the path is too long; allowed: %d characters", PATH_MAX - 1);
		return -1;
	}
	return 0;
}

int tls_setting_parse(const struct tls_spot *at, const struct tls_setting *row, void *base, const char *words)
{
	if (row->type == TLS_INT)
		return parse_number(at, row, words, tls_setting_number(row, base));
	if (row->type != TLS_STRING)
		return parse_word(at, row, words, tls_setting_number(row, base));
	if (check_text(at, row, words) < 0)
		return -1;
	if (tls_setting_store(row, base, words) == 0)
		return 0;
	tls_report_no_memory(at->r, at->file);
	return -1;
}

const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size)
{
	const struct tls_choice *choice = row->choices;

	if (!tls_setting_is_set(row, base)) {
		snprintf(out, size, "%s", "");
	} else if (row->type == TLS_STRING) {
		snprintf(out, size, "%s", (row->flags & TLS_SECRET) != 0 ? "***" : *tls_setting_string(row, base));
	} else {
		while (choice != NULL && choice->word != NULL && choice->value != *tls_setting_number(row, base))
			choice++;
		snprintf(out, size, "%d", *tls_setting_number(row, base));
		if (choice != NULL && choice->word != NULL)
			snprintf(out, size, "%s", choice->word);
	}
	return out;
}

/* Checks a module parameter that is set: the host stores numbers just as they are written. */
static void check_parameter(const struct tls_spot *at, const struct tls_setting *row, const void *base)
{
	int value = row->type != TLS_STRING ? *tls_setting_number(row, base) : 0;

	if (row->no_effect != NULL && (row->type != TLS_STRING || **tls_setting_string(row, base) != '\0'))
		tls_report_at(at, (row->flags & TLS_REFUSED) != 0 ? TLS_ERROR : TLS_WARNING, "has no effect: %s",
		              row->no_effect);
	if (row->type == TLS_STRING)
		check_text(at, row, *tls_setting_string(row, base));
	else if (row->type == TLS_BOOL && value != 0 && value != 1)
		tls_report_at(at, TLS_WARNING, "%d counts as 1; allowed: 0, 1", value);
	else if (row->type != TLS_INT || number_allowed(row, value))
		return;
	else if ((row->flags & TLS_LENIENT) != 0)
		tls_report_at(at, TLS_WARNING, "%d counts as %d; allowed: %s", value, row->default_number,
		              allowed(row).text);
	else
		tls_report_at(at, TLS_ERROR, "%d is out of range; allowed: %s", value, allowed(row).text);
}

void tls_settings_check_verify_name(const struct tls_spot *at, const struct tls_settings *s)
{
	if (s->verify_name > 0 && s->verify_certificate <= 0)
		tls_report_at(at, TLS_ERROR,
		              "needs verify_certificate = yes: a certificate that is not verified may hold any name");
}

void tls_settings_check_params(const struct tls_settings *s, const struct tls_options *o,
                               struct tls_report *r)
{
	TLS_EACH_SETTING(row) {
		struct tls_spot at = {.r = r, .setting = row->name};
		const void *base = tls_setting_is_of_domain(row) ? (const void *)s : (const void *)o;

		if ((row->flags & TLS_IN_MODPARAM) != 0 && tls_setting_is_set(row, base))
			check_parameter(&at, row, base);
	}
	tls_settings_check_verify_name(&(struct tls_spot){.r = r, .setting = "verify_name"}, s);
}
