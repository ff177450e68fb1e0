/*
 * material/cache.c - what one configuration has loaded from files, each distinct file or set of files once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "material/cache.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/stamp.h"
#include "material/remarks.h"

/*
 * Calls go on while a configuration is loaded. At least this part of the shared memory, and this many bytes, are left
 * to them.
 */
#define RESERVED_PART 64
#define RESERVED_SIZE (256 * 1024)

struct tls_cache {
	const struct tls_cache *previous; /* only while this one is being filled */
	struct tls_cache_item **items;
	int count, room;
};

static long shortages; /* found by this process */

bool tls_cache_memory_short(void)
{
	size_t left = tls_mem_available();
	bool is_short = left < RESERVED_SIZE || left < shm_mem_size / RESERVED_PART;

	shortages += is_short;
	return is_short;
}

long tls_cache_shortages(void)
{
	return shortages;
}

struct tls_cache *tls_cache_new(const struct tls_cache *previous)
{
	struct tls_cache *cache = tls_mem_shared_alloc(sizeof(*cache));

	if (cache != NULL)
		cache->previous = previous;
	return cache;
}

void tls_cache_seal(struct tls_cache *cache)
{
	cache->previous = NULL;
}

/* ---- items */

static const char *text(const char *s)
{
	return s != NULL ? s : "";
}

/* What messages call an item from SOURCE. */
static const char *first_path(const struct tls_cache_source *source)
{
	return source->file != NULL ? source->file : source->folder != NULL ? source->folder : text(source->crl);
}

static void problem(struct tls_report *r, const struct tls_origin *from,
                    const struct tls_cache_source *source, const char *what)
{
	tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting, "%s: %s", first_path(source), what);
}

/* Gives up one reference to ITEM; the last one frees it. */
static void drop_item(struct tls_cache_item *item)
{
	if (atomic_fetch_sub(&item->refs, 1) != 1)
		return;
	if (item->kind->free != NULL)
		item->kind->free(item);
	if (item->id != NULL)
		explicit_bzero(item->id, strlen(item->id));
	tls_mem_shared_free(item->id);
	tls_remarks_free(item->remarks);
	tls_mem_shared_free(item);
}

void tls_cache_free(struct tls_cache *cache)
{
	if (cache == NULL)
		return;
	for (int i = 0; i < cache->count; i++)
		drop_item(cache->items[i]);
	tls_mem_shared_free(cache->items);
	tls_mem_shared_free(cache);
}

static struct tls_cache_item *find_item(const struct tls_cache *cache, const struct tls_cache_kind *kind,
                                        const char *id)
{
	for (int i = 0; cache != NULL && i < cache->count; i++)
		if (cache->items[i]->kind == kind && strcmp(cache->items[i]->id, id) == 0)
			return cache->items[i];
	return NULL;
}

/* Puts ITEM into CACHE, which takes over one reference. Returns 0, -1 without memory (the reference stays). */
static int keep_item(struct tls_cache *cache, struct tls_cache_item *item)
{
	if (cache->count == cache->room) {
		int room = cache->room > 0 ? 2 * cache->room : 16;
		struct tls_cache_item **items = tls_mem_shared_alloc((size_t)room * sizeof(struct tls_cache_item *));

		if (items == NULL)
			return -1;
		if (cache->count > 0)
			memcpy(items, cache->items, (size_t)cache->count * sizeof(struct tls_cache_item *));
		tls_mem_shared_free(cache->items);
		cache->items = items;
		cache->room = room;
	}
	cache->items[cache->count++] = item;
	return 0;
}

/* The item of the previous configuration, if its files are unchanged. NULL: it has to be loaded. */
static struct tls_cache_item *take_over(struct tls_cache *cache, const struct tls_cache_kind *kind,
                                        const char *id, const struct tls_stamp *stamp,
                                        const struct tls_origin *from, struct tls_report *r)
{
	struct tls_cache_item *item = find_item(cache->previous, kind, id);

	if (item == NULL || memcmp(&item->stamp, stamp, sizeof(*stamp)) != 0)
		return NULL;
	atomic_fetch_add(&item->refs, 1);
	if (keep_item(cache, item) != 0) {
		drop_item(item);
		return NULL;
	}
	tls_remarks_say(item->remarks, from, r);
	return item;
}

/* A new item with one reference, the caller's. NULL without memory. */
static struct tls_cache_item *new_item(const struct tls_cache_kind *kind, const char *id,
                                       const struct tls_stamp *stamp)
{
	struct tls_cache_item *item = tls_mem_shared_alloc(kind->size);

	if (item == NULL)
		return NULL;
	item->kind = kind;
	atomic_init(&item->refs, 1);
	item->stamp = *stamp;
	item->id = tls_mem_shared_strdup(id);
	if (item->id != NULL)
		return item;
	tls_mem_shared_free(item);
	return NULL;
}

/*
 * Fills ITEM. What its loader says is reported as said of the settings at FROM, and kept by their numbers. Returns
 * what the loader does.
 */
static int load_and_say(struct tls_cache_item *item, const struct tls_cache_source *source,
                        const struct tls_origin *from, struct tls_report *r)
{
	const struct tls_origin counted[] = {{.line = 0}, {.line = 1}, {.line = 2}};
	struct tls_report said;
	int result;

	tls_report_init(&said);
	result = item->kind->load != NULL ? item->kind->load(item, source, counted, &said) : 0;
	for (const struct tls_problem *p = said.first; p != NULL; p = p->next) {
		const struct tls_origin *o = &from[p->line];

		tls_report_add(r, p->severity, o->file, o->line, o->setting, "%s", p->text);
	}
	if (result == 0)
		tls_remarks_keep(&item->remarks, &said);
	tls_report_clear(&said);
	return result;
}

