/*
 * dump_settings.c - the table of settings as JSON, for test_reference.py
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>
#include <string.h>

#include "settings/report.h"
#include "settings/table.h"
#include "settings/values.h"

/* "KEY": "TEXT", or null. */
static void print_text(const char *key, const char *text)
{
	printf("\"%s\": %s", key, text != NULL ? "\"" : "null, ");
	for (const char *c = text; c != NULL && *c != '\0'; c++)
		printf("%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
	printf("%s", text != NULL ? "\", " : "");
}

/* What the module says when ROW is given TEXT; empty when it takes that. */
static const char *answer(const struct tls_setting *row, const char *text, char *out, size_t size)
{
	struct tls_settings s;
	struct tls_options o;
	struct tls_report r;

	tls_report_init(&r);
	tls_settings_init(&s);
	tls_settings_init_options(&o);
	out[0] = '\0';
	if (tls_setting_parse(&(struct tls_spot){.r = &r, .setting = row->name}, row,
	                      tls_setting_is_of_domain(row) ? (void *)&s : (void *)&o, text) < 0)
		snprintf(out, size, "%s", r.first->text);
	tls_report_clear(&r);
	return out;
}

/* The words that ROW takes: those of its message about a wrong one, and those of its list that it takes all the same. */
static void print_words(const struct tls_setting *row)
{
	char said[512], *words = strstr(answer(row, "?", said, sizeof(said)), "allowed: ");

	print_text("said", words != NULL ? words + strlen("allowed: ") : "");
	printf("\"listed\": [");
	for (const struct tls_choice *c = row->choices; c != NULL && c->word != NULL; c++)
		printf("%s[\"%s\", %s]", c != row->choices ? ", " : "", c->word,
		       answer(row, c->word, said, sizeof(said))[0] == '\0' ? "true" : "false");
	printf("], ");
}

static const char *const types[] = {
	[TLS_INT] = "int", [TLS_BOOL] = "bool", [TLS_STRING] = "string", [TLS_CHOICE] = "choice"};

static void print_row(const struct tls_setting *row)
{
	printf("{");
	print_text("name", row->name);
	print_text("alias", row->alias);
	print_text("run_name", row->run_name);
	print_text("rpc_name", row->rpc_name);
	print_text("type", types[row->type]);
	print_text("default_text", row->default_text);
	print_text("unit", row->unit);
	if (row->type == TLS_BOOL || row->type == TLS_CHOICE)
		print_words(row);
	for (const struct tls_choice *c = row->choices; c != NULL && c->word != NULL; c++)
		if (c->value == row->default_number) {
			print_text("default_word", c->word);
			break;
		}
	printf(
		"\"of_domain\": %d, \"modparam\": %d, \"file\": %d, \"runtime\": %d, \"no_effect\": %d, \"secret\": %d, ",
		(row->flags & TLS_OF_DOMAIN) != 0, (row->flags & TLS_IN_MODPARAM) != 0,
		(row->flags & TLS_IN_FILE) != 0, (row->flags & TLS_AT_RUNTIME) != 0,
		row->no_effect != NULL && (row->flags & TLS_REFUSED) == 0, (row->flags & TLS_SECRET) != 0);
	printf("\"path\": %d, \"default\": %d, \"min\": %d, \"max\": %d}", (row->flags & TLS_IS_PATH) != 0,
	       row->default_number, row->min, row->max);
}

int main(void)
{
	printf("[");
	TLS_EACH_SETTING(row) {
		printf("%s", row != tls_settings_table ? ",\n" : "");
		print_row(row);
	}
	printf("]\n");
	return 0;
}
