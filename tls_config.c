/*
 * tls_config.c - the settings table; tls.cfg and module parameters into plain structs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * One table binds the names of a setting to a field; all else here walks it. Neither OpenSSL nor the host is known
 * here, so that this file can be tested and fuzzed alone. It keeps no state: any process may call it, no lock is needed.
 *
 * What tls.cfg looks like:
 *
 *   [ROLE:PLACE]      a section. ROLE: server, client. PLACE: default, any, IP:PORT, [IPv6]:PORT; without a port, or
 *                     with port 0, any port. Blanks around the parts are allowed.
 *   NAME = VALUE      a setting of that section. VALUE ends with the line or at a '#', blanks around it are dropped; in
 *                     "double quotes" all of them count. An empty value is written "" and means "none", also where the
 *                     default section has one.
 *   # ...             a comment, also after a section's head or a value
 *   \                 at the end of a line, even of a comment: the next line belongs to it; inside a value \n \r \t \\
 *                     \" \# and a backslash before a blank stand for one character
 *
 * Names, words and roles are told apart without regard to case, as the host's own parser does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls.h"

#define FILE_SIZE_MAX (16 * 1024 * 1024)
#define PROBLEMS_MAX  100       /* of each severity in one report */
#define SECONDS_MAX   134217727 /* the host counts sixteenths of a second in 31 bits */
#define NAME_SIZE     64        /* room for any name in the table */

/* ---- the table */

static const struct tls_choice switches[] = {
	{"yes", 1}, {"no", 0},     {"true", 1},    {"false", 0},   {"on", 1},       {"off", 0}, {"1", 1},
	{"0", 0},   {"enable", 1}, {"disable", 0}, {"enabled", 1}, {"disabled", 0}, {NULL, 0},
};

static const struct tls_choice methods[] = {
	{"TLSv1.2+", TLS_METHOD_1_2_PLUS}, {"TLSv1.2", TLS_METHOD_1_2},       {"TLSv1.3+", TLS_METHOD_1_3_PLUS},
	{"TLSv1.3", TLS_METHOD_1_3},       {"TLSv1.1+", TLS_METHOD_1_1_PLUS}, {"TLSv1.1", TLS_METHOD_1_1},
	{"TLSv1+", TLS_METHOD_1_0_PLUS},   {"TLSv1", TLS_METHOD_1_0},         {"SSLv23", TLS_METHOD_ANY},
	{"SSLv3", TLS_METHOD_SSL3},        {"SSLv2", TLS_METHOD_SSL2},        {NULL, 0},
};

static const struct tls_choice verify_client_words[] = {
	{"off", TLS_VERIFY_CLIENT_OFF},
	{"on", TLS_VERIFY_CLIENT_ON},
	{"optional", TLS_VERIFY_CLIENT_OPTIONAL},
	{"optional_no_ca", TLS_VERIFY_CLIENT_OPTIONAL_NO_CA},
	{NULL, 0},
};

/* Words that are known but not wanted. */
static const struct remark {
	const struct tls_choice *choices;
	int value;
	enum tls_severity severity;
	const char *text;
} remarks[] = {
	{methods, TLS_METHOD_SSL2, TLS_ERROR, "SSLv2 is broken and prohibited by RFC 6176; use TLSv1.2+"},
	{methods, TLS_METHOD_SSL3, TLS_ERROR, "SSLv3 is broken and prohibited by RFC 7568; use TLSv1.2+"},
	{methods, TLS_METHOD_ANY, TLS_WARNING,
     "SSLv23 accepts every version that the library still knows, retired ones too; use TLSv1.2+"},
};

#define FIELD(name)        offsetof(struct tls_settings, name)
#define IN_SETTINGS(field) .offset = FIELD(field)
#define IN_OPTIONS(field)  .offset = offsetof(struct tls_options, field)
#define DOMAIN_ROW         (TLS_OF_DOMAIN | TLS_IN_MODPARAM | TLS_IN_FILE)
#define MODULE_ROW         TLS_IN_MODPARAM

