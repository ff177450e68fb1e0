/*
 * settings/runtime.c - settings in the host's run-time configuration, group "tls"
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The host requires a group to be a struct with its fields in the order of their declarations. Ours begins with a whole
 * struct tls_options, so the host gives each process that struct with the current values. It is followed by the settings
 * of the default domains, which are read-only: a domain's settings change with tls.reload.
 *
 * No variable has a callback for changes, because the host would then no longer show its value.
 */
#include <string.h>

#include "settings/runtime.h"
#include "host/compat.h"
#include "settings/table.h"
#include "settings/values.h"

#define GROUP      "tls"
#define FIELDS_MAX 96
#define ROUND(n)   (((n) + sizeof(char *) - 1) / sizeof(char *) * sizeof(char *))

struct field {
	const struct tls_setting *row;
	size_t offset; /* in the group */
};

/* The group at the start; the host copies it. */
static struct {
	struct tls_options options;
	char *domain[FIELDS_MAX];
} values;

static struct tls_settings defaults; /* of the default domains */
static struct field fields[FIELDS_MAX];
static cfg_def_t definitions[FIELDS_MAX + 1];
static int count;
static void *view = &values; /* this process's copy; the host sets it */

const struct tls_options *tls_runtime_options(void)
{
	return view;
}

/* ---- reading */

/* In the group a number is an integer, and a word is a string. */
static bool is_number(const struct tls_setting *row)
{
	return row->type == TLS_INT || row->type == TLS_BOOL;
}

static size_t size_of(const struct tls_setting *row)
{
	return is_number(row) ? sizeof(int) : sizeof(char *);
}

bool tls_runtime_get(int i, struct tls_runtime_value *out)
{
	const struct field *f = &fields[i];
	const char *at = (const char *)view + f->offset;

	if (i >= count)
		return false;
	*out = (struct tls_runtime_value){.name = definitions[i].name,
	                                  .rpc_name = f->row->rpc_name != NULL ? f->row->rpc_name
	                                                                       : definitions[i].name,
	                                  .is_number = is_number(f->row)};
	if (out->is_number)
		out->number = *(const int *)at;
	else
		out->text = *(char *const *)at;
	return true;
}

/* ---- declaring */

static char *word_of(const struct tls_setting *row, int number)
{
	for (const struct tls_choice *choice = row->choices; choice->word != NULL; choice++)
		if (choice->value == number)
			return (char *)(uintptr_t)choice->word;
	return NULL;
}

/* Copies the value in BASE to its place in the group. */
static void set_value(const struct field *f, const void *base)
{
	const char *from = (const char *)base + f->row->offset;
	char *to = (char *)&values + f->offset;

	if (f->row->type == TLS_CHOICE)
		*(char **)to = word_of(f->row, *(const int *)from);
	else
		memcpy(to, from, size_of(f->row));
}

/* Declares ROW at *AT, the end of the group, and advances that. Returns 0, -1 when there are too many. */
static int add_field(const struct tls_setting *row, const void *base, size_t *at)
{
	cfg_def_t *d = &definitions[count];
	struct field *f = &fields[count];

	if (count == FIELDS_MAX)
		return -1;
	f->row = row;
	f->offset = is_number(row) ? *at : ROUND(*at);
	set_value(f, base);
	*at = f->offset + size_of(row);
	d->name = (char *)(uintptr_t)(row->run_name != NULL ? row->run_name : row->name);
	d->descr = (char *)(uintptr_t)row->meaning;
	d->type = is_number(row) ? CFG_VAR_INT | CFG_ATOMIC : CFG_VAR_STRING;
	if ((row->flags & TLS_AT_RUNTIME) == 0)
		d->type |= CFG_READONLY;
	d->min = row->min;
	d->max = row->max;
	count++;
	return 0;
}

/* The module's setting whose field is the first one in struct tls_options at or after AT. */
static const struct tls_setting *option_behind(size_t at)
{
	const struct tls_setting *first = NULL;

	TLS_EACH_SETTING(row)
		if (!tls_setting_is_of_domain(row) && row->offset >= at &&
		    (first == NULL || row->offset < first->offset))
			first = row;
	return first;
}

/* Declares the fields of struct tls_options in their order; each must have a row. */
static int add_options(const struct tls_options *o, size_t *at)
{
	for (const struct tls_setting *row; (row = option_behind(*at)) != NULL;)
		if (add_field(row, o, at) != 0 || fields[count - 1].offset != row->offset)
			return -1;
	*at = ROUND(*at);
	return *at == sizeof(struct tls_options) ? 0 : -1;
}

static int add_defaults(size_t *at)
{
	TLS_EACH_DOMAIN_SETTING(row)
		if (row->run_name != NULL && add_field(row, &defaults, at) != 0)
			return -1;
	*at = ROUND(*at);
	return 0;
}

int tls_runtime_start(const struct tls_settings *s, const struct tls_options *o)
{
	size_t size = 0;

	if (tls_settings_copy(&defaults, s) != 0 || tls_settings_set_defaults(&defaults) != 0) {
		LM_ERR("out of memory for the run-time configuration\n");
		return -1;
	}
	if (add_options(o, &size) != 0 || add_defaults(&size) != 0) {
		LM_BUG("struct tls_options has a field without a row in the table of settings\n");
		return -1;
	}
	if (cfg_declare(GROUP, definitions, &values, (int)size, &view) == 0)
		return 0;
	LM_ERR("Kamailio rejects the run-time configuration group " GROUP
	       ": is another TLS module loaded, or does the script declare variables of that group?\n");
	return -1;
}
