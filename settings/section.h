/*
 * settings/section.h - a section of tls.cfg: what it is for, what it sets, and in which line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * All memory is libc's. Nothing here keeps state or locks: any process may call it.
 */
#ifndef TLS_SETTINGS_SECTION_H
#define TLS_SETTINGS_SECTION_H

#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"

enum tls_section_kind { TLS_SECTION_DEFAULT, TLS_SECTION_ANY, TLS_SECTION_ADDRESS };

/* A section of tls.cfg, or one of the two that the module parameters make. */
struct tls_section {
	struct tls_section *next;
	enum tls_role role;
	enum tls_section_kind kind;
	struct tls_address address;
	const char *file; /* the file with the section, owned by the configuration; NULL: no file */
	int line;         /* line of the section's head, 0: no file */
	int *
		set_lines; /* by row of the table: the line that sets it, 0: not set here; below 0: set to a bad value */
	bool unsure; /* a mistake in the file may have been meant to set something that is not set */
	struct tls_settings settings;
};

/* An empty section, its memory for set_lines included; free it with tls_sections_free(). NULL when memory is short. */
struct tls_section *tls_section_new(enum tls_role role, const char *file, int line);

/* Frees SECTION (NULL: none) and those that follow it. */
void tls_sections_free(struct tls_section *section);

/*
 * "server:default", "client:127.0.0.1:5061", "server:[::1]:5061", "server:any", with " (name)" when SECTION has a
 * server_name or server_id; cut off where it does not fit. Returns OUT.
 */
const char *tls_section_name(const struct tls_section *section, char *out, size_t size);

/* "server" or "client". */
const char *tls_section_role(enum tls_role role);

/* The entry of SECTION's set_lines for ROW. */
int *tls_section_line(const struct tls_section *section, const struct tls_setting *row);

/* Where a setting comes from, for messages: FILE NULL and LINE 0 for module parameters. */
struct tls_origin {
	const char *file;
	int line;
	const char *setting;
};

/* The line of SECTION that sets SETTING; where none does, the line of its head. */
struct tls_origin tls_section_origin(const struct tls_section *section, const char *setting);

/*
 * Whether SECTION may lack a value for SETTING only because of a mistake in the file. That mistake has been reported, so
 * messages about the missing value would be misleading.
 */
bool tls_section_unsure(const struct tls_section *section, const char *setting);

/* Orders sections by the names of their files, which are read in that order, then by line. Below 0: A comes first. */
int tls_section_compare_positions(const struct tls_section *a, const struct tls_section *b);

/*
 * Gives SECTION, once all of it is read, what it does not set itself: the switches that verify_client stands for, and the
 * defaults. Contradictions go to R. Returns 0, -1 when memory is short.
 */
int tls_section_complete(struct tls_section *section, struct tls_report *r);

/*
 * Reports to R each section, of FIRST and those that follow it, that no connection could tell from an earlier one.
 * Returns 0, -1 when memory is short.
 */
int tls_sections_check(const struct tls_section *first, struct tls_report *r);

#endif