/* clang-format off */
const struct tls_setting tls_settings_table[] = {
	/* a domain's: these come first */
	{.name = "tls_method", .alias = "method", .run_name = "method", .type = TLS_CHOICE, .flags = DOMAIN_ROW,
	 IN_SETTINGS(method), .preset = TLS_METHOD_1_2_PLUS, .choices = methods,
	 .meaning = "protocol version, with \"+\" also any newer one"},
	{.name = "certificate", .run_name = "certificate", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(certificate), .text_preset = "cert.pem",
	 .meaning = "PEM file: certificate, then its chain; may also hold the key. Clients have no preset"},
	{.name = "private_key", .run_name = "private_key", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(private_key),
	 .meaning = "PEM file: the certificate's key; unset: the certificate's file"},
	{.name = "private_key_password", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_SECRET,
	 IN_SETTINGS(private_key_password),
	 .meaning = "password of an encrypted private_key"},
	{.name = "certificate2", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(certificate2),
	 .meaning = "second certificate, of another key type (RSA beside ECDSA), chosen by what the peer offers"},
	{.name = "private_key2", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(private_key2),
	 .meaning = "key of certificate2; unset: certificate2's file"},
	{.name = "private_key_password2", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_SECRET,
	 IN_SETTINGS(private_key_password2),
	 .meaning = "password of an encrypted private_key2"},
	{.name = "ca_list", .run_name = "ca_list", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(ca_list),
	 .meaning = "PEM file: the authorities whose certificates are trusted"},
	{.name = "ca_path", .run_name = "ca_path", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(ca_path),
	 .meaning = "folder of trusted authorities, with hashed names"},
	{.name = "crl", .run_name = "crl", .type = TLS_STRING, .flags = DOMAIN_ROW | TLS_IS_PATH,
	 IN_SETTINGS(crl),
	 .meaning = "PEM file: revocation lists"},
	{.name = "verify_certificate", .run_name = "verify_certificate", .type = TLS_BOOL, .flags = DOMAIN_ROW,
	 IN_SETTINGS(verify_certificate), .preset = 0, .max = 1,
	 .meaning = "verify the chain of the peer's certificate"},
	{.name = "require_certificate", .run_name = "require_certificate", .type = TLS_BOOL, .flags = DOMAIN_ROW,
	 IN_SETTINGS(require_certificate), .preset = 0, .max = 1,
	 .meaning = "turn away a client that presents no certificate"},
	{.name = "verify_client", .run_name = "verify_client", .type = TLS_CHOICE, .flags = DOMAIN_ROW,
	 IN_SETTINGS(verify_client), .preset = TLS_VERIFY_CLIENT_UNSET, .choices = verify_client_words,
	 .meaning = "verify_certificate and require_certificate in one word, which overrides both; unset: they count"},
	{.name = "verify_depth", .run_name = "verify_depth", .type = TLS_INT, .flags = DOMAIN_ROW,
	 IN_SETTINGS(verify_depth), .preset = 9, .min = 0, .max = 1000,
	 .meaning = "how many authorities may stand between the peer's certificate and a trusted one"},
	{.name = "cipher_list", .run_name = "cipher_list", .type = TLS_STRING, .flags = DOMAIN_ROW,
	 IN_SETTINGS(cipher_list),
	 .meaning = "ciphers in the library's notation, TLS 1.3 suites among them; unset: the library's own"},
	{.name = "server_name", .run_name = "server_name", .type = TLS_STRING, .flags = DOMAIN_ROW,
	 IN_SETTINGS(server_name),
	 .meaning = "server: the name that a client asks for (SNI); client: the name to ask for"},
	{.name = "server_name_mode", .run_name = "server_name_mode", .type = TLS_INT, .flags = DOMAIN_ROW,
	 IN_SETTINGS(server_name_mode), .preset = TLS_NAME_EXACT, .min = 0, .max = TLS_NAME_SUBDOMAINS,
	 .meaning = "what server_name matches: 0 the name, 1 also its subdomains, 2 only its subdomains"},
	{.name = "server_id", .run_name = "server_id", .type = TLS_STRING, .flags = DOMAIN_ROW,
	 IN_SETTINGS(server_id),
	 .meaning = "name by which a script chooses this client section"},

	/* the module's: time */
	{.name = "send_timeout", .run_name = "send_timeout", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(send_timeout), .preset = 120, .min = 1, .max = SECONDS_MAX, .unit = "s",
	 .meaning = "give up a send that makes no progress, and close its connection"},
	{.name = "handshake_timeout", .run_name = "handshake_timeout", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(handshake_timeout), .preset = 120, .min = 1, .max = SECONDS_MAX, .unit = "s",
	 .meaning = "from accept or connect to the end of the handshake, however busy the peer seems"},
	{.name = "connection_timeout", .run_name = "connection_timeout", .type = TLS_INT,
	 .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(connection_timeout), .preset = 600, .min = -1, .max = SECONDS_MAX, .unit = "s",
	 .meaning = "close a connection that is idle for so long; -1: never"},
	{.name = "reload_on_change", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(reload_on_change), .preset = 0, .min = 0, .max = SECONDS_MAX, .unit = "s",
	 .meaning = "how often to look for changed files, and reload then; 0: only on request"},

	/* the module's: memory and queues */
	{.name = "low_mem_threshold1", .run_name = "low_mem_threshold1", .type = TLS_INT,
	 .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(low_mem_threshold1), .preset = -1, .min = -1, .max = INT32_MAX, .unit = "KB",
	 .meaning = "with less free shared memory, no new connections; -1: chosen by the module, 0: off"},
	{.name = "low_mem_threshold2", .run_name = "low_mem_threshold2", .type = TLS_INT,
	 .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(low_mem_threshold2), .preset = -1, .min = -1, .max = INT32_MAX, .unit = "KB",
	 .meaning = "with less free shared memory, no more TLS operations; -1: chosen by the module, 0: off"},
	{.name = "con_ct_wq_max", .run_name = "con_ct_wq_max", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(con_ct_wq_max), .preset = 65536, .min = 0, .max = INT32_MAX, .unit = "bytes",
	 .meaning = "cleartext of one connection that may wait for its handshake"},
	{.name = "ct_wq_max", .run_name = "ct_wq_max", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(ct_wq_max), .preset = 10485760, .min = 0, .max = INT32_MAX, .unit = "bytes",
	 .meaning = "cleartext of all connections together that may wait for handshakes"},
	{.name = "ct_wq_blk_size", .run_name = "ct_wq_blk_size", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(ct_wq_blk_size), .preset = 4096, .min = 1, .max = INT32_MAX, .unit = "bytes",
	 .meaning = "smallest block of such a queue"},

	/* the module's: the library */
	{.name = "tls_disable_compression", .run_name = "disable_compression", .type = TLS_BOOL, .flags = MODULE_ROW,
	 IN_OPTIONS(disable_compression), .preset = 1, .max = 1,
	 .meaning = "no TLS compression, which costs memory and gives secrets away (CRIME)"},
	{.name = "ssl_release_buffers", .run_name = "ssl_release_buffers", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(ssl_release_buffers), .preset = -1, .min = -1, .max = 1,
	 .meaning = "free the library's buffers of an idle connection; -1: chosen by the module"},
	{.name = "ssl_freelist_max_len", .run_name = "ssl_free_list_max", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(ssl_freelist_max_len), .preset = 0, .min = -1, .max = INT32_MAX,
	 .meaning = "free buffers that the library keeps for a connection; -1: the library's choice"},
	{.name = "ssl_max_send_fragment", .run_name = "ssl_max_send_fragment", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(ssl_max_send_fragment), .preset = -1, .min = 512, .max = 16384, .unit = "bytes",
	 .meaning = "cleartext in one record; -1: the library's choice"},
	{.name = "ssl_read_ahead", .run_name = "ssl_read_ahead", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(ssl_read_ahead), .preset = 0, .min = -1, .max = 1,
	 .meaning = "read more than the record at hand; -1: the library's choice"},
	{.name = "send_close_notify", .run_name = "send_close_notify", .type = TLS_BOOL,
	 .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(send_close_notify), .preset = 0, .max = 1,
	 .meaning = "tell the peer before a connection is closed"},
	{.name = "renegotiation", .type = TLS_BOOL, .flags = MODULE_ROW,
	 IN_OPTIONS(renegotiation), .preset = 0, .max = 1,
	 .meaning = "let clients renegotiate (TLS 1.2 and older)"},
	{.name = "session_cache", .run_name = "session_cache", .type = TLS_BOOL, .flags = MODULE_ROW,
	 IN_OPTIONS(session_cache), .preset = 0, .max = 1,
	 .meaning = "resume sessions"},
	{.name = "session_id", .run_name = "session_id", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(session_id),
	 .meaning = "context that a resumed session must come from"},

	/* the module's: behaviour */
	{.name = "config", .run_name = "config", .type = TLS_STRING, .flags = MODULE_ROW | TLS_AT_RUNTIME | TLS_IS_PATH,
	 IN_OPTIONS(config),
	 .meaning = "the domains' file, tls.cfg; with it, the parameters for the same settings are passed over"},
	{.name = "tls_log", .run_name = "log", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(log), .preset = 3, .min = -10, .max = 100,
	 .meaning = "level of messages about single connections, as the host counts levels"},
	{.name = "tls_debug", .run_name = "debug", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(debug), .preset = 3, .min = -10, .max = 100,
	 .meaning = "level of messages about single steps, as the host counts levels"},
	{.name = "tls_force_run", .run_name = "force_run", .type = TLS_BOOL, .flags = MODULE_ROW,
	 IN_OPTIONS(force_run), .preset = 0, .max = 1,
	 .meaning = "start although a check of the library failed"},
	{.name = "unknown_server_name", .run_name = "unknown_server_name", .type = TLS_INT, .flags = MODULE_ROW | TLS_AT_RUNTIME,
	 IN_OPTIONS(unknown_server_name), .preset = 0, .min = 0, .max = 1,
	 .meaning = "a client asks for a name that no section has: 0 the default section serves it, 1 it is turned away"},
	{.name = "xavp_cfg", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(xavp_cfg),
	 .meaning = "xavp with server_name and server_id for the next outgoing connection"},
	{.name = "event_callback", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(event_callback),
	 .meaning = "script function that is called for events"},
	{.name = "key_password_mode", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(key_password_mode), .preset = 0, .min = 0, .max = INT32_MAX,
	 .meaning = "how the password of an encrypted key is found"},
	{.name = "keylog_mode", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(keylog_mode), .preset = 0, .min = 0, .max = 15,
	 .meaning = "where the secrets of connections are written for a protocol analyser, as bits; 0: nowhere"},
	{.name = "keylog_file", .type = TLS_STRING, .flags = MODULE_ROW | TLS_IS_PATH,
	 IN_OPTIONS(keylog_file),
	 .meaning = "file for those secrets"},
	{.name = "keylog_peer", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(keylog_peer),
	 .meaning = "address for those secrets"},

	/* the module's: keys in hardware */
	{.name = "engine", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(engine),
	 .meaning = "engine or provider that holds keys"},
	{.name = "engine_config", .type = TLS_STRING, .flags = MODULE_ROW | TLS_IS_PATH,
	 IN_OPTIONS(engine_config),
	 .meaning = "the library's configuration file for it"},
	{.name = "engine_algorithms", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(engine_algorithms),
	 .meaning = "what it is the default for"},
	{.name = "provider_quirks", .type = TLS_INT, .flags = MODULE_ROW,
	 IN_OPTIONS(provider_quirks), .preset = 0, .min = 0, .max = INT32_MAX,
	 .meaning = "work around a provider's peculiarities, as bits"},
	{.name = "provider_quirks_config", .type = TLS_STRING, .flags = MODULE_ROW,
	 IN_OPTIONS(provider_quirks_config),
	 .meaning = "details of those"},

	/* accepted for the sake of old configurations; without a preset, so that being set shows */
	{.name = "rand_engine", .type = TLS_STRING, .flags = MODULE_ROW | TLS_IGNORED,
	 IN_OPTIONS(rand_engine),
	 .meaning = "ignored: every process has a random generator of its own"},
	{.name = "init_mode", .type = TLS_INT, .flags = MODULE_ROW | TLS_IGNORED,
	 IN_OPTIONS(init_mode), .preset = TLS_UNSET, .min = INT32_MIN, .max = INT32_MAX,
	 .meaning = "ignored: the library is always initialised in a thread of its own"},

	{.name = NULL},
};
/* clang-format on */

