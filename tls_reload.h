/*
 * tls_reload.h - from the configuration's files to a generation in use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_RELOAD_H
#define TLS_RELOAD_H

#include "tls.h"

struct tls_report;
struct tls_settings;

/*
 * Loads the configuration for the first time. S: the module parameters of the default domains, which must outlive the module
 * and may have unset fields. Main process, before the forks, after tls_runtime_start(). Returns 0 or -1 (logged).
 */
int tls_reload_start(const struct tls_settings *s);

/*
 * Reads the configuration again and makes it the current one; any process. Problems go to R; after an error nothing has
 * changed. Returns the new generation's number, -1 after an error, TLS_RELOAD_BUSY (reported) while another reload is in
 * progress.
 */
#define TLS_RELOAD_BUSY (-2)
int tls_reload_run(struct tls_report *r);

/*
 * Runs in a process of its own every reload_on_change seconds, and reloads if a file has changed since the current
 * configuration was read. Files that cannot be loaded are tried again after their next change, or at the next call if only
 * shared memory was short.
 */
void tls_reload_watch(unsigned ticks, void *param);

/*
 * The number of files of the current configuration that have changed since it was read, and of those that the server's user
 * may not read. Any process; checks all files.
 */
long tls_reload_changed_files(void);
long tls_reload_unreadable_files(void);

/* Loads everything as a reload does, reports the problems to R, and discards the result; any process. */
void tls_reload_check(struct tls_report *r);

/* The folder of the main configuration file, to which paths are relative; it may be written to OUT. */
const char *tls_reload_folder(char *out, size_t size);

/* Writes R to the log. */
void tls_reload_log(const struct tls_report *r);

#endif
