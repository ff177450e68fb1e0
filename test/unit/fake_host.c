/*
 * fake_host.c - what LM_ERR() and its like need of the host; it keeps the lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/dprint.h"

#include "fake_host.h"

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
	return L_WARN;
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