#define ROWS                     (sizeof(tls_settings_table) / sizeof(tls_settings_table[0]) - 1)
#define FOR_EACH_ROW(row, which) for (const struct tls_setting *row = tls_settings_table; which(row); row++)

static bool is_row(const struct tls_setting *row)
{
	return row->name != NULL;
}

/* Ends a walk, as the domain's rows come first. */
static bool is_of_domain(const struct tls_setting *row)
{
	return (row->flags & TLS_OF_DOMAIN) != 0;
}

/* A section's own: never taken from the default section. */
static const size_t own_fields[] = {
	FIELD(server_name),
	FIELD(server_name_mode),
	FIELD(server_id),
};

/*
 * FIELD goes with COMPANION: a section that sets COMPANION does not take FIELD from the default section. Else it would
 * get a key of another certificate, a second certificate for another name, or a word that overrides what it says.
 */
static const struct bond {
	size_t field, companion;
} bonds[] = {
	{FIELD(private_key), FIELD(certificate)},
	{FIELD(private_key_password), FIELD(certificate)},
	{FIELD(private_key_password), FIELD(private_key)},
	{FIELD(certificate2), FIELD(certificate)},
	{FIELD(private_key2), FIELD(certificate)},
	{FIELD(private_key2), FIELD(certificate2)},
	{FIELD(private_key_password2), FIELD(certificate)},
	{FIELD(private_key_password2), FIELD(certificate2)},
	{FIELD(private_key_password2), FIELD(private_key2)},
	{FIELD(verify_client), FIELD(verify_certificate)},
	{FIELD(verify_client), FIELD(require_certificate)},
};

static const struct tls_setting *find_row(const char *name, unsigned flags,
                                          int (*compare)(const char *, const char *))
{
	FOR_EACH_ROW(row, is_row) {
		if ((row->flags & flags) != flags)
			continue;
		if (compare(row->name, name) == 0 || (row->alias != NULL && compare(row->alias, name) == 0))
			return row;
	}
	return NULL;
}

const struct tls_setting *tls_setting_find(const char *name, unsigned flags)
{
	return find_row(name, flags, strcmp);
}

/* ---- problems */