static struct tls_cache_item *load_item(struct tls_cache *cache, const struct tls_cache_kind *kind,
                                        const char *id, const struct tls_stamp *stamp,
                                        const struct tls_cache_source *source, const struct tls_origin *from,
                                        struct tls_report *r)
{
	struct tls_cache_item *item = new_item(kind, id, stamp);

	if (item == NULL) {
		problem(r, from, source, "no shared memory to load it");
		return NULL;
	}
	if (load_and_say(item, source, from, r) != 0) {
		drop_item(item);
		return NULL;
	}
	if (keep_item(cache, item) == 0)
		return item;
	problem(r, from, source, "no shared memory to keep it");
	drop_item(item);
	return NULL;
}

/* The stamp is taken before loading, so that a file that changes meanwhile is loaded again by the next reload. */
static struct tls_cache_item *add_item(struct tls_cache *cache, const struct tls_cache_kind *kind,
                                       const char *id, const struct tls_cache_source *source,
                                       const struct tls_origin *from, struct tls_report *r)
{
	struct tls_stamp stamp = tls_stamp_take(source->file, source->folder, source->crl);
	struct tls_cache_item *item = take_over(cache, kind, id, &stamp, from, r);

	if (item == NULL)
		item = load_item(cache, kind, id, &stamp, source, from, r);
	if (item != NULL && kind->review != NULL)
		kind->review(item, source, from, r);
	return item;
}

struct tls_cache_item *tls_cache_get(struct tls_cache *cache, const struct tls_cache_kind *kind,
                                     const struct tls_cache_source *source, const struct tls_origin *from,
                                     struct tls_report *r)
{
	char id[4 * PATH_MAX];
	struct tls_cache_item *item = NULL;
	int n = snprintf(id, sizeof(id), "%s\n%s\n%s\n%s", text(source->file), text(source->folder),
	                 text(source->crl), text(source->password));

	if (n >= (int)sizeof(id))
		problem(r, from, source, "paths and password are too long");
	else if ((item = find_item(cache, kind, id)) == NULL)
		item = add_item(cache, kind, id, source, from, r);
	explicit_bzero(id, sizeof(id));
	return item;
}

/* ---- watching files */

/* A file that somebody else has read: only its stamp counts. */
static const struct tls_cache_kind watched = {.size = sizeof(struct tls_cache_item)};

/*
 * Whether PATH was written or replaced at TIME, nanoseconds since 1970, or later. A time in the future does not
 * count: the clock has been set back, and until that time the file would look changed each time.
 */
static bool changed_since(const char *path, int64_t time)
{
	struct timespec now;
	struct stat st;
	int64_t changed;

	if (stat(path, &st) != 0)
		return false;
	changed = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	clock_gettime(CLOCK_REALTIME, &now);
	return changed >= time && changed <= (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int tls_cache_watch(struct tls_cache *cache, const char *path, int64_t read_at, struct tls_report *r)
{
	struct tls_cache_source source = {.file = path};
	struct tls_origin from = {.file = path};
	struct tls_cache_item *item = tls_cache_get(cache, &watched, &source, &from, r);

	if (item == NULL)
		return -1;
	if (atomic_load(&item->refs) == 1 && changed_since(path, read_at))
		item->stamp.file = ~item->stamp.file;
	return 0;
}

/* Adds one of the paths of an item to LOOK. It WAS so when the item was loaded, and is so NOW. */
static void look_at(struct tls_look *look, const char *path, uint64_t was, uint64_t now, int mode)
{
	if (path == NULL)
		return;
	if (now != TLS_STAMP_HIDDEN && now != was)
		look->changed++;
	if (now != TLS_STAMP_HIDDEN && (access(path, mode) == 0 || errno != EACCES))
		return;
	if (look->unreadable++ == 0)
		snprintf(look->first, sizeof(look->first), "%s", path);
}

static const char *next_path(char **rest)
{
	const char *path = strsep(rest, "\n");

	return path != NULL && path[0] != '\0' ? path : NULL;
}

static void look_at_item(struct tls_look *look, const struct tls_cache_item *item)
{
	char *copy = strdup(item->id), *rest = copy;
	struct tls_cache_source s = {0};
	struct tls_stamp now;

	if (copy == NULL)
		return;
	s.file = next_path(&rest);
	s.folder = next_path(&rest);
	s.crl = next_path(&rest);
	now = tls_stamp_take(s.file, s.folder, s.crl);
	look_at(look, s.file, item->stamp.file, now.file, R_OK);
	look_at(look, s.folder, item->stamp.folder, now.folder, R_OK | X_OK);
	look_at(look, s.crl, item->stamp.crl, now.crl, R_OK);
	look->stamp = tls_stamp_mix(look->stamp, &now);
	explicit_bzero(copy, strlen(item->id));
	free(copy);
}

void tls_cache_look(const struct tls_cache *cache, struct tls_look *look)
{
	memset(look, 0, sizeof(*look));
	for (int i = 0; i < cache->count; i++)
		look_at_item(look, cache->items[i]);
}
