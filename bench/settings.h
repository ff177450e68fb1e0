/*
 * settings.h - the long options of the benchmark's programs, rows of a table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef BENCH_SETTINGS_H
#define BENCH_SETTINGS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define SETTINGS_MAX 40

/* One long option: a number with its limits, a text, or a switch. */
struct setting {
	const char *name;
	unsigned long *number;
	unsigned long low, high;
	const char **text;
	bool *flag;
};

/* Ends the program when VALUE is no number that S allows. */
static void setting_apply(const struct setting *s, const char *value)
{
	char *end;

	if (s->flag) {
		*s->flag = true;
	} else if (s->text) {
		*s->text = value;
	} else {
		*s->number = strtoul(value, &end, 10);
		if (*end || end == value || *s->number < s->low || *s->number > s->high) {
			fprintf(stderr, "--%s must be a number from %lu to %lu\n", s->name, s->low, s->high);
			exit(2);
		}
	}
}

/* Reads the command line by the COUNT rows of S. Returns false when there is anything else on it. */
static bool settings_read(const struct setting *s, size_t count, int argc, char **argv)
{
	struct option known[SETTINGS_MAX + 1] = {{NULL, 0, NULL, 0}};
	int index, got;

	for (size_t i = 0; i < count && i < SETTINGS_MAX; i++) {
		known[i].name = s[i].name;
		known[i].has_arg = s[i].flag ? no_argument : required_argument;
	}
	while ((got = getopt_long(argc, argv, "", known, &index)) == 0)
		setting_apply(&s[index], optarg);
	return got == -1 && optind == argc;
}

#endif
