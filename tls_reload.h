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
 * S: the module parameters of the default domains, which must outlive the module and may hold unset fields.
 * Main process, before the forks, after tls_runtime_start(). Returns 0 or -1 (logged).
 */
int tls_reload_start(const struct tls_settings *s);

/*
 * Reads the configuration again and makes it the current one; any process. What is wrong goes to R and then
 * nothing has changed. One at a time: one that comes meanwhile is an error. Returns the new generation's
 * number, -1 on an error, TLS_RELOAD_BUSY while another is under way.
 */
#define TLS_RELOAD_BUSY (-2)
int tls_reload_run(struct tls_report *r);

/*
 * In a process of its own, every reload_on_change seconds: reloads when a file has changed since the
 * configuration in use was read. A file that cannot be loaded is tried again when it changes again.
 */
void tls_reload_watch(unsigned ticks, void *param);

/*
 * Of the files of the configuration in use: how many have changed since it was read, and how many the server's user may
 * not read. Any process; looks at all of them.
 */
long tls_reload_changed_files(void);
long tls_reload_unreadable_files(void);

/* Loads everything as a reload would, tells R what is wrong, and drops it again; any process. */
void tls_reload_check(struct tls_report *r);

/* The folder of the main configuration file, to which paths are relative; OUT may hold it. */
const char *tls_reload_folder(char *out, size_t size);

/* Writes R to the log. */
void tls_reload_log(const struct tls_report *r);

#endif
