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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls_config_files.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/files.h"

#define FILE_SIZE_MAX (16 * 1024 * 1024)

static void say_not_opened(struct tls_report *r, const char *path, int number)
{
	tls_report_add(r, TLS_ERROR, path, 0, NULL, "cannot be opened: %s; check its name and permissions",
	               strerror(number));
}

/* Adds the sections of the file PATH to CFG. Returns 0, -1 when it cannot be read (reported). */
static int add_file(struct tls_config *cfg, const char *path, struct tls_report *r)
{
	char why[256];
	struct tls_file file;
	int result = tls_files_read(path, FILE_SIZE_MAX, &file, why, sizeof(why));

	if (result > 0)
		say_not_opened(r, path, result);
	else if (result < 0)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "%s", why);
	else
		result = tls_config_add(cfg, path, file.data, file.size, r);
	tls_files_free(&file);
	return result == 0 ? 0 : -1;
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
		say_not_opened(r, folder, errno);
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
