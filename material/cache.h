/*
 * material/cache.h - what one configuration has loaded from files, each distinct file or set of files once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The cache knows when something has to be loaded again, and nothing of what that is: the caller says how an item of
 * its kind is loaded and freed. Everything is in shared memory. One process fills a cache; later all may look at it.
 */
#ifndef TLS_MATERIAL_CACHE_H
#define TLS_MATERIAL_CACHE_H

#include <limits.h>
#include <stdatomic.h>

#include "tls.h"
#include "tls_config.h"
#include "material/stamp.h"

struct tls_cache;
struct tls_cache_item;
struct tls_remark;
struct tls_report;

/* What an item is loaded from; NULL for what it does not have. */
struct tls_cache_source {
	const char *file, *folder, *crl, *password;
};

/* How items of one kind are made. It must stay where it is as long as there are such items. */
struct tls_cache_kind {
	size_t size; /* of an item, which begins with a struct tls_cache_item and is zeroed before load() */
	/*
	 * Fills ITEM from SOURCE. FROM has the origins of file, folder and CRL. Returns 0, or -1 with the reason in R;
	 * then free() follows. Its warnings are given again by each configuration that takes the item over.
	 */
	int (*load)(struct tls_cache_item *item, const struct tls_cache_source *source,
	            const struct tls_origin from[3], struct tls_report *r);
	/* Warns of what depends on the time of day; once for each configuration that has ITEM. NULL: nothing. */
	void (*review)(const struct tls_cache_item *item, const struct tls_cache_source *source,
	               const struct tls_origin *from, struct tls_report *r);
	/* Frees what load() has put into ITEM, which may be half of it. Any process, any scope. NULL: nothing. */
	void (*free)(struct tls_cache_item *item);
};

/*
 * What all kinds have in common; only the cache uses the fields. An item may be in the caches of several
 * configurations: each counts as a reference.
 */
struct tls_cache_item {
	const struct tls_cache_kind *kind;
	atomic_int refs;
	struct tls_stamp stamp; /* of the files as they were when it was loaded */
	char *id;               /* the source, a line for each part; may hold a password */
	struct tls_remark *remarks;
};

/* What has become of the files of a configuration since it was loaded. */
struct tls_look {
	int changed;          /* how many have changed, or are gone */
	int unreadable;       /* how many this process's user may not read, or not even look at */
	uint64_t stamp;       /* a number that changes when one of them does */
	char first[PATH_MAX]; /* one that it may not read */
};

/*
 * An empty cache that takes over what PREVIOUS (NULL: nothing) has from files that have not changed. PREVIOUS must
 * stay until tls_cache_seal(). NULL without memory.
 */
struct tls_cache *tls_cache_new(const struct tls_cache *previous);

/* To be called when everything is loaded. */
void tls_cache_seal(struct tls_cache *cache);

/* Frees CACHE (NULL is nothing) and the items that no other cache has. Any process, any scope. */
void tls_cache_free(struct tls_cache *cache);

/*
 * The item of KIND from SOURCE, which CACHE owns: the one that it has already, that of the previous configuration if
 * its files have not changed, or else a new one. FROM has the origins of the source's file, folder and CRL, as many
 * as it has. In the scope that KIND's load() needs. NULL with the reason in R.
 */
struct tls_cache_item *tls_cache_get(struct tls_cache *cache, const struct tls_cache_kind *kind,
                                     const struct tls_cache_source *source, const struct tls_origin *from,
                                     struct tls_report *r);

/*
 * Whether so little shared memory is left that nothing more may be loaded: the rest is for the traffic. Any process.
 */
bool tls_cache_memory_short(void);

/* How often tls_cache_memory_short() has said yes in this process. */
long tls_cache_shortages(void);

/*
 * Makes PATH, which somebody else began to read at READ_AT (nanoseconds since 1970), one of the files that
 * tls_cache_look() looks at. If it was written since then, it counts as changed. Returns 0, or -1 with the reason in
 * R.
 */
int tls_cache_watch(struct tls_cache *cache, const char *path, int64_t read_at, struct tls_report *r);

/* Looks at every file of CACHE. Any process. */
void tls_cache_look(const struct tls_cache *cache, struct tls_look *look);

#endif
