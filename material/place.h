/*
 * material/place.h - a file that is being loaded: reading it, and messages about it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_PLACE_H
#define TLS_MATERIAL_PLACE_H

#include "tls.h"
#include "settings/report.h"

struct tls_file;
struct tls_origin;

/* A file that is being loaded, and the setting that names it. */
struct tls_place {
	const char *path;
	const struct tls_origin *from;
	struct tls_report *report;
};

/*
 * Reports "FILE:LINE: SETTING: PATH:LINE: words"; with LINE 0 about the file as a whole. Any process. Never fails:
 * without memory a fixed text takes the place of the words.
 */
void tls_place_say(const struct tls_place *at, enum tls_severity severity, int line, const char *format, ...)
	TLS_FORMAT(4, 5);

/*
 * tls_files_read() of a file with keys, certificates or revocation lists, which is not empty and has at most 64 MB.
 * The caller frees OUT with tls_files_free(). Any process. Returns 0, or -1 with the reason reported and OUT empty.
 */
int tls_place_read(const struct tls_place *at, struct tls_file *out);

#endif
