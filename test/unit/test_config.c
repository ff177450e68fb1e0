/* links: tls_config_files.c material/files.c tls_config.c settings/section.c settings/values.c settings/table.c settings/text.c settings/report.c */
/*
 * test_config.c - the settings table and the parser of tls.cfg
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tls.h"
#include "settings/report.h"
#include "settings/text.h"
#include "settings/table.h"
#include "settings/section.h"
#include "settings/values.h"
#include "tls_config.h"
#include "tls_config_files.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FILE_NAME    "etc/tls.cfg"

/* ---- an allocator that fails when it is told to, for the C library too; volatile, as compilers know malloc() */

void *__interceptor_malloc(size_t size)
	__attribute__((weak)); /* the address sanitizer's, where it is linked in */

static volatile int fail_after = -1; /* so many allocations succeed, all later ones fail; -1: none fails */
static volatile bool failed;

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	static void *(*next)(size_t);

	if (fail_after == 0) {
		failed = true;
		return NULL;
	}
	if (fail_after > 0)
		fail_after--;
	if (__interceptor_malloc != NULL)
		return __interceptor_malloc(size);
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "malloc");
	return next(size);
}

/* ---- helpers */

static const struct tls_setting *row_named(const char *name)
{
	const struct tls_setting *row = tls_setting_find(name, 0);

	if (row == NULL)
		fail_msg("no row is called %s", name);
	return row;
}

/* Under the name that a setting has in that place: tls.cfg has shorter ones. */
static int parse_setting(const struct tls_setting *row, void *base, const char *words, struct tls_report *r,
                         const char *file, int line)
{
	struct tls_spot at = {r, file, line, file != NULL && row->alias != NULL ? row->alias : row->name};

	return tls_setting_parse(&at, row, base, words);
}

static struct tls_config *parse(const char *text, struct tls_report *r)
{
	struct tls_config *cfg;

	tls_report_init(r);
	cfg = tls_config_parse(FILE_NAME, text, strlen(text), r);
	assert_non_null(cfg);
	return cfg;
}

static struct tls_config *parse_clean(const char *text)
{
	struct tls_report r;
	struct tls_config *cfg = parse(text, &r);

	if (r.first != NULL)
		fail_msg("unexpected: %s", r.first->text);
	assert_int_equal(r.errors + r.warnings, 0);
	return cfg;
}

/* The section with the given name, as tls_section_name() writes it. */
static const struct tls_settings *section(const struct tls_config *cfg, const char *wanted)
{
	char name[256];

	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		if (strcmp(tls_section_name(s, name, sizeof(name)), wanted) == 0)
			return &s->settings;
	fail_msg("no section is called %s", wanted);
	return NULL;
}

/*
 * The report holds exactly the problems WANTED (ends with NULL), each of which may be the first part of a
 * text.
 */
static void assert_report(struct tls_report *r, const char *const *wanted)
{
	const struct tls_problem *p = r->first;

	for (; *wanted != NULL; wanted++, p = p->next) {
		if (p == NULL)
			fail_msg("missing: %s", *wanted);
		if (strncmp(p->text, *wanted, strlen(*wanted)) != 0)
			fail_msg("\"%s\" instead of \"%s\"", p->text, *wanted);
	}
	if (p != NULL)
		fail_msg("unexpected: %s", p->text);
	tls_report_clear(r);
}

static void assert_problems(const char *text, const char *const *wanted)
{
	struct tls_report r;

	tls_config_free(parse(text, &r));
	assert_report(&r, wanted);
}

static void assert_problem(const char *text, const char *wanted)
{
	assert_problems(text, (const char *[]){wanted, NULL});
}

static void assert_text(const char *got, const char *wanted)
{
	if (wanted == NULL)
		assert_null(got);
	else if (got == NULL)
		fail_msg("nothing instead of \"%s\"", wanted);
	else
		assert_string_equal(got, wanted);
}

/* ---- the table */

enum { F = TLS_OF_DOMAIN | TLS_IN_MODPARAM | TLS_IN_FILE, M = TLS_IN_MODPARAM, LIVE = M | TLS_AT_RUNTIME };

/*
 * What users have in their configurations, written down a second time: no name or default changes by accident.
 */
static const struct known {
	const char *name, *alias, *run_name;
	enum tls_value_type type;
	unsigned flags;
	const char *value; /* default, as it is printed */
} known[] = {
	{"tls_method", "method", "method", TLS_CHOICE, F, "TLSv1.2+"},
	{"certificate", NULL, "certificate", TLS_STRING, F | TLS_IS_PATH, "cert.pem"},
	{"private_key", NULL, "private_key", TLS_STRING, F | TLS_IS_PATH, ""},
	{"private_key_password", NULL, NULL, TLS_STRING, F | TLS_SECRET, ""},
	{"certificate2", NULL, NULL, TLS_STRING, F | TLS_IS_PATH, ""},
	{"private_key2", NULL, NULL, TLS_STRING, F | TLS_IS_PATH, ""},
	{"private_key_password2", NULL, NULL, TLS_STRING, F | TLS_SECRET, ""},
	{"ca_list", NULL, "ca_list", TLS_STRING, F | TLS_IS_PATH, ""},
	{"ca_path", NULL, "ca_path", TLS_STRING, F | TLS_IS_PATH, ""},
	{"crl", NULL, "crl", TLS_STRING, F | TLS_IS_PATH, ""},
	{"verify_certificate", NULL, "verify_certificate", TLS_BOOL, F, "no"},
	{"require_certificate", NULL, "require_certificate", TLS_BOOL, F, "no"},
	{"verify_client", NULL, "verify_client", TLS_CHOICE, F, ""},
	{"verify_depth", NULL, "verify_depth", TLS_INT, F, "9"},
	{"verify_name", NULL, "verify_name", TLS_BOOL, F, "no"},
	{"verify_name_wildcard", NULL, "verify_name_wildcard", TLS_BOOL, F, "no"},
	{"verify_purpose", NULL, "verify_purpose", TLS_CHOICE, F, "strict"},
	{"reuse_verified_only", NULL, "reuse_verified_only", TLS_BOOL, F, "no"},
	{"security_profile", NULL, "security_profile", TLS_CHOICE, F, "compatible"},
	{"cipher_list", NULL, "cipher_list", TLS_STRING, F, ""},
	{"groups", NULL, "groups", TLS_STRING, F, ""},
	{"server_name", NULL, "server_name", TLS_STRING, F, ""},
	{"server_name_mode", NULL, "server_name_mode", TLS_INT, F | TLS_LENIENT, "0"},
	{"server_id", NULL, "server_id", TLS_STRING, F, ""},
	{"send_timeout", NULL, "send_timeout", TLS_INT, LIVE, "120"},
	{"handshake_timeout", NULL, "handshake_timeout", TLS_INT, LIVE, "120"},
	{"connection_timeout", NULL, "connection_timeout", TLS_INT, LIVE, "600"},
	{"max_handshakes_per_address", NULL, "max_handshakes_per_address", TLS_INT, LIVE, "0"},
	{"max_certificate_chain", NULL, NULL, TLS_INT, M, "16384"},
	{"reload_on_change", NULL, NULL, TLS_INT, M, "0"},
	{"low_mem_threshold1", NULL, "low_mem_threshold1", TLS_INT, LIVE, "-1"},
	{"low_mem_threshold2", NULL, "low_mem_threshold2", TLS_INT, LIVE, "-1"},
	{"con_ct_wq_max", NULL, "con_ct_wq_max", TLS_INT, LIVE, "65536"},
	{"ct_wq_max", NULL, "ct_wq_max", TLS_INT, LIVE, "10485760"},
	{"ct_wq_blk_size", NULL, "ct_wq_blk_size", TLS_INT, LIVE, "4096"},
	{"tls_disable_compression", NULL, "disable_compression", TLS_BOOL, M, "yes"},
	{"certificate_compression", NULL, NULL, TLS_BOOL, M, "no"},
	{"ssl_release_buffers", NULL, "ssl_release_buffers", TLS_INT, M, "-1"},
	{"ssl_freelist_max_len", NULL, "ssl_free_list_max", TLS_INT, M, "0"},
	{"ssl_max_send_fragment", NULL, "ssl_max_send_fragment", TLS_INT, M, "-1"},
	{"ssl_read_ahead", NULL, "ssl_read_ahead", TLS_INT, M, "0"},
	{"send_close_notify", NULL, "send_close_notify", TLS_BOOL, LIVE, "no"},
	{"renegotiation", NULL, NULL, TLS_BOOL, M, "no"},
	{"session_cache", NULL, "session_cache", TLS_BOOL, M, "no"},
	{"session_lifetime", NULL, "session_lifetime", TLS_INT, LIVE, "86400"},
	{"session_id", NULL, "session_id", TLS_STRING, M, ""},
	{"config", NULL, "config", TLS_STRING, LIVE | TLS_IS_PATH, ""},
	{"tls_log", NULL, "log", TLS_INT, LIVE, "3"},
	{"tls_debug", NULL, "debug", TLS_INT, LIVE, "3"},
	{"tls_force_run", NULL, "force_run", TLS_BOOL, M, "no"},
	{"unknown_server_name", NULL, "unknown_server_name", TLS_INT, LIVE, "0"},
	{"unknown_server_id", NULL, "unknown_server_id", TLS_INT, LIVE, "0"},
	{"match_profile", NULL, NULL, TLS_BOOL, M, "yes"},
	{"dump_shared_memory", NULL, NULL, TLS_BOOL, M, "no"},
	{"xavp_cfg", NULL, NULL, TLS_STRING, M, ""},
	{"event_callback", NULL, NULL, TLS_STRING, M, ""},
	{"key_password_mode", NULL, NULL, TLS_INT, M, "0"},
	{"keylog_mode", NULL, NULL, TLS_INT, M, "0"},
	{"keylog_file", NULL, NULL, TLS_STRING, M | TLS_IS_PATH, ""},
	{"keylog_peer", NULL, NULL, TLS_STRING, M, ""},
	{"engine", NULL, NULL, TLS_STRING, M | TLS_REFUSED, ""},
	{"engine_config", NULL, NULL, TLS_STRING, M | TLS_IS_PATH, ""},
	{"engine_algorithms", NULL, NULL, TLS_STRING, M, ""},
	{"provider_quirks", NULL, NULL, TLS_INT, M, "0"},
	{"provider_quirks_config", NULL, NULL, TLS_STRING, M, ""},
	{"rand_engine", NULL, NULL, TLS_STRING, M, ""},
	{"init_mode", NULL, NULL, TLS_INT, M, "0"},
};

