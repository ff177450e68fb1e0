/*
 * tls_config.c - tls.cfg and module parameters into plain structs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * All here walks the table of settings/table.c. Neither OpenSSL nor the host is known here, so that this file
 * can be tested and fuzzed alone. It keeps no state: any process may call it, no lock is needed.
 *
 * What tls.cfg looks like:
 *
 *   [ROLE:PLACE]      a section. ROLE: server, client. PLACE: default, any, IP:PORT, [IPv6]:PORT; without a port, or
 *                     with port 0, any port. Blanks around the parts are allowed.
 *   NAME = VALUE      a setting of that section. VALUE ends with the line or at a '#', blanks around it are dropped; in
 *                     "double quotes" all of them count. An empty value is written "" and means "none", also where
 *                     there is a preset. What a section does not set is preset: no section takes from another.
 *   # ...             a comment, also after a section's head or a value
 *   \                 at the end of a line, even of a comment: the next line belongs to it; inside a value \n \r \t \\
 *                     \" \# and a backslash before a blank stand for one character
 *
 * Names, words and roles are told apart without regard to case, as the host's own parser does.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <arpa/inet.h>
#include <dirent.h>
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

#include "tls_config.h"
#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"

#define FILE_SIZE_MAX (16 * 1024 * 1024)

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

/* ---- messages */

/* Where a problem is. */
struct spot {
	struct tls_report *r;
	const char *file; /* NULL: a module parameter */
	int line;
	const char *setting;
};

#define say(at, severity, ...) \
	tls_report_add((at)->r, severity, (at)->file, (at)->line, (at)->setting, __VA_ARGS__)

static void say_no_memory(struct tls_report *r, const char *file)
{
	tls_report_add(r, TLS_ERROR, file, 0, NULL, "memory is short; free some and try again");
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

/* ---- fields */

/* Where BASE, a struct tls_settings or tls_options, holds a number, or a text. */
static int *number_in(const struct tls_setting *row, const void *base)
{
	return (int *)((uintptr_t)base + row->offset);
}

static char **text_in(const struct tls_setting *row, const void *base)
{
	return (char **)((uintptr_t)base + row->offset);
}

/* What an unset number is: the words' enums have their own. */
static int unset_number(const struct tls_setting *row)
{
	return row->type == TLS_CHOICE ? -1 : TLS_UNSET;
}

static bool is_set(const struct tls_setting *row, const void *base)
{
	return row->type == TLS_STRING ? *text_in(row, base) != NULL : *number_in(row, base) != unset_number(row);
}

static void unset(const struct tls_setting *row, void *base)
{
	if (row->type == TLS_STRING)
		*text_in(row, base) = NULL;
	else
		*number_in(row, base) = unset_number(row);
}

/* Puts a copy of NEW (NULL: nothing) in the place of what BASE holds. Secrets leave no trace in memory. */
static int store_text(const struct tls_setting *row, void *base, const char *new)
{
	char *old = *text_in(row, base), *copy = NULL;

	if (new != NULL && (copy = strdup(new)) == NULL)
		return -1;
	if (old != NULL && (row->flags & TLS_SECRET) != 0)
		explicit_bzero(old, strlen(old));
	free(old);
	*text_in(row, base) = copy;
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

static int preset_field(const struct tls_setting *row, void *base)
{
	if (is_set(row, base))
		return 0;
	if (row->type == TLS_STRING)
		return store_text(row, base, row->text_preset);
	*number_in(row, base) = row->preset;
	return 0;
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
			*text_in(row, o) = (char *)row->text_preset;
		else
			*number_in(row, o) = row->preset;
	}
}

void tls_settings_free(struct tls_settings *s)
{
	FOR_EACH_ROW(row, is_of_domain) {
		if (row->type == TLS_STRING)
			store_text(row, s, NULL);
		unset(row, s);
	}
}

int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s)
{
	tls_settings_init(to);
	FOR_EACH_ROW(row, is_of_domain) {
		if (row->type != TLS_STRING)
			*number_in(row, to) = *number_in(row, s);
		else if (store_text(row, to, *text_in(row, s)) < 0) {
			tls_settings_free(to);
			return -1;
		}
	}
	return 0;
}

/* ---- values */

/* Words that are known but not wanted. */
static const struct remark {
	const char *word;
	enum tls_severity severity;
	const char *text;
} remarks[] = {
	{"SSLv2", TLS_ERROR, "SSLv2 is broken and prohibited by RFC 6176; use TLSv1.2+"},
	{"SSLv3", TLS_ERROR, "SSLv3 is broken and prohibited by RFC 7568; use TLSv1.2+"},
	{"SSLv23", TLS_WARNING,
     "SSLv23 accepts every version that the library still knows, retired ones too; use TLSv1.2+"},
};

static const struct remark *find_remark(const char *word)
{
	for (size_t i = 0; i < sizeof(remarks) / sizeof(remarks[0]); i++)
		if (strcmp(remarks[i].word, word) == 0)
			return &remarks[i];
	return NULL;
}