static char *copy_text(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = malloc(size);

	return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/* Stands at the end of a report for what could not be stored. Shared by all reports, never changed. */
static char no_memory_text[] = "memory is short, problems were lost; free some memory and try again";
static struct tls_problem no_memory = {.severity = TLS_ERROR, .text = no_memory_text};

void tls_report_init(struct tls_report *r)
{
	*r = (struct tls_report){.last = &r->first};
}

void tls_report_clear(struct tls_report *r)
{
	struct tls_problem *problem = r->first;

	while (problem != NULL && problem != &no_memory) {
		struct tls_problem *next = problem->next;

		free(problem->text);
		free(problem);
		problem = next;
	}
	tls_report_init(r);
}

/* "FILE:LINE: SETTING: ", as much of it as there is. Returns its length, as snprintf() does. */
static int print_place(char *out, size_t size, const char *file, int line, const char *setting)
{
	char number[16] = "";

	if (line > 0)
		snprintf(number, sizeof(number), ":%d", line);
	return snprintf(out, size, "%s%s%s%s%s%s", file != NULL ? file : "", file != NULL ? number : "",
	                file != NULL ? ": " : "", file == NULL && setting != NULL ? "parameter " : "",
	                setting != NULL ? setting : "", setting != NULL ? ": " : "");
}

TLS_FORMAT(4, 0)
static char *problem_text(const char *file, int line, const char *setting, const char *format, va_list args)
{
	char none[1];
	int place = print_place(none, 0, file, line, setting), words;
	va_list again;
	char *text;

	va_copy(again, args);
	words = vsnprintf(none, 0, format, again);
	va_end(again);
	if (place < 0 || words < 0 || (text = malloc((size_t)place + (size_t)words + 1)) == NULL)
		return NULL;
	print_place(text, (size_t)place + 1, file, line, setting);
	vsnprintf(text + place, (size_t)words + 1, format, args);
	return text;
}

/* Takes TEXT over. What stands for lost problems stays the last. */
static void append_problem(struct tls_report *r, enum tls_severity severity, int line, char *text)
{
	struct tls_problem *problem = text != NULL ? malloc(sizeof(*problem)) : NULL;

	if (problem == NULL) {
		free(text);
		*r->last = &no_memory;
		return;
	}
	*problem = (struct tls_problem){.next = *r->last, .severity = severity, .line = line, .text = text};
	*r->last = problem;
	r->last = &problem->next;
}

TLS_FORMAT(6, 0)
static void add_problem(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                        const char *setting, const char *format, va_list args)
{
	int *count = severity == TLS_ERROR ? &r->errors : &r->warnings;

	if (++*count > PROBLEMS_MAX + 1)
		return;
	if (*count > PROBLEMS_MAX)
		append_problem(r, severity, 0,
		               copy_text("there is more of this; repair what is listed and try again"));
	else
		append_problem(r, severity, line, problem_text(file, line, setting, format, args));
	if (*r->last == &no_memory && r->errors == 0)
		r->errors++; /* what was lost might have been one */
}

void tls_report_add(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                    const char *setting, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_problem(r, severity, file, line, setting, format, args);
	va_end(args);
}

/* Where a problem is: what the functions below hand on instead of four arguments. */
struct spot {
	struct tls_report *r;
	const char *file; /* NULL: a module parameter */
	int line;
	const char *setting;
};

TLS_FORMAT(3, 4)
static void say(const struct spot *at, enum tls_severity severity, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_problem(at->r, severity, at->file, at->line, at->setting, format, args);
	va_end(args);
}

/* A piece of the file, fit for a message: quoted, cut, without control characters. */
struct excerpt {
	char text[56];
};

static struct excerpt excerpt(const char *from, size_t length)
{
	struct excerpt e = {""};
	size_t room = sizeof(e.text) - sizeof("\"...\"");
	size_t shown = length < room ? length : room;
	char *to = e.text;

	*to++ = '"';
	for (size_t i = 0; i < shown; i++)
		*to++ = (unsigned char)from[i] < ' ' || from[i] == 0x7f ? '?' : from[i];
	snprintf(to, sizeof("...\""), "%s\"", shown < length ? "..." : "");
	return e;
}

TLS_FORMAT(3, 4)
static void append(char *out, size_t size, const char *format, ...)
{
	size_t used = strlen(out);
	va_list args;

	va_start(args, format);
	vsnprintf(out + used, size - used, format, args);
	va_end(args);
}

/* ---- fields */

static int number_of(const struct tls_setting *row, const void *base)
{
	return *(const int *)((const char *)base + row->offset);
}

static void set_number(const struct tls_setting *row, void *base, int value)
{
	*(int *)((char *)base + row->offset) = value;
}

static char *text_of(const struct tls_setting *row, const void *base)
{
	return *(char *const *)((const char *)base + row->offset);
}

static void set_text(const struct tls_setting *row, void *base, char *text)
{
	*(char **)((char *)base + row->offset) = text;
}

/* What an unset number is: the words' enums have their own. */
static int unset_number(const struct tls_setting *row)
{
	return row->type == TLS_CHOICE ? -1 : TLS_UNSET;
}

static bool is_set(const struct tls_setting *row, const void *base)
{
	if (row->type == TLS_STRING)
		return text_of(row, base) != NULL;
	return number_of(row, base) != unset_number(row);
}

static void unset(const struct tls_setting *row, void *base)
{
	if (row->type == TLS_STRING)
		set_text(row, base, NULL);
	else
		set_number(row, base, unset_number(row));
}

/* Frees a text, and a secret leaves no trace in memory. */
static void free_text(const struct tls_setting *row, char *text)
{
	if (text != NULL && (row->flags & TLS_SECRET) != 0)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* Puts a copy of TEXT, NULL is nothing, where BASE holds a text or none. */
static int store_text(const struct tls_setting *row, void *base, const char *text)
{
	char *copy = NULL;

	if (text != NULL && (copy = copy_text(text)) == NULL)
		return -1;
	free_text(row, text_of(row, base));
	set_text(row, base, copy);
	return 0;
}

static int inherit_field(const struct tls_setting *row, void *base, const void *from)
{
	if (is_set(row, base))
		return 0;
	if (row->type == TLS_STRING)
		return store_text(row, base, text_of(row, from));
	set_number(row, base, number_of(row, from));
	return 0;
}

static int preset_field(const struct tls_setting *row, void *base)
{
	if (is_set(row, base))
		return 0;
	if (row->type == TLS_STRING)
		return store_text(row, base, row->text_preset);
	set_number(row, base, row->preset);
	return 0;
}

void tls_settings_init(struct tls_settings *s)
{
	FOR_EACH_ROW(row, is_of_domain)
		unset(row, s);
}

void tls_options_init(struct tls_options *o)
{
	*o = (struct tls_options){0};
	FOR_EACH_ROW(row, is_row)
		if (!is_of_domain(row))
			unset(row, o);
}

int tls_settings_preset(struct tls_settings *s)
{
	FOR_EACH_ROW(row, is_of_domain)
		if (preset_field(row, s) < 0)
			return -1;
	return 0;
}

void tls_options_preset(struct tls_options *o)
{
	FOR_EACH_ROW(row, is_row) {
		if (is_of_domain(row) || is_set(row, o))
			continue;
		if (row->type == TLS_STRING)
			set_text(row, o, (char *)row->text_preset);
		else
			set_number(row, o, row->preset);
	}
}

int tls_settings_inherit(struct tls_settings *s, const struct tls_settings *from)
{
	FOR_EACH_ROW(row, is_of_domain)
		if (inherit_field(row, s, from) < 0)
			return -1;
	return 0;
}

void tls_settings_free(struct tls_settings *s)
{
	FOR_EACH_ROW(row, is_of_domain) {
		if (row->type == TLS_STRING)
			free_text(row, text_of(row, s));
		unset(row, s);
	}
}

int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s)
{
	tls_settings_init(to);
	if (tls_settings_inherit(to, s) == 0)
		return 0;
	tls_settings_free(to);
	return -1;
}

/* ---- values */

static const struct tls_choice *words_of(const struct tls_setting *row)
{
	return row->type == TLS_BOOL ? switches : row->choices;
}

static const struct tls_choice *find_word(const struct tls_setting *row, const char *word)
{
	for (const struct tls_choice *choice = words_of(row); choice->word != NULL; choice++)
		if (strcasecmp(choice->word, word) == 0)
			return choice;
	return NULL;
}

static const struct tls_choice *find_value(const struct tls_setting *row, int value)
{
	for (const struct tls_choice *choice = words_of(row); choice->word != NULL; choice++)
		if (choice->value == value)
			return choice;
	return NULL;
}

static const struct remark *find_remark(const struct tls_choice *choices, int value)
{
	for (size_t i = 0; i < sizeof(remarks) / sizeof(remarks[0]); i++)
		if (remarks[i].choices == choices && remarks[i].value == value)
			return &remarks[i];
	return NULL;
}

/* What ROW allows, for a message. A preset outside of the range stands for "chosen by others" and is allowed too. */
static struct allowed {
	char text[256];
} allowed(const struct tls_setting *row)
{
	struct allowed a = {""};

	if (row->type == TLS_INT) {
		if (row->preset < row->min)
			append(a.text, sizeof(a.text), "%d or ", row->preset);
		append(a.text, sizeof(a.text), row->max == INT32_MAX ? "%d or more" : "%d to %d", row->min, row->max);
		if (row->unit != NULL)
			append(a.text, sizeof(a.text), " %s", row->unit);
		return a;
	}
	for (const struct tls_choice *choice = words_of(row); choice->word != NULL; choice++)
		if (find_remark(words_of(row), choice->value) == NULL)
			append(a.text, sizeof(a.text), "%s%s", a.text[0] != '\0' ? ", " : "", choice->word);
	return a;
}

static bool number_allowed(const struct tls_setting *row, long value)
{
	return value == row->preset || (value >= row->min && value <= row->max);
}

static int parse_number(const struct spot *at, const struct tls_setting *row, const char *text, int *value)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (end == text || *end != '\0') {
		say(at, TLS_ERROR, "%s is not a whole number; allowed: %s", excerpt(text, strlen(text)).text,
		    allowed(row).text);
		return -1;
	}
	if (errno != 0 || !number_allowed(row, number)) {
		say(at, TLS_ERROR, "%s is out of range; allowed: %s", excerpt(text, strlen(text)).text,
		    allowed(row).text);
		return -1;
	}
	*value = (int)number;
	return 0;
}

static int parse_word(const struct spot *at, const struct tls_setting *row, const char *text, int *value)
{
	const struct tls_choice *choice = find_word(row, text);
	const struct remark *remark = choice != NULL ? find_remark(words_of(row), choice->value) : NULL;

	if (choice == NULL) {
		say(at, TLS_ERROR, "%s is not known; allowed: %s", excerpt(text, strlen(text)).text,
		    allowed(row).text);
		return -1;
	}
	if (remark != NULL)
		say(at, remark->severity, "%s", remark->text);
	if (remark != NULL && remark->severity == TLS_ERROR)
		return -1;
	*value = choice->value;
	return 0;
}

/* A text may turn up in logs and in RPC answers: only secrets, which never do, may hold anything. */
static int check_text(const struct spot *at, const struct tls_setting *row, const char *text)
{
	if ((row->flags & TLS_SECRET) != 0)
		return 0;
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c >= ' ' && *c != 0x7f)
			continue;
		say(at, TLS_ERROR, "%s holds a control character; allowed: any other text",
		    excerpt(text, strlen(text)).text);
		return -1;
	}
	if ((row->flags & TLS_IS_PATH) != 0 && strlen(text) >= PATH_MAX) {
		say(at, TLS_ERROR, "the path is too long; allowed: %d characters", PATH_MAX - 1);
		return -1;
	}
	return 0;
}

static int parse_text(const struct spot *at, const struct tls_setting *row, void *base, const char *text)
{
	if (check_text(at, row, text) < 0)
		return -1;
	if (store_text(row, base, text) == 0)
		return 0;
	say(at, TLS_ERROR, "memory is short; free some and try again");
	return -1;
}

