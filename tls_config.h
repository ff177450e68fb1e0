/*
 * tls_config.h - a configuration: the sections of tls.cfg, or those that the module parameters make
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONFIG_H
#define TLS_CONFIG_H

#include "tls.h"
#include "settings/section.h"
#include "settings/table.h"

struct tls_report;

/* A file that was read. */
struct tls_config_file {
	struct tls_config_file *next;
	char name[];
};

/* The sections are in the order of the files. Both default sections are always there, anywhere in that order. */
struct tls_config {
	char *file;      /* the file or folder that it was read from; NULL: made from module parameters */
	int64_t read_at; /* when reading began, in nanoseconds since 1970; 0: unknown */
	struct tls_config_file *files;
	struct tls_section *sections;
	bool unsure; /* a mistake in a file may have been meant as one of the default sections */
};

/*
 * Reads TEXT, the SIZE bytes of the file PATH. Settings that a section does not set have their defaults; relative paths
 * are not resolved. Reports every problem of the file, not only the first. Returns the configuration even when R then
 * holds errors (free it with tls_config_free()); NULL only when memory is short (reported).
 */
struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r);

/*
 * The same in three steps, for several files: an empty configuration, then the sections of each file, then defaults and
 * the checks that need all sections. FILE and R may be NULL. They return NULL or -1 only when memory is short (reported).
 */
struct tls_config *tls_config_new(const char *file, struct tls_report *r);
int tls_config_add(struct tls_config *cfg, const char *path, const char *text, size_t size,
                   struct tls_report *r);
int tls_config_finish(struct tls_config *cfg, struct tls_report *r);

/* The two default sections with the module parameters S. NULL when memory is short. */
struct tls_config *tls_config_from_params(const struct tls_settings *s);

/*
 * Makes every path of CFG absolute: "/..." is unchanged, a path that begins with "." is relative to WORK_DIR, any other
 * to MAIN_DIR, the folder of the main configuration file. Returns 0, -1 when memory is short.
 */
int tls_config_resolve(struct tls_config *cfg, const char *main_dir, const char *work_dir);

/* The same for one path: a malloc'ed string, NULL when memory is short. */
char *tls_config_resolve_path(const char *path, const char *main_dir, const char *work_dir);

void tls_config_free(struct tls_config *cfg);

#endif
