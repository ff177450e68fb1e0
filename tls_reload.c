/*
 * tls_reload.c - builds a generation from the configuration: at the start, and again at each reload
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tls_reload.h"
#include "tls.h"
#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "tls_config.h"
#include "tls_config_files.h"
#include "settings/advice.h"
#include "settings/runtime.h"
#include "material/access.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "material/cache.h"
#include "tls_domain.h"
#include "tls_generation.h"

/* In shared memory. `lock` is held during a whole reload; others try it but never wait for it. */
struct shared {
	gen_lock_t lock;
};

static struct shared *shared;
static const struct tls_settings *params;

void tls_reload_log(const struct tls_report *r)
{
	for (const struct tls_problem *p = r->first; p != NULL; p = p->next) {
		if (p->severity == TLS_ERROR)
			LM_ERR("%s\n", p->text);
		else
			LM_WARN("%s\n", p->text);
	}
}

const char *tls_reload_folder(char *out, size_t size)
{
	if (cfg_file == NULL || strlen(cfg_file) >= size)
		return CFG_DIR;
	strcpy(out, cfg_file);
	return dirname(out);
}

static int64_t nanoseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/*
 * The time on the clock of file times, which advances in steps. If PATH (NULL: none) was changed in the current step, waits
 * for the next one; otherwise it could not be told later whether that change came before or after reading. Waits at most
 * 20 ms, as a file may also have a time in the future.
 */
static int64_t reading_time(const char *path)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct timespec now;
	struct stat st;

	for (int i = 0; i < 20; i++) {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (path == NULL || stat(path, &st) != 0 || nanoseconds(&st.st_ctim) < nanoseconds(&now))
			break;
		nanosleep(&pause, NULL);
	}
	return nanoseconds(&now);
}

/* The configuration from the file or the module parameters, with absolute paths. NULL with the reason in R. */
static struct tls_config *read_config(struct tls_report *r)
{
	char folder_room[PATH_MAX], work[PATH_MAX];
	const char *folder = tls_reload_folder(folder_room, sizeof(folder_room));
	const char *file = tls_runtime_options()->config;
	struct tls_config *cfg = NULL;
	char *path = NULL;
	int64_t read_at;

	if (getcwd(work, sizeof(work)) == NULL)
		strcpy(work, "/");
	if (file != NULL && file[0] != '\0')
		path = tls_config_resolve_path(file, folder, work);
	read_at = reading_time(path);
	if (file == NULL || file[0] == '\0')
		cfg = tls_config_from_params(params);
	else if (path != NULL)
		cfg = tls_config_files_read(path, r);
	free(path);
	if (cfg != NULL && tls_config_resolve(cfg, folder, work) != 0) {
		tls_config_free(cfg);
		cfg = NULL;
	}
	if (cfg != NULL)
		cfg->read_at = read_at;
	if (cfg == NULL && r->errors == 0)
		tls_report_add(r, TLS_ERROR, file, 0, NULL, "out of memory while reading the configuration");
	return cfg;
}

/* Whether CFG has a section that is written in a file; without one it has only defaults to check. */
static bool has_section(const struct tls_config *cfg)
{
	const struct tls_section *s = cfg->sections;

	while (s != NULL && s->line == 0) /* a default that was added */
		s = s->next;
	return s != NULL;
}

/* Whether the start or a reload has reported that the server cannot read its files. */
static bool told_of_files;

/* Builds a generation from the files as they are now, without installing it. NULL with the reasons in R. */
static struct tls_generation *load(struct tls_report *r)
{
	struct tls_config *cfg = read_config(r);
	struct tls_generation *g = NULL;

	if (cfg != NULL && r->errors == 0)
		tls_advice_add(cfg, tls_runtime_options()->unknown_server_name != 0, r);
	if (cfg != NULL && (r->errors == 0 || has_section(cfg))) {
		int before = r->errors;

		g = tls_generation_build(cfg, r);
		if (g != NULL || tls_access_will_change())
			told_of_files = tls_access_check(cfg, r) > 0;
		if (g != NULL && before > 0) {
			tls_generation_discard(g);
			g = NULL;
		}
	}
	tls_config_free(cfg);
	return g;
}

/*
 * Logs in one line the client sections of G that do not verify servers. A notice rather than a warning, and only at the
 * start: it is the default, also on servers that never connect to others.
 */
static void tell_of_unverified(struct tls_generation *g)
{
	char names[800] = "";
	bool more = false;

	for (struct tls_domain *d = NULL; (d = tls_domain_next(g, d)) != NULL;) {
		size_t used = strlen(names);

		if (d->role != TLS_CLIENT || (d->verify && !d->accept_any))
			continue;
		if (used + strlen(d->name) + sizeof(", ") > sizeof(names))
			more = true;
		else
			sprintf(names + used, "%s%s", used > 0 ? ", " : "", d->name);
	}
	if (names[0] != '\0' || more)
		LM_NOTICE("server certificates are not verified in %s%s, so anyone on the network path can "
		          "pose as the server; set verify_certificate, ca_list and verify_name\n",
		          names, more ? " and others" : "");
}

