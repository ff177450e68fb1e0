/*
 * material/stamp.h - numbers that change when files are written or replaced
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_STAMP_H
#define TLS_MATERIAL_STAMP_H

#include "tls.h"

/* Numbers that change when the file is written or replaced, or the folder or a hashed file in it. */
struct tls_stamp {
	uint64_t file, folder, crl;
};

/* In place of a number: this process's user may not look, so whether anything has changed is unknown. */
#define TLS_STAMP_HIDDEN UINT64_MAX

/* The stamp of up to three paths; NULL: none. Any process. */
struct tls_stamp tls_stamp_take(const char *file, const char *folder, const char *crl);

/* H with STAMP in it. */
uint64_t tls_stamp_mix(uint64_t h, const struct tls_stamp *stamp);

#endif