/*
 * What ROW allows, for a message. A preset outside of the range stands for "chosen by others" and is allowed
 * too.
 */
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
	for (const struct tls_choice *choice = row->choices; choice->word != NULL; choice++)
		if (find_remark(choice->word) == NULL)
			append(a.text, sizeof(a.text), "%s%s", a.text[0] != '\0' ? ", " : "", choice->word);
	return a;
}

/* WORD is not what ROW allows. Returns -1. */
static int refuse(const struct spot *at, const struct tls_setting *row, const char *word, const char *why)
{
	say(at, TLS_ERROR, "%s is %s; allowed: %s", excerpt(word, strlen(word)).text, why, allowed(row).text);
	return -1;
}

static bool number_allowed(const struct tls_setting *row, long value)
{
	return value == row->preset || (value >= row->min && value <= row->max);
}

/* Old configurations may have any number there, and it has always meant the preset. */
static bool is_lenient(const struct tls_setting *row)
{
	return is_of_domain(row) && row->offset == offsetof(struct tls_settings, server_name_mode);
}

static int parse_number(const struct spot *at, const struct tls_setting *row, const char *digits, int *value)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(digits, &end, 10);
	if (end == digits || *end != '\0')
		return refuse(at, row, digits, "not a whole number");
	if (errno != 0 || !number_allowed(row, n)) {
		if (!is_lenient(row))
			return refuse(at, row, digits, "out of range");
		say(at, TLS_WARNING, "%s counts as %d; allowed: %s", excerpt(digits, strlen(digits)).text,
		    row->preset, allowed(row).text);
		n = row->preset;
	}
	*value = (int)n;
	return 0;
}

static int parse_word(const struct spot *at, const struct tls_setting *row, const char *word, int *value)
{
	const struct tls_choice *choice = row->choices;
	const struct remark *remark;

	while (choice->word != NULL && strcasecmp(choice->word, word) != 0)
		choice++;
	if (choice->word == NULL)
		return refuse(at, row, word, "not known");
	if ((remark = find_remark(choice->word)) != NULL)
		say(at, remark->severity, "%s", remark->text);
	if (remark != NULL && remark->severity == TLS_ERROR)
		return -1;
	*value = choice->value;
	return 0;
}

/* A text may turn up in logs and in RPC answers: only secrets, which never do, may hold anything. */
static int check_text(const struct spot *at, const struct tls_setting *row, const char *words)
{
	if ((row->flags & TLS_SECRET) != 0)
		return 0;
	for (const char *c = words; *c != '\0';) {
		size_t size = tls_text_character(c);

		bool control = (unsigned char)*c < ' ' || *c == 0x7f;

		if (size == 0 && (control || (row->flags & TLS_IS_PATH) == 0)) {
			say(at, TLS_ERROR, "%s holds %s; allowed: any other text", excerpt(words, strlen(words)).text,
			    control ? "a control character" : "what is not UTF-8");
			return -1;
		}
		c += size > 0 ? size : 1;
	}
	if ((row->flags & TLS_IS_PATH) != 0 && strlen(words) >= PATH_MAX) {
		say(at, TLS_ERROR, "the path is too long; allowed: %d characters", PATH_MAX - 1);
		return -1;
	}
	return 0;
}

static int parse_field(const struct spot *at, const struct tls_setting *row, void *base, const char *words)
{
	if (row->type == TLS_INT)
		return parse_number(at, row, words, number_in(row, base));
	if (row->type != TLS_STRING)
		return parse_word(at, row, words, number_in(row, base));
	if (check_text(at, row, words) < 0)
		return -1;
	if (store_text(row, base, words) == 0)
		return 0;
	say_no_memory(at->r, at->file);
	return -1;
}

int tls_setting_parse(const struct tls_setting *row, void *base, const char *words, struct tls_report *r,
                      const char *file, int line)
{
	struct spot at = {r, file, line, file != NULL && row->alias != NULL ? row->alias : row->name};

	return parse_field(&at, row, base, words);
}

const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size)
{
	const struct tls_choice *choice = row->choices;

	if (!is_set(row, base)) {
		snprintf(out, size, "%s", "");
	} else if (row->type == TLS_STRING) {
		snprintf(out, size, "%s", (row->flags & TLS_SECRET) != 0 ? "***" : *text_in(row, base));
	} else {
		while (choice != NULL && choice->word != NULL && choice->value != *number_in(row, base))
			choice++;
		snprintf(out, size, "%d", *number_in(row, base));
		if (choice != NULL && choice->word != NULL)
			snprintf(out, size, "%s", choice->word);
	}
	return out;
}

