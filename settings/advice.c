/*
 * settings/advice.c - warnings about a valid configuration that does not do what it seems to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * All sections have been read, but no certificate or key is loaded: neither the TLS library nor the host is needed, and of
 * files only the permissions are checked. The findings are warnings, since each of these configurations works, though
 * perhaps not as intended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "settings/advice.h"
#include "tls.h"
#include "settings/report.h"
#include "settings/section.h"
#include "settings/table.h"
#include "settings/values.h"
#include "tls_config.h"

#define NAME_SIZE 320

/* The server sections in their order of precedence. */
struct map {
	const struct tls_section *
		*placed; /* those with an address, sorted by it, then by their position in the files */
	size_t placed_count;
	const struct tls_section **lax; /* those at "any" with a name that do not require a certificate */
	size_t lax_count;
	const struct tls_section *any,
		*fallback; /* the one at "any" without a name, NULL: none; the default one */
	bool unknown_refused;
};

/* The sections at one address and port: COUNT of them. */
struct group {
	const struct tls_section **first;
	size_t count;
};

/* ---- one section */

static bool has_name(const struct tls_section *s)
{
	return s->settings.server_name != NULL;
}

/* Whether the section rejects a client without a certificate. */
static bool demands(const struct tls_section *s)
{
	return s->settings.require_certificate > 0;
}

static int compare_addresses(const struct tls_section *a, const struct tls_section *b)
{
	if (a->address.family != b->address.family)
		return a->address.family - b->address.family;
	return memcmp(a->address.ip, b->address.ip, sizeof(a->address.ip));
}

static int compare_places(const struct tls_section *a, const struct tls_section *b)
{
	int d = compare_addresses(a, b);

	return d != 0 ? d : (int)a->address.port - (int)b->address.port;
}

/* By place, then by position in the files. */
static int compare_placed(const void *a, const void *b)
{
	const struct tls_section *x = *(struct tls_section *const *)a, *y = *(struct tls_section *const *)b;
	int d = compare_places(x, y);

	return d != 0 ? d : tls_section_compare_positions(x, y);
}

/* ---- names, as tls_domain.c compares them */

/* The length of NAME without its final dot. */
static size_t name_length(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && name[length - 1] == '.' ? length - 1 : length;
}

/* Whether NAME is PARENT (*SAME is then true) or a subdomain of it. */
static bool is_within(const char *name, const char *parent, bool *same)
{
	size_t length = name_length(name), tail = name_length(parent);

	*same = length == tail;
	if (tail == 0 || tail > length || strncasecmp(name + length - tail, parent, tail) != 0)
		return false;
	return *same || name[length - tail - 1] == '.';
}

/* Whether S serves NAME, or with BELOW subdomains of NAME that no section names. */
static bool takes(const struct tls_section *s, const char *name, bool below)
{
	bool same;

	if (!has_name(s) || !is_within(name, s->settings.server_name, &same))
		return false;
	if (same && !below)
		return s->settings.server_name_mode != TLS_NAME_SUBDOMAINS;
	return s->settings.server_name_mode != TLS_NAME_EXACT;
}

static bool any_takes(const struct group *g, const char *name, bool below)
{
	for (size_t i = 0; i < g->count; i++)
		if (takes(g->first[i], name, below))
			return true;
	return false;
}

/* ---- ways around a port that requires certificates */

/*
 * The sections at PLACE's address without a port, which are looked up after those at PLACE itself; none when PLACE has no
 * port. They are before it in MAP.
 */
static struct group portless_group(const struct map *map, const struct tls_section **place)
{
	struct group g = {place, 0};

	if ((*place)->address.port == 0)
		return g;
	while (g.first > map->placed && compare_addresses(g.first[-1], *place) == 0)
		g.first--;
	while (g.first[g.count]->address.port == 0)
		g.count++;
	return g;
}

static const struct tls_section *nameless(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (!has_name(g->first[i]))
			return g->first[i];
	return NULL;
}

/* Whether all sections of G require a certificate: then the port as a whole is meant to. */
static bool all_demand(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (!demands(g->first[i]))
			return false;
	return true;
}

/* Whether a client at the place of G can reach LAX, with the sections WIDER looked up between the two. */
static bool leads_around(const struct tls_section *lax, const struct group *g, const struct group *wider,
                         bool below)
{
	const char *name = lax->settings.server_name;

	if (!takes(lax, name, below))
		return false;
	return !any_takes(g, name, below) && (wider == NULL || !any_takes(wider, name, below));
}

/* The section that a client at G reaches by name without a certificate; *BELOW: by a subdomain. NULL: none. */
static const struct tls_section *named_way(const struct map *map, const struct group *g,
                                           const struct group *wider, bool *below)
{
	for (size_t i = 0; i < 2 * wider->count; i++) {
		const struct tls_section *s = wider->first[i / 2];

		*below = i % 2 != 0;
		if (has_name(s) && !demands(s) && leads_around(s, g, NULL, *below))
			return s;
	}
	for (size_t i = 0; i < 2 * map->lax_count; i++) {
		*below = i % 2 != 0;
		if (leads_around(map->lax[i / 2], g, wider, *below))
			return map->lax[i / 2];
	}
	return NULL;
}

