/*
 * tls_config.c - the parser of tls.cfg
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Neither the TLS library nor the host is known here, so that this file can be tested and fuzzed alone. It keeps no state:
 * any process may call it, no lock is needed.
 *
 * The syntax of tls.cfg:
 *
 *   [ROLE:PLACE]      begins a section. ROLE: server, client. PLACE: default, any, IP:PORT, [IPv6]:PORT; no port, or
 *                     port 0, means any port. Blanks around the parts are allowed.
 *   NAME = VALUE      a setting of the section. VALUE ends at the end of the line or at a '#', and blanks around it are
 *                     dropped; between "double quotes" all characters count. "" means "none", even where there is a
 *                     default. A setting that the section does not set has its default: sections do not inherit.
 *   # ...             a comment, also after a section's head or a value
 *   \                 at the end of a line, even of a comment, joins the next line to it; inside a value \n \r \t \\
 *                     \" \# and a backslash before a blank stand for one character
 *
 * Names, words and roles are case-insensitive, as in the host's own parser.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tls_config.h"
#include "settings/report.h"
#include "settings/section.h"
#include "settings/table.h"
#include "settings/text.h"
#include "settings/values.h"

#define say(at, severity, ...) tls_report_at(at, severity, __VA_ARGS__)

/* ---- a configuration */

struct tls_config *tls_config_new(const char *file, struct tls_report *r)
{
	struct tls_config *cfg = malloc(sizeof(*cfg));

	if (cfg != NULL)
		*cfg = (struct tls_config){.file = file != NULL ? strdup(file) : NULL};
	if (cfg != NULL && (cfg->file != NULL || file == NULL))
		return cfg;
	if (r != NULL)
		tls_report_no_memory(r, file);
	free(cfg);
	return NULL;
}

void tls_config_free(struct tls_config *cfg)
{
	if (cfg == NULL)
		return;
	tls_sections_free(cfg->sections);
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
	if ((*at = tls_section_new(role, cfg->file, 0)) == NULL)
		return -1;
	(*at)->unsure = cfg->unsure;
	return 0;
}

/* Adds the default sections where they are missing, and the values that sections do not set. */
static int complete_config(struct tls_config *cfg, struct tls_report *r)
{
	if (add_default(cfg, TLS_SERVER) < 0 || add_default(cfg, TLS_CLIENT) < 0)
		return -1;
	for (struct tls_section *section = cfg->sections; section != NULL; section = section->next)
		if (tls_section_complete(section, r) < 0)
			return -1;
	return 0;
}

/* The parameter server_name is the name of this server, which a client section must not ask other servers for. */
struct tls_config *tls_config_from_params(const struct tls_settings *s)
{
	const struct tls_setting *own_name = tls_setting_find("server_name", TLS_OF_DOMAIN);
	struct tls_config *cfg = tls_config_new(NULL, NULL);

	if (cfg != NULL && add_default(cfg, TLS_SERVER) == 0 && add_default(cfg, TLS_CLIENT) == 0 &&
	    tls_settings_copy(&cfg->sections->settings, s) == 0 &&
	    tls_settings_copy(&cfg->sections->next->settings, s) == 0 &&
	    tls_setting_store(own_name, &cfg->sections->next->settings, NULL) == 0 &&
	    complete_config(cfg, NULL) == 0)
		return cfg;
	tls_config_free(cfg);
	return NULL;
}

char *tls_config_resolve_path(const char *path, const char *main_dir, const char *work_dir)
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
	TLS_EACH_DOMAIN_SETTING(row) {
		char **path = tls_setting_string(row, &section->settings), *absolute;

		if ((row->flags & TLS_IS_PATH) == 0 || *path == NULL)
			continue;
		if ((absolute = tls_config_resolve_path(*path, main_dir, work_dir)) == NULL)
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
	struct tls_spot at;          /* its line is the first one of LINE */
	const char *next, *end;      /* the text that has not been read yet */
	char *line;                  /* the current line with its continuations, ended by a NUL byte */
	size_t length;               /* of LINE */
	const char *joined;          /* where the last continuation begins in LINE, NULL: there is none */
	int breaks;                  /* number of line ends in LINE */
	bool binary;                 /* a NUL byte was found, and reported */
	bool strayed;                /* there is text before the first section */
	struct tls_section *stray;   /* the settings of that text, which may have been meant for any section */
	struct tls_section **last;   /* where to link the next section */
	struct tls_section *section; /* the current one, NULL: before the first */
	struct tls_section *refused; /* those with a bad head: their settings are checked as well */
};