/* One module parameter that is set. The host has stored numbers as they stood in its configuration. */
static void check_parameter(const struct spot *at, const struct tls_setting *row, const void *base)
{
	int value = row->type != TLS_STRING ? *number_in(row, base) : 0;

	if ((row->flags & TLS_IGNORED) != 0)
		say(at, TLS_WARNING, "has no effect; it can be removed");
	else if (row->type == TLS_STRING)
		check_text(at, row, *text_in(row, base));
	else if (row->type == TLS_BOOL && value != 0 && value != 1)
		say(at, TLS_WARNING, "%d counts as 1; allowed: 0, 1", value);
	else if (row->type != TLS_INT || number_allowed(row, value))
		return;
	else if (is_lenient(row))
		say(at, TLS_WARNING, "%d counts as %d; allowed: %s", value, row->preset, allowed(row).text);
	else
		say(at, TLS_ERROR, "%d is out of range; allowed: %s", value, allowed(row).text);
}

/*
 * A name in a certificate that nobody has verified proves nothing: whoever believes that it is checked must
 * be told.
 */
static void check_verify_name(const struct spot *at, const struct tls_settings *s)
{
	if (s->verify_name > 0 && s->verify_certificate <= 0)
		say(at, TLS_ERROR, "needs verify_certificate = yes: who signs for themselves may take any name");
}

void tls_modparam_check(const struct tls_settings *s, const struct tls_options *o, struct tls_report *r)
{
	FOR_EACH_ROW(row, is_row) {
		struct spot at = {.r = r, .setting = row->name};
		const void *base = is_of_domain(row) ? (const void *)s : (const void *)o;

		if ((row->flags & TLS_IN_MODPARAM) != 0 && is_set(row, base))
			check_parameter(&at, row, base);
	}
	check_verify_name(&(struct spot){.r = r, .setting = "verify_name"}, s);
}

/* ---- sections */

static const char *const role_words[] = {[TLS_SERVER] = "server", [TLS_CLIENT] = "client"};

static void free_sections(struct tls_section *section)
{
	while (section != NULL) {
		struct tls_section *next = section->next;

		tls_settings_free(&section->settings);
		free(section);
		section = next;
	}
}

/* A section in which nothing is set, with its lines behind it; NULL when memory is short. */
static struct tls_section *new_section(enum tls_role role, const char *file, int line)
{
	size_t rows = 0, size = sizeof(struct tls_section);
	struct tls_section *section;

	while (is_of_domain(&tls_settings_table[rows]))
		rows++;
	if ((section = malloc(size + rows * sizeof(int))) == NULL)
		return NULL;
	*section = (struct tls_section){.role = role, .kind = TLS_SECTION_DEFAULT, .file = file, .line = line};
	section->set_lines = memset(section + 1, 0, rows * sizeof(int));
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

/* Where SECTION itself sets ROW; 0: nowhere; below 0: there, to a bad value. */
static int *set_line(const struct tls_section *section, const struct tls_setting *row)
{
	return &section->set_lines[row - tls_settings_table];
}

struct tls_origin tls_section_origin(const struct tls_section *section, const char *setting)
{
	const struct tls_setting *row = tls_setting_find(setting, TLS_OF_DOMAIN);
	int line = row != NULL ? *set_line(section, row) : 0;

	return (struct tls_origin){section->file, line > 0 ? line : section->line, setting};
}

bool tls_section_unsure(const struct tls_section *section, const char *setting)
{
	const struct tls_setting *row = tls_setting_find(setting, TLS_OF_DOMAIN);
	int line = row != NULL ? *set_line(section, row) : 0;

	return line < 0 || (line == 0 && section->unsure);
}

/* What verify_client makes of a switch. */
enum effect { SWITCHED_OFF, SWITCHED_ON, AS_SET };

/* Puts the switch NAME as verify_client wants it; a section that asks for something else is told which one counts. */
static void settle_switch(struct tls_section *section, const char *name, enum effect effect,
                          struct tls_report *r)
{
	const struct tls_setting *row = tls_setting_find(name, TLS_OF_DOMAIN);
	const struct tls_setting *word = tls_setting_find("verify_client", TLS_OF_DOMAIN);
	int *value = number_in(row, &section->settings), line = *set_line(section, word);
	struct spot at = {r, section->file, *set_line(section, row), name};

