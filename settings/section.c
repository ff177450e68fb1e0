/*
 * settings/section.c - a section of tls.cfg
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Neither the TLS library nor the host is known here, so that this file can be tested and fuzzed alone.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "settings/section.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/text.h"
#include "settings/values.h"

const char *tls_section_role(enum tls_role role)
{
	return role == TLS_SERVER ? "server" : "client";
}

void tls_sections_free(struct tls_section *section)
{
	while (section != NULL) {
		struct tls_section *next = section->next;

		tls_settings_free(&section->settings);
		free(section);
		section = next;
	}
}

struct tls_section *tls_section_new(enum tls_role role, const char *file, int line)
{
	size_t rows = 0, size = sizeof(struct tls_section);
	struct tls_section *section;

	while (tls_setting_is_of_domain(&tls_settings_table[rows]))
		rows++;
	if ((section = malloc(size + rows * sizeof(int))) == NULL)
		return NULL;
	*section = (struct tls_section){.role = role, .kind = TLS_SECTION_DEFAULT, .file = file, .line = line};
	section->set_lines = memset(section + 1, 0, rows * sizeof(int));
	tls_settings_init(&section->settings);
	return section;
}

static void print_address(const struct tls_address *address, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->ip, ip, sizeof(ip));
	tls_text_append(out, size, address->family == 6 ? "[%s]" : "%s", ip);
	if (address->port != 0)
		tls_text_append(out, size, ":%d", address->port);
}

const char *tls_section_name(const struct tls_section *section, char *out, size_t size)
{
	const char *name = section->settings.server_name, *id = section->settings.server_id;

	if (size == 0)
		return out;
	snprintf(out, size, "%s:", tls_section_role(section->role));
	if (section->kind == TLS_SECTION_ADDRESS)
		print_address(&section->address, out, size);
	else
		tls_text_append(out, size, "%s", section->kind == TLS_SECTION_ANY ? "any" : "default");
	if (name != NULL || id != NULL)
		tls_text_append(out, size, " (%s%s%s)", name != NULL ? name : "",
		                name != NULL && id != NULL ? ", " : "", id != NULL ? id : "");
	return out;
}

int *tls_section_line(const struct tls_section *section, const struct tls_setting *row)
{
	return &section->set_lines[row - tls_settings_table];
}

struct tls_origin tls_section_origin(const struct tls_section *section, const char *setting)
{
	const struct tls_setting *row = tls_setting_find(setting, TLS_OF_DOMAIN);
	int line = row != NULL ? *tls_section_line(section, row) : 0;

	return (struct tls_origin){section->file, line > 0 ? line : section->line, setting};
}

bool tls_section_unsure(const struct tls_section *section, const char *setting)
{
	const struct tls_setting *row = tls_setting_find(setting, TLS_OF_DOMAIN);
	int line = row != NULL ? *tls_section_line(section, row) : 0;

	return line < 0 || (line == 0 && section->unsure);
}

/* What verify_client does to a switch. */
enum effect { SWITCHED_OFF, SWITCHED_ON, AS_SET };

/* Sets the switch NAME as EFFECT says. Warns when the section sets it as well: which of the two counts is easily misread. */
static void settle_switch(struct tls_section *section, const char *name, enum effect effect,
                          struct tls_report *r)
{
	const struct tls_setting *row = tls_setting_find(name, TLS_OF_DOMAIN);
	const struct tls_setting *word = tls_setting_find("verify_client", TLS_OF_DOMAIN);
	int *value = tls_setting_number(row, &section->settings), line = *tls_section_line(section, word);
	struct tls_spot at = {r, section->file, *tls_section_line(section, row), name};

	if (at.line > 0 && effect == AS_SET && *value > 0)
		tls_report_at(&at, TLS_WARNING,
		              "takes precedence over verify_client in line %d; remove one of the two", line);
	else if (at.line > 0 && effect != AS_SET && *value != (int)effect)
		tls_report_at(&at, TLS_WARNING, "verify_client in line %d overrides this; remove one of the two",
		              line);
	if (effect != AS_SET)
		*value = (int)effect;
}

/*
 * Turns verify_client into the two switches that it stands for. As in older configurations it cannot turn off a switch
 * that is on, with one exception: optional_no_ca means that a client's certificate need not verify.
 */
static void settle_verify_client(struct tls_section *section, struct tls_report *r)
{
	static const struct {
		enum effect verify, require;
	} effects[] = {
		[TLS_VERIFY_CLIENT_OFF] = {AS_SET, AS_SET},
		[TLS_VERIFY_CLIENT_ON] = {SWITCHED_ON, SWITCHED_ON},
		[TLS_VERIFY_CLIENT_OPTIONAL] = {SWITCHED_ON, AS_SET},
		[TLS_VERIFY_CLIENT_OPTIONAL_NO_CA] = {SWITCHED_OFF, AS_SET},
	};
	int word = section->settings.verify_client;
	enum effect verify;

	if (word == TLS_VERIFY_CLIENT_UNSET)
		return;
	verify = effects[word].verify;
	if (section->role == TLS_CLIENT && verify == SWITCHED_OFF)
		verify = AS_SET;
	settle_switch(section, "verify_certificate", verify, r);
	settle_switch(section, "require_certificate", effects[word].require, r);
}