/*
 * Puts the next line, joined with its continuations, into P->line, which has space for the whole file. Returns false at
 * the end of the text.
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

/* The line is not understood: it may have been meant to set anything in the section, or before it in all sections. */
static void make_unsure(struct parser *p)
{
	p->strayed |= p->section == NULL;
	(p->section != NULL ? p->section : p->stray)->unsure = true;
}

static char *skip_blanks(char *s)
{
	return s + strspn(s, BLANKS);
}

/* Whether S, which follows WHAT, is empty or a comment; reported if not. */
static bool rest_is_empty(struct parser *p, char *s, const char *what)
{
	s = skip_blanks(s);
	if (*s != '\0' && *s != '#') {
		say(&p->at, TLS_ERROR, "%s after %s; allowed: a comment, which begins with \"#\"",
		    tls_text_excerpt(s, strlen(s)).text, what);
		return false;
	}
	if (*s == '#' && p->joined != NULL && p->joined > s)
		say(&p->at, TLS_WARNING,
		    "this comment ends in \"\\\", so the next line belongs to it; remove the \"\\\"");
	return true;
}

/* ---- values as they are written */

/* The character that "\C" stands for; -1 (reported) when there is none. */
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
	case '\0':
		say(&p->at, TLS_ERROR, "the value ends in a single \"\\\"; write \"\\\\\" for a backslash");
		return -1;
	default:
		say(&p->at, TLS_ERROR,
		    "%s follows a \"\\\"; allowed there: \\ \" # n r t and a blank; write \"\\\\\" for a \"\\\"",
		    tls_text_excerpt(&c, 1).text);
		return -1;
	}
}

/* Whether a value in quotes ends properly at REST; reported if not. */
static bool quoted_value_ends(struct parser *p, char *rest)
{
	if (*rest == '"')
		return rest_is_empty(p, rest + 1, "the closing \"");
	say(&p->at, TLS_ERROR, "the closing \" is missing; it must be in the same line");
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
		    "the \"#\" begins a comment; put the value in double quotes if the \"#\" belongs to it, else put a blank "
		    "before the comment");
	return rest_is_empty(p, rest, "the value");
}

/* The value at S, unescaped in place; NULL (reported) when it is malformed. */
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

/* The length of the longer of A and B without their common beginning and their common end. */
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

/* The name of a setting in tls.cfg that is so similar that NAME may be a misspelling of it; NULL: none. */
static const char *similar_name(const char *name)
{
	size_t best = strlen(name) / 3 > 2 ? strlen(name) / 3 : 2;
	const char *similar = NULL;

	TLS_EACH_DOMAIN_SETTING(row) {
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
	struct tls_text_excerpt shown = tls_text_excerpt(name, strlen(name));
	const char *similar = similar_name(name);
	char list[512] = "";

	TLS_EACH_DOMAIN_SETTING(known)
		tls_text_append(list, sizeof(list), "%s%s", list[0] != '\0' ? ", " : "",
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
	int *set = tls_section_line(p->section, row);
	char *value = parse_value(p, skip_blanks(s));

	if (value != NULL && *set > 0)
		say(&p->at, TLS_WARNING,
		    "already set in line %d of this section; this line counts, so remove the other", *set);
	if (value != NULL && tls_setting_parse(&p->at, row, &p->section->settings, value) == 0)
		*set = p->at.line;
	else if (*set <= 0)
		*set = -p->at.line;
}

/* Reports that ROW is set before the first section. */
static void stray_setting(struct parser *p, const struct tls_setting *row)
{
	say(&p->at, TLS_ERROR, "is set before the first section; put it below a head such as [server:default]");
	*tls_section_line(p->stray, row) = -p->at.line;
	p->strayed = true;
}

/* Notes in SECTION the settings before the first section: they may have been meant for it. */
static void copy_strays(struct tls_section *section, const struct tls_section *stray)
{
	section->unsure = stray->unsure;
	TLS_EACH_DOMAIN_SETTING(row)
		*tls_section_line(section, row) = *tls_section_line(stray, row);
}

/* There is no setting NAME (reported): a similar one may have been meant, or any if none is similar. */
static void make_unsure_of(struct parser *p, const char *name)
{
	const char *similar = similar_name(name);
	const struct tls_setting *row = similar != NULL ? tls_setting_find(similar, TLS_IN_FILE) : NULL;
	int *set = row != NULL ? tls_section_line(p->section != NULL ? p->section : p->stray, row) : NULL;

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
		    tls_text_excerpt(s, strlen(s)).text);
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

/* Reports a malformed head. Returns -1. */
static int refuse_head(const struct parser *p, const char *why)
{
	say(&p->at, TLS_ERROR, "%s; allowed: " HEADS, why);
	return -1;
}

/* Removes the blanks around "[", "]" and ":" from S. */
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

/* Parses S: ":PORT" or nothing. Returns 0, -1 when it is neither (reported). */
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
		    tls_text_excerpt(s, strlen(s)).text);
		return -1;
	}
	*port = (uint16_t)number;
	return 0;
}

