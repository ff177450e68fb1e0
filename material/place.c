/*
 * material/place.c - a file that is being loaded: reading it, and messages about it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vasprintf() */
#endif
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "material/place.h"
#include "tls_config.h"
#include "material/access.h"
#include "material/files.h"

#define FILE_MAX ((size_t)64 * 1024 * 1024)

void tls_place_say(const struct tls_place *at, enum tls_severity severity, int line, const char *format, ...)
{
	char number[16] = "", *words;
	va_list args;

	va_start(args, format);
	if (vasprintf(&words, format, args) < 0)
		words = NULL;
	va_end(args);
	if (line > 0)
		snprintf(number, sizeof(number), ":%d", line);
	tls_report_add(at->report, severity, at->from->file, at->from->line, at->from->setting, "%s%s: %s",
	               at->path, number,
	               words != NULL ? words : "there is no memory to say what is wrong with it");
	free(words);
}

/* A file of /proc is empty by its size, whatever reading it gives. */
static bool is_empty(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

int tls_place_read(const struct tls_place *at, struct tls_file *out)
{
	char room[PATH_MAX + 128];
	const char *reason = room;
	bool empty = is_empty(at->path); /* before: the file may become empty while it is read */
	int result = tls_files_read(at->path, FILE_MAX, out, room, sizeof(room));

	if (result == 0 && out->size > 0)
		return 0;
	if (result > 0) {
		errno = result;
		reason = tls_access_reason(at->path, room, sizeof(room));
	} else if (result == 0 || empty) {
		reason = "the file is empty";
	}
	tls_place_say(at, TLS_ERROR, 0, "%s", reason);
	tls_files_free(out);
	return -1;
}
