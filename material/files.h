/*
 * material/files.h - reading files whole, and walking hashed folders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_FILES_H
#define TLS_MATERIAL_FILES_H

#include <dirent.h>

#include "tls.h"

/* The content of a file, in private memory. */
struct tls_file {
	char *data;
	size_t size;
};

/*
 * Reads the regular file PATH, of at most MOST bytes, whole into OUT, which the caller frees with tls_files_free(). A
 * file that somebody writes to meanwhile is not accepted. Any process; never waits for a pipe or a device. Returns 0.
 * Otherwise OUT is empty and WHY, WHY_SIZE bytes, has the reason: errno's number is returned when the file could not
 * be opened, -1 when anything else is wrong.
 */
int tls_files_read(const char *path, size_t most, struct tls_file *out, char *why, size_t why_size);

/* Wipes and frees what FILE holds, and empties it. */
void tls_files_free(struct tls_file *file);

/*
 * The next file of DIR, which is FOLDER, with a name as "openssl rehash" gives them, as a path in OUT, SIZE bytes.
 * Returns false at the end.
 */
bool tls_files_next_hashed(DIR *dir, const char *folder, char *out, size_t size, bool *is_crl);

#endif