/* All defaults, each in the struct it belongs to. */
struct defaults {
	struct tls_settings settings;
	struct tls_options options;
};

static void defaults_make(struct defaults *p)
{
	tls_settings_init(&p->settings);
	tls_settings_init_options(&p->options);
	assert_int_equal(tls_settings_set_defaults(&p->settings), 0);
	tls_settings_set_option_defaults(&p->options);
}

static void *base_of(struct defaults *p, const struct tls_setting *row)
{
	return (row->flags & TLS_OF_DOMAIN) != 0 ? (void *)&p->settings : (void *)&p->options;
}

static void test_table_is_what_users_know(void **state)
{
	struct defaults p;
	char text[64];

	(void)state;
	defaults_make(&p);
	for (size_t i = 0; i < COUNT(known); i++) {
		const struct tls_setting *row = row_named(known[i].name);

		assert_text(row->name, known[i].name);
		assert_text(row->alias, known[i].alias);
		assert_text(row->run_name, known[i].run_name);
		assert_int_equal(row->type, known[i].type);
		assert_int_equal(row->flags, known[i].flags);
		assert_string_equal(tls_setting_print(row, base_of(&p, row), text, sizeof(text)), known[i].value);
		assert_ptr_equal(&tls_settings_table[i], row);
	}
	assert_null(tls_settings_table[COUNT(known)].name);
	tls_settings_free(&p.settings);
}

/* Every byte of the two structs belongs to exactly one row, of the right type. */
static void test_table_covers_every_field(void **state)
{
	unsigned char settings[sizeof(struct tls_settings)] = {0}, options[sizeof(struct tls_options)] = {0};

	(void)state;
	for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++) {
		unsigned char *map = (row->flags & TLS_OF_DOMAIN) != 0 ? settings : options;
		size_t size = row->type == TLS_STRING ? sizeof(char *) : sizeof(int);

		for (size_t i = 0; i < size; i++)
			if (map[row->offset + i]++ != 0)
				fail_msg("%s shares a field with another row", row->name);
	}
	for (size_t i = 0; i < offsetof(struct tls_settings, server_name_mode) + sizeof(int); i++)
		assert_int_equal(settings[i], 1);
	for (size_t i = offsetof(struct tls_settings, certificate); i < sizeof(settings); i++)
		assert_int_equal(settings[i], 1);
	for (size_t i = 0; i < offsetof(struct tls_options, reload_on_change) + sizeof(int); i++)
		assert_int_equal(options[i], 1);
	for (size_t i = offsetof(struct tls_options, config); i < sizeof(options); i++)
		assert_int_equal(options[i], 1);
}

static void test_table_rows_are_sound(void **state)
{
	(void)state;
	for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++) {
		assert_non_null(row->meaning);
		assert_true(strchr(row->meaning, '\n') == NULL && strlen(row->meaning) > 10);
		assert_true((row->choices != NULL) == (row->type == TLS_CHOICE || row->type == TLS_BOOL));
		assert_true(row->min <= row->max);
		if (row != tls_settings_table && (row->flags & TLS_OF_DOMAIN) != 0)
			assert_true((row[-1].flags & TLS_OF_DOMAIN) != 0); /* walks end with the last of a domain */
		assert_true(row->default_text == NULL || row->type == TLS_STRING);
		for (const struct tls_setting *other = row + 1; other->name != NULL; other++) {
			assert_string_not_equal(row->name, other->name);
			if (row->alias != NULL)
				assert_string_not_equal(row->alias, other->name);
			if (row->run_name != NULL && other->run_name != NULL)
				assert_string_not_equal(row->run_name, other->run_name);
		}
	}
}

static void test_find(void **state)
{
	(void)state;
	assert_ptr_equal(tls_setting_find("method", TLS_IN_FILE),
	                 tls_setting_find("tls_method", TLS_IN_MODPARAM));
	assert_ptr_equal(tls_setting_find("Method", 0), tls_setting_find("TLS_METHOD", 0));
	assert_null(tls_setting_find("send_timeout", TLS_IN_FILE));
	assert_null(tls_setting_find("", 0));
	assert_non_null(tls_setting_find("private_key_password", TLS_SECRET | TLS_IN_FILE));
}

/* ---- values */

/* One way to write a value, and how it is printed; NULL: it is refused with the words PROBLEM. */
static const struct value {
	const char *name, *text, *printed, *problem;
} values[] = {
	{"tls_method", "TLSv1.2", "TLSv1.2", NULL},
	{"tls_method", "tlsv1.2+", "TLSv1.2+", NULL},
	{"tls_method", "TLSv1", "TLSv1", NULL},
	{"tls_method", "TLSv1+", "TLSv1+", NULL},
	{"tls_method", "TLSv1.1", "TLSv1.1", NULL},
	{"tls_method", "TLSv1.1+", "TLSv1.1+", NULL},
	{"tls_method", "TLSV1.3", "TLSv1.3", NULL},
	{"tls_method", "TLSv1.3+", "TLSv1.3+", NULL},
	{"tls_method", "SSLv23", "SSLv23", "SSLv23 accepts every version"},
	{"tls_method", "SSLv2", NULL, "SSLv2 is broken and prohibited by RFC 6176; use TLSv1.2+"},
	{"tls_method", "sslv3", NULL, "SSLv3 is broken and prohibited by RFC 7568; use TLSv1.2+"},
	{"tls_method", "TLSv1.4", NULL,
     "\"TLSv1.4\" is not known; allowed: TLSv1.2+, TLSv1.2, TLSv1.3+, TLSv1.3, TLSv1.1+, TLSv1.1, TLSv1+, TLSv1"},
	{"tls_method", "", NULL, "\"\" is not known; allowed: TLSv1.2+"},
	{"verify_client", "off", "off", NULL},
	{"verify_client", "ON", "on", NULL},
	{"verify_client", "optional", "optional", NULL},
	{"verify_client", "optional_no_ca", "optional_no_ca", NULL},
	{"verify_client", "yes", NULL, "\"yes\" is not known; allowed: off, on, optional, optional_no_ca"},
	{"verify_certificate", "yes", "yes", NULL},
	{"verify_certificate", "True", "yes", NULL},
	{"verify_certificate", "on", "yes", NULL},
	{"verify_certificate", "1", "yes", NULL},
	{"verify_certificate", "enable", "yes", NULL},
	{"verify_certificate", "enabled", "yes", NULL},
	{"verify_certificate", "NO", "no", NULL},
	{"verify_certificate", "false", "no", NULL},
	{"verify_certificate", "off", "no", NULL},
	{"verify_certificate", "0", "no", NULL},
	{"verify_certificate", "disable", "no", NULL},
	{"verify_certificate", "disabled", "no", NULL},
	{"verify_certificate", "2", NULL, "\"2\" is not known; allowed: yes, no, true, false, on, off, 1, 0"},
	{"verify_certificate", "optional", NULL, "\"optional\" is not known; allowed: yes, no"},
	{"verify_depth", "0", "0", NULL},
	{"verify_depth", "100000", "100000", NULL},
	{"verify_depth", "010", "10", NULL},
	{"verify_depth", "-1", NULL, "\"-1\" is out of range; allowed: 0 or more"},
	{"verify_depth", "4294967296", NULL, "\"4294967296\" is out of range"},
	{"verify_depth", "99999999999999999999", NULL, "\"99999999999999999999\" is out of range"},
	{"verify_depth", "nine", NULL, "\"nine\" is not a whole number; allowed: 0 or more"},
	{"verify_depth", "9x", NULL, "\"9x\" is not a whole number"},
	{"verify_depth", "9.5", NULL, "\"9.5\" is not a whole number"},
	{"verify_depth", "", NULL, "\"\" is not a whole number"},
	{"server_name_mode", "2", "2", NULL},
	{"server_name_mode", "3", "0", "\"3\" counts as 0; allowed: 0 to 2"},
	{"server_name_mode", "-1", "0", "\"-1\" counts as 0; allowed: 0 to 2"},
	{"server_name_mode", "99999999999999999999", "0", "\"99999999999999999999\" counts as 0"},
	{"server_name_mode", "one", NULL, "\"one\" is not a whole number; allowed: 0 to 2"},
	{"send_timeout", "1", "1", NULL},
	{"send_timeout", "0", NULL, "\"0\" is out of range; allowed: 1 to 134217727 s"},
	{"handshake_timeout", "134217727", "134217727", NULL},
	{"handshake_timeout", "134217728", NULL, "\"134217728\" is out of range"},
	{"connection_timeout", "-1", "-1", NULL},
	{"connection_timeout", "-2", NULL, "\"-2\" is out of range; allowed: -1 to 134217727 s"},
	{"low_mem_threshold1", "2147483647", "2147483647", NULL},
	{"low_mem_threshold1", "2147483648", NULL, "\"2147483648\" is out of range; allowed: -1 or more KB"},
	{"low_mem_threshold2", "0", "0", NULL},
	{"ct_wq_blk_size", "0", NULL, "\"0\" is out of range; allowed: 1 or more bytes"},
	{"ssl_max_send_fragment", "-1", "-1", NULL},
	{"ssl_max_send_fragment", "512", "512", NULL},
	{"ssl_max_send_fragment", "16384", "16384", NULL},
	{"ssl_max_send_fragment", "0", NULL, "\"0\" is out of range; allowed: -1 or 512 to 16384 bytes"},
	{"ssl_max_send_fragment", "511", NULL, "\"511\" is out of range; allowed: -1 or 512 to 16384 bytes"},
	{"ssl_release_buffers", "2", NULL, "\"2\" is out of range; allowed: -1 to 1"},
	{"tls_log", "10", "10", NULL},
	{"tls_log", "-5", "-5", NULL},
	{"keylog_mode", "1055", "1055", NULL},
	{"keylog_mode", "1056", NULL, "\"1056\" is out of range; allowed: 0 to 1055"},
	{"init_mode", "-7", "-7", NULL},
	{"certificate", "a b.pem", "a b.pem", NULL},
	{"certificate", "bad\nname.pem", NULL,
     "\"bad?name.pem\" contains a control character; allowed: any other text"},
	{"server_name", "m\xc3\xbcller.example", "m\xc3\xbcller.example", NULL},
	{"server_name", "a\x7f", NULL, "\"a?\" contains a control character"},
	{"server_name", "m\xfcller.example", NULL,
     "\"m?ller.example\" is not valid UTF-8; allowed: any other text"},
	{"ca_list", "m\xfcller.pem", "m\xfcller.pem", NULL},
	{"cipher_list", "HIGH:!aNULL", "HIGH:!aNULL", NULL},
	{"private_key_password", "any\nthing", "***", NULL},
};

