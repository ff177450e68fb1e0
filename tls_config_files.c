/*
 * tls_config_files.c - the files that the setting "config" names
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls_config_files.h"
#include "settings/report.h"
#include "tls_config.h"

#define FILE_SIZE_MAX (16 * 1024 * 1024)

static void say_not_opened(struct tls_report *r, const char *path)
{
	tls_report_add(r, TLS_ERROR, path, 0, NULL, "cannot be opened: %s; check its name and permissions",
	               strerror(errno));
}

/* The SIZE bytes of PATH, malloc'ed; NULL (reported) when it cannot be read, or somebody is writing it. */
static char *read_text(const char *path, size_t size, struct tls_report *r)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(size + 1) : NULL;
	size_t have = 0;
	ssize_t n = 0;

	while (text != NULL && have <= size && (n = read(fd, text + have, size + 1 - have)) > 0)
		have += (size_t)n;
	if (fd < 0)
		say_not_opened(r, path);
	else if (text == NULL)
		tls_report_no_memory(r, path);
	else if (n < 0)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "cannot be read: %s", strerror(errno));
	else if (have != size)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "changed while it was being read; try again");
	if (fd >= 0)
		close(fd);
	if (n == 0 && have == size)
		return text;
	free(text);
	return NULL;
}

/* Adds the sections of the file PATH to CFG. Returns 0, -1 when it cannot be read (reported). */
static int add_file(struct tls_config *cfg, const char *path, struct tls_report *r)
{
	struct stat st;
	char *text = NULL;
	int result = -1;

	if (stat(path, &st) < 0)
		say_not_opened(r, path);
	else if (!S_ISREG(st.st_mode))
		tls_report_add(r, TLS_ERROR, path, 0, NULL,
		               "is not a regular file; set config to a regular file or a folder");
	else if (st.st_size > FILE_SIZE_MAX)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "is larger than %d MB; check that it is the right file",
		               FILE_SIZE_MAX >> 20);
	else
		text = read_text(path, (size_t)st.st_size, r);
	if (text != NULL) {
		result = tls_config_add(cfg, path, text, (size_t)st.st_size, r);
		explicit_bzero(text, (size_t)st.st_size);
	}
	free(text);
	return result;
}

/* The same for FOLDER/NAME; does nothing if that is a folder, a pipe or the like. */
static int add_entry(struct tls_config *cfg, const char *folder, const char *name, struct tls_report *r)
{
	struct stat st;
	int result = 0;
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		tls_report_no_memory(r, folder);
		return -1;
	}
	if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
		result = add_file(cfg, path, r);
	free(path);
	return result;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The same for all files of FOLDER, whatever their names. */
static int add_folder(struct tls_config *cfg, const char *folder, struct tls_report *r)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, compare_names), result = 0;

	if (count < 0) {
		say_not_opened(r, folder);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (add_entry(cfg, folder, entries[i]->d_name, r) < 0)
			result = -1;
		free(entries[i]);
	}
	free(entries);
	return result;
}

struct tls_config *tls_config_files_read(const char *path, struct tls_report *r)
{
	struct tls_config *cfg = tls_config_new(path, r);
	int result = -1;
	struct stat st;

	if (cfg != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		result = add_folder(cfg, path, r);
	else if (cfg != NULL)
		result = add_file(cfg, path, r);
	if (result == 0 && tls_config_finish(cfg, r) == 0)
		return cfg;
	tls_config_free(cfg);
	return NULL;
}
