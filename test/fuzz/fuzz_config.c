/* links: settings/advice.c tls_config.c settings/section.c settings/values.c settings/table.c settings/text.c settings/report.c */
/*
 * fuzz_config.c - any bytes as tls.cfg
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/section.h"
#include "settings/values.h"
#include "tls_config.h"
#include "settings/advice.h"
#include "require.h"

#define TEXT_MAX 70000 /* longer than any value of an input */

/* What is printed parses, and prints as the same again. */
static void check_round_trip(const struct tls_setting *row, const struct tls_settings *s)
{
	static char once[TEXT_MAX], again[TEXT_MAX];
	struct tls_settings other;
	struct tls_report r;

	tls_setting_print(row, s, once, sizeof(once));
	if (once[0] == '\0' || (row->flags & TLS_SECRET) != 0)
		return;
	tls_settings_init(&other);
	tls_report_init(&r);
	REQUIRE(tls_setting_parse(&(struct tls_spot){.r = &r}, row, &other, once) == 0);
	REQUIRE(strcmp(tls_setting_print(row, &other, again, sizeof(again)), once) == 0);
	tls_report_clear(&r);
	tls_settings_free(&other);
}

/* The values of a section, by its role, that sets nothing. */
static struct tls_settings defaults_of[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (int role = TLS_SERVER; role <= TLS_CLIENT; role++) {
		tls_settings_init(&defaults_of[role]);
		REQUIRE(tls_settings_set_defaults(&defaults_of[role]) == 0);
	}
	free(defaults_of[TLS_CLIENT].certificate);
	defaults_of[TLS_CLIENT].certificate = NULL;
	return 0;
}

/* A setting that a section does not set has its default, whatever the other sections are. */
static void check_default(const struct tls_section *section, const struct tls_setting *row)
{
	bool is_switch = strcmp(row->name, "verify_certificate") == 0 ||
	                 strcmp(row->name, "require_certificate") == 0;
	char got[64], wanted[64];

	if (section->set_lines[row - tls_settings_table] != 0 ||
	    (is_switch && section->settings.verify_client != TLS_VERIFY_CLIENT_UNSET))
		return;
	tls_setting_print(row, &defaults_of[section->role], wanted, sizeof(wanted));
	REQUIRE(strcmp(tls_setting_print(row, &section->settings, got, sizeof(got)), wanted) == 0);
}

static void check_section(const struct tls_section *section)
{
	char name[300];

	REQUIRE(section->file != NULL && strcmp(section->file, "f") == 0);
	REQUIRE(section->settings.method >= TLS_METHOD_ANY && section->settings.method < TLS_METHOD_SSL2);
	REQUIRE(section->settings.verify_depth >= 0);
	REQUIRE(section->settings.server_name_mode >= 0 && section->settings.server_name_mode <= 2);
	REQUIRE(tls_section_name(section, name, sizeof(name)) == name && strlen(name) > 0);
	TLS_EACH_DOMAIN_SETTING(row) {
		check_default(section, row);
		check_round_trip(row, &section->settings);
	}
}

/* Every path is absolute after tls_config_resolve(). */
static void check_paths(const struct tls_section *section)
{
	TLS_EACH_DOMAIN_SETTING(row) {
		const char *path;

		if ((row->flags & TLS_IS_PATH) == 0)
			continue;
		path = *tls_setting_string(row, &section->settings);
		REQUIRE(path == NULL || path[0] == '/');
	}
}

static void check_report(struct tls_report *r)
{
	int count = 0;

	for (const struct tls_problem *p = r->first; p != NULL; p = p->next) {
		count++;
		for (const char *c = p->text; *c != '\0'; c++)
			REQUIRE((unsigned char)*c >= ' ' && *c != 0x7f);
	}
	REQUIRE(count <= 202 && count <= r->errors + r->warnings);
	tls_report_clear(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_report r;
	struct tls_config *cfg;
	int defaults = 0;

	tls_report_init(&r);
	cfg = tls_config_parse("f", (const char *)data, size, &r);
	REQUIRE(cfg != NULL);
	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next) {
		check_section(s);
		defaults += s->kind == TLS_SECTION_DEFAULT;
	}
	REQUIRE(defaults == 2 || r.errors > 0);
	tls_advice_add(cfg, false, &r);
	REQUIRE(tls_config_resolve(cfg, "/main", "/work") == 0);
	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		check_paths(s);
	tls_config_free(cfg);
	check_report(&r);
	return 0;
}
