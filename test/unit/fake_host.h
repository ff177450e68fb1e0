/*
 * fake_host.h - the host's log, clock, settings and counters, for a unit test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#define FAKE_HOST_PROCESSES 8

struct tls_options;

/* What has been logged since the last fake_host_clear(), oldest first, up to its first 16 KB. */
const char *fake_host_log(void);
void fake_host_clear(void);

/* Lets SECONDS pass. */
void fake_host_pass(int seconds);

/* The next hook is called by another process than the last one. */
void fake_host_change_process(void);

/* The group "tls" as cfg.set_now_* would change it, NULL before it is declared. */
struct tls_options *fake_host_options(void);

/* The counter NAME, summed over the processes; -1 when there is none. */
long fake_host_counter(const char *name);

#endif
