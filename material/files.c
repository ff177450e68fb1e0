/*
 * material/files.c - reading files whole, and walking hashed folders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "material/files.h"

/* A text in WHY. Returns -1. */
static int refuse(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return -1;
}

static int refuse_errno(char *why, size_t size)
{
	snprintf(why, size, "cannot be read: %s", strerror(errno));
	return -1;
}

/* Fills OUT as far as the file goes, *GOT bytes. Returns 0, -1 with errno set. */
static int read_bytes(int fd, struct tls_file *out, size_t *got)
{
	ssize_t n = 1;

	*got = 0;
	while (*got < out->size && n != 0) {
		n = read(fd, out->data + *got, out->size - *got);
		if (n < 0 && errno != EINTR)
			return -1;
		*got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static bool same_state(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * Half of an old file and half of a new one may parse, so a file that is written to meanwhile is refused. One byte
 * more is asked for than there should be, as the file may have grown.
 */
static int read_all(int fd, const struct stat *before, struct tls_file *out, char *why, size_t why_size)
{
	struct stat after;
	size_t got;

	out->size = (size_t)before->st_size + 1;
	out->data = malloc(out->size);
	if (out->data == NULL)
		return refuse(why, why_size, "no memory to read it");
	if (read_bytes(fd, out, &got) != 0 || fstat(fd, &after) != 0)
		return refuse_errno(why, why_size);
	if (got != (size_t)before->st_size || !same_state(before, &after))
		return refuse(why, why_size, "changed while it was being read; try again");
	out->size = got;
	return 0;
}

static int read_open(int fd, size_t most, struct tls_file *out, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return refuse_errno(why, why_size);
	if (!S_ISREG(st.st_mode))
		return refuse(why, why_size, "is not a regular file; name one instead");
	if ((uint64_t)st.st_size <= most)
		return read_all(fd, &st, out, why, why_size);
	snprintf(why, why_size, "is larger than %zu MB; check that it is the right file", most >> 20);
	return -1;
}

int tls_files_read(const char *path, size_t most, struct tls_file *out, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int number = errno, result;

	*out = (struct tls_file){0};
	if (fd < 0) {
		refuse(why, why_size, strerror(number));
		return number;
	}
	result = read_open(fd, most, out, why, why_size);
	close(fd);
	if (result != 0)
		tls_files_free(out);
	return result;
}

void tls_files_free(struct tls_file *file)
{
	if (file->data != NULL)
		explicit_bzero(file->data, file->size);
	free(file->data);
	*file = (struct tls_file){0};
}

/* Whether NAME is one that "openssl rehash" gives: eight hexadecimal digits, a dot, "r" for a CRL, a number. */
static bool is_hashed_name(const char *name, bool *is_crl)
{
	size_t hex = strspn(name, "0123456789abcdef");
	const char *rest = name + hex;

	if (hex != 8 || *rest++ != '.')
		return false;
	*is_crl = *rest == 'r';
	rest += *is_crl ? 1 : 0;
	return *rest != '\0' && strspn(rest, "0123456789") == strlen(rest);
}

bool tls_files_next_hashed(DIR *dir, const char *folder, char *out, size_t size, bool *is_crl)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		if (is_hashed_name(entry->d_name, is_crl) &&
		    snprintf(out, size, "%s/%s", folder, entry->d_name) < (int)size)
			return true;
	return false;
}
