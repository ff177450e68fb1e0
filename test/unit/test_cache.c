/* links: material/cache.c material/remarks.c material/stamp.c material/files.c settings/report.c settings/text.c */
/*
 * test_cache.c - what a configuration has loaded: each item once, taken over when its files are unchanged, freed with
 * the last cache that has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tls_mem.h"
#include "tls_config.h"
#include "settings/report.h"
#include "material/cache.h"

/* ---- the shared memory: any allocation can fail, and what is freed must not hold the password any more */

#define PASSWORD "open-sesame"

struct block {
	size_t size;
	char pad[16 - sizeof(size_t)];
};

unsigned long shm_mem_size = 64ul << 20;

static size_t available = 64u << 20;
static long blocks, asked, fail_at; /* FAIL_AT of 0: none fails */

void *tls_mem_shared_alloc(size_t size)
{
	struct block *b = ++asked == fail_at ? NULL : calloc(1, sizeof(*b) + size);

	if (b == NULL)
		return NULL;
	b->size = size;
	blocks++;
	return b + 1;
}

char *tls_mem_shared_strdup(const char *s)
{
	char *copy = tls_mem_shared_alloc(strlen(s) + 1);

	return copy != NULL ? strcpy(copy, s) : NULL;
}

void tls_mem_shared_free(void *p)
{
	struct block *b;

	if (p == NULL)
		return;
	b = (struct block *)p - 1;
	assert_null(memmem(p, b->size, PASSWORD, strlen(PASSWORD)));
	blocks--;
	free(b);
}

size_t tls_mem_available(void)
{
	return available;
}

/* ---- files */

static char folder[64];

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