	if (at.line > 0 && effect == AS_SET && *value > 0)
		say(&at, TLS_WARNING, "counts, whatever verify_client in line %d says; remove one of the two", line);
	else if (at.line > 0 && effect != AS_SET && *value != (int)effect)
		say(&at, TLS_WARNING, "verify_client in line %d overrides this; remove one of the two", line);
	if (effect != AS_SET)
		*value = (int)effect;
}

/*
 * verify_client in the two words that it stands for. It does not take back what they ask for, as in older
 * configurations, but that a client's certificate must verify.
 */
static void settle_verify_client(struct tls_section *section, struct tls_report *r)
{
	static const struct {
		enum effect verify, require;
	} effects[] = {
		[TLS_VERIFY_CLIENT_OFF] = {AS_SET, AS_SET},
		[TLS_VERIFY_CLIENT_ON] = {SWITCHED_ON, SWITCHED_ON},
		[TLS_VERIFY_CLIENT_OPTIONAL] = {SWITCHED_ON, AS_SET},
		[TLS_VERIFY_CLIENT_OPTIONAL_NO_CA] = {SWITCHED_OFF, AS_SET},
	};
	int word = section->settings.verify_client;
	enum effect verify;

	if (word == TLS_VERIFY_CLIENT_UNSET)
		return;
	verify = effects[word].verify;
	if (section->role == TLS_CLIENT && verify == SWITCHED_OFF)
		verify = AS_SET;
	settle_switch(section, "verify_certificate", verify, r);
	settle_switch(section, "require_certificate", effects[word].require, r);
}

static void settle_verify_name(const struct tls_section *section, struct tls_report *r)
{
	struct spot at = {r, section->file, *set_line(section, tls_setting_find("verify_name", TLS_OF_DOMAIN)),
	                  "verify_name"};

	if (section->role == TLS_CLIENT && !tls_section_unsure(section, "verify_certificate") &&
	    !tls_section_unsure(section, "verify_client"))
		check_verify_name(&at, &section->settings);
	else if (section->role == TLS_CLIENT)
		return;
	else if (section->settings.verify_name > 0)
		say(&at, TLS_WARNING,
		    "is about servers, and has no effect in a server section: a script asks is_peer_named()");
}

/*
 * Presets what SECTION does not set. A client presents a certificate only when it is told to; an empty text
 * is none.
 */
static int complete_section(struct tls_section *section)
{
	struct tls_settings *s = &section->settings;

	FOR_EACH_ROW(row, is_of_domain) {
		if (row->type == TLS_STRING && is_set(row, s) && **text_in(row, s) == '\0')
			store_text(row, s, NULL);
		else if (section->role == TLS_CLIENT && row->offset == offsetof(struct tls_settings, certificate))
			continue;
		else if (preset_field(row, s) < 0)
			return -1;
		else if (is_lenient(row) && !number_allowed(row, *number_in(row, s)))
			*number_in(row, s) = row->preset;
	}
	return 0;
}

/* ---- a configuration */

/*
 * An empty configuration for what is read from FILE; NULL when memory is short, which is told to R. Either
 * may be NULL.
 */
static struct tls_config *new_config(const char *file, struct tls_report *r)
{
	struct tls_config *cfg = malloc(sizeof(*cfg));

	if (cfg != NULL)
		*cfg = (struct tls_config){.file = file != NULL ? strdup(file) : NULL};
	if (cfg != NULL && (cfg->file != NULL || file == NULL))
		return cfg;
	if (r != NULL)
		say_no_memory(r, file);
	free(cfg);
	return NULL;
}

void tls_config_free(struct tls_config *cfg)
{
	if (cfg == NULL)
		return;
	free_sections(cfg->sections);
	while (cfg->files != NULL) {
		struct tls_config_file *file = cfg->files;

		cfg->files = file->next;
		free(file);
	}
	free(cfg->file);
	free(cfg);
}

/* Adds a copy of NAME to CFG's files; returns it, NULL when memory is short. */
static const char *add_file(struct tls_config *cfg, const char *name)
{
	size_t size = strlen(name) + 1;
	struct tls_config_file *file = malloc(sizeof(*file) + size);

	if (file == NULL)
		return NULL;
	file->next = cfg->files;
	cfg->files = file;
	return memcpy(file->name, name, size);
}

/* Makes ROLE's default section at the end of CFG when there is none. */
static int add_default(struct tls_config *cfg, enum tls_role role)
{
	struct tls_section **at = &cfg->sections;

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->role == role && (*at)->kind == TLS_SECTION_DEFAULT)
			return 0;
	if ((*at = new_section(role, cfg->file, 0)) == NULL)
		return -1;
	(*at)->unsure = cfg->unsure;
	return 0;
}

/* Adds what CFG's sections leave open. */
static int complete_config(struct tls_config *cfg, struct tls_report *r)
{
	if (add_default(cfg, TLS_SERVER) < 0 || add_default(cfg, TLS_CLIENT) < 0)
		return -1;
	for (struct tls_section *section = cfg->sections; section != NULL; section = section->next) {
		settle_verify_client(section, r);
		if (section->file != NULL)
			settle_verify_name(section, r);
		if (complete_section(section) < 0)
			return -1;
	}
	return 0;
}

/* The parameter server_name is our own name, which is none to ask others for. */
struct tls_config *tls_config_from_params(const struct tls_settings *s)
{
	const struct tls_setting *own_name = tls_setting_find("server_name", TLS_OF_DOMAIN);
	struct tls_config *cfg = new_config(NULL, NULL);

	if (cfg != NULL && add_default(cfg, TLS_SERVER) == 0 && add_default(cfg, TLS_CLIENT) == 0 &&
	    tls_settings_copy(&cfg->sections->settings, s) == 0 &&
	    tls_settings_copy(&cfg->sections->next->settings, s) == 0 &&
	    store_text(own_name, &cfg->sections->next->settings, NULL) == 0 && complete_config(cfg, NULL) == 0)
		return cfg;
	tls_config_free(cfg);
	return NULL;
}

