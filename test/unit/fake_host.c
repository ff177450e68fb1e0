/*
 * fake_host.c - the host's log, clock, settings and counters
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/compat.h"
#include "settings/table.h"
#include "core/cfg/cfg.h"
#include "core/counters.h"
#include "core/dprint.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/pt.h"
#include "core/tcp_options.h"
#include "core/timer.h"

#include "fake_host.h"

/* ---- the log */

static char text[16 * 1024];
static size_t used;

const char *fake_host_log(void)
{
	return text;
}

void fake_host_clear(void)
{
	used = 0;
	text[0] = '\0';
}

static void keep(ksr_logdata_t *data, const char *format, ...)
{
	va_list args;
	int n;

	(void)data;
	va_start(args, format);
	n = vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	used += n > 0 ? (size_t)n : 0;
	if (used >= sizeof(text))
		used = sizeof(text) - 1;
}

/* With a function for structured logging the host's macros call nothing else. */
static void unused(int level, const char *format, ...)
{
	(void)level;
	(void)format;
}

ksr_slog_f _ksr_slog_func = keep;
km_log_f _km_log_func = unused;
struct log_level_info log_level_info[L_MAX - L_MIN + 1];
volatile int dprint_crit;
int uid, gid; /* root stays root */
int process_no, log_stderr, log_color, log_cee, log_prefix_mode;
str *log_prefix_val;

int my_pid(void)
{
	return (int)getpid();
}

int get_debug_level(char *module, int length)
{
	(void)module;
	(void)length;
	return L_NOTICE;
}

int get_debug_facility(char *module, int length)
{
	(void)module;
	(void)length;
	return 0;
}

void dprint_color(int level)
{
	(void)level;
}

void dprint_color_reset(void) {}

/* ---- processes and the clock */

static ticks_t now = S_TO_TICKS(1000);
char *cfg_file;

ticks_t get_ticks_raw(void)
{
	return now;
}

void fake_host_pass(int seconds)
{
	now += S_TO_TICKS((ticks_t)seconds);
}

int get_max_procs(void)
{
	return FAKE_HOST_PROCESSES;
}

void fake_host_change_process(void)
{
	process_no = (process_no + 1) % FAKE_HOST_PROCESSES;
}

char *ip_addr2a(struct ip_addr *ip)
{
	static char out[INET6_ADDRSTRLEN];

	inet_ntop((int)ip->af, ip->u.addr, out, sizeof(out));
	return out;
}

/* ---- settings */

static struct cfg_group_tcp tcp_settings = {.send_timeout = S_TO_TICKS(10)};
void *tcp_cfg = &tcp_settings;
static void *declared;

int cfg_declare(char *name, cfg_def_t *definitions, void *values, int size, void **handle)
{
	free(declared);
	declared = malloc((size_t)size);
	if (declared == NULL)
		return -1;
	*handle = memcpy(declared, values, (size_t)size);
	return 0;
}

struct tls_options *fake_host_options(void)
{
	return declared;
}

/* ---- counters */

#define COUNTERS 128

static const char *counter_names[COUNTERS];
static counter_cbk_f counter_reads[COUNTERS]; /* NULL: it is counted */
static void *counter_params[COUNTERS];
static counter_array_t counters[FAKE_HOST_PROCESSES * COUNTERS];
static unsigned short counter_count;
counter_array_t *_cnts_vals = counters;
int _cnts_row_len = COUNTERS;

int counter_register(counter_handle_t *handle, const char *in, const char *name, int flags,
                     counter_cbk_f read, void *param, const char *meaning, int how)
{
	if (counter_count == COUNTERS)
		return -1;
	if (handle != NULL)
		handle->id = counter_count;
	counter_reads[counter_count] = read;
	counter_params[counter_count] = param;
	counter_names[counter_count++] = name;
	return 0;
}

counter_val_t counter_get_raw_val(counter_handle_t handle)
{
	counter_val_t sum = 0;

	for (int i = 0; i < FAKE_HOST_PROCESSES; i++)
		sum += counters[i * COUNTERS + handle.id].v;
	return sum;
}

long fake_host_counter(const char *name)
{
	for (unsigned short i = 0; i < counter_count; i++)
		if (strcmp(counter_names[i], name) == 0)
			return counter_reads[i] != NULL ? counter_reads[i]((counter_handle_t){i}, counter_params[i])
			                                : counter_get_raw_val((counter_handle_t){i});
	return -1;
}