int tls_reload_start(const struct tls_settings *s)
{
	struct tls_generation *g;
	struct tls_report r;

	params = s;
	shared = tls_mem_shared_alloc(sizeof(*shared));
	if (shared == NULL || lock_init(&shared->lock) == NULL) {
		LM_ERR("no shared memory; give Kamailio more with -m\n");
		return -1;
	}
	tls_report_init(&r);
	g = load(&r);
	tls_reload_log(&r);
	tls_report_clear(&r);
	if (g == NULL)
		return -1;
	tls_generation_install(g);
	tell_of_unverified(g);
	return 0;
}

/* Begins a reload. Returns 0, -1 while there is another one (reported). */
static int lock_loading(struct tls_report *r)
{
	if (lock_try(&shared->lock) == 0)
		return 0;
	tls_report_add(r, TLS_ERROR, NULL, 0, NULL, "another reload is in progress; try again when it is done");
	return -1;
}

int tls_reload_run(struct tls_report *r)
{
	struct tls_generation *g;
	int number = -1;

	if (lock_loading(r) != 0)
		return TLS_RELOAD_BUSY;
	g = load(r);
	if (g != NULL) {
		number = tls_generation_number(g);
		tls_generation_install(g);
	}
	lock_release(&shared->lock);
	tls_stats_add(number >= 0 ? TLS_STAT_RELOADS : TLS_STAT_RELOADS_FAILED, 1);
	return number;
}

static void look_at_files(struct tls_look *look)
{
	struct tls_generation *g = tls_generation_pin();

	tls_generation_look(g, look);
	tls_generation_unpin(g);
}

long tls_reload_changed_files(void)
{
	struct tls_look look;

	look_at_files(&look);
	return look.changed;
}

long tls_reload_unreadable_files(void)
{
	struct tls_look look;

	look_at_files(&look);
	return look.unreadable;
}

void tls_reload_check(struct tls_report *r)
{
	struct tls_generation *g;

	if (lock_loading(r) != 0)
		return;
	g = load(r);
	if (g != NULL)
		tls_generation_discard(g);
	lock_release(&shared->lock);
}

/* The stamp of files that could not be loaded; they are not tried again until it changes. Used by the watcher only. */
static uint64_t bad_files;

#define DAY S_TO_TICKS(86400)

/*
 * Changes of files that the server cannot read go unnoticed, and its certificate expires without warning. So this is logged
 * when it begins, and then once a day. In the watcher only.
 */
static void tell_of_unreadable(const struct tls_look *look)
{
	static bool told;
	static ticks_t told_at;
	char user_name[64];

	if (told_of_files)
		told_at = get_ticks_raw();
	told = look->unreadable > 0 && (told || told_of_files) && get_ticks_raw() - told_at < DAY;
	told_of_files = false;
	if (told || look->unreadable == 0)
		return;
	told = true;
	told_at = get_ticks_raw();
	LM_ERR(
		"user %s may not read %d of the files of the TLS configuration, such as %s: the server will not notice "
		"when they are renewed; doc/certificates.md explains how to give the server's user access\n",
		tls_access_user(user_name, sizeof(user_name)), look->unreadable, look->first);
}

/* How often this process had too little shared memory, whether it asked for some or left it to the traffic. */
static long shortages(void)
{
	return tls_mem_refused() + tls_cache_shortages();
}

void tls_reload_watch(unsigned ticks, void *param)
{
	long before = shortages();
	struct tls_report r;
	struct tls_look look;
	int number;

	(void)ticks;
	(void)param;
	look_at_files(&look);
	tell_of_unreadable(&look);
	if (look.changed == 0 || look.stamp == bad_files)
		return;
	tls_report_init(&r);
	number = tls_reload_run(&r);
	if (number != TLS_RELOAD_BUSY)
		tls_reload_log(&r);
	/* A reload that another one prevented, or that ran out of memory, proves nothing about the files. */
	if (number < 0 && number != TLS_RELOAD_BUSY && before == shortages())
		bad_files = look.stamp;
	if (number == TLS_RELOAD_BUSY)
		LM_NOTICE("a file of the TLS configuration has changed; it will be loaded at the next check\n");
	else if (number < 0)
		LM_ERR(
			"a file of the TLS configuration has changed but cannot be used; the current configuration remains in use\n");
	else
		LM_NOTICE("a file of the TLS configuration has changed: configuration %d serves new connections\n",
		          number);
	tls_report_clear(&r);
}