/* The two ways in which a problem begins: from tls.cfg and from a module parameter. */
static void check_value(const struct value *v, const char *file, const char *place)
{
	const struct tls_setting *row = row_named(v->name);
	struct defaults p;
	struct tls_report r;
	char before[512], after[512], wanted[512];
	int result;

	defaults_make(&p);
	if ((row->flags & TLS_OF_DOMAIN) == 0 && row->type == TLS_STRING)
		fail_msg("the host owns %s", row->name);
	tls_report_init(&r);
	tls_setting_print(row, base_of(&p, row), before, sizeof(before));
	result = parse_setting(row, base_of(&p, row), v->text, &r, file, 7);
	tls_setting_print(row, base_of(&p, row), after, sizeof(after));
	assert_int_equal(result, v->printed != NULL ? 0 : -1);
	assert_string_equal(after, v->printed != NULL ? v->printed : before);
	assert_int_equal(r.errors, v->printed == NULL);
	assert_int_equal(r.warnings, v->printed != NULL && v->problem != NULL);
	snprintf(wanted, sizeof(wanted), "%s%s: %s", place,
	         file != NULL && row->alias != NULL ? row->alias : row->name, v->problem);
	assert_report(&r, (const char *[]){v->problem != NULL ? wanted : NULL, NULL});
	tls_settings_free(&p.settings);
}

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		check_value(&values[i], "f", "f:7: ");
		check_value(&values[i], NULL, "parameter ");
	}
}

static void test_long_path(void **state)
{
	char path[PATH_MAX + 1];
	struct tls_settings s;
	struct tls_report r;

	(void)state;
	tls_settings_init(&s);
	tls_report_init(&r);
	memset(path, 'x', PATH_MAX);
	path[PATH_MAX] = '\0';
	assert_int_equal(parse_setting(row_named("crl"), &s, path, &r, "f", 2), -1);
	assert_null(s.crl);
	assert_int_equal(parse_setting(row_named("crl"), &s, path + 1, &r, "f", 3), 0);
	assert_int_equal(strlen(s.crl), PATH_MAX - 1);
	assert_int_equal(parse_setting(row_named("cipher_list"), &s, path, &r, "f", 4), 0);
	assert_report(&r, (const char *[]){"f:2: crl: the path is too long; allowed: 4095 characters", NULL});
	tls_settings_free(&s);
}

static void test_print_fits(void **state)
{
	struct tls_settings s;
	char out[4] = "xxx";

	(void)state;
	tls_settings_init(&s);
	s.certificate = "abcdef";
	s.method = 99;
	assert_string_equal(tls_setting_print(row_named("certificate"), &s, out, sizeof(out)), "abc");
	assert_string_equal(tls_setting_print(row_named("method"), &s, out, sizeof(out)), "99");
	assert_string_equal(tls_setting_print(row_named("verify_depth"), &s, out, sizeof(out)), "");
	assert_ptr_equal(tls_setting_print(row_named("certificate"), &s, out, 0), out);
}

/* ---- settings as a whole */

static void test_settings_life(void **state)
{
	struct tls_settings a, b, c;

	(void)state;
	tls_settings_init(&a);
	assert_int_equal(a.method, TLS_METHOD_UNSET);
	assert_int_equal(a.verify_client, TLS_VERIFY_CLIENT_UNSET);
	assert_int_equal(a.verify_depth, TLS_UNSET);
	assert_null(a.certificate);
	assert_int_equal(parse_setting(row_named("ca_list"), &a, "ca.pem", NULL, NULL, 0), 0);
	assert_int_equal(parse_setting(row_named("ca_list"), &a, "ca2.pem", NULL, NULL, 0), 0);
	assert_int_equal(parse_setting(row_named("verify_depth"), &a, "3", NULL, NULL, 0), 0);

	assert_int_equal(tls_settings_copy(&b, &a), 0);
	assert_text(b.ca_list, "ca2.pem");
	assert_ptr_not_equal(b.ca_list, a.ca_list);
	assert_int_equal(b.verify_depth, 3);
	assert_int_equal(b.method, TLS_METHOD_UNSET);

	assert_int_equal(tls_settings_copy(&c, &a), 0);
	assert_int_equal(parse_setting(row_named("ca_list"), &c, "own.pem", NULL, NULL, 0), 0);
	assert_text(c.ca_list, "own.pem");
	assert_text(a.ca_list, "ca2.pem");
	assert_int_equal(tls_settings_set_defaults(&c), 0);
	assert_int_equal(c.verify_depth, 3);
	assert_int_equal(c.method, TLS_METHOD_1_2_PLUS);
	assert_text(c.certificate, "cert.pem");
	assert_null(c.private_key);

	tls_settings_free(&a);
	assert_null(a.ca_list);
	assert_int_equal(a.verify_depth, TLS_UNSET);
	tls_settings_free(&a);
	tls_settings_free(&b);
	tls_settings_free(&c);
}

static void test_options(void **state)
{
	struct tls_options o;
	char config[] = "tls.cfg";

	(void)state;
	tls_settings_init_options(&o);
	assert_int_equal(o.send_timeout, TLS_UNSET);
	o.send_timeout = 5;
	o.config = config;
	tls_settings_set_option_defaults(&o);
	assert_int_equal(o.send_timeout, 5);
	assert_int_equal(o.handshake_timeout, 120);
	assert_int_equal(o.disable_compression, 1);
	assert_ptr_equal(o.config, config);
	assert_null(o.keylog_file);
	assert_int_equal(o.init_mode, 0);
}

