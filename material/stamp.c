/*
 * material/stamp.c - what files are like, so that a change shows
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

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size-- > 0)
		h = (h ^ *p++) * UINT64_C(1099511628211);
	return h;
}

/* What changes when PATH is written or replaced. A path of NULL is nothing. */
static uint64_t stamp_file(const char *path)
{
	struct stat st;
	uint64_t h = 0;

	if (path == NULL)
		return h;
	if (stat(path, &st) != 0)
		return errno == EACCES ? TLS_STAMP_HIDDEN : mix(h, &errno, sizeof(errno));
	h = mix(h, &st.st_dev, sizeof(st.st_dev));
	h = mix(h, &st.st_ino, sizeof(st.st_ino));
	h = mix(h, &st.st_size, sizeof(st.st_size));
	h = mix(h, &st.st_mtim, sizeof(st.st_mtim));
	return mix(h, &st.st_ctim, sizeof(st.st_ctim));
}

/* The sum of the files' stamps does not depend on the order in which the folder gives them. */
static uint64_t stamp_folder(const char *path)
{
	uint64_t h = stamp_file(path), one = 0;
	DIR *dir = path != NULL && h != TLS_STAMP_HIDDEN ? opendir(path) : NULL;
	char file[PATH_MAX];
	bool is_crl;

	if (dir == NULL)
		return path != NULL && errno == EACCES ? TLS_STAMP_HIDDEN : h;
	while (one != TLS_STAMP_HIDDEN && tls_folder_next(dir, path, file, sizeof(file), &is_crl)) {
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
	return mix(h, stamp, sizeof(*stamp));
}

/*
 * Whether NAME is one that "openssl rehash" gives: eight hexadecimal digits, a dot, "r" for a CRL, a number.
 */
static bool hashed_name(const char *name, bool *is_crl)
{
	size_t hex = strspn(name, "0123456789abcdef");
	const char *rest = name + hex;

	if (hex != 8 || *rest++ != '.')
		return false;
	*is_crl = *rest == 'r';
	rest += *is_crl ? 1 : 0;
	return *rest != '\0' && strspn(rest, "0123456789") == strlen(rest);
}

bool tls_folder_next(DIR *dir, const char *folder, char *out, size_t size, bool *is_crl)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		if (hashed_name(entry->d_name, is_crl) &&
		    snprintf(out, size, "%s/%s", folder, entry->d_name) < (int)size)
			return true;
	return false;
}
