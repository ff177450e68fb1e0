/* links: BENCH -Wl,--wrap=read */
/*
 * test_files.c - files that change while they are read, and files that the user may not read
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "settings/report.h"
#include "tls_reload.h"
#include "bench.h"
#include "fake_host.h"
#include "fake_memory.h"

static const char domains[] = "[server:default]\n"
							  "certificate = @/server.pem\n"
							  "private_key = @/server.key\n"
							  "ca_list = @/ca.pem\n"
							  "[client:default]\n";

/* ---- somebody who writes to a file while it is read */

static const char *victim; /* its name in the folder, NULL: nobody writes */
static void (*write_to)(const char *path);

/* Whether FD is the file PATH. */
static bool is_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);

/* The first half comes from the file as it was. */
ssize_t __wrap_read(int fd, void *to, size_t size)
{
	const char *path = victim != NULL ? bench_path(victim) : NULL;
	ssize_t n;

	if (path == NULL || !is_file(fd, path))
		return __real_read(fd, to, size);
	victim = NULL;
	n = __real_read(fd, to, size / 2);
	write_to(path);
	return n;
}

static void shrink(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size * 3 / 4), 0);
}

static void empty(const char *path)
{
	assert_int_equal(truncate(path, 0), 0);
}

static void grow(const char *path)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	assert_true(fputs("# more\n", f) > 0);
	fclose(f);
}

/* As long as before, and as good: only its time tells. */
static void write_over(const char *path)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
	FILE *f = fopen(path, "r+");

	assert_non_null(f);
	assert_true(fputc('-', f) > 0);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(futimens(fileno(f), times), 0);
	fclose(f);
}

/* What FILE holds; the caller frees it. */
static char *content_of(const char *file)
{
	FILE *f = fopen(bench_path(file), "r");
	char *text = calloc(1, 65536);

	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, f) > 0);
	fclose(f);
	return text;
}

/* Whether the error in R is about FILE, and the one that is wanted. */
static bool is_error(const struct tls_report *r, const char *file)
{
	const struct tls_problem *p = r->first;

	while (p != NULL && p->severity != TLS_ERROR)
		p = p->next;
	if (p != NULL && strstr(p->text, file) != NULL &&
	    strstr(p->text, "changed while it was being read; try again") != NULL)
		return true;
	printf("%s\n", p != NULL ? p->text : "no error");
	return false;
}

static void a_file_that_changes_while_it_is_read(void **state)
{
	static const char *const files[] = {"server.pem", "server.key", "ca.pem"};
	static void (*const changes[])(const char *path) = {shrink, empty, grow, write_over};

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		char *text = content_of(files[i / 4]);
		struct tls_report r;

		tls_report_init(&r);
		bench_write(files[i / 4], text); /* else it is not read again */
		victim = files[i / 4];
		write_to = changes[i % 4];
		tls_reload_check(&r);
		assert_null(victim);
		assert_int_equal(r.errors, 1);
		assert_true(is_error(&r, files[i / 4]));
		tls_report_clear(&r);
		bench_write(files[i / 4], text);
		free(text);
		tls_reload_check(&r);
		assert_int_equal(r.errors, 0);
		tls_report_clear(&r);
	}
}

/* ---- memory */

static bool watcher_says(const char *words)
{
	fake_host_clear();
	tls_reload_watch(0, NULL);
	return strstr(fake_host_log(), words) != NULL;
}

/* Too little memory says nothing about the files: they are loaded as soon as there is enough. */
static void files_for_which_memory_was_short_are_tried_again(void **state)
{
	char *text = content_of("server.pem");

	(void)state;
	bench_write("server.pem", text);
	free(text);
	fake_memory_pretend_left(1024);
	assert_true(watcher_says("cannot be used"));
	assert_true(watcher_says("cannot be used"));
	fake_memory_pretend_left(0);
	assert_true(watcher_says("serves new connections"));
	assert_false(watcher_says("has changed"));
}

/* ---- files that the server's user may not read, in a child that is somebody else */

static int count_in_log(const char *words)
{
	int count = 0;

	for (const char *at = fake_host_log(); (at = strstr(at, words)) != NULL; at++)
		count++;
	return count;
}

/* Looks at the files each hour for so many hours. Returns how often it was said that they cannot be read. */
static int said_within(int hours)
{
	fake_host_clear();
	for (int i = 0; i < hours; i++) {
		tls_reload_watch(0, NULL);
		fake_host_pass(3600);
	}
	return count_in_log("may not read");
}

static int look_as_nobody(void)
{
	const uid_t nobody = 65534;

	if (setresuid(nobody, nobody, nobody) != 0)
		return 1;
	if (said_within(24) != 1 || said_within(24) != 1 || said_within(72) != 3)
		return 2;
	return count_in_log("has changed") == 0 ? 0 : 3;
}

static void what_cannot_be_read_is_said_each_day(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork(); /* the folder is its maker's alone */
	if (pid == 0)
		_exit(look_as_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(said_within(24), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_changes_while_it_is_read),
		cmocka_unit_test(files_for_which_memory_was_short_are_tried_again),
		cmocka_unit_test(what_cannot_be_read_is_said_each_day),
	};

	if (bench_prepare() != 0 || bench_start(domains) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