/* Replaces NAME by a file that its stamp tells from the one before, however fast that was. */
static void write_file(const char *name, const char *content)
{
	char part[128];
	FILE *f;

	snprintf(part, sizeof(part), "%s.part", path_of(name));
	f = fopen(part, "w");
	assert_non_null(f);
	assert_true(fputs(content, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(part, path_of(name)), 0);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- a kind of item that is no more than a copy of its file's name */

struct note {
	struct tls_cache_item item;
	char *name;
};

static int loads, reviews, frees;
static int load_result; /* of the next ones */

static int load_note(struct tls_cache_item *item, const struct tls_cache_source *source,
                     const struct tls_origin from[3], struct tls_report *r)
{
	struct note *note = (struct note *)item;

	loads++;
	assert_null(note->name);
	note->name = tls_mem_shared_strdup(source->file);
	if (note->name == NULL || load_result != 0) {
		tls_report_add(r, TLS_ERROR, from[0].file, from[0].line, from[0].setting, "cannot be loaded");
		return -1;
	}
	tls_report_add(r, TLS_WARNING, from[0].file, from[0].line, from[0].setting, "odd file");
	if (source->crl != NULL)
		tls_report_add(r, TLS_WARNING, from[2].file, from[2].line, from[2].setting, "odd list");
	return 0;
}

static void review_note(const struct tls_cache_item *item, const struct tls_cache_source *source,
                        const struct tls_origin *from, struct tls_report *r)
{
	assert_string_equal(((const struct note *)item)->name, source->file);
	reviews++;
}

static void free_note(struct tls_cache_item *item)
{
	frees++;
	tls_mem_shared_free(((struct note *)item)->name);
}

static const struct tls_cache_kind notes = {
	.size = sizeof(struct note), .load = load_note, .review = review_note, .free = free_note};
static const struct tls_cache_kind others = {
	.size = sizeof(struct note), .load = load_note, .free = free_note};

/* From the settings at lines LINE, LINE + 1 and LINE + 2 of a file. */
static struct note *get_from(struct tls_cache *cache, const struct tls_cache_kind *kind,
                             const struct tls_cache_source *source, int line, struct tls_report *r)
{
	const struct tls_origin from[] = {
		{"cfg", line, "ca_list"}, {"cfg", line + 1, "ca_path"}, {"cfg", line + 2, "crl"}};

	return (struct note *)tls_cache_get(cache, kind, source, from, r);
}

static struct note *get(struct tls_cache *cache, const char *name)
{
	const struct tls_cache_source source = {.file = path_of(name)};
	struct tls_report r;
	struct note *note;

	tls_report_init(&r);
	note = get_from(cache, &notes, &source, 1, &r);
	tls_report_clear(&r);
	return note;
}

static struct tls_look look_at(const struct tls_cache *cache)
{
	struct tls_look look;

	tls_cache_look(cache, &look);
	return look;
}

/* Each test ends as it began: with nothing left. */
static int begin(void **state)
{
	loads = reviews = frees = load_result = 0;
	fail_at = 0;
	write_file("a", "one");
	write_file("b", "two");
	return 0;
}

static int end(void **state)
{
	return blocks == 0 ? 0 : -1;
}

/* ---- the tests */

static void an_item_is_loaded_once(void **state)
{
	struct tls_cache *cache = tls_cache_new(NULL);
	struct note *a = get(cache, "a");

	assert_non_null(a);
	assert_ptr_equal(get(cache, "a"), a);
	assert_ptr_not_equal(get(cache, "b"), a);
	assert_int_equal(loads, 2);
	assert_int_equal(reviews, 2);
	tls_cache_free(cache);
	assert_int_equal(frees, 2);
}

static void many_items_find_a_place(void **state)
{
	struct tls_cache *cache = tls_cache_new(NULL);
	struct note *first = get(cache, "0");
	char name[16];

	for (int i = 1; i < 100; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_non_null(get(cache, name));
	}
	assert_ptr_equal(get(cache, "0"), first);
	assert_int_equal(loads, 100);
	tls_cache_free(cache);
	assert_int_equal(frees, 100);
}

static void kind_and_password_tell_items_apart(void **state)
{
	struct tls_cache_source source = {.file = path_of("a")};
	struct tls_cache *cache = tls_cache_new(NULL);
	struct tls_report r;

	tls_report_init(&r);
	get_from(cache, &notes, &source, 1, &r);
	get_from(cache, &others, &source, 1, &r);
	source.password = PASSWORD;
	get_from(cache, &notes, &source, 1, &r);
	assert_int_equal(loads, 3);
	get_from(cache, &notes, &source, 1, &r);
	assert_int_equal(loads, 3);
	tls_report_clear(&r);
	tls_cache_free(cache);
}

static void unchanged_files_are_taken_over(void **state)
{
	struct tls_cache *before = tls_cache_new(NULL), *after;
	struct note *a = get(before, "a"), *b = get(before, "b");

	tls_cache_seal(before);
	write_file("b", "three");
	after = tls_cache_new(before);
	assert_ptr_equal(get(after, "a"), a);
	assert_ptr_not_equal(get(after, "b"), b);
	assert_int_equal(loads, 3);
	assert_int_equal(reviews, 4);
	tls_cache_seal(after);
	tls_cache_free(before);
	assert_int_equal(frees, 1);
	assert_string_equal(a->name, path_of("a"));
	tls_cache_free(after);
	assert_int_equal(frees, 3);
}

static void after_sealing_nothing_is_taken_over(void **state)
{
	struct tls_cache *before = tls_cache_new(NULL), *after = tls_cache_new(before);

	get(before, "a");
	tls_cache_seal(after);
	get(after, "a");
	assert_int_equal(loads, 2);
	tls_cache_free(before);
	tls_cache_free(after);
}

static void assert_problem(const struct tls_problem *p, enum tls_severity severity, const char *words)
{
	assert_non_null(p);
	assert_int_equal(p->severity, severity);
	assert_non_null(strstr(p->text, words));
}

/* Where the configuration that takes the item over has the settings, which may be in other lines. */
static void warnings_are_given_again(void **state)
{
	const struct tls_cache_source source = {.file = path_of("a"), .crl = path_of("b")};
	struct tls_cache *before = tls_cache_new(NULL), *after = tls_cache_new(before);
	struct tls_report first, second;

	tls_report_init(&first);
	tls_report_init(&second);
	get_from(before, &notes, &source, 10, &first);
	get_from(after, &notes, &source, 20, &second);
	get_from(after, &notes, &source, 30, &second); /* that has it already */
	assert_int_equal(loads, 1);
	assert_int_equal(first.warnings, 2);
	assert_problem(first.first, TLS_WARNING, "cfg:10: ca_list: odd file");
	assert_problem(first.first->next, TLS_WARNING, "cfg:12: crl: odd list");
	assert_int_equal(second.warnings, 2);
	assert_problem(second.first, TLS_WARNING, "cfg:20: ca_list: odd file");
	assert_problem(second.first->next, TLS_WARNING, "cfg:22: crl: odd list");
	tls_report_clear(&first);
	tls_report_clear(&second);
	tls_cache_free(before);
	tls_cache_free(after);
}

static void what_fails_to_load_is_freed(void **state)
{
	const struct tls_cache_source source = {.file = path_of("a")};
	struct tls_cache *cache = tls_cache_new(NULL);
	struct tls_report r;

	tls_report_init(&r);
	load_result = -1;
	assert_null(get_from(cache, &notes, &source, 7, &r));
	assert_problem(r.first, TLS_ERROR, "cfg:7: ca_list: cannot be loaded");
	assert_int_equal(frees, 1);
	assert_int_equal(reviews, 0);
	load_result = 0;
	assert_non_null(get_from(cache, &notes, &source, 7, &r));
	assert_int_equal(loads, 2);
	tls_report_clear(&r);
	tls_cache_free(cache);
}

static void paths_that_are_too_long_are_an_error(void **state)
{
	struct tls_cache *cache = tls_cache_new(NULL);
	static char path[5 * PATH_MAX];
	struct tls_report r;

	memset(path, 'x', sizeof(path) - 1);
	tls_report_init(&r);
	assert_null(get_from(cache, &notes, &(struct tls_cache_source){.file = path}, 1, &r));
	assert_int_equal(r.errors, 1);
	assert_int_equal(loads, 0);
	tls_report_clear(&r);
	tls_cache_free(cache);
}

/* Two configurations, the second of which takes over one item and loads another. Returns whether all was there. */
static bool load_twice(void)
{
	const struct tls_cache_source source = {.file = path_of("a"), .password = PASSWORD};
	struct tls_cache *before = tls_cache_new(NULL), *after = NULL;
	struct tls_report r;
	bool whole = false, found = false;

	tls_report_init(&r);
	if (before != NULL) {
		whole = get_from(before, &notes, &source, 1, &r) != NULL;
		assert_true(whole == (r.errors == 0));
		after = tls_cache_new(before);
	}
	if (after != NULL) {
		tls_report_clear(&r);
		found = get_from(after, &notes, &source, 1, &r) != NULL &&
		        tls_cache_watch(after, path_of("b"), 0, &r) == 0;
		assert_true(found == (r.errors == 0));
	}
	tls_report_clear(&r);
	tls_cache_free(before);
	tls_cache_free(after);
	return whole && found;
}

static void without_memory_nothing_is_left(void **state)
{
	long before = blocks, n = 1;
	int failed = 0;

	do {
		asked = 0;
		fail_at = n++;
		failed += !load_twice();
		assert_int_equal(blocks, before);
	} while (asked >= fail_at);
	assert_true(failed >= 6);
	assert_true(n > 10);
}

static void a_written_file_is_a_change(void **state)
{
	struct tls_cache *cache = tls_cache_new(NULL);
	struct tls_look look;
	uint64_t stamp;

	get(cache, "a");
	get(cache, "b");
	stamp = look_at(cache).stamp;
	assert_int_equal(look_at(cache).changed, 0);
	assert_true(look_at(cache).stamp == stamp);
	write_file("a", "more");
	look = look_at(cache);
	assert_int_equal(look.changed, 1);
	assert_int_equal(look.unreadable, 0);
	assert_true(look.stamp != stamp);
	assert_int_equal(unlink(path_of("b")), 0);
	assert_int_equal(look_at(cache).changed, 2);
	tls_cache_free(cache);
}

static void a_new_file_in_a_hashed_folder_is_a_change(void **state)
{
	const struct tls_cache_source source = {.file = path_of("a"), .folder = folder};
	struct tls_cache *cache = tls_cache_new(NULL);
	struct tls_report r;
	int changed;

	tls_report_init(&r);
	assert_non_null(get_from(cache, &notes, &source, 1, &r));
	write_file("01234567.0", "anchor");
	changed = look_at(cache).changed;
	unlink(path_of("01234567.0"));
	assert_int_equal(changed, 1);
	tls_report_clear(&r);
	tls_cache_free(cache);
}

/* A file that somebody else has read: what was written since that began is a change. */
static void a_watched_file_counts_from_when_it_was_read(void **state)
{
	struct tls_cache *cache = tls_cache_new(NULL);
	int64_t long_ago = now() - INT64_C(3600000000000), later = now() + INT64_C(3600000000000);
	struct tls_report r;

	tls_report_init(&r);
	assert_int_equal(tls_cache_watch(cache, path_of("a"), later, &r), 0);
	assert_int_equal(look_at(cache).changed, 0);
	assert_int_equal(tls_cache_watch(cache, path_of("b"), long_ago, &r), 0);
	assert_int_equal(look_at(cache).changed, 1);
	write_file("a", "more");
	assert_int_equal(look_at(cache).changed, 2);
	assert_int_equal(r.errors + r.warnings, 0);
	tls_report_clear(&r);
	tls_cache_free(cache);
}

static void some_memory_is_left_to_the_traffic(void **state)
{
	available = shm_mem_size / 64;
	assert_false(tls_cache_memory_short());
	available--;
	assert_true(tls_cache_memory_short());
	shm_mem_size = 4ul << 20;
	available = 256 * 1024;
	assert_false(tls_cache_memory_short());
	available--;
	assert_true(tls_cache_memory_short());
}

static int make_folder(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/tls-cache-XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
	unlink(path_of("a"));
	unlink(path_of("b"));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_item_is_loaded_once, begin, end),
		cmocka_unit_test_setup_teardown(many_items_find_a_place, begin, end),
		cmocka_unit_test_setup_teardown(kind_and_password_tell_items_apart, begin, end),
		cmocka_unit_test_setup_teardown(unchanged_files_are_taken_over, begin, end),
		cmocka_unit_test_setup_teardown(after_sealing_nothing_is_taken_over, begin, end),
		cmocka_unit_test_setup_teardown(warnings_are_given_again, begin, end),
		cmocka_unit_test_setup_teardown(what_fails_to_load_is_freed, begin, end),
		cmocka_unit_test_setup_teardown(paths_that_are_too_long_are_an_error, begin, end),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_left, begin, end),
		cmocka_unit_test_setup_teardown(a_written_file_is_a_change, begin, end),
		cmocka_unit_test_setup_teardown(a_new_file_in_a_hashed_folder_is_a_change, begin, end),
		cmocka_unit_test_setup_teardown(a_watched_file_counts_from_when_it_was_read, begin, end),
		cmocka_unit_test_setup_teardown(some_memory_is_left_to_the_traffic, begin, end),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
