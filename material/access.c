/*
 * material/access.c - which files the server's user may read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The host starts as root, reads everything, and then becomes the user of its option -u. Files that only root may
 * read work until the first reload. So a child becomes that user at once, groups included, as the host will, and
 * tries to open everything that the configuration names: that takes folders, groups and access lists into account.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* tdestroy() */
#endif
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "material/access.h"
#include "host/compat.h"
#include "host/child.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "tls_config.h"
#include "material/files.h"

/* ---- the user */

bool tls_access_will_change(void)
{
	return geteuid() == 0 && uid > 0;
}

uid_t tls_access_uid(void)
{
	return tls_access_will_change() ? (uid_t)uid : geteuid();
}

gid_t tls_access_gid(void)
{
	return tls_access_will_change() && gid > 0 ? (gid_t)gid : getegid();
}

/* The user NUMBER in ROOM, whose strings are valid until the next call. NULL: no user has that number. */
static struct passwd *find_user(uid_t number, struct passwd *room)
{
	static char strings[4096];
	struct passwd *found = NULL;

	return getpwuid_r(number, room, strings, sizeof(strings), &found) == 0 ? found : NULL;
}

const char *tls_access_user(char *out, size_t size)
{
	struct passwd room, *known = find_user(tls_access_uid(), &room);

	if (known != NULL)
		snprintf(out, size, "%s", known->pw_name);
	else
		snprintf(out, size, "%lu", (unsigned long)tls_access_uid());
	return out;
}

/* In a child: gives up root's rights as the host does. Returns 0 or -1. */
static int become_the_user(void)
{
	struct passwd room;
	const struct passwd *known = find_user((uid_t)uid, &room);

	if (known == NULL || (gid > 0 && setgid((gid_t)gid) != 0))
		return -1;
	return initgroups(known->pw_name, known->pw_gid) == 0 && setuid((uid_t)uid) == 0 ? 0 : -1;
}

struct errand {
	int (*work)(void *arg);
	void *arg;
};

/* The child's whole life. */
static int go_as_user(void *arg)
{
	const struct errand *e = arg;

	return become_the_user() == 0 && e->work(e->arg) == 0 ? 0 : 1;
}

int tls_access_as_user(int (*work)(void *arg), void *arg)
{
	struct errand e = {.work = work, .arg = arg};

	if (!tls_access_will_change())
		return work(arg);
	return tls_child_run(go_as_user, &e) == 0 ? 0 : -1;
}

/* ---- obstacles */

/* The first folder above PATH that this process may not enter, as the length of its path; 0: none. */
static size_t closed_folder(const char *path)
{
	char folder[PATH_MAX];

	for (size_t i = 1; i < sizeof(folder) && path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		memcpy(folder, path, i);
		folder[i] = '\0';
		if (access(folder, X_OK) != 0 && errno == EACCES)
			return i;
	}
	return 0;
}

const char *tls_access_reason(const char *path, char *out, size_t size)
{
	char user_name[64];
	int number = errno;
	size_t n;

	if (number != EACCES)
		return strerror(number);
	n = closed_folder(path);
	tls_access_user(user_name, sizeof(user_name));
	if (n == 0)
		snprintf(out, size, "Permission denied: user %s may not read it", user_name);
	else
		snprintf(out, size, "Permission denied: user %s may not enter the folder %.*s", user_name, (int)n,
		         path);
	return out;
}

/* ---- everything that a configuration names */

/* A file or folder, and where it is named. */
struct target {
	struct target *next;
	struct tls_origin from;
	char *path, *real; /* as it is named, and where links lead */
};

/* What the child found: the obstacle is a folder above one of the two names, LENGTH bytes of it, or (0) the file. */
struct verdict {
	bool denied, above_real;
	size_t length;
};

struct targets {
	struct target *first, **last;
	int count;
	void *names;              /* the paths, each once, for tsearch(3) */
	struct verdict *verdicts; /* as many, in shared memory */
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Whether ALL does not have PATH yet. Without memory: false. */
static bool is_new(struct targets *all, char *path)
{
	char **found = tsearch(path, &all->names, compare);

	return found != NULL && *found == path;
}

/* For tdestroy(): each name is freed with its target. */
static void keep(void *name)
{
	(void)name;
}

static void free_target(struct target *t)
{
	if (t == NULL)
		return;
	free(t->path);
	free(t->real);
	free(t);
}

/* A path that does not exist is passed over: that it could not be loaded is reported already. */
static void add_target(struct targets *all, const char *path, const struct tls_origin *from)
{
	struct target *t = calloc(1, sizeof(*t));

	if (t != NULL) {
		t->path = strdup(path);
		t->real = realpath(path, NULL);
		t->from = *from;
	}
	if (t == NULL || t->path == NULL || (t->real == NULL && errno != EACCES) || !is_new(all, t->path)) {
		free_target(t);
		return;
	}
	*all->last = t;
	all->last = &t->next;
	all->count++;
}

static void add_folder(struct targets *all, const char *folder, const struct tls_origin *from)
{
	DIR *dir = opendir(folder);
	char file[PATH_MAX];
	bool is_crl;

	add_target(all, folder, from);
	while (dir != NULL && tls_files_next_hashed(dir, folder, file, sizeof(file), &is_crl))
		add_target(all, file, from);
	if (dir != NULL)
		closedir(dir);
}

static void add_setting(struct targets *all, const struct tls_section *s, const struct tls_setting *row)
{
	struct tls_origin from = {.file = s->file, .line = s->line, .setting = row->name};
	int line = s->set_lines != NULL ? s->set_lines[row - tls_settings_table] : 0;
	const char *path;

	memcpy(&path, (const char *)&s->settings + row->offset, sizeof(path));
	if (path == NULL || path[0] == '\0')
		return;
	if (line > 0)
		from.line = line;
	if (row->offset == offsetof(struct tls_settings, ca_path))
		add_folder(all, path, &from);
	else
		add_target(all, path, &from);
}

static void add_config(struct targets *all, const struct tls_config *cfg)
{
	struct tls_origin from = {.file = NULL};

	if (cfg->file != NULL)
		add_target(all, cfg->file, &from);
	for (const struct tls_config_file *f = cfg->files; f != NULL; f = f->next)
		add_target(all, f->name, &from);
	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++)
			if ((row->flags & TLS_OF_DOMAIN) != 0 && (row->flags & TLS_IS_PATH) != 0)
				add_setting(all, s, row);
}