static void test_modparam_check(void **state)
{
	struct defaults p;
	struct tls_report r;

	(void)state;
	tls_report_init(&r);
	tls_settings_init(&p.settings);
	tls_settings_init_options(&p.options);
	tls_settings_check_params(&p.settings, &p.options, &r);
	assert_null(r.first);
	defaults_make(&p);
	tls_settings_check_params(&p.settings, &p.options, &r);
	assert_int_equal(r.errors, 0);
	for (const struct tls_problem *problem = r.first; problem != NULL; problem = problem->next)
		assert_non_null(strstr(problem->text, ": has no effect: ")); /* as for any value of theirs */
	tls_report_clear(&r);
	tls_settings_free(&p.settings);
	tls_settings_init(&p.settings);
	tls_settings_init_options(&p.options);

	p.settings.verify_depth = -3;
	p.settings.server_name_mode = 7;
	p.settings.verify_certificate = 2;
	p.options.send_timeout = 0;
	p.options.ssl_max_send_fragment = 100;
	p.options.force_run = 11;
	p.options.init_mode = 1;
	p.options.rand_engine = "krand";
	p.options.engine = "pkcs11";
	p.options.engine_config = "";
	p.options.config = "a\nb";
	tls_settings_check_params(&p.settings, &p.options, &r);
	assert_int_equal(r.errors, 5);
	assert_int_equal(r.warnings, 5);
	assert_report(
		&r,
		(const char *[]){
			"parameter verify_certificate: 2 counts as 1; allowed: 0, 1",
			"parameter verify_depth: -3 is out of range; allowed: 0 or more",
			"parameter server_name_mode: 7 counts as 0; allowed: 0 to 2",
			"parameter send_timeout: 0 is out of range; allowed: 1 to 134217727 s",
			"parameter ssl_max_send_fragment: 100 is out of range; allowed: -1 or 512 to 16384 bytes",
			"parameter config: \"a?b\" contains a control character",
			"parameter tls_force_run: 11 counts as 1; allowed: 0, 1",
			"parameter engine: has no effect: private keys in hardware are not supported",
			"parameter rand_engine: has no effect: random numbers come from the kernel",
			"parameter init_mode: has no effect: the library is always initialised in a thread of its own",
			NULL,
		});
	tls_settings_free(&p.settings);
}

static void test_from_params(void **state)
{
	struct tls_settings s;
	struct tls_config *cfg;

	(void)state;
	tls_settings_init(&s);
	s.ca_list = "ca.pem";
	s.server_name = "example.org";
	s.crl = "";
	s.verify_client = TLS_VERIFY_CLIENT_OPTIONAL;
	s.require_certificate = 1;
	s.server_name_mode = 5;
	cfg = tls_config_from_params(&s);
	assert_non_null(cfg);
	assert_null(cfg->file);
	for (int client = 0; client < 2; client++) {
		const struct tls_settings *got = section(cfg,
		                                         client ? "client:default" : "server:default (example.org)");

		assert_text(got->ca_list, "ca.pem");
		assert_text(got->certificate, client ? NULL : "cert.pem");
		assert_null(got->crl);
		assert_int_equal(got->method, TLS_METHOD_1_2_PLUS);
		assert_int_equal(got->verify_certificate, 1);
		assert_int_equal(got->require_certificate, 1);
		assert_int_equal(got->server_name_mode, TLS_NAME_EXACT);
	}
	assert_null(cfg->sections->next->next);
	assert_null(cfg->sections->file);
	assert_int_equal(cfg->sections->line, 0);
	assert_int_equal(cfg->sections->set_lines[0], 0);
	tls_config_free(cfg);
	tls_config_free(NULL);
}

/* ---- sections and their heads */

