/*
 * settings/values.h - values of settings: read, checked, printed, copied and freed by their rows in the table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * BASE is the struct that holds a setting's value: a struct tls_settings for a row with TLS_OF_DOMAIN, else a struct
 * tls_options. Nothing here keeps state or locks: any process may call it.
 */
#ifndef TLS_SETTINGS_VALUES_H
#define TLS_SETTINGS_VALUES_H

#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"

static inline bool tls_setting_is_of_domain(const struct tls_setting *row)
{
	return (row->flags & TLS_OF_DOMAIN) != 0;
}

/* Declares ROW and walks it through the table: through all settings, or through those of a domain, which come first. */
#define TLS_EACH_SETTING(row) \
	for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++)
#define TLS_EACH_DOMAIN_SETTING(row) \
	for (const struct tls_setting *row = tls_settings_table; tls_setting_is_of_domain(row); row++)

/* ---- all values of a struct */

/* Sets every field that has a row in the table to "unset". */
void tls_settings_init(struct tls_settings *s);
void tls_settings_init_options(struct tls_options *o);

/* Sets every unset field of S to its default (strings: a copy). Returns 0, -1 when memory is short. */
int tls_settings_set_defaults(struct tls_settings *s);

/* Sets every unset field of O to its default; strings are not copied. */
void tls_settings_set_option_defaults(struct tls_options *o);

/* Frees the strings of S and sets every field to "unset". */
void tls_settings_free(struct tls_settings *s);

/* Copies S to TO, whose old contents are ignored. Returns 0, -1 when memory is short. */
int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s);

/*
 * Checks the values of all rows with TLS_IN_MODPARAM in S and O, as given by module parameters: the host stores integers
 * without a check. Also warns of parameters that have no effect. Problems go to R.
 */
void tls_settings_check_params(const struct tls_settings *s, const struct tls_options *o,
                               struct tls_report *r);

/* Reports to AT that S asks for verify_name without verify_certificate; a name that nobody has verified proves nothing. */
void tls_settings_check_verify_name(const struct tls_spot *at, const struct tls_settings *s);

/* ---- one value */

/* Where BASE holds ROW's number, or its string. */
int *tls_setting_number(const struct tls_setting *row, const void *base);
char **tls_setting_string(const struct tls_setting *row, const void *base);

bool tls_setting_is_set(const struct tls_setting *row, const void *base);

/*
 * Gives BASE's string a copy of NEW (NULL: none) and frees the old one; a secret is wiped first. Returns 0, -1 when
 * memory is short (BASE unchanged).
 */
int tls_setting_store(const struct tls_setting *row, void *base, const char *new);

/*
 * Gives ROW its default (a string: a copy) where BASE leaves it unset, or has a number out of range that counts as the
 * default (TLS_LENIENT). Returns 0, -1 when memory is short.
 */
int tls_setting_set_default(const struct tls_setting *row, void *base);

/*
 * Gives ROW in BASE the value written as WORDS; AT is where. Returns 0, -1 when the value is not allowed (reported, BASE
 * unchanged).
 */
int tls_setting_parse(const struct tls_spot *at, const struct tls_setting *row, void *base,
                      const char *words);

/* Writes ROW's value in BASE as text ("" when unset, "***" when secret); returns OUT. */
const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size);

#endif