static int parse_field(const struct spot *at, const struct tls_setting *row, void *base, const char *text)
{
	int value, result;

	if (row->type == TLS_STRING)
		return parse_text(at, row, base, text);
	result = row->type == TLS_INT ? parse_number(at, row, text, &value) : parse_word(at, row, text, &value);
	if (result == 0)
		set_number(row, base, value);
	return result;
}

int tls_setting_parse(const struct tls_setting *row, void *base, const char *text, struct tls_report *r,
                      const char *file, int line)
{
	struct spot at = {r, file, line, file != NULL && row->alias != NULL ? row->alias : row->name};

	return parse_field(&at, row, base, text);
}

const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size)
{
	const struct tls_choice *choice = NULL;

	if (!is_set(row, base))
		snprintf(out, size, "%s", "");
	else if (row->type == TLS_STRING)
		snprintf(out, size, "%s", (row->flags & TLS_SECRET) != 0 ? "***" : text_of(row, base));
	else if (row->type == TLS_BOOL)
		snprintf(out, size, "%s", number_of(row, base) != 0 ? "yes" : "no");
	else if (row->type == TLS_CHOICE && (choice = find_value(row, number_of(row, base))) != NULL)
		snprintf(out, size, "%s", choice->word);
	else
		snprintf(out, size, "%d", number_of(row, base));
	return out;
}

/* One module parameter that is set. The host has stored numbers as they stood in its configuration. */
static void check_parameter(const struct spot *at, const struct tls_setting *row, const void *base)
{
	int value = row->type != TLS_STRING ? number_of(row, base) : 0;

	if ((row->flags & TLS_IGNORED) != 0)
		say(at, TLS_WARNING, "has no effect; it can be removed");
	else if (row->type == TLS_STRING)
		check_text(at, row, text_of(row, base));
	else if (row->type == TLS_BOOL && value != 0 && value != 1)
		say(at, TLS_WARNING, "%d counts as 1; allowed: 0, 1", value);
	else if (row->type == TLS_INT && !number_allowed(row, value))
		say(at, TLS_ERROR, "%d is out of range; allowed: %s", value, allowed(row).text);
	else if (row->type == TLS_CHOICE && find_value(row, value) == NULL)
		say(at, TLS_ERROR, "%d is not known; allowed: %s", value, allowed(row).text);
}

void tls_modparam_check(const struct tls_settings *s, const struct tls_options *o, struct tls_report *r)
{
	FOR_EACH_ROW(row, is_row) {
		struct spot at = {.r = r, .setting = row->name};
		const void *base = is_of_domain(row) ? (const void *)s : (const void *)o;

		if ((row->flags & TLS_IN_MODPARAM) != 0 && is_set(row, base))
			check_parameter(&at, row, base);
	}
}

/* ---- sections */

static const char *const role_words[] = {[TLS_SERVER] = "server", [TLS_CLIENT] = "client"};

static void free_section(struct tls_section *section)
{
	tls_settings_free(&section->settings);
	free(section->set_lines);
	free(section);
}

static void free_sections(struct tls_section *section)
{
	while (section != NULL) {
		struct tls_section *next = section->next;

		free_section(section);
		section = next;
	}
}

/* A section in which nothing is set; NULL when memory is short. */
static struct tls_section *new_section(enum tls_role role, enum tls_section_kind kind, int line)
{
	struct tls_section *section = malloc(sizeof(*section));
	int *set_lines = malloc(ROWS * sizeof(*set_lines));

	if (section == NULL || set_lines == NULL) {
		free(section);
		free(set_lines);
		return NULL;
	}
	memset(set_lines, 0, ROWS * sizeof(*set_lines));
	*section = (struct tls_section){.role = role, .kind = kind, .line = line, .set_lines = set_lines};
	tls_settings_init(&section->settings);
	return section;
}

static void print_address(const struct tls_address *address, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->ip, ip, sizeof(ip));
	append(out, size, address->family == 6 ? "[%s]" : "%s", ip);
	if (address->port != 0)
		append(out, size, ":%d", address->port);
}

const char *tls_section_name(const struct tls_section *section, char *out, size_t size)
{
	const char *name = section->settings.server_name, *id = section->settings.server_id;

	if (size == 0)
		return out;
	snprintf(out, size, "%s:", role_words[section->role]);
	if (section->kind == TLS_SECTION_ADDRESS)
		print_address(&section->address, out, size);
	else
		append(out, size, "%s", section->kind == TLS_SECTION_ANY ? "any" : "default");
	if (name != NULL || id != NULL)
		append(out, size, " (%s%s%s)", name != NULL ? name : "", name != NULL && id != NULL ? ", " : "",
		       id != NULL ? id : "");
	return out;
}

/* Whether SECTION itself sets the field at OFFSET. */
static int set_line(const struct tls_section *section, size_t offset)
{
	FOR_EACH_ROW(row, is_of_domain)
		if (row->offset == offset)
			return section->set_lines[row - tls_settings_table];
	return 0;
}

static bool takes_from_default(const struct tls_section *section, const struct tls_setting *row)
{
	for (size_t i = 0; i < sizeof(own_fields) / sizeof(own_fields[0]); i++)
		if (row->offset == own_fields[i])
			return false;
	for (size_t i = 0; i < sizeof(bonds) / sizeof(bonds[0]); i++)
		if (row->offset == bonds[i].field && set_line(section, bonds[i].companion) != 0)
			return false;
	return true;
}

static int inherit_section(struct tls_section *section, const struct tls_section *from)
{
	FOR_EACH_ROW(row, is_of_domain)
		if (takes_from_default(section, row) && inherit_field(row, &section->settings, &from->settings) < 0)
			return -1;
	return 0;
}

/* A client presents a certificate only when it is told to. */
static int preset_section(struct tls_section *section)
{
	FOR_EACH_ROW(row, is_of_domain) {
		if (section->role == TLS_CLIENT && row->offset == FIELD(certificate))
			continue;
		if (preset_field(row, &section->settings) < 0)
			return -1;
	}
	return 0;
}

/* An empty text has kept the default section's away; from here on it is none. */
static void drop_empty_texts(struct tls_settings *s)
{
	FOR_EACH_ROW(row, is_of_domain) {
		if (row->type != TLS_STRING || !is_set(row, s) || *text_of(row, s) != '\0')
			continue;
		free(text_of(row, s));
		unset(row, s);
	}
}

/* Puts VALUE where verify_client has the say; a section that asks for something else is told so. */
static void override(const struct tls_section *section, struct spot *at, size_t offset, int *field, int value)
{
	int line = set_line(section, offset);

	if (at != NULL && line != 0 && *field != value) {
		at->line = line;
		at->setting = offset == FIELD(verify_certificate) ? "verify_certificate" : "require_certificate";
		say(at, TLS_WARNING, "verify_client in line %d overrides this; remove one of the two",
		    set_line(section, FIELD(verify_client)));
	}
	*field = value;
}

/* verify_client in the two words that it stands for. AT is NULL when no file is read. */
static void settle_verify_client(struct tls_section *section, struct spot *at)
{
	struct tls_settings *s = &section->settings;
	bool verify = s->verify_client == TLS_VERIFY_CLIENT_ON || s->verify_client == TLS_VERIFY_CLIENT_OPTIONAL;
	bool require = s->verify_client == TLS_VERIFY_CLIENT_ON;

	if (s->verify_client == TLS_VERIFY_CLIENT_UNSET)
		return;
	override(section, at, FIELD(verify_certificate), &s->verify_certificate, verify);
	override(section, at, FIELD(require_certificate), &s->require_certificate, require);
}

/* Fills what SECTION leaves open: from FROM, its role's default section (NULL: it is that itself), then presets. */
static int complete_section(struct tls_section *section, const struct tls_section *from)
{
	if (from != NULL && inherit_section(section, from) < 0)
		return -1;
	if (preset_section(section) < 0)
		return -1;
	drop_empty_texts(&section->settings);
	return 0;
}