static void settle_verify_name(const struct tls_section *section, struct tls_report *r)
{
	struct tls_spot at = {r, section->file,
	                      *tls_section_line(section, tls_setting_find("verify_name", TLS_OF_DOMAIN)),
	                      "verify_name"};

	if (section->role == TLS_CLIENT && !tls_section_unsure(section, "verify_certificate") &&
	    !tls_section_unsure(section, "verify_client"))
		tls_settings_check_verify_name(&at, &section->settings);
	else if (section->role == TLS_CLIENT)
		return;
	else if (section->settings.verify_name > 0)
		tls_report_at(
			&at, TLS_WARNING,
			"has no effect in a server section, as it is about servers' certificates; use is_peer_named() in the script");
}

/* Clients have no default certificate: they present one only when told to. An empty string means none. */
static int set_defaults(struct tls_section *section)
{
	struct tls_settings *s = &section->settings;

	TLS_EACH_DOMAIN_SETTING(row) {
		if (row->type == TLS_STRING && tls_setting_is_set(row, s) && **tls_setting_string(row, s) == '\0')
			tls_setting_store(row, s, NULL);
		else if (section->role == TLS_CLIENT && row->offset == offsetof(struct tls_settings, certificate))
			continue;
		else if (tls_setting_set_default(row, s) < 0)
			return -1;
	}
	return 0;
}

int tls_section_complete(struct tls_section *section, struct tls_report *r)
{
	settle_verify_client(section, r);
	if (section->file != NULL)
		settle_verify_name(section, r);
	return set_defaults(section);
}

/* ---- sections that could never be chosen */

static int compare_texts(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return compare(a, b);
}

/* Orders sections by the connections that they are for: 0 when no connection could tell A from B. */
static int compare_places(const struct tls_section *a, const struct tls_section *b)
{
	int d;

	if ((d = (int)a->role - (int)b->role) != 0 || (d = (int)a->kind - (int)b->kind) != 0)
		return d;
	if (a->kind == TLS_SECTION_DEFAULT)
		return 0;
	if ((d = a->address.family - b->address.family) != 0 || (d = a->address.port - b->address.port) != 0 ||
	    (d = memcmp(a->address.ip, b->address.ip, sizeof(a->address.ip))) != 0)
		return d;
	if ((d = compare_texts(a->settings.server_name, b->settings.server_name, strcasecmp)) != 0 ||
	    (d = a->settings.server_name_mode - b->settings.server_name_mode) != 0)
		return d;
	return a->role == TLS_CLIENT ? compare_texts(a->settings.server_id, b->settings.server_id, strcmp) : 0;
}

int tls_section_compare_positions(const struct tls_section *a, const struct tls_section *b)
{
	int d = strcmp(a->file, b->file);

	return d != 0 ? d : (a->line > b->line) - (a->line < b->line);
}

static int compare_sections(const void *a, const void *b)
{
	const struct tls_section *x = *(struct tls_section *const *)a, *y = *(struct tls_section *const *)b;
	int d = compare_places(x, y);

	return d != 0 ? d : tls_section_compare_positions(x, y);
}

static void report_duplicate(struct tls_report *r, const struct tls_section *first,
                             const struct tls_section *second)
{
	bool same_file = first->file == second->file;
	const char *remedy = second->role == TLS_SERVER
	                         ? "merge the two, or give each its own server_name"
	                         : "merge the two, or give each its own server_name or server_id";
	char name[256];
	struct tls_spot at = {r, second->file, second->line, tls_section_name(second, name, sizeof(name))};

	if (second->kind == TLS_SECTION_DEFAULT)
		remedy = "there can be only one, so merge the two";
	tls_report_at(&at, TLS_ERROR, "this section is already in %s%sline %d; %s", same_file ? "" : first->file,
	              same_file ? "" : ", ", first->line, remedy);
}

/* Whether a mistake may have cost SECTION the setting that tells it from others of its place. */
static bool may_be_distinct(const struct tls_section *section)
{
	return section->kind != TLS_SECTION_DEFAULT &&
	       (tls_section_unsure(section, "server_name") || tls_section_unsure(section, "server_name_mode") ||
	        (section->role == TLS_CLIENT && tls_section_unsure(section, "server_id")));
}

int tls_sections_check(const struct tls_section *first, struct tls_report *r)
{
	const struct tls_section **sorted;
	size_t count = 0, i = 0;

	for (const struct tls_section *s = first; s != NULL; s = s->next)
		count++;
	if ((sorted = malloc(count * sizeof(*sorted))) == NULL)
		return -1;
	for (const struct tls_section *s = first; s != NULL; s = s->next)
		sorted[i++] = s;
	qsort(sorted, count, sizeof(*sorted), compare_sections);
	for (i = 1; i < count; i++)
		if (compare_places(sorted[i - 1], sorted[i]) == 0 && !may_be_distinct(sorted[i - 1]) &&
		    !may_be_distinct(sorted[i]))
			report_duplicate(r, sorted[i - 1], sorted[i]);
	free(sorted);
	return 0;
}