/* Parses the LENGTH bytes at S as an address of FAMILY. Returns 0, -1 when they are none (reported). */
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
	say(&p->at, TLS_ERROR, "%s is not an %s address; allowed: " HEADS, tls_text_excerpt(s, length).text,
	    family == 6 ? "IPv6" : "IPv4");
	return -1;
}

/* Parses S: "default", "any", "IP:PORT" or "[IPv6]:PORT". Returns 0, -1 when it is none of these (reported). */
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

/* Parses S: "[ROLE:PLACE]". Returns 0, -1 when it is something else (reported). */
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
		const char *role = tls_section_role((enum tls_role)i);
		size_t length = strlen(role);

		section->role = (enum tls_role)i;
		if (strncasecmp(s + 1, role, length) == 0 && s[1 + length] == ':')
			return parse_place(p, s + 1 + length + 1, section);
	}
	return refuse_head(p, "a section begins with \"server:\" or \"client:\"");
}

/* Begins a section with the head at S. Returns -1 when memory is short. */
static int begin_section(struct parser *p, char *s)
{
	struct tls_section *section = tls_section_new(TLS_SERVER, p->at.file, p->at.line);
	size_t length = strcspn(s, "#");
	struct tls_text_excerpt head;

	if (section == NULL)
		return -1;
	copy_strays(section, p->stray);
	rest_is_empty(p, s + length, "the section's head");
	while (strchr(BLANKS, s[length - 1]) != NULL)
		length--;
	s[length] = '\0';
	head = tls_text_excerpt(s, length);
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
			say(&p->at, TLS_ERROR, "contains a NUL byte; write the file as plain text (UTF-8)");
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

int tls_config_add(struct tls_config *cfg, const char *path, const char *text, size_t size,
                   struct tls_report *r)
{
	static const char mark[] = "\xef\xbb\xbf"; /* some editors begin a UTF-8 file with it */
	bool marked = size >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0;
	struct parser p = {
		.at = {.r = r, .file = add_file(cfg, path), .line = 1},
		.next = text + (marked ? strlen(mark) : 0),
		.end = text + size,
		.line = malloc(size + 1),
		.last = &cfg->sections,
		.stray = tls_section_new(TLS_SERVER, NULL, 0),
	};
	int result = p.at.file != NULL && p.line != NULL && p.stray != NULL ? 0 : -1;

	while (*p.last != NULL)
		p.last = &(*p.last)->next;
	while (result == 0 && next_line(&p))
		result = parse_line(&p);
	cfg->unsure |= p.strayed || p.binary || p.refused != NULL;
	tls_sections_free(p.refused);
	tls_sections_free(p.stray);
	if (p.line != NULL)
		explicit_bzero(p.line, size); /* may have held a password */
	free(p.line);
	if (result < 0)
		tls_report_no_memory(r, path);
	return result;
}

/* ---- from the text to a configuration */

int tls_config_finish(struct tls_config *cfg, struct tls_report *r)
{
	if (cfg->sections == NULL && !cfg->unsure)
		tls_report_add(r, TLS_ERROR, cfg->file, 0, NULL,
		               "has no section; write at least [server:default] with its certificate");
	if (complete_config(cfg, r) == 0 && tls_sections_check(cfg->sections, r) == 0)
		return 0;
	tls_report_no_memory(r, cfg->file);
	return -1;
}

struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r)
{
	struct tls_config *cfg = tls_config_new(path, r);

	if (cfg != NULL && tls_config_add(cfg, path, text, size, r) == 0 && tls_config_finish(cfg, r) == 0)
		return cfg;
	tls_config_free(cfg);
	return NULL;
}