/* ---- a configuration */

static struct tls_config *new_config(const char *file)
{
	struct tls_config *cfg = malloc(sizeof(*cfg));

	if (cfg == NULL)
		return NULL;
	*cfg = (struct tls_config){0};
	if (file == NULL || (cfg->file = copy_text(file)) != NULL)
		return cfg;
	free(cfg);
	return NULL;
}

void tls_config_free(struct tls_config *cfg)
{
	if (cfg == NULL)
		return;
	free_sections(cfg->sections);
	free(cfg->file);
	free(cfg);
}

/* ROLE's default section, made at the end of CFG when there is none; NULL when memory is short. */
static struct tls_section *default_section(struct tls_config *cfg, enum tls_role role)
{
	struct tls_section **at = &cfg->sections;

	while (*at != NULL && ((*at)->role != role || (*at)->kind != TLS_SECTION_DEFAULT))
		at = &(*at)->next;
	if (*at == NULL)
		*at = new_section(role, TLS_SECTION_DEFAULT, 0);
	return *at;
}

/* The default sections are completed last: what is empty there is passed on as such. */
static int complete_config(struct tls_config *cfg, struct spot *at)
{
	struct tls_section *defaults[] = {
		[TLS_SERVER] = default_section(cfg, TLS_SERVER),
		[TLS_CLIENT] = default_section(cfg, TLS_CLIENT),
	};

	if (defaults[TLS_SERVER] == NULL || defaults[TLS_CLIENT] == NULL)
		return -1;
	for (struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		settle_verify_client(s, at);
	for (struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		if (s->kind != TLS_SECTION_DEFAULT && complete_section(s, defaults[s->role]) < 0)
			return -1;
	for (struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		if (s->kind == TLS_SECTION_DEFAULT && complete_section(s, NULL) < 0)
			return -1;
	return 0;
}

struct tls_config *tls_config_from_params(const struct tls_settings *s)
{
	struct tls_config *cfg = new_config(NULL);

	if (cfg == NULL || default_section(cfg, TLS_SERVER) == NULL || default_section(cfg, TLS_CLIENT) == NULL)
		goto fail;
	for (struct tls_section *section = cfg->sections; section != NULL; section = section->next)
		if (tls_settings_inherit(&section->settings, s) < 0)
			goto fail;
	if (complete_config(cfg, NULL) == 0)
		return cfg;
fail:
	tls_config_free(cfg);
	return NULL;
}

char *tls_path_resolve(const char *path, const char *main_dir, const char *work_dir)
{
	const char *dir = path[0] == '/' || path[0] == '\0' ? "" : path[0] == '.' ? work_dir : main_dir;
	const char *tail = path[0] == '.' && path[1] == '/' ? path + 2 : path;
	size_t length = strlen(dir), size = length + 1 + strlen(tail) + 1;
	char *absolute = malloc(size);

	if (absolute != NULL)
		snprintf(absolute, size, "%s%s%s", dir, length > 0 && dir[length - 1] != '/' ? "/" : "", tail);
	return absolute;
}

static int resolve_section(struct tls_section *section, const char *main_dir, const char *work_dir)
{
	FOR_EACH_ROW(row, is_of_domain) {
		char *path, *absolute;

		if ((row->flags & TLS_IS_PATH) == 0 || !is_set(row, &section->settings))
			continue;
		path = text_of(row, &section->settings);
		if ((absolute = tls_path_resolve(path, main_dir, work_dir)) == NULL)
			return -1;
		free(path);
		set_text(row, &section->settings, absolute);
	}
	return 0;
}

int tls_config_resolve(struct tls_config *cfg, const char *main_dir, const char *work_dir)
{
	for (struct tls_section *section = cfg->sections; section != NULL; section = section->next)
		if (resolve_section(section, main_dir, work_dir) < 0)
			return -1;
	return 0;
}

/* ---- the file, line by line */

#define BLANKS          " \t\r"
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

struct parser {
	struct spot at;         /* its line: where LINE began */
	const char *next, *end; /* what has not been read yet */
	char *line;             /* the line in work, continuations joined, ended by a NUL byte */
	size_t length;          /* of LINE */
	const char *joined;     /* where in LINE the last continuation began, NULL: nowhere */
	int breaks;             /* line ends in LINE */
	bool binary;            /* a NUL byte was found, and reported */
	struct tls_config *cfg;
	struct tls_section **last;   /* where the next section goes */
	struct tls_section *section; /* the one that settings belong to, NULL: before the first */
	struct tls_section *refused; /* those with a bad head: their settings are checked too */
};

/*
 * Puts the next line into P->line and joins the lines that it is continued on. There is room for the whole file.
 * Returns false at the end.
 */
static bool next_line(struct parser *p)
{
	char *to = p->line;
	bool escaped = false, ended = false;

	if (p->next == p->end)
		return false;
	p->at.line += p->breaks;
	p->breaks = 0;
	p->joined = NULL;
	while (p->next < p->end && !ended) {
		char c = *p->next++;

		if (c == '\r' && p->next < p->end && *p->next == '\n')
			continue;
		if (c != '\n') {
			*to++ = c;
			escaped = c == '\\' && !escaped;
			continue;
		}
		p->breaks++;
		ended = !escaped;
		if (escaped)
			p->joined = --to;
		escaped = false;
	}
	*to = '\0';
	p->length = (size_t)(to - p->line);
	return true;
}

static char *skip_blanks(char *s)
{
	return s + strspn(s, BLANKS);
}

/* Whether nothing but a comment stands from S on, after WHAT; a problem if not. */
static bool rest_is_empty(struct parser *p, char *s, const char *what)
{
	s = skip_blanks(s);
	if (*s != '\0' && *s != '#') {
		say(&p->at, TLS_ERROR, "%s after %s; allowed: a comment, which begins with \"#\"",
		    excerpt(s, strlen(s)).text, what);
		return false;
	}
	if (*s == '#' && p->joined != NULL && p->joined > s)
		say(&p->at, TLS_WARNING,
		    "this comment ends in \"\\\", so the next line belongs to it; remove the \"\\\"");
	return true;
}

/* ---- values as they are written */

/* What "\C" stands for; -1 when nothing, which is reported. */
static int escaped_character(const struct parser *p, char c)
{
	switch (c) {
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case '\\':
	case '"':
	case '#':
	case ' ':
	case '\t': return c;
	case '\0': say(&p->at, TLS_ERROR, "the value ends in a single \"\\\"; write \"\\\\\" for one"); return -1;
	default:
		say(&p->at, TLS_ERROR,
		    "%s follows a \"\\\"; allowed there: \\ \" # n r t and a blank; write \"\\\\\" for a \"\\\"",
		    excerpt(&c, 1).text);
		return -1;
	}
}

/* The value after the opening quote at S, unescaped in place; NULL when it is malformed, which is reported. */
static char *quoted_value(struct parser *p, char *s)
{
	char *from = s, *to = s;

	while (*from != '"') {
		int c = (unsigned char)*from++;

		if (c == '\0') {
			say(&p->at, TLS_ERROR, "the closing \" is missing; it must stand in the same line");
			return NULL;
		}
		if (c == '\\' && (c = escaped_character(p, *from++)) < 0)
			return NULL;
		*to++ = (char)c;
	}
	if (!rest_is_empty(p, from + 1, "the closing \""))
		return NULL;
	*to = '\0';
	return s;
}

/* The value at S, without quotes, unescaped in place; NULL as above. */
static char *plain_value(struct parser *p, char *s)
{
	char *from = s, *to = s, *end = s;

	while (*from != '\0' && *from != '#') {
		int c = (unsigned char)*from++;
		bool blank = strchr(BLANKS, c) != NULL;

		if (c == '\\' && (c = escaped_character(p, *from++)) < 0)
			return NULL;
		*to++ = (char)c;
		if (!blank)
			end = to;
	}
	if (end == s) {
		say(&p->at, TLS_ERROR, "the value is missing; write \"\" for none");
		return NULL;
	}
	if (*from == '#' && strchr(BLANKS, from[-1]) == NULL)
		say(&p->at, TLS_WARNING,
		    "a comment begins at the \"#\"; if it belongs to the value, put that in double quotes, else put a "
		    "blank before the comment");
	rest_is_empty(p, from, "the value");
	*end = '\0';
	return s;
}

/* ---- settings */

/* How many letters differ between A and B, without regard to case. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_SIZE];
	size_t length = strlen(b);

	if (strlen(a) >= NAME_SIZE || length >= NAME_SIZE)
		return NAME_SIZE;
	for (size_t j = 0; j <= length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < length; j++) {
			unsigned best = diagonal + (strncasecmp(a + i, b + j, 1) != 0);

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			row[j + 1] = best;
		}
	}
	return row[length];
}

/* The name in tls.cfg nearest to NAME, *AWAY letters from it. */
static const char *nearest_name(const char *name, unsigned *away)
{
	const char *nearest = NULL;

	*away = UINT_MAX;
	FOR_EACH_ROW(row, is_row) {
		const char *names[] = {row->name, row->alias};

		for (int i = 0; i < 2 && (row->flags & TLS_IN_FILE) != 0; i++) {
			unsigned d = names[i] != NULL ? distance(name, names[i]) : UINT_MAX;

			if (d >= *away)
				continue;
			nearest = names[i];
			*away = d;
		}
	}
	return nearest;
}

static void report_unknown(const struct parser *p, const char *name)
{
	char list[512] = "";
	unsigned away;
	const char *nearest = nearest_name(name, &away);
	const struct tls_setting *row = find_row(name, TLS_IN_MODPARAM, strcasecmp);
	struct excerpt shown = excerpt(name, strlen(name));

	if (row != NULL) {
		say(&p->at, TLS_ERROR,
		    "%s is a module parameter; set it in the main configuration: modparam(\"tls\", \"%s\", ...)",
		    shown.text, row->name);
		return;
	}
	if (away <= 2 || away <= strlen(name) / 3) {
		say(&p->at, TLS_ERROR, "there is no setting %s; did you mean \"%s\"?", shown.text, nearest);
		return;
	}
	FOR_EACH_ROW(known, is_row)
		if ((known->flags & TLS_IN_FILE) != 0)
			append(list, sizeof(list), "%s%s", list[0] != '\0' ? ", " : "",
			       known->alias != NULL ? known->alias : known->name);
	say(&p->at, TLS_ERROR, "there is no setting %s; allowed: %s", shown.text, list);
}

/* "= VALUE", at S, gives ROW its value. */
static void parse_assignment(struct parser *p, const struct tls_setting *row, char *s)
{
	int *set = &p->section->set_lines[row - tls_settings_table];
	char *value;

	s = skip_blanks(s);
	value = *s == '"' ? quoted_value(p, s + 1) : plain_value(p, s);
	if (value == NULL)
		return;
	if (*set != 0)
		say(&p->at, TLS_WARNING, "set in line %d of this section already; this one counts, remove the other",
		    *set);
	if (parse_field(&p->at, row, &p->section->settings, value) == 0)
		*set = p->at.line;
}

/* "NAME = VALUE", at S. */
static void parse_setting(struct parser *p, char *s)
{
	char *name = s, *end = s + strspn(s, NAME_CHARACTERS), *sign = skip_blanks(end);
	const struct tls_setting *row;

	if (end == name || *sign != '=') {
		say(&p->at, TLS_ERROR, "%s is not understood; allowed: [section], name = value, # comment",
		    excerpt(s, strlen(s)).text);
		return;
	}
	*end = '\0';
	if ((row = find_row(name, TLS_IN_FILE, strcasecmp)) == NULL) {
		report_unknown(p, name);
		return;
	}
	p->at.setting = name;
	if (p->section == NULL)
		say(&p->at, TLS_ERROR,
		    "stands before the first section; put it below a head such as [server:default]");
	else
		parse_assignment(p, row, sign + 1);
	p->at.setting = NULL;
}

/* ---- heads */

#define HEADS \
	"[server:default], [server:any], [server:IP:PORT], [server:[IPv6]:PORT], and the same with client"

static int parse_role(const struct parser *p, char **s, enum tls_role *role)
{
	size_t length = strspn(*s, NAME_CHARACTERS);

	for (int i = TLS_SERVER; i <= TLS_CLIENT; i++) {
		if (strlen(role_words[i]) != length || strncasecmp(*s, role_words[i], length) != 0)
			continue;
		*role = (enum tls_role)i;
		*s = skip_blanks(*s + length);
		if (*(*s)++ == ':')
			return 0;
		break;
	}
	say(&p->at, TLS_ERROR, "a section begins with \"server:\" or \"client:\"; allowed: " HEADS);
	return -1;
}

/* ":PORT", at *S, if there is one. */
static int parse_port(const struct parser *p, char **s, uint16_t *port)
{
	unsigned long number;
	size_t length;
	char *digits;

	*port = 0;
	*s = skip_blanks(*s);
	if (**s != ':')
		return 0;
	digits = skip_blanks(*s + 1);
	length = strspn(digits, "0123456789");
	number = length > 0 && length <= 5 ? strtoul(digits, NULL, 10) : UINT16_MAX + 1;
	if (number > UINT16_MAX) {
		say(&p->at, TLS_ERROR, "%s is not a port; allowed: 1 to 65535, and 0 for any",
		    excerpt(digits, strcspn(digits, BLANKS "]#")).text);
		return -1;
	}
	*port = (uint16_t)number;
	*s = digits + length;
	return 0;
}

/* The LENGTH bytes at S as an address of FAMILY. */
static int parse_ip(const struct parser *p, const char *s, size_t length, int family,
                    struct tls_address *address)
{
	char ip[INET6_ADDRSTRLEN];

	*address = (struct tls_address){.family = family};
	if (length < sizeof(ip)) {
		memcpy(ip, s, length);
		ip[length] = '\0';
		if (inet_pton(family == 6 ? AF_INET6 : AF_INET, ip, address->ip) == 1)
			return 0;
	}
	say(&p->at, TLS_ERROR, "%s is not an %s address; allowed: " HEADS, excerpt(s, length).text,
	    family == 6 ? "IPv6" : "IPv4");
	return -1;
}

/* "default", "any" or an address, at *S. */
static int parse_target(const struct parser *p, char **s, struct tls_section *section)
{
	char *word = skip_blanks(*s);
	bool bracket = *word == '[';
	size_t length;

	word += bracket ? 1 : 0;
	word = skip_blanks(word);
	length = strcspn(word, bracket ? BLANKS "]#" : BLANKS ":]#");
	*s = skip_blanks(word + length);
	section->kind = TLS_SECTION_DEFAULT;
	if (!bracket && length == strlen("default") && strncasecmp(word, "default", length) == 0)
		return 0;
	section->kind = TLS_SECTION_ANY;
	if (!bracket && length == strlen("any") && strncasecmp(word, "any", length) == 0)
		return 0;
	section->kind = TLS_SECTION_ADDRESS;
	if (parse_ip(p, word, length, bracket ? 6 : 4, &section->address) < 0)
		return -1;
	if (bracket && *(*s)++ != ']') {
		say(&p->at, TLS_ERROR, "the \"]\" after the IPv6 address is missing; allowed: " HEADS);
		return -1;
	}
	return parse_port(p, s, &section->address.port);
}

/* "[ROLE:TARGET]", at S. */
static int parse_head(struct parser *p, char *s, struct tls_section *section)
{
	s = skip_blanks(s + 1);
	if (parse_role(p, &s, &section->role) < 0 || parse_target(p, &s, section) < 0)
		return -1;
	s = skip_blanks(s);
	if (*s == ']')
		return rest_is_empty(p, s + 1, "the section's head") ? 0 : -1;
	say(&p->at, TLS_ERROR, "the closing \"]\" is missing; allowed: " HEADS);
	return -1;
}

/* Begins a section with the head at S. Returns -1 when memory is short. */
static int begin_section(struct parser *p, char *s)
{
	struct tls_section *section = new_section(TLS_SERVER, TLS_SECTION_DEFAULT, p->at.line);
	size_t length = strcspn(s, "#");
	struct excerpt head;

	if (section == NULL)
		return -1;
	while (strchr(BLANKS, s[length - 1]) != NULL)
		length--;
	head = excerpt(s, length);
	p->at.setting = head.text;
	if (parse_head(p, s, section) == 0) {
		*p->last = section;
		p->last = &section->next;
	} else {
		section->next = p->refused;
		p->refused = section;
	}
	p->at.setting = NULL;
	p->section = section;
	return 0;
}

/* ---- the whole file */

/* Returns -1 when memory is short. */
static int parse_line(struct parser *p)
{
	char *s = skip_blanks(p->line);

	if (strlen(p->line) != p->length) {
		if (!p->binary)
			say(&p->at, TLS_ERROR, "a NUL byte: this is not a text file; write it as plain text (UTF-8)");
		p->binary = true;
		return 0;
	}
	if (*s == '[')
		return begin_section(p, s);
	if (*s == '\0' || *s == '#')
		rest_is_empty(p, s, "nothing");
	else
		parse_setting(p, s);
	return 0;
}

static int compare_texts(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return compare(a, b);
}

/* Orders sections by what they are for: 0 when no connection could tell A from B. */
static int compare_targets(const struct tls_section *a, const struct tls_section *b)
{
	int d;

	if ((d = (int)a->role - (int)b->role) != 0 || (d = (int)a->kind - (int)b->kind) != 0)
		return d;
	if (a->kind == TLS_SECTION_DEFAULT)
		return 0;
	if ((d = a->address.family - b->address.family) != 0 || (d = a->address.port - b->address.port) != 0 ||
	    (d = memcmp(a->address.ip, b->address.ip, sizeof(a->address.ip))) != 0)
		return d;
	if ((d = compare_texts(a->settings.server_name, b->settings.server_name, strcasecmp)) != 0 ||
	    (d = a->settings.server_name_mode - b->settings.server_name_mode) != 0)
		return d;
	return a->role == TLS_CLIENT ? compare_texts(a->settings.server_id, b->settings.server_id, strcmp) : 0;
}

static int compare_sections(const void *a, const void *b)
{
	const struct tls_section *x = *(struct tls_section *const *)a, *y = *(struct tls_section *const *)b;
	int d = compare_targets(x, y);

	return d != 0 ? d : (x->line > y->line) - (x->line < y->line);
}

static void report_twin(struct spot *at, const struct tls_section *first, const struct tls_section *second)
{
	const char *remedy = second->role == TLS_SERVER
	                         ? "join the two, or give each a server_name of its own"
	                         : "join the two, or give each a server_name or server_id of its own";
	char name[256];

	if (second->kind == TLS_SECTION_DEFAULT)
		remedy = "there can be only one, join the two";
	at->line = second->line;
	at->setting = tls_section_name(second, name, sizeof(name));
	say(at, TLS_ERROR, "this section is in line %d already; %s", first->line, remedy);
	at->setting = NULL;
}

/* Reports sections of which one could never be chosen. Returns -1 when memory is short. */
static int check_twins(const struct tls_config *cfg, struct spot *at)
{
	const struct tls_section **sorted;
	size_t count = 0, i = 0;

	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		count++;
	if ((sorted = malloc(count * sizeof(*sorted))) == NULL)
		return -1;
	for (const struct tls_section *s = cfg->sections; s != NULL; s = s->next)
		sorted[i++] = s;
	qsort(sorted, count, sizeof(*sorted), compare_sections);
	for (i = 1; i < count; i++)
		if (compare_targets(sorted[i - 1], sorted[i]) == 0)
			report_twin(at, sorted[i - 1], sorted[i]);
	free(sorted);
	return 0;
}

/* Returns -1 when memory is short. */
static int parse_file(struct parser *p)
{
	while (next_line(p))
		if (parse_line(p) < 0)
			return -1;
	if (p->section == NULL && !p->binary) {
		p->at.line = 0;
		say(&p->at, TLS_ERROR,
		    "there is no section in this file; write at least [server:default] and its certificate");
	}
	if (complete_config(p->cfg, &p->at) < 0)
		return -1;
	return check_twins(p->cfg, &p->at);
}

struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r)
{
	static const char mark[] = "\xef\xbb\xbf"; /* with which some editors begin a UTF-8 file */
	bool marked = size >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0;
	struct parser p = {
		.at = {.r = r, .file = path, .line = 1},
		.next = text + (marked ? strlen(mark) : 0),
		.end = text + size,
		.line = malloc(size + 1),
		.cfg = new_config(path),
	};

	if (p.cfg != NULL)
		p.last = &p.cfg->sections;
	if (p.cfg == NULL || p.line == NULL || parse_file(&p) < 0) {
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "memory is short; free some and try again");
		tls_config_free(p.cfg);
		p.cfg = NULL;
	}
	free_sections(p.refused);
	if (p.line != NULL)
		explicit_bzero(p.line, size); /* may have held a password */
	free(p.line);
	return p.cfg;
}

/* Whether FD is a file that can be read in one go; else WHY is said and what to do. */
static bool is_readable(int fd, const struct spot *at, size_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		say(at, TLS_ERROR, "it cannot be looked at: %s", strerror(errno));
	else if (S_ISDIR(st.st_mode))
		say(at, TLS_ERROR, "this is a folder; name the file itself");
	else if (!S_ISREG(st.st_mode))
		say(at, TLS_ERROR, "this is not a regular file; name one");
	else if (st.st_size > FILE_SIZE_MAX)
		say(at, TLS_ERROR, "the file is larger than %d MB; is it the right one?", FILE_SIZE_MAX >> 20);
	else {
		*size = (size_t)st.st_size;
		return true;
	}
	return false;
}

/* Reads the SIZE bytes that FD should have; its length is checked too, as somebody may be writing the file. */
static char *read_all(int fd, size_t size, const struct spot *at)
{
	char *text = malloc(size + 1);
	size_t have = 0;
	ssize_t n = 1;

	if (text == NULL) {
		say(at, TLS_ERROR, "memory is short; free some and try again");
		return NULL;
	}
	while (n > 0 && have <= size) {
		n = read(fd, text + have, size + 1 - have);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	if (n >= 0 && have == size)
		return text;
	if (n < 0)
		say(at, TLS_ERROR, "it cannot be read: %s", strerror(errno));
	else
		say(at, TLS_ERROR, "it changed while it was read; try again");
	free(text);
	return NULL;
}

struct tls_config *tls_config_read(const char *path, struct tls_report *r)
{
	struct spot at = {.r = r, .file = path};
	struct tls_config *cfg = NULL;
	char *text = NULL;
	size_t size;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		say(&at, TLS_ERROR, "it cannot be opened: %s; check the name and who may read it", strerror(errno));
		return NULL;
	}
	if (is_readable(fd, &at, &size))
		text = read_all(fd, size, &at);
	close(fd);
	if (text != NULL) {
		cfg = tls_config_parse(path, text, size, r);
		explicit_bzero(text, size);
	}
	free(text);
	return cfg;
}