static void test_heads(void **state)
{
	static const struct {
		const char *head, *name;
	} good[] = {
		{"[server:default]", "server:default"},
		{"[client:default]", "client:default"},
		{"[server:any]", "server:any"},
		{"[client:any]", "client:any"},
		{"[SERVER:Any] # any", "server:any"},
		{"[server:any]# [1]", "server:any"},
		{"  [ server :\tany ]  ", "server:any"},
		{"[server:127.0.0.1:5061]", "server:127.0.0.1:5061"},
		{"[client: 127.0.0.1 : 5061 ]", "client:127.0.0.1:5061"},
		{"[server:127.0.0.1]", "server:127.0.0.1"},
		{"[server:127.0.0.1:0]", "server:127.0.0.1"},
		{"[server:0.0.0.0:65535]", "server:0.0.0.0:65535"},
		{"[server:[::1]:5061]", "server:[::1]:5061"},
		{"[client:[2001:DB8:0:0::1]]", "client:[2001:db8::1]"},
		{"[ server : [ ::1 ] : 5061 ] # v6", "server:[::1]:5061"},
		{"[server:[::ffff:1.2.3.4]:1]", "server:[::ffff:1.2.3.4]:1"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		char text[128];
		struct tls_config *cfg;

		snprintf(text, sizeof(text), "\n%s\nverify_depth=4\n", good[i].head);
		cfg = parse_clean(text);
		assert_int_equal(section(cfg, good[i].name)->verify_depth, 4);
		assert_int_equal(cfg->sections->line, 2);
		tls_config_free(cfg);
	}
}

static void test_address(void **state)
{
	static const uint8_t v4[16] = {192, 0, 2, 7}, v6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
	struct tls_config *cfg = parse_clean("[server:192.0.2.7:5061]\n[client:[2001:db8::1]:5062]\n");
	const struct tls_section *s = cfg->sections;

	(void)state;
	assert_int_equal(s->role, TLS_SERVER);
	assert_int_equal(s->kind, TLS_SECTION_ADDRESS);
	assert_int_equal(s->address.family, 4);
	assert_int_equal(s->address.port, 5061);
	assert_memory_equal(s->address.ip, v4, 16);
	s = s->next;
	assert_int_equal(s->role, TLS_CLIENT);
	assert_int_equal(s->address.family, 6);
	assert_int_equal(s->address.port, 5062);
	assert_memory_equal(s->address.ip, v6, 16);
	tls_config_free(cfg);
}

static void test_bad_heads(void **state)
{
	static const struct {
		const char *head, *problem;
	} bad[] = {
		{"[]", "[]\": a section begins with \"server:\" or \"client:\"; allowed: [server:default], "},
		{"[servr:default]", "[servr:default]\": a section begins with"},
		{"[server]", "[server]\": a section begins with"},
		{"[ser ver:any]", "[ser ver:any]\": a section begins with"},
		{"[serverdefault:any]", "[serverdefault:any]\": a section begins with"},
		{"[server:", "[server:\": the closing \"]\" is missing; allowed: [server:default], "},
		{"[server:]", "[server:]\": \"\" is not an IPv4 address; allowed: [server:default], "},
		{"[server:any any]", "[server:any any]\": \"any any\" is not an IPv4 address"},
		{"[server:1.2.3 .4]", "[server:1.2.3 .4]\": \"1.2.3 .4\" is not an IPv4 address"},
		{"[server:defaults]", "[server:defaults]\": \"defaults\" is not an IPv4 address"},
		{"[server:example.org:5061]", "[server:example.org:5061]\": \"example.org\" is not an IPv4 address"},
		{"[server:1.2.3:5061]", "[server:1.2.3:5061]\": \"1.2.3\" is not an IPv4 address"},
		{"[server:1.2.3.256]", "[server:1.2.3.256]\": \"1.2.3.256\" is not an IPv4 address"},
		{"[server:::1:5061]", "[server:::1:5061]\": \"\" is not an IPv4 address"},
		{"[server:[::g]:5061]", "[server:[::g]:5061]\": \"::g\" is not an IPv6 address"},
		{"[server:[1.2.3.4]:5061]", "[server:[1.2.3.4]:5061]\": \"1.2.3.4\" is not an IPv6 address"},
		{"[server:[::1", "[server:[::1\": the closing \"]\" is missing"},
		{"[server:[::1:5061]", "[server:[::1:5061]\": the \"]\" after the IPv6 address is missing"},
		{"[server:[::1]5061]", "[server:[::1]5061]\": \"5061\" is not a port"},
		{"[server:1.2.3.4:65536]",
	     "[server:1.2.3.4:65536]\": \"65536\" is not a port; allowed: 1 to 65535, and 0"},
		{"[server:1.2.3.4:]", "[server:1.2.3.4:]\": \"\" is not a port"},
		{"[server:1.2.3.4:x]", "[server:1.2.3.4:x]\": \"x\" is not a port"},
		{"[server:1.2.3.4:-1]", "[server:1.2.3.4:-1]\": \"-1\" is not a port"},
		{"[server:1.2.3.4:000005061]", "[server:1.2.3.4:000005061]\": \"000005061\" is not a port"},
		{"[server:1.2.3.4:50 61]", "[server:1.2.3.4:50 61]\": \"50 61\" is not a port"},
		{"[server:default:5061]", "[server:default:5061]\": \"default\" is not an IPv4 address"},
		{"[server:default", "[server:default\": the closing \"]\" is missing; allowed: [server:default], "},
		{"[server:default # ]", "[server:default\": the closing \"]\" is missing"},
		{"[server:default] x", "[server:default] x\": \"x\" after the section's head; allowed: a comment"},
		{"[\tser\001ver:any]", "[?ser?ver:any]\": a section begins with"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		char text[256], wanted[256];

		/* what stands below is checked as well, and goes nowhere */
		snprintf(text, sizeof(text), "[client:any]\n\n%s\nverify_depth = 3\nverify_depht = 3\n", bad[i].head);
		snprintf(wanted, sizeof(wanted), FILE_NAME ":3: \"%s", bad[i].problem);
		assert_problems(text,
		                (const char *[]){wanted, FILE_NAME ":5: there is no setting \"verify_depht\"", NULL});
	}
}

static void test_section_name(void **state)
{
	struct tls_config *cfg = parse_clean("[client:any]\nserver_name=a.example\nserver_id=A\n"
	                                     "[client:any]\nserver_id=B\n[server:[::1]:5]\nserver_name=c\n");
	char small[12];

	(void)state;
	section(cfg, "client:any (a.example, A)");
	section(cfg, "client:any (B)");
	section(cfg, "server:[::1]:5 (c)");
	assert_string_equal(tls_section_name(cfg->sections, small, sizeof(small)), "client:any ");
	assert_ptr_equal(tls_section_name(cfg->sections, small, 0), small);
	tls_config_free(cfg);
}

static void test_twins(void **state)
{
	(void)state;
	assert_problems(
		"[server:default]\n[client:default]\n[server:default]\nserver_name = x\n[client:default]\n"
		"[server:any]\nserver_name = a.example\nserver_id = 1\n"
		"[server:any]\nserver_name = A.example\nserver_id = 2\n"
		"[client:any]\nserver_id = 1\n[client:any]\nserver_id = 1\n"
		"[server:127.0.0.1:5061]\n[server:127.0.0.1:5061]\n[server:[::1]]\n[server:[0::1]:0]\n",
		(const char *[]){
			FILE_NAME ":3: server:default (x): this section is already in line 1; there can be only one",
			FILE_NAME
			":9: server:any (A.example, 2): this section is already in line 6; merge the two, or give each its "
			"own server_name",
			FILE_NAME ":17: server:127.0.0.1:5061: this section is already in line 16",
			FILE_NAME ":19: server:[::1]: this section is already in line 18",
			FILE_NAME ":5: client:default: this section is already in line 2; there can be only one",
			FILE_NAME
			":14: client:any (1): this section is already in line 12; merge the two, or give each its "
			"own server_name or server_id",
			NULL,
		});
	tls_config_free(
		parse_clean("[server:any]\nserver_name = a\n[server:any]\nserver_name = a\nserver_name_mode = 2\n"
	                "[server:any]\n[client:any]\n[server:any]\nserver_name = b\n"
	                "[server:10.0.0.1:1]\n[server:10.0.0.1:2]\n[server:10.0.0.1]\n[client:10.0.0.1:1]\n"
	                "[client:any]\nserver_id = 1\n[client:any]\nserver_id = 2\n"
	                "[client:any]\nserver_id = 1\nserver_name = a\n"));
}

/* ---- settings in the file */

static void test_syntax(void **state)
{
	struct tls_config *cfg = parse_clean("\xef\xbb\xbf# a comment\r\n"
	                                     "   \t \r\n"
	                                     "[server:default]   # the default\r\n"
	                                     "TLS_Method=TLSv1.3\r\n"
	                                     "\tcertificate =\t/etc/a b.pem  \t# comment\r\n"
	                                     "private_key = \"/etc/# \\\"k\\\\ey\\\".pem\" # comment\r\n"
	                                     "private_key_password = \" \\\"\\\\\\n\\r\\t\\# \"\r\n"
	                                     "cipher_list = HIGH:\\\r\n"
	                                     "!aNULL;x\\#y\\ \\\\z\\ \r\n"
	                                     "ca_list = a\"b\"\n"
	                                     "ca_path = 'p'\n"
	                                     "server_name = \"quoted \\\nover two lines\"\n"
	                                     "verify_depth = \"7\"");
	const struct tls_section *s = cfg->sections;

	(void)state;
	assert_text(cfg->file, FILE_NAME);
	assert_int_equal(s->line, 3);
	assert_int_equal(s->settings.method, TLS_METHOD_1_3);
	assert_text(s->settings.certificate, "/etc/a b.pem");
	assert_text(s->settings.private_key, "/etc/# \"k\\ey\".pem");
	assert_text(s->settings.private_key_password, " \"\\\n\r\t# ");
	assert_text(s->settings.cipher_list, "HIGH:!aNULL;x#y \\z ");
	assert_text(s->settings.ca_list, "a\"b\"");
	assert_text(s->settings.ca_path, "'p'");
	assert_text(s->settings.server_name, "quoted over two lines");
	assert_int_equal(s->settings.verify_depth, 7);
	assert_int_equal(s->set_lines[row_named("method") - tls_settings_table], 4);
	assert_int_equal(s->set_lines[row_named("cipher_list") - tls_settings_table], 8);
	assert_int_equal(s->set_lines[row_named("ca_list") - tls_settings_table], 10);
	assert_int_equal(s->set_lines[row_named("verify_depth") - tls_settings_table], 14);
	assert_int_equal(s->set_lines[row_named("crl") - tls_settings_table], 0);
	tls_config_free(cfg);
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *line, *problem;
	} bad[] = {
		{"verify_depth", "\"verify_depth\" is not understood; allowed: [section], name = value, # comment"},
		{"verify_depth 3", "\"verify_depth 3\" is not understood"},
		{"verify_depth : 3", "\"verify_depth : 3\" is not understood"},
		{"; comment", "\"; comment\" is not understood; allowed: [section], name = value, # comment"},
		{"= 3", "\"= 3\" is not understood"},
		{"\"verify_depth\" = 3", "\"\"verify_depth\" = 3\" is not understood"},
		{"verify-depth = 3", "\"verify-depth = 3\" is not understood"},
		{"\xffgarbage\x01\x02", "\"?garbage??\" is not understood"},
		{"verify_depth =", "verify_depth: the value is missing; write \"\" for none"},
		{"crl = # none", "crl: the value is missing; write \"\" for none"},
		{"Verify_Depth = x", "Verify_Depth: \"x\" is not a whole number; allowed: 0 or more"},
		{"verify_certificate = yes please",
	     "verify_certificate: \"yes please\" is not known; allowed: yes, no"},
		{"method = SSLv2", "method: SSLv2 is broken and prohibited by RFC 6176; use TLSv1.2+"},
		{"tls_method = SSLv3", "tls_method: SSLv3 is broken and prohibited by RFC 7568; use TLSv1.2+"},
		{"crl = \"x", "crl: the closing \" is missing; it must be in the same line"},
		{"crl = \"x\\\"", "crl: the closing \" is missing"},
		{"crl = \"x\" y", "crl: \"y\" after the closing \"; allowed: a comment, which begins with \"#\""},
		{"crl = \"x\"y", "crl: \"y\" after the closing \""},
		{"crl = \"x\\y\"",
	     "crl: \"y\" follows a \"\\\"; allowed there: \\ \" # n r t and a blank; write \"\\\\\" for"},
		{"crl = C:\\x", "crl: \"x\" follows a \"\\\""},
		{"crl = \"x\\n\"", "crl: \"x?\" contains a control character"},
		{"send_timeout = 3", "\"send_timeout\" is a module parameter; set it in the main configuration: "
	                         "modparam(\"tls\", \"send_timeout\", ...)"},
		{"verify_dept = 3", "there is no setting \"verify_dept\"; did you mean \"verify_depth\"?"},
		{"CERTIFCATE = 3", "there is no setting \"CERTIFCATE\"; did you mean \"certificate\"?"},
		{"metod = 3", "there is no setting \"metod\"; did you mean \"method\"?"},
		{"cert_verify = 3",
	     "there is no setting \"cert_verify\"; allowed: method, certificate, private_key, "},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 3",
	     "there is no setting \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"; allowed: method"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		char text[256], wanted[256];

		snprintf(text, sizeof(text), "[server:any]\n# two\\\r\nlines\n%s\n", bad[i].line);
		snprintf(wanted, sizeof(wanted), FILE_NAME ":4: %s", bad[i].problem);
		assert_problems(text, (const char *[]){
								  FILE_NAME ":2: this comment ends in \"\\\", so the next line belongs to it",
								  wanted,
								  NULL,
							  });
	}
}

static void test_secrets_stay_secret(void **state)
{
	struct tls_report r;
	struct tls_config *cfg =
		parse("[server:any]\nprivate_key_password = \"hunter2\nprivate_key_password = \"hunter2\\x\"\n"
	          "private_key_password2 = hunter2\nprivate_key_password2 = hunter2#2\n",
	          &r);

	(void)state;
	assert_int_equal(r.errors, 2);
	assert_int_equal(r.warnings, 2);
	for (const struct tls_problem *p = r.first; p != NULL; p = p->next)
		assert_null(strstr(p->text, "hunter"));
	tls_report_clear(&r);
	tls_config_free(cfg);
}

static void test_end_of_file(void **state)
{
	(void)state;
	assert_problem("[server:any]\ncrl = x\\", FILE_NAME ":2: crl: the value ends in a single \"\\\"");
	assert_problem("[server:any]\ncrl = \"x\\", FILE_NAME ":2: crl: the value ends in a single \"\\\"");
	assert_problem("[server:any]\ncrl = \"", FILE_NAME ":2: crl: the closing \" is missing");
	assert_problem("[server:any]\ncrl = \"\\\n", FILE_NAME ":2: crl: the closing \" is missing");
	assert_problem("", FILE_NAME ": has no section; write at least [server:default]");
	assert_problem("# nothing\n\n", FILE_NAME ": has no section");
	assert_problem("\xef\xbb\xbf", FILE_NAME ": has no section");
	tls_config_free(parse_clean("[server:any]"));
	tls_config_free(parse_clean("[server:any]\n#"));
	tls_config_free(parse_clean("[server:any]\n# \\"));
	tls_config_free(parse_clean("\n\n[server:any]\ncrl = \"\""));
}

static void test_before_the_first_section(void **state)
{
	(void)state;
	assert_problems(
		"crl = x\nnonsense_it_is = 1\n[server:any]\n",
		(const char *[]){
			FILE_NAME
			":1: crl: is set before the first section; put it below a head such as [server:default]",
			FILE_NAME ":2: there is no setting \"nonsense_it_is\"",
			NULL,
		});
}

/* Whether something is known of a setting that is not there, by what else is wrong. */
static void test_unsure(void **state)
{
	static const struct {
		const char *text; /* of one section, or what leads to one */
		bool certificate, key;
	} cases[] = {
		{"[server:default]\n", false, false},
		{"[server:default]\ncertificate = a\nverify_depth = x\n", false, false},
		{"[server:default]\ncertificate = \"a\n", true, false},
		{"[server:default]\ncertificate = \"a\ncertificate = b\n", false, false},
		{"[server:default]\ncertificate = a\ncertificate = \"b\n", false, false},
		{"[server:default]\ncertifcate = a\n", true, false},
		{"[server:default]\nprivate_kye = a\n", false, true},
		{"[server:default]\npem_file_of_it = a\n", true, true},
		{"[server:default]\ncertificate = a\nnonsense_it_is = b\n", false, true},
		{"[server:default]\ncertificate\n", true, true},
		{"certificate = a\n[server:default]\n", true, false},
		{"certificate = a\n[server:default]\ncertificate = b\n", false, false},
		{"nonsense\n[server:default]\ncertificate = b\n", false, true},
		{"[sever:default]\ncertificate = a\n", true, true},
		{"[client:default]\ncertifcate = a\n", false, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tls_report r;
		struct tls_config *cfg = parse(cases[i].text, &r);
		const struct tls_section *s = cfg->sections;

		while (s->role != TLS_SERVER)
			s = s->next;
		if (tls_section_unsure(s, "certificate") != cases[i].certificate ||
		    tls_section_unsure(s, "private_key") != cases[i].key)
			fail_msg("%s", cases[i].text);
		tls_report_clear(&r);
		tls_config_free(cfg);
	}
}

static void test_warnings(void **state)
{
	struct tls_report r;
	struct tls_config *cfg =
		parse("[server:default]\nmethod = TLSv1.2\ntls_method = SSLv23\ncrl = a#b\nca_list = c #d\n", &r);

	(void)state;
	assert_int_equal(r.errors, 0);
	assert_int_equal(section(cfg, "server:default")->method, TLS_METHOD_ANY);
	assert_text(section(cfg, "server:default")->crl, "a");
	assert_text(section(cfg, "server:default")->ca_list, "c");
	assert_report(&r, (const char *[]){
						  FILE_NAME ":3: tls_method: already set in line 2 of this section; this line counts",
						  FILE_NAME ":3: tls_method: SSLv23 accepts every version",
						  FILE_NAME ":4: crl: the \"#\" begins a comment; put the value in double quotes",
						  NULL,
					  });
	tls_config_free(cfg);
}

static void test_nul_bytes(void **state)
{
	static const char text[] = "[server:any]\ncrl = a\0b\nverify_depth = 4\n\0\0\nserver_name_mode = x\n";
	struct tls_report r;
	struct tls_config *cfg;

	(void)state;
	tls_report_init(&r);
	cfg = tls_config_parse("f", text, sizeof(text) - 1, &r);
	assert_non_null(cfg);
	assert_null(cfg->sections->settings.crl);
	assert_int_equal(cfg->sections->settings.verify_depth, 4);
	assert_report(&r, (const char *[]){
						  "f:2: contains a NUL byte; write the file as plain text (UTF-8)",
						  "f:5: server_name_mode: \"x\" is not a whole number",
						  NULL,
					  });
	tls_config_free(cfg);
}

static void test_huge_line(void **state)
{
	size_t size = 4 * 1024 * 1024;
	char *text = malloc(size + 1);
	struct tls_config *cfg;

	(void)state;
	memset(text, 'x', size);
	memcpy(text, "[server:any]\ncipher_list=", 25);
	text[size] = '\0';
	cfg = parse_clean(text);
	assert_int_equal(strlen(cfg->sections->settings.cipher_list), size - 25);
	tls_config_free(cfg);
	memcpy(text, "[server:any]\ncrl        =", 25);
	assert_problem(text, FILE_NAME ":2: crl: the path is too long");
	memset(text + 13, 'x', 12);
	assert_problem(text, FILE_NAME ":2: \"xxxxxxxxxx");
	text[0] = ' ';
	text[13] = '[';
	assert_problems(text, (const char *[]){FILE_NAME ":1: \"server:any]\" is not understood",
	                                       FILE_NAME ":2: \"[xxxx", NULL});
	free(text);
}

/* ---- what stands in no section */

/* Nothing passes from a default section to another, nor from one role to the other. */
static void test_presets(void **state)
{
	struct tls_config *cfg = parse_clean(
		"[server:any]\nserver_name = a\nverify_depth = 1\ncrl = \"\"\n"
		"[server:default]\nmethod = TLSv1.3\nca_list = ca.pem\ncrl = crl.pem\n"
		"verify_depth = 2\nserver_name = d\nserver_id = i\nserver_name_mode = 2\n"
		"certificate = d.pem\nprivate_key = d.key\nprivate_key_password = pw\n"
		"certificate2 = d2.pem\nverify_client = on\ncipher_list = HIGH\n"
		"[server:[::1]:5061]\ncertificate = \"\"\n"
		"[client:10.0.0.1:5061]\n");
	const struct tls_settings *a = section(cfg, "server:any (a)"), *d = section(cfg, "server:default (d, i)");
	const struct tls_settings *c = section(cfg, "client:10.0.0.1:5061"), *cd = section(cfg, "client:default");
	struct tls_settings plain;

	(void)state;
	assert_int_equal(a->verify_depth, 1);
	assert_text(a->server_name, "a");
	assert_int_equal(d->server_name_mode, TLS_NAME_SUBDOMAINS);
	assert_int_equal(d->verify_depth, 2);
	assert_text(d->crl, "crl.pem");
	tls_settings_init(&plain);
	assert_int_equal(tls_settings_set_defaults(&plain), 0);
	for (const struct tls_setting *row = tls_settings_table; (row->flags & TLS_OF_DOMAIN) != 0; row++) {
		char of_a[64], of_c[64], of_cd[64], wanted[64];

		tls_setting_print(row, a, of_a, sizeof(of_a));
		tls_setting_print(row, c, of_c, sizeof(of_c));
		tls_setting_print(row, cd, of_cd, sizeof(of_cd));
		tls_setting_print(row, &plain, wanted, sizeof(wanted));
		if (strcmp(row->name, "server_name") != 0 && strcmp(row->name, "verify_depth") != 0)
			assert_string_equal(of_a, wanted);
		assert_string_equal(of_c, strcmp(row->name, "certificate") == 0 ? "" : wanted);
		assert_string_equal(of_cd, of_c);
	}
	assert_null(section(cfg, "server:[::1]:5061")->certificate); /* "" is none, default or not */
	tls_settings_free(&plain);
	tls_config_free(cfg);
}

static void test_verify_client(void **state)
{
	static const struct {
		const char *lines;
		int word, verify, require;
	} cases[] = {
		{"", TLS_VERIFY_CLIENT_UNSET, 0, 0},
		{"verify_client = on", TLS_VERIFY_CLIENT_ON, 1, 1},
		{"verify_client = optional", TLS_VERIFY_CLIENT_OPTIONAL, 1, 0},
		{"verify_client = optional_no_ca", TLS_VERIFY_CLIENT_OPTIONAL_NO_CA, 0, 0},
		{"verify_client = off", TLS_VERIFY_CLIENT_OFF, 0, 0},
		{"verify_certificate = yes", TLS_VERIFY_CLIENT_UNSET, 1, 0},
		{"require_certificate = yes", TLS_VERIFY_CLIENT_UNSET, 0, 1},
		{"verify_client = on\nverify_certificate = yes", TLS_VERIFY_CLIENT_ON, 1, 1},
		{"verify_client = off\nverify_certificate = no", TLS_VERIFY_CLIENT_OFF, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[256];
		struct tls_config *cfg;
		const struct tls_settings *s;

		snprintf(text, sizeof(text), "[server:any]\n%s\n", cases[i].lines);
		cfg = parse_clean(text);
		s = section(cfg, "server:any");
		assert_int_equal(s->verify_client, cases[i].word);
		assert_int_equal(s->verify_certificate, cases[i].verify);
		assert_int_equal(s->require_certificate, cases[i].require);
		tls_config_free(cfg);
	}
	assert_problems(
		"[server:default]\nverify_certificate = no\nverify_client = on\nrequire_certificate = yes\n"
		"[server:any]\nrequire_certificate = yes\nverify_client = off\n",
		(const char *[]){
			FILE_NAME ":2: verify_certificate: verify_client in line 3 overrides this; remove one of the two",
			FILE_NAME ":6: require_certificate: takes precedence over verify_client in line 7; remove one",
			NULL,
		});
	assert_problems("[server:any]\nverify_certificate = yes\nverify_client = optional_no_ca\n"
	                "[client:any]\nverify_certificate = yes\nverify_client = optional_no_ca\n",
	                (const char *[]){
						FILE_NAME ":2: verify_certificate: verify_client in line 3 overrides this",
						FILE_NAME ":5: verify_certificate: takes precedence over verify_client in line 6",
						NULL,
					});
}

/* ---- paths */

static void test_verify_name(void **state)
{
	struct tls_config *cfg = parse_clean("[client:any]\nverify_name = yes\nverify_certificate = yes\n");
	struct tls_settings s;
	struct tls_options o;
	struct tls_report r;

	(void)state;
	assert_int_equal(section(cfg, "client:any")->verify_name, 1);
	tls_config_free(cfg);
	assert_problem("[client:any]\nverify_name = yes\n", FILE_NAME
	               ":2: verify_name: needs verify_certificate = yes: a certificate that is not verified");
	assert_problem(
		"[server:any]\nverify_name = yes\n",
		FILE_NAME ":2: verify_name: has no effect in a server section, as it is about servers' certificates");
	tls_report_init(&r);
	tls_settings_init(&s);
	s.verify_name = 1;
	tls_settings_init_options(&o);
	tls_settings_check_params(&s, &o, &r);
	assert_report(&r, (const char *[]){"parameter verify_name: needs verify_certificate = yes", NULL});
}

static void test_resolve(void **state)
{
	static const struct {
		const char *path, *absolute;
	} cases[] = {
		{"/a/b.pem", "/a/b.pem"},
		{"b.pem", "/main/b.pem"},
		{"tls/b.pem", "/main/tls/b.pem"},
		{"./b.pem", "/work/b.pem"},
		{"../b.pem", "/work/../b.pem"},
		{".hidden", "/work/.hidden"},
		{".", "/work/."},
		{"", ""},
		{"/engine:label", "/engine:label"},
	};
	struct tls_config *cfg = parse_clean(
		"[server:default]\ncertificate = c.pem\nca_path = ./ca\ncipher_list = x\n"
		"[client:any]\ncrl = /c.pem\nserver_id = y\n");
	char *path;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		path = tls_config_resolve_path(cases[i].path, "/main", "/work");
		assert_text(path, cases[i].absolute);
		free(path);
	}
	path = tls_config_resolve_path("a", "/main/", "/");
	assert_text(path, "/main/a");
	free(path);
	path = tls_config_resolve_path("./a", "/main/", "/");
	assert_text(path, "/a");
	free(path);
	assert_int_equal(tls_config_resolve(cfg, "/main", "/work"), 0);
	assert_int_equal(tls_config_resolve(cfg, "/other", "/other"), 0); /* absolute already */
	assert_text(section(cfg, "server:default")->certificate, "/main/c.pem");
	assert_text(section(cfg, "server:default")->ca_path, "/work/ca");
	assert_text(section(cfg, "server:default")->cipher_list, "x");
	assert_text(section(cfg, "client:any (y)")->crl, "/c.pem");
	tls_config_free(cfg);
}

/* ---- reports */

static void test_report(void **state)
{
	struct tls_report r;

	(void)state;
	tls_report_init(&r);
	tls_report_add(&r, TLS_WARNING, NULL, 0, NULL, "plain %d", 1);
	tls_report_add(&r, TLS_ERROR, NULL, 0, "set", "wrong");
	tls_report_add(&r, TLS_ERROR, "f", 0, NULL, "wrong");
	tls_report_add(&r, TLS_ERROR, "f", 3, "set", "%s", "wrong");
	tls_report_add(&r, TLS_ERROR, "f", 0, NULL, "wrong"); /* once is enough */
	assert_int_equal(r.errors, 3);
	assert_int_equal(r.warnings, 1);
	assert_int_equal(r.first->severity, TLS_WARNING);
	assert_int_equal(r.first->next->severity, TLS_ERROR);
	assert_int_equal(r.first->next->next->next->line, 3);
	assert_report(&r,
	              (const char *[]){"plain 1", "parameter set: wrong", "f: wrong", "f:3: set: wrong", NULL});
	assert_null(r.first);
	assert_int_equal(r.errors + r.warnings, 0);
}

/* A flood of warnings does not hide an error, and both end. */
static void test_report_is_bounded(void **state)
{
	struct tls_report r;
	int warnings = 0, errors = 0;

	(void)state;
	tls_report_init(&r);
	for (int i = 0; i < 1000; i++)
		tls_report_add(&r, TLS_WARNING, "f", i, NULL, "w");
	for (int i = 0; i < 1000; i++)
		tls_report_add(&r, TLS_ERROR, "f", i, NULL, "e");
	for (const struct tls_problem *p = r.first; p != NULL; p = p->next)
		p->severity == TLS_ERROR ? errors++ : warnings++;
	assert_int_equal(warnings, 101);
	assert_int_equal(errors, 101);
	assert_int_equal(r.errors, 1000);
	assert_int_equal(r.warnings, 1000);
	tls_report_clear(&r);
}

/* ---- files */

static char folder[] = "/tmp/tls_config.XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL && chmod(folder, 0755) == 0 && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink("tls.cfg");
	unlink("fifo");
	return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void write_named(const char *name, const char *text, off_t size)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	if (size > 0)
		assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void write_file(const char *text, off_t size)
{
	write_named("tls.cfg", text, size);
}

static void assert_unreadable(const char *path, const char *problem)
{
	struct tls_report r;

	tls_report_init(&r);
	assert_null(tls_config_files_read(path, &r));
	assert_int_equal(r.errors, 1);
	assert_report(&r, (const char *[]){problem, NULL});
}

static void test_read(void **state)
{
	struct tls_report r;
	struct tls_config *cfg;

	(void)state;
	tls_report_init(&r);
	write_file("[server:any]\nverify_depth = 4\n", 0);
	cfg = tls_config_files_read("tls.cfg", &r);
	assert_non_null(cfg);
	assert_null(r.first);
	assert_text(cfg->file, "tls.cfg");
	assert_int_equal(section(cfg, "server:any")->verify_depth, 4);
	tls_config_free(cfg);

	write_file("", 0);
	cfg = tls_config_files_read("tls.cfg", &r);
	assert_non_null(cfg);
	tls_config_free(cfg);
	assert_report(&r, (const char *[]){"tls.cfg: has no section", NULL});
}

static void test_read_failures(void **state)
{
	(void)state;
	assert_unreadable("none.cfg", "none.cfg: cannot be opened: No such file or directory; check its name");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_unreadable("fifo", "fifo: is not a regular file; name one instead");
	assert_unreadable("/dev/null", "/dev/null: is not a regular file");
	write_file("", 16 * 1024 * 1024 + 1);
	assert_unreadable("tls.cfg", "tls.cfg: is larger than 16 MB");
	assert_unreadable("/proc/self/status", "/proc/self/status: changed while it was being read; try again");
}

static void test_read_forbidden(void **state)
{
	uid_t user = geteuid();

	(void)state;
	write_file("[server:any]\n", 0);
	assert_int_equal(chmod("tls.cfg", 0), 0);
	if (user == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_unreadable("tls.cfg",
	                  "tls.cfg: cannot be opened: Permission denied; check its name and permissions");
	assert_int_equal(seteuid(user), 0);
}

static int make_subfolder(void **state)
{
	(void)state;
	return mkdir("d", 0755) == 0 && mkdir("d/sub", 0755) == 0 ? 0 : -1;
}

static int remove_subfolder(void **state)
{
	static const char *const names[] = {"d/10", "d/9.cfg", "d/.hidden", "d/link", "d/fifo", "d/sub/x.cfg"};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		unlink(names[i]);
	return rmdir("d/sub") == 0 && rmdir("d") == 0 ? 0 : -1;
}

/* All files of the folder, whatever they are called, and links to files; nothing else that is in it. */
static void test_read_folder(void **state)
{
	static const char *const files[] = {"d/.hidden", "d/10", "d/9.cfg", "d/link", "d"};
	static const char *const sections[] = {"client:any (h)", "server:default", "server:any (nine)",
	                                       "server:any", "client:default"};
	const struct tls_section *s;
	struct tls_report r;
	struct tls_config *cfg;

	(void)state;
	write_named("d/9.cfg", "\n\n[server:any]\nserver_name = nine\n", 0);
	write_named("d/.hidden", "[client:any]\nserver_id = h", 0);
	write_named("d/sub/x.cfg", "this is not read", 0);
	write_file("[server:any]\n", 0);
	assert_int_equal(symlink("../tls.cfg", "d/link"), 0);
	assert_int_equal(mkfifo("d/fifo", 0600), 0);
	write_named("d/10", "[server:default]\nverify_depth = 4", 0);
	tls_report_init(&r);
	cfg = tls_config_files_read("d", &r);
	assert_non_null(cfg);
	assert_null(r.first);
	assert_text(cfg->file, "d");
	s = cfg->sections;
	for (size_t i = 0; i < COUNT(files); i++, s = s->next) {
		char name[64];

		assert_non_null(s);
		assert_string_equal(tls_section_name(s, name, sizeof(name)), sections[i]);
		assert_text(s->file, files[i]);
	}
	assert_null(s);
	assert_int_equal(section(cfg, "server:default")->verify_depth, 4);
	assert_int_equal(cfg->sections->next->next->line, 3);
	tls_config_free(cfg);
}

/* Each problem names its file, and no file goes on with another's section. */
static void test_read_folder_problems(void **state)
{
	struct tls_report r;

	(void)state;
	write_named("d/10", "verify_depth = 1\n[server:any]\nserver_name = a\nverify_depth = x\n", 0);
	write_named("d/9.cfg", "verify_depth = 2\n[server:any]\nserver_name = A\n[client:any]\n[client:any]\n",
	            0);
	tls_report_init(&r);
	tls_config_free(tls_config_files_read("d", &r));
	assert_report(&r, (const char *[]){
						  "d/10:1: verify_depth: is set before the first section",
						  "d/10:4: verify_depth: \"x\" is not a whole number",
						  "d/9.cfg:1: verify_depth: is set before the first section",
						  "d/9.cfg:2: server:any (A): this section is already in d/10, line 2; merge the two",
						  "d/9.cfg:5: client:any: this section is already in line 4; merge the two",
						  NULL,
					  });

	write_named("d/10", "[server:default]\n", 0);
	write_named("d/9.cfg", "verify_depth = 2\n", 0);
	assert_int_equal(symlink("nowhere", "d/link"), 0);
	assert_null(tls_config_files_read("d", &r));
	assert_report(&r, (const char *[]){
						  "d/9.cfg:1: verify_depth: is set before the first section",
						  "d/link: cannot be opened: No such file or directory",
						  NULL,
					  });
}

static void test_read_folder_without_sections(void **state)
{
	struct tls_report r;

	(void)state;
	tls_report_init(&r);
	tls_config_free(tls_config_files_read("d", &r));
	assert_report(&r, (const char *[]){"d: has no section; write at least [server:default]", NULL});
	write_named("d/10", "# nothing\n", 0);
	tls_config_free(tls_config_files_read("d", &r));
	assert_report(&r, (const char *[]){"d: has no section", NULL});
	write_named("d/9.cfg", "[server:any]\n", 0);
	tls_config_free(tls_config_files_read("d", &r));
	assert_report(&r, (const char *[]){NULL});
}

/* ---- memory that runs out */

static const char rich[] =
	"[server:default]\ncertificate = c.pem\nprivate_key_password = pw\nca_list = ca\nbad = 1\n"
	"[server:any]\nserver_name = a\nverify_depth = x\nverify_depth = 1\nverify_depth = 2\n"
	"[server:any]\nserver_name = a\ncrl = \"\"\n[nonsense]\ncrl = x\n[client:10.0.0.1]\ncrl = y\n";

static void parse_and_resolve(void)
{
	struct tls_report r;
	struct tls_config *cfg;

	tls_report_init(&r);
	cfg = tls_config_parse("f", rich, strlen(rich), &r);
	assert_true(r.errors >= 1);
	if (cfg == NULL)
		assert_true(failed);
	else if (tls_config_resolve(cfg, "/main", "/work") < 0)
		assert_true(failed);
	tls_config_free(cfg);
	tls_report_clear(&r);
}

static void read_file(void)
{
	struct tls_report r;
	struct tls_config *cfg;

	tls_report_init(&r);
	cfg = tls_config_files_read("tls.cfg", &r);
	assert_true(cfg != NULL || (failed && r.errors > 0));
	if (failed)
		assert_true(r.errors > 0);
	tls_config_free(cfg);
	tls_report_clear(&r);
}

static void read_folder(void)
{
	struct tls_report r;
	struct tls_config *cfg;

	tls_report_init(&r);
	cfg = tls_config_files_read("d", &r);
	assert_true((cfg == NULL) == (r.errors > 0));
	assert_true(cfg != NULL || failed);
	tls_config_free(cfg);
	tls_report_clear(&r);
}

static void settings_by_hand(void)
{
	struct tls_settings s, copy;
	struct tls_config *cfg;
	struct tls_report r;

	tls_report_init(&r);
	tls_settings_init(&s);
	if (parse_setting(row_named("ca_list"), &s, "ca", &r, NULL, 0) < 0)
		assert_true(failed && r.errors == 1);
	tls_report_clear(&r);
	if (tls_settings_set_defaults(&s) < 0)
		assert_true(failed);
	if (tls_settings_copy(&copy, &s) < 0)
		assert_true(failed);
	else
		tls_settings_free(&copy);
	if ((cfg = tls_config_from_params(&s)) == NULL)
		assert_true(failed);
	tls_config_free(cfg);
	tls_settings_free(&s);
}

static void report(void)
{
	struct tls_report r;

	tls_report_init(&r);
	for (int i = 0; i < 102; i++)
		tls_report_add(&r, i < 3 ? TLS_WARNING : TLS_ERROR, "f", 1, "s", "text %d", i);
	assert_true(r.errors == 99 || (failed && r.errors == 100)); /* a lost warning counts as an error */
	assert_int_equal(r.warnings, 3);
	tls_report_clear(&r);
}

/* Some tools put an allocator of their own before ours, which then cannot fail. */
static void skip_without_failures(void)
{
	void *volatile probe;

	fail_after = 0;
	probe = malloc(1);
	fail_after = -1;
	if (probe == NULL)
		return;
	free(probe);
	skip();
}

/* Runs F with each of its allocations being the last that succeeds; leaks are the sanitizer's to find. */
static void exhaust(void (*f)(void))
{
	int n = 0;

	do {
		failed = false;
		fail_after = n++;
		f();
		fail_after = -1;
		assert_true(n < 10000);
	} while (failed);
	assert_true(n > 3);
}

static void test_memory(void **state)
{
	(void)state;
	skip_without_failures();
	write_file("[server:any]\nverify_depth = 4\ncrl = x\n", 0);
	exhaust(parse_and_resolve);
	exhaust(read_file);
	assert_int_equal(mkdir("d", 0755), 0);
	write_named("d/a", "[server:any]\nserver_name = a\n", 0);
	write_named("d/b", "[server:any]\nserver_name = b\n", 0);
	exhaust(read_folder);
	unlink("d/a");
	unlink("d/b");
	assert_int_equal(rmdir("d"), 0);
	exhaust(settings_by_hand);
	exhaust(report);
}

/* What could not be stored is said at the end of the report, and what comes later stands before it. */
static void test_memory_report(void **state)
{
	struct tls_report r;

	(void)state;
	skip_without_failures();
	tls_report_init(&r);
	fail_after = 0;
	tls_report_add(&r, TLS_WARNING, "f", 1, NULL, "lost");
	fail_after = 1;
	tls_report_add(&r, TLS_WARNING, "f", 2, NULL, "lost");
	fail_after = -1;
	assert_int_equal(r.errors, 1); /* a lost warning might have been one */
	assert_int_equal(r.warnings, 2);
	tls_report_add(&r, TLS_ERROR, "f", 3, NULL, "kept");
	assert_report(&r, (const char *[]){"f:3: kept", "out of memory, so some problems are not listed", NULL});
}

/* What goes to logs and RPC answers is text: what is not becomes a question mark, byte by byte. */
static void test_text(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"plain ~", "plain ~"},
		{"a\nb\tc\x7f\x1b[2J", "a?b?c??[2J"},
		{"m\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80", "m\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"m\xfcller", "m?ller"},
		{"\xc3", "?"}, /* cut within a character */
		{"\xe2\x82", "??"},
		{"\xf0\x9f\x98", "???"},
		{"\xe2\x28\xa1", "?(?"},
		{"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", "?????????"}, /* more bytes than needed */
		{"\xed\xa0\x80\xf4\x90\x80\x80\xf5\xff", "?????????"}, /* surrogates, above U+10FFFF */
		{"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", cases[i][0]);
		assert_string_equal(tls_text_clean(text), cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_what_users_know),
		cmocka_unit_test(test_table_covers_every_field),
		cmocka_unit_test(test_table_rows_are_sound),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_print_fits),
		cmocka_unit_test(test_settings_life),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_modparam_check),
		cmocka_unit_test(test_from_params),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_bad_heads),
		cmocka_unit_test(test_section_name),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_secrets_stay_secret),
		cmocka_unit_test(test_end_of_file),
		cmocka_unit_test(test_before_the_first_section),
		cmocka_unit_test(test_unsure),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_huge_line),
		cmocka_unit_test(test_presets),
		cmocka_unit_test(test_verify_client),
		cmocka_unit_test(test_verify_name),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_report_is_bounded),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_failures),
		cmocka_unit_test(test_read_forbidden),
		cmocka_unit_test_setup_teardown(test_read_folder, make_subfolder, remove_subfolder),
		cmocka_unit_test_setup_teardown(test_read_folder_problems, make_subfolder, remove_subfolder),
		cmocka_unit_test_setup_teardown(test_read_folder_without_sections, make_subfolder, remove_subfolder),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_memory_report),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
