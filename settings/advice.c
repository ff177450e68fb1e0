/*
 * settings/advice.c - what a configuration says that does not do what it looks like
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * All sections are known here, and nothing of them is loaded: neither OpenSSL nor the host is needed, and the
 * only thing that is asked of a file is who may read it. What is found are warnings, as each of these
 * configurations works; it works for somebody else, or not for anybody.
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

/* What the sections of servers are to one another. */
struct map {
	const struct tls_section *
		*placed; /* those with an address, by it; those of one place in the files' order */
	size_t placed_count;
	const struct tls_section **lax; /* those at "any" with a name that ask clients for no certificate */
	size_t lax_count;
	const struct tls_section *any, *fallback; /* without a name at "any", NULL: none; the default one */
	bool unknown_refused;
};

/* The sections at one address and port: COUNT of them. */
struct group {
	const struct tls_section **first;
	size_t count;
};

/* ---- what a section is */

static bool has_name(const struct tls_section *s)
{
	return s->settings.server_name != NULL;
}

/* Whether a client without a certificate is turned away. */
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

/* By place, then as they stand in the files, which are read by their names. */
static int compare_placed(const void *a, const void *b)
{
	const struct tls_section *x = *(struct tls_section *const *)a, *y = *(struct tls_section *const *)b;
	int d = compare_places(x, y);

	return d != 0 ? d : tls_section_compare_positions(x, y);
}

/* ---- names, as tls_domain.c compares them */

/* How much of NAME counts: not the final dot. */
static size_t name_length(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && name[length - 1] == '.' ? length - 1 : length;
}

/* Whether NAME is PARENT, or ends in it behind a dot; *SAME tells which. */
static bool is_within(const char *name, const char *parent, bool *same)
{
	size_t length = name_length(name), tail = name_length(parent);

	*same = length == tail;
	if (tail == 0 || tail > length || strncasecmp(name + length - tail, parent, tail) != 0)
		return false;
	return *same || name[length - tail - 1] == '.';
}

/* Whether S takes NAME, or with BELOW names below it that no section has. */
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

/* ---- the way around a port's demand */

/*
 * The sections at PLACE's address without a port, which come after those at PLACE itself; none when that is
 * such a one. They stand before it in MAP.
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

/* Whether each section of G turns clients without a certificate away: then it is the port that is meant to. */
static bool all_demand(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (!demands(g->first[i]))
			return false;
	return true;
}

/* Whether a client can get to LAX although it has reached the place of G, with WIDER between the two. */
static bool leads_around(const struct tls_section *lax, const struct group *g, const struct group *wider,
                         bool below)
{
	const char *name = lax->settings.server_name;

	if (!takes(lax, name, below))
		return false;
	return !any_takes(g, name, below) && (wider == NULL || !any_takes(wider, name, below));
}

/* The section to which a name leads around the demand of G; *BELOW: a name below that section's. NULL: none. */
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

/* The section that serves names that no section has, where G has only sections with one. */
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

/* Warns that clients which ask for WHAT, and NAME, get from STRICT to LAX. */
static void warn_of_way(const struct tls_section *strict, const struct tls_section *lax, const char *what,
                        const char *name, const char *remedy, struct tls_report *r)
{
	char place[NAME_SIZE], other[NAME_SIZE], line[16] = "";

	if (lax->line > 0)
		snprintf(line, sizeof(line), ":%d", lax->line);
	tls_report_add(r, TLS_WARNING, strict->file, strict->line, tls_section_name(strict, place, sizeof(place)),
	               "clients must show a certificate here, but one that asks for %s%s gets in without: %s%s "
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
		warn_of_way(strict, lax, below ? "a name below " : "", lax->settings.server_name,
		            "write that section for this address, too, with require_certificate = yes, or as it is "
		            "if that is meant",
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

/* Returns false without memory. */
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
		tls_report_add(r, TLS_WARNING, s->file, s->line, tls_section_name(s, name, sizeof(name)),
		               "no connection has this address, so this section is never used; write %s, or any for "
		               "every address",
		               s->role == TLS_SERVER ? "one that clients reach" : "that of the other side");
}

/* The line of S with a password in it, 0: none. */
static int password_line(const struct tls_section *s)
{
	TLS_EACH_DOMAIN_SETTING(row)
		if ((row->flags & TLS_SECRET) != 0 && *tls_section_line(s, row) > 0)
			return *tls_section_line(s, row);
	return 0;
}

/* Once for each file. */
static void check_readers(const struct tls_section *s, const char **told, struct tls_report *r)
{
	int line = password_line(s);
	struct stat st;

	if (line == 0 || s->file == *told || stat(s->file, &st) != 0 || (st.st_mode & (S_IROTH | S_IWOTH)) == 0)
		return;
	*told = s->file;
	tls_report_add(
		r, TLS_WARNING, s->file, line, NULL,
		"every user of this machine may %s this file, which has a password in it; run chmod o-rw on it",
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