static void find_obstacle(const struct target *t, struct verdict *v)
{
	v->denied = true;
	v->length = closed_folder(t->path);
	v->above_real = v->length == 0 && t->real != NULL && strcmp(t->real, t->path) != 0;
	if (v->above_real)
		v->length = closed_folder(t->real);
}

/* As the server's user. */
static int try_all(void *arg)
{
	const struct targets *all = arg;
	struct verdict *v = all->verdicts;

	for (const struct target *t = all->first; t != NULL; t = t->next, v++) {
		int fd = open(t->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd < 0 && errno == EACCES)
			find_obstacle(t, v);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

/* ---- messages */

static const char *group_name(gid_t number, char *out, size_t size)
{
	char strings[4096];
	struct group room, *known = NULL;

	if (getgrgid_r(number, &room, strings, sizeof(strings), &known) == 0 && known != NULL)
		snprintf(out, size, "%s", known->gr_name);
	else
		snprintf(out, size, "%lu", (unsigned long)number);
	return out;
}

static void obstacle_name(const struct target *t, const struct verdict *v, char out[PATH_MAX])
{
	const char *path = v->above_real ? t->real : t->path;

	snprintf(out, PATH_MAX, "%.*s", (int)(v->length > 0 ? v->length : strlen(path)), path);
}

/* How many of the targets after T (its verdict is V) have the same OBSTACLE: they are not reported again. */
static int count_others(const struct target *t, struct verdict *v, const char *obstacle)
{
	char other[PATH_MAX];
	int count = 0;

	while ((t = t->next) != NULL) {
		v++;
		if (!v->denied)
			continue;
		obstacle_name(t, v, other);
		if (strcmp(obstacle, other) == 0) {
			v->denied = false;
			count++;
		}
	}
	return count;
}

/* One warning for each obstacle, however many files are behind it. */
static void tell(const struct target *t, struct verdict *v, struct tls_report *r)
{
	char user_name[64], group_of_user[64], obstacle[PATH_MAX], more[64] = "";
	bool folder = v->length > 0;
	int others;

	obstacle_name(t, v, obstacle);
	others = count_others(t, v, obstacle);
	if (others > 0)
		snprintf(more, sizeof(more), " (and %d more)", others);
	tls_access_user(user_name, sizeof(user_name));
	group_name(tls_access_gid(), group_of_user, sizeof(group_of_user));
	tls_report_add(
		r, TLS_WARNING, t->from.file, t->from.line, t->from.setting,
		"%s%s: the server runs as user %s, who may not %s %s: no reload can load a renewed file; run chgrp "
		"%s and chmod %s on that, or have each renewal copy the files (doc/certificates.md)",
		t->path, more, user_name, folder ? "enter" : "read", folder || v->above_real ? obstacle : "it",
		group_of_user, folder ? "g+x" : "g+r");
}

static void free_targets(struct targets *all)
{
	struct target *next;

	tdestroy(all->names, keep);
	for (struct target *t = all->first; t != NULL; t = next) {
		next = t->next;
		free_target(t);
	}
}

/* Tries ALL and reports. Returns 0, -1 when no process could become the user. */
static int try_and_tell(struct targets *all, struct tls_report *r)
{
	struct verdict *v = tls_mem_shared_alloc((size_t)all->count * sizeof(*v));
	int result;

	if (v == NULL)
		return -1;
	all->verdicts = v;
	result = tls_access_as_user(try_all, all);
	for (const struct target *t = all->first; t != NULL; t = t->next, v++)
		if (v->denied)
			tell(t, v, r);
	tls_mem_shared_free(all->verdicts);
	return result;
}

int tls_access_check(const struct tls_config *cfg, struct tls_report *r)
{
	struct targets all = {.last = &all.first};
	int before = r->warnings;

	if (tls_access_uid() == 0)
		return 0;
	add_config(&all, cfg);
	if (all.count > 0 && try_and_tell(&all, r) != 0)
		tls_report_add(
			r, TLS_WARNING, cfg->file, 0, NULL,
			"it is not known whether the server's user may read the files: no process could become that user");
	free_targets(&all);
	return r->warnings - before;
}
