/*
 * material/place.h - a file that is being loaded, for messages about it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_PLACE_H
#define TLS_MATERIAL_PLACE_H

#include "tls.h"
#include "settings/report.h"

struct tls_origin;

/* A file that is being loaded, and the setting that names it. */
struct tls_place {
	const char *path;
	const struct tls_origin *from;
	struct tls_report *report;
};

/* "FILE:LINE: SETTING: PATH:LINE: words"; LINE 0: of the file as a whole. Never fails. */
void tls_place_say(const struct tls_place *at, enum tls_severity severity, int line, const char *format, ...)
	TLS_FORMAT(4, 5);

#endif
