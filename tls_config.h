/*
 * tls_config.h - the domains' file: sections, parser, and where each setting comes from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONFIG_H
#define TLS_CONFIG_H

#include "tls.h"
#include "settings/table.h"

struct tls_report;

enum tls_section_kind { TLS_SECTION_DEFAULT, TLS_SECTION_ANY, TLS_SECTION_ADDRESS };

/* A section of tls.cfg, or the two that the module parameters make. */
struct tls_section {
	struct tls_section *next;
	enum tls_role role;
	enum tls_section_kind kind;
	struct tls_address address;
	const char *file; /* that it stands in, of the configuration's; NULL: no file */
	int line;         /* of the section's head, 0: no file */
	int *
		set_lines; /* line at which each row of the table was set, 0: not set here; below 0: to a bad value */
	bool unsure;   /* a mistake may have been meant to set what is not set */
	struct tls_settings settings;
};

/* A file that was read. */
struct tls_config_file {
	struct tls_config_file *next;
	char name[];
};

/* Sections in the files' order; both default sections are always there, in whatever order. */
struct tls_config {
	char *file;      /* what it was read from, a file or a folder; NULL: made from module parameters */
	int64_t read_at; /* when reading began, in nanoseconds since 1970; 0: unknown */
	struct tls_config_file *files;
	struct tls_section *sections;
	bool unsure; /* a mistake may have been meant as one of the default sections */
};

/*
 * Reads TEXT, the SIZE bytes of the domains' file PATH. Presets fill what a section does not set; relative
 * paths stay as they are written. Every problem of the file is reported, not only the first. Returns the
 * configuration (free it with tls_config_free()) even when R then holds errors; NULL only when memory is
 * short.
 */
struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r);

/*
 * As tls_config_parse(), from the file itself; when PATH is a folder, from all regular files in it, in the
 * order of their names, as one configuration. NULL when it, or a file in it, cannot be read (reported).
 */
struct tls_config *tls_config_read(const char *path, struct tls_report *r);

/* The configuration that module parameters alone make: the two default sections, both from S. */
struct tls_config *tls_config_from_params(const struct tls_settings *s);

/*
 * Makes every path of CFG absolute: "/..." stays, what begins with "." is relative to WORK_DIR, all else to
 * MAIN_DIR, the folder of the main configuration file. Returns 0, -1 when memory is short.
 */
int tls_config_resolve(struct tls_config *cfg, const char *main_dir, const char *work_dir);

/* The same for one path: a malloc'ed string, NULL when memory is short. */
char *tls_path_resolve(const char *path, const char *main_dir, const char *work_dir);

void tls_config_free(struct tls_config *cfg);

/*
 * "server:default", "client:127.0.0.1:5061", "server:[::1]:5061", "server:any", with " (name)" when SECTION
 * has a server_name or server_id. Returns OUT.
 */
const char *tls_section_name(const struct tls_section *section, char *out, size_t size);

/* Where a setting came from, for messages: FILE NULL and LINE 0 for module parameters. */
struct tls_origin {
	const char *file;
	int line;
	const char *setting;
};

/* Where SETTING of SECTION was set; the section's head where it was not. */
struct tls_origin tls_section_origin(const struct tls_section *section, const char *setting);

/*
 * Whether SECTION does not set SETTING only because of a mistake in it, which is reported: then nothing more is
 * to be said of that.
 */
bool tls_section_unsure(const struct tls_section *section, const char *setting);

#endif