char *tls_path_resolve(const char *path, const char *main_dir, const char *work_dir)
{
	const char *dir = path[0] == '/' || path[0] == '\0' ? "" : path[0] == '.' ? work_dir : main_dir;
	const char *tail = path[0] == '.' && path[1] == '/' ? path + 2 : path;
	size_t length = strlen(dir);
	char *absolute;

	if (asprintf(&absolute, "%s%s%s", dir, length > 0 && dir[length - 1] != '/' ? "/" : "", tail) < 0)
		return NULL;
	return absolute;
}

static int resolve_section(struct tls_section *section, const char *main_dir, const char *work_dir)
{
	FOR_EACH_ROW(row, is_of_domain) {
		char **path = text_in(row, &section->settings), *absolute;

		if ((row->flags & TLS_IS_PATH) == 0 || *path == NULL)
			continue;
		if ((absolute = tls_path_resolve(*path, main_dir, work_dir)) == NULL)
			return -1;
		free(*path);
		*path = absolute;
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
	struct spot at;              /* its line: where LINE began */
	const char *next, *end;      /* what has not been read yet */
	char *line;                  /* the line in work, continuations joined, ended by a NUL byte */
	size_t length;               /* of LINE */
	const char *joined;          /* where in LINE the last continuation began, NULL: nowhere */
	int breaks;                  /* line ends in LINE */
	bool binary;                 /* a NUL byte was found, and reported */
	bool strayed;                /* something stands before the first section */
	struct tls_section *stray;   /* which lines set what there, for all sections */
	struct tls_section **last;   /* where the next section goes */
	struct tls_section *section; /* the one that settings belong to, NULL: before the first */
	struct tls_section *refused; /* those with a bad head: their settings are checked too */
};

/*
 * Puts the next line into P->line and joins the lines that it is continued on. There is room for the whole
 * file. Returns false at the end.
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

/* A mistake in the line may have been meant as anything that the section, or the file's sections, can set. */
static void make_unsure(struct parser *p)
{
	p->strayed |= p->section == NULL;
	(p->section != NULL ? p->section : p->stray)->unsure = true;
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

/* Whether REST, where a value in quotes ended, lets it stand. */
static bool quoted_value_ends(struct parser *p, char *rest)
{
	if (*rest == '"')
		return rest_is_empty(p, rest + 1, "the closing \"");
	say(&p->at, TLS_ERROR, "the closing \" is missing; it must stand in the same line");
	return false;
}

/* The same for a value without quotes. */
static bool plain_value_ends(struct parser *p, char *rest, bool empty)
{
	if (empty) {
		say(&p->at, TLS_ERROR, "the value is missing; write \"\" for none");
		return false;
	}
	if (*rest == '#' && strchr(BLANKS, rest[-1]) == NULL)
		say(&p->at, TLS_WARNING,
		    "a comment begins at the \"#\"; if it belongs to the value, put that in double quotes, else put a "
		    "blank before the comment");
	return rest_is_empty(p, rest, "the value");
}

/* The value at S, unescaped in place; NULL when it is malformed, which is reported. */
static char *parse_value(struct parser *p, char *s)
{
	bool quoted = *s == '"';
	char *from = quoted ? s + 1 : s, *to = s, *end = s;

	while (*from != '\0' && *from != (quoted ? '"' : '#')) {
		int c = (unsigned char)*from++;
		bool counts = quoted || strchr(BLANKS, c) == NULL;

		if (c == '\\' && (c = escaped_character(p, *from++)) < 0)
			return NULL;
		*to++ = (char)c;
		if (counts)
			end = to;
	}
	if (!(quoted ? quoted_value_ends(p, from) : plain_value_ends(p, from, end == s)))
		return NULL;
	*end = '\0';
	return s;
}

/* ---- settings */

/* How many letters, of the longer of A and B, lie between what they begin and what they end with alike. */
static size_t difference(const char *a, const char *b)
{
	size_t a_length = strlen(a), b_length = strlen(b), head = 0, tail = 0;
	size_t shorter = a_length < b_length ? a_length : b_length;

	while (head < shorter && strncasecmp(a + head, b + head, 1) == 0)
		head++;
	while (head + tail < shorter && strncasecmp(a + a_length - 1 - tail, b + b_length - 1 - tail, 1) == 0)
		tail++;
	return (a_length > b_length ? a_length : b_length) - head - tail;
}

/* The name in tls.cfg that NAME, or most of it, was meant to be; NULL: none. */
static const char *similar_name(const char *name)
{
	size_t best = strlen(name) / 3 > 2 ? strlen(name) / 3 : 2;
	const char *similar = NULL;

	FOR_EACH_ROW(row, is_of_domain) {
		const char *known[] = {row->name, row->alias != NULL ? row->alias : row->name};

		for (int i = 0; i < 2; i++) {
			size_t d = difference(name, known[i]);

			if (d > best || (d == best && similar != NULL))
				continue;
			similar = known[i];
			best = d;
		}
	}
	return similar;
}

static void report_unknown(const struct parser *p, const char *name)
{
	const struct tls_setting *row = tls_setting_find(name, TLS_IN_MODPARAM);
	struct excerpt shown = excerpt(name, strlen(name));
	const char *similar = similar_name(name);
	char list[512] = "";

	FOR_EACH_ROW(known, is_of_domain)
		append(list, sizeof(list), "%s%s", list[0] != '\0' ? ", " : "",
		       known->alias != NULL ? known->alias : known->name);
	if (row != NULL)
		say(&p->at, TLS_ERROR,
		    "%s is a module parameter; set it in the main configuration: modparam(\"tls\", \"%s\", ...)",
		    shown.text, row->name);
	else if (similar != NULL)
		say(&p->at, TLS_ERROR, "there is no setting %s; did you mean \"%s\"?", shown.text, similar);
	else
		say(&p->at, TLS_ERROR, "there is no setting %s; allowed: %s", shown.text, list);
}

/* "= VALUE", at S, gives ROW its value. */
static void parse_assignment(struct parser *p, const struct tls_setting *row, char *s)
{
	int *set = set_line(p->section, row);
	char *value = parse_value(p, skip_blanks(s));

	if (value != NULL && *set > 0)
		say(&p->at, TLS_WARNING, "set in line %d of this section already; this one counts, remove the other",
		    *set);
	if (value != NULL && parse_field(&p->at, row, &p->section->settings, value) == 0)
		*set = p->at.line;
	else if (*set <= 0)
		*set = -p->at.line;
}

/* ROW is set before the first section. */
static void stray_setting(struct parser *p, const struct tls_setting *row)
{
	say(&p->at, TLS_ERROR, "stands before the first section; put it below a head such as [server:default]");
	*set_line(p->stray, row) = -p->at.line;
	p->strayed = true;
}

/* SECTION is one of those for which what stands before them may have been meant. */
static void take_over_strays(struct tls_section *section, const struct tls_section *stray)
{
	section->unsure = stray->unsure;
	FOR_EACH_ROW(row, is_of_domain)
		*set_line(section, row) = *set_line(stray, row);
}

/* There is no setting NAME (said): the one that it is like may have been meant, or, where it is like none, any. */
static void make_unsure_of(struct parser *p, const char *name)
{
	const char *similar = similar_name(name);
	const struct tls_setting *row = similar != NULL ? tls_setting_find(similar, TLS_IN_FILE) : NULL;
	int *set = row != NULL ? set_line(p->section != NULL ? p->section : p->stray, row) : NULL;

	if (set == NULL) {
		make_unsure(p);
		return;
	}
	p->strayed |= p->section == NULL;
	if (*set <= 0)
		*set = -p->at.line;
}

/* "NAME = VALUE", at S. */
static void parse_setting(struct parser *p, char *s)
{
	char *name = s, *end = s + strspn(s, NAME_CHARACTERS), *sign = skip_blanks(end);
	const struct tls_setting *row;

	if (end == name || *sign != '=') {
		say(&p->at, TLS_ERROR, "%s is not understood; allowed: [section], name = value, # comment",
		    excerpt(s, strlen(s)).text);
		make_unsure(p);
		return;
	}
	*end = '\0';
	if ((row = tls_setting_find(name, TLS_IN_FILE)) == NULL) {
		report_unknown(p, name);
		make_unsure_of(p, name);
		return;
	}
	p->at.setting = name;
	if (p->section == NULL)
		stray_setting(p, row);
	else
		parse_assignment(p, row, sign + 1);
	p->at.setting = NULL;
}

/* ---- heads */

#define HEADS \
	"[server:default], [server:any], [server:IP:PORT], [server:[IPv6]:PORT], and the same with client"

/* A head is not what it should be. Returns -1. */
static int refuse_head(const struct parser *p, const char *why)
{
	say(&p->at, TLS_ERROR, "%s; allowed: " HEADS, why);
	return -1;
}

/* Takes the blanks around "[", "]" and ":" out of S. */
static void close_up(char *s)
{
	char *to = s;

	for (char *from = s; *from != '\0';) {
		char *next = skip_blanks(from);

		if (next > from && to > s && *next != '\0' && strchr("[]:", to[-1]) == NULL &&
		    strchr("[]:", *next) == NULL)
			*to++ = ' ';
		from = next;
		if (*from != '\0')
			*to++ = *from++;
	}
	*to = '\0';
}

/* ":PORT", or nothing, is all of S. */
static int parse_port(const struct parser *p, const char *s, uint16_t *port)
{
	size_t length = *s == ':' ? strspn(s + 1, "0123456789") : 0;
	unsigned long number = length > 0 && length <= 5 && s[1 + length] == '\0' ? strtoul(s + 1, NULL, 10)
	                                                                          : UINT16_MAX + 1;

	*port = 0;
	if (*s == '\0')
		return 0;
	if (number > UINT16_MAX) {
		s += *s == ':' ? 1 : 0;
		say(&p->at, TLS_ERROR, "%s is not a port; allowed: 1 to 65535, and 0 for any",
		    excerpt(s, strlen(s)).text);
		return -1;
	}
	*port = (uint16_t)number;
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

/* "default", "any", "IP:PORT" or "[IPv6]:PORT" is all of S. */
static int parse_place(const struct parser *p, const char *s, struct tls_section *section)
{
	int bracket = *s == '[';
	size_t length = strcspn(s, bracket ? "]" : ":");

	section->kind = TLS_SECTION_DEFAULT;
	if (strcasecmp(s, "default") == 0)
		return 0;
	section->kind = TLS_SECTION_ANY;
	if (strcasecmp(s, "any") == 0)
		return 0;
	section->kind = TLS_SECTION_ADDRESS;
	if (bracket && s[length] == '\0')
		return refuse_head(p, "the \"]\" after the IPv6 address is missing");
	if (parse_ip(p, s + bracket, length - (size_t)bracket, bracket ? 6 : 4, &section->address) < 0)
		return -1;
	return parse_port(p, s + length + bracket, &section->address.port);
}

/* "[ROLE:PLACE]" is all of S. */
static int parse_head(struct parser *p, char *s, struct tls_section *section)
{
	char *end = strrchr(s, ']');

	if (end == NULL)
		return refuse_head(p, "the closing \"]\" is missing");
	if (!rest_is_empty(p, end + 1, "the section's head"))
		return -1;
	*end = '\0';
	close_up(s);
	for (int i = TLS_SERVER; i <= TLS_CLIENT; i++) {
		size_t length = strlen(role_words[i]);

		section->role = (enum tls_role)i;
		if (strncasecmp(s + 1, role_words[i], length) == 0 && s[1 + length] == ':')
			return parse_place(p, s + 1 + length + 1, section);
	}
	return refuse_head(p, "a section begins with \"server:\" or \"client:\"");
}

/* Begins a section with the head at S. Returns -1 when memory is short. */
static int begin_section(struct parser *p, char *s)
{
	struct tls_section *section = new_section(TLS_SERVER, p->at.file, p->at.line);
	size_t length = strcspn(s, "#");
	struct excerpt head;

	if (section == NULL)
		return -1;
	take_over_strays(section, p->stray);
	rest_is_empty(p, s + length, "the section's head");
	while (strchr(BLANKS, s[length - 1]) != NULL)
		length--;
	s[length] = '\0';
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

/* ---- a whole file */

/* Returns -1 when memory is short. */
static int parse_line(struct parser *p)
{
	char *s = skip_blanks(p->line);

	if (strlen(p->line) != p->length) {
		if (!p->binary)
			say(&p->at, TLS_ERROR, "a NUL byte: this is not a text file; write it as plain text (UTF-8)");
		p->binary = true;
		make_unsure(p);
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

/*
 * Adds the sections in TEXT, what the file PATH holds, to CFG. Returns -1 when memory is short, which is
 * reported.
 */
static int parse_text(struct tls_config *cfg, const char *path, const char *text, size_t size,
                      struct tls_report *r)
{
	static const char mark[] = "\xef\xbb\xbf"; /* with which some editors begin a UTF-8 file */
	bool marked = size >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0;
	struct parser p = {
		.at = {.r = r, .file = add_file(cfg, path), .line = 1},
		.next = text + (marked ? strlen(mark) : 0),
		.end = text + size,
		.line = malloc(size + 1),
		.last = &cfg->sections,
		.stray = new_section(TLS_SERVER, NULL, 0),
	};
	int result = p.at.file != NULL && p.line != NULL && p.stray != NULL ? 0 : -1;

	while (*p.last != NULL)
		p.last = &(*p.last)->next;
	while (result == 0 && next_line(&p))
		result = parse_line(&p);
	cfg->unsure |= p.strayed || p.binary || p.refused != NULL;
	free_sections(p.refused);
	free_sections(p.stray);
	if (p.line != NULL)
		explicit_bzero(p.line, size); /* may have held a password */
	free(p.line);
	if (result < 0)
		say_no_memory(r, path);
	return result;
}

/* ---- sections of which one could never be chosen */

static int compare_texts(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return compare(a, b);
}

/* Orders sections by what they are for: 0 when no connection could tell A from B. */
static int compare_places(const struct tls_section *a, const struct tls_section *b)
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

/* By place, then as they stand in the files, which are read by their names. */
static int compare_sections(const void *a, const void *b)
{
	const struct tls_section *x = *(struct tls_section *const *)a, *y = *(struct tls_section *const *)b;
	int d = compare_places(x, y);

	if (d != 0 || (d = strcmp(x->file, y->file)) != 0)
		return d;
	return (x->line > y->line) - (x->line < y->line);
}

static void report_twin(struct tls_report *r, const struct tls_section *first,
                        const struct tls_section *second)
{
	bool same_file = first->file == second->file;
	const char *remedy = second->role == TLS_SERVER
	                         ? "join the two, or give each a server_name of its own"
	                         : "join the two, or give each a server_name or server_id of its own";
	char name[256];
	struct spot at = {r, second->file, second->line, tls_section_name(second, name, sizeof(name))};

	if (second->kind == TLS_SECTION_DEFAULT)
		remedy = "there can be only one, join the two";
	say(&at, TLS_ERROR, "this section is in %s%sline %d already; %s", same_file ? "" : first->file,
	    same_file ? "" : ", ", first->line, remedy);
}

/* Whether what would tell SECTION from others of its place is not set because of another mistake. */
static bool is_twin_by_mistake(const struct tls_section *section)
{
	return section->kind != TLS_SECTION_DEFAULT &&
	       (tls_section_unsure(section, "server_name") || tls_section_unsure(section, "server_name_mode") ||
	        (section->role == TLS_CLIENT && tls_section_unsure(section, "server_id")));
}

/* Returns -1 when memory is short. */
static int check_twins(const struct tls_config *cfg, struct tls_report *r)
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
		if (compare_places(sorted[i - 1], sorted[i]) == 0 && !is_twin_by_mistake(sorted[i - 1]) &&
		    !is_twin_by_mistake(sorted[i]))
			report_twin(r, sorted[i - 1], sorted[i]);
	free(sorted);
	return 0;
}

/* ---- from text or files to a configuration; what goes wrong is reported */

/*
 * Completes CFG, which may be NULL, when RESULT, of reading its text, is 0. ERRORS: how many R held before.
 */
static struct tls_config *finish_config(struct tls_config *cfg, int result, struct tls_report *r, int errors)
{
	if (result == 0 && cfg->sections == NULL && r->errors == errors)
		tls_report_add(r, TLS_ERROR, cfg->file, 0, NULL,
		               "there is no section in it; write at least [server:default] and its certificate");
	if (result == 0 && (complete_config(cfg, r) < 0 || check_twins(cfg, r) < 0)) {
		say_no_memory(r, cfg->file);
		result = -1;
	}
	if (result == 0)
		return cfg;
	tls_config_free(cfg);
	return NULL;
}

struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r)
{
	int errors = r->errors;
	struct tls_config *cfg = new_config(path, r);

	return finish_config(cfg, cfg != NULL ? parse_text(cfg, path, text, size, r) : -1, r, errors);
}

static void say_not_opened(struct tls_report *r, const char *path)
{
	tls_report_add(r, TLS_ERROR, path, 0, NULL, "it cannot be opened: %s; check the name and who may read it",
	               strerror(errno));
}

/* The SIZE bytes that PATH should have; its length is checked, as somebody may be writing it. */
static char *read_text(const char *path, size_t size, struct tls_report *r)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(size + 1) : NULL;
	size_t have = 0;
	ssize_t n = 0;

	while (text != NULL && have <= size && (n = read(fd, text + have, size + 1 - have)) > 0)
		have += (size_t)n;
	if (fd < 0)
		say_not_opened(r, path);
	else if (text == NULL)
		say_no_memory(r, path);
	else if (n < 0)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "it cannot be read: %s", strerror(errno));
	else if (have != size)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "it changed while it was read; try again");
	if (fd >= 0)
		close(fd);
	if (n == 0 && have == size)
		return text;
	free(text);
	return NULL;
}

/* Adds what the file PATH holds to CFG. Returns 0, -1 when it cannot be read. */
static int read_file(struct tls_config *cfg, const char *path, struct tls_report *r)
{
	struct stat st;
	char *text = NULL;
	int result = -1;

	if (stat(path, &st) < 0)
		say_not_opened(r, path);
	else if (!S_ISREG(st.st_mode))
		tls_report_add(r, TLS_ERROR, path, 0, NULL,
		               "this is not a regular file; name one, or a folder of them");
	else if (st.st_size > FILE_SIZE_MAX)
		tls_report_add(r, TLS_ERROR, path, 0, NULL, "the file is larger than %d MB; is it the right one?",
		               FILE_SIZE_MAX >> 20);
	else
		text = read_text(path, (size_t)st.st_size, r);
	if (text != NULL) {
		result = parse_text(cfg, path, text, (size_t)st.st_size, r);
		explicit_bzero(text, (size_t)st.st_size);
	}
	free(text);
	return result;
}

/* The same for FOLDER/NAME, unless it is a folder or anything else that is no file. */
static int read_entry(struct tls_config *cfg, const char *folder, const char *name, struct tls_report *r)
{
	struct stat st;
	int result = 0;
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		say_no_memory(r, folder);
		return -1;
	}
	if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
		result = read_file(cfg, path, r);
	free(path);
	return result;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The same for all files of FOLDER, whatever they are called. */
static int read_folder(struct tls_config *cfg, const char *folder, struct tls_report *r)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, compare_names), result = 0;

	if (count < 0) {
		say_not_opened(r, folder);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (read_entry(cfg, folder, entries[i]->d_name, r) < 0)
			result = -1;
		free(entries[i]);
	}
	free(entries);
	return result;
}

struct tls_config *tls_config_read(const char *path, struct tls_report *r)
{
	int errors = r->errors, result = -1;
	struct tls_config *cfg = new_config(path, r);
	struct stat st;

	if (cfg != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		result = read_folder(cfg, path, r);
	else if (cfg != NULL)
		result = read_file(cfg, path, r);
	return finish_config(cfg, result, r, errors);
}