/* The section that serves unknown names without a certificate, when all sections of G have a name. NULL: none. */
static const struct tls_section *unknown_way(const struct map *map, const struct group *g,
                                             const struct group *wider)
{
	const struct tls_section *s = nameless(wider);

	if (map->unknown_refused || nameless(g) != NULL)
		return NULL;
	if (s == NULL)
		s = map->any != NULL ? map->any : map->fallback;
	return s == NULL || demands(s) ? NULL : s;
}

/* Warns that a client of STRICT that asks for WHAT and NAME is served by LAX. */
static void warn_of_way(const struct tls_section *strict, const struct tls_section *lax, const char *what,
                        const char *name, const char *remedy, struct tls_report *r)
{
	char place[NAME_SIZE], other[NAME_SIZE], line[16] = "";

	if (lax->line > 0)
		snprintf(line, sizeof(line), ":%d", lax->line);
	tls_report_add(r, TLS_WARNING, strict->file, strict->line, tls_section_name(strict, place, sizeof(place)),
	               "clients must present a certificate here, but one that asks for %s%s needs none: %s%s "
	               "(%s) serves it; %s",
	               what, name, lax->file != NULL ? lax->file : "", line,
	               tls_section_name(lax, other, sizeof(other)), remedy);
}

static void check_group(const struct map *map, const struct group *g, struct tls_report *r)
{
	struct group wider = portless_group(map, g->first);
	const struct tls_section *strict = nameless(g), *lax;
	bool below = false;

	if (!all_demand(g))
		return;
	strict = strict != NULL ? strict : *g->first;
	if ((lax = named_way(map, g, &wider, &below)) != NULL)
		warn_of_way(
			strict, lax, below ? "a subdomain of " : "", lax->settings.server_name,
			"repeat that section for this address with require_certificate = yes, or unchanged if this is "
			"intended",
			r);
	else if ((lax = unknown_way(map, g, &wider)) != NULL)
		warn_of_way(strict, lax, "any other name", "", "add a section for this address without server_name",
		            r);
}

/* ---- all sections */

static void add_to_map(struct map *map, const struct tls_section *s)
{
	if (s->kind == TLS_SECTION_ADDRESS)
		map->placed[map->placed_count++] = s;
	else if (s->kind == TLS_SECTION_DEFAULT)
		map->fallback = s;
	else if (!has_name(s))
		map->any = s;
	else if (!demands(s))
		map->lax[map->lax_count++] = s;
}

/* Returns false when memory is short. */
static bool make_map(struct map *map, const struct tls_config *cfg)
{
	size_t count = 0;

	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		count++;
	map->placed = calloc(count, 2 * sizeof(*map->placed));
	if (map->placed == NULL)
		return false;
	map->lax = map->placed + count;
	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		if (s->role == TLS_SERVER)
			add_to_map(map, s);
	qsort(map->placed, map->placed_count, sizeof(*map->placed), compare_placed);
	return true;
}

static void check_ways(const struct tls_config *cfg, bool unknown_refused, struct tls_report *r)
{
	struct map map = {.unknown_refused = unknown_refused};
	struct group g = {NULL, 0};

	if (!make_map(&map, cfg))
		return;
	for (size_t i = 0; i < map.placed_count; i += g.count) {
		g = (struct group){&map.placed[i], 1};
		while (i + g.count < map.placed_count && compare_places(*g.first, g.first[g.count]) == 0)
			g.count++;
		check_group(&map, &g, r);
	}
	free(map.placed);
}

static void check_address(const struct tls_section *s, struct tls_report *r)
{
	static const uint8_t unspecified[sizeof(s->address.ip)];
	char name[NAME_SIZE];

	if (s->kind == TLS_SECTION_ADDRESS && memcmp(s->address.ip, unspecified, sizeof(unspecified)) == 0)
		tls_report_add(
			r, TLS_WARNING, s->file, s->line, tls_section_name(s, name, sizeof(name)),
			"no connection has this address, so this section is never used; set it to %s, or to any for "
			"all addresses",
			s->role == TLS_SERVER ? "an address that clients connect to" : "the address of the server");
}

/* The line of S that sets a password, 0: none. */
static int password_line(const struct tls_section *s)
{
	TLS_EACH_DOMAIN_SETTING(row)
		if ((row->flags & TLS_SECRET) != 0 && *tls_section_line(s, row) > 0)
			return *tls_section_line(s, row);
	return 0;
}

/* Warns once for each file; TOLD is the last one. */
static void check_readers(const struct tls_section *s, const char **told, struct tls_report *r)
{
	int line = password_line(s);
	struct stat st;

	if (line == 0 || s->file == *told || stat(s->file, &st) != 0 || (st.st_mode & (S_IROTH | S_IWOTH)) == 0)
		return;
	*told = s->file;
	tls_report_add(
		r, TLS_WARNING, s->file, line, NULL,
		"every user of this machine may %s this file, which contains a password; run chmod o-rw on it",
		(st.st_mode & S_IROTH) != 0 ? "read" : "write");
}

void tls_advice_add(const struct tls_config *cfg, bool unknown_refused, struct tls_report *r)
{
	const char *told = NULL;

	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next) {
		if (s->file == NULL || s->line == 0)
			continue;
		check_address(s, r);
		check_readers(s, &told, r);
	}
	check_ways(cfg, unknown_refused, r);
}
