/*
 * material/stamp.c - numbers that change when files are written or replaced
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "material/stamp.h"
#include "tls_hash.h"
#include "material/files.h"

/* What changes when PATH is written or replaced. A path of NULL is nothing. */
static uint64_t stamp_file(const char *path)
{
	struct stat st;
	uint64_t h = 0;

	if (path == NULL)
		return h;
	if (stat(path, &st) != 0)
		return errno == EACCES ? TLS_STAMP_HIDDEN : tls_hash_bytes(h, &errno, sizeof(errno));
	h = tls_hash_bytes(h, &st.st_dev, sizeof(st.st_dev));
	h = tls_hash_bytes(h, &st.st_ino, sizeof(st.st_ino));
	h = tls_hash_bytes(h, &st.st_size, sizeof(st.st_size));
	h = tls_hash_bytes(h, &st.st_mtim, sizeof(st.st_mtim));
	return tls_hash_bytes(h, &st.st_ctim, sizeof(st.st_ctim));
}

/* A sum of the files' stamps, since a folder gives them in any order. */
static uint64_t stamp_folder(const char *path)
{
	uint64_t h = stamp_file(path), one = 0;
	DIR *dir = path != NULL && h != TLS_STAMP_HIDDEN ? opendir(path) : NULL;
	char file[PATH_MAX];
	bool is_crl;

	if (dir == NULL)
		return path != NULL && errno == EACCES ? TLS_STAMP_HIDDEN : h;
	while (one != TLS_STAMP_HIDDEN && tls_files_next_hashed(dir, path, file, sizeof(file), &is_crl)) {
		one = stamp_file(file);
		h += one;
	}
	closedir(dir);
	return one != TLS_STAMP_HIDDEN ? h : TLS_STAMP_HIDDEN;
}

struct tls_stamp tls_stamp_take(const char *file, const char *folder, const char *crl)
{
	struct tls_stamp stamp = {
		.file = stamp_file(file), .folder = stamp_folder(folder), .crl = stamp_file(crl)};

	return stamp;
}

uint64_t tls_stamp_mix(uint64_t h, const struct tls_stamp *stamp)
{
	return tls_hash_bytes(h, stamp, sizeof(*stamp));
}
