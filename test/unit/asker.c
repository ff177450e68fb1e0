/*
 * asker.c - what operators and scripts ask of the module
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/kemi.h"
#include "core/pvar.h"
#include "core/rpc_lookup.h"
#include "core/select.h"

#include "host/compat.h"
#include "tls_select.h"
#include "tls_rpc.h"
#include "asker.h"

#define COMMANDS_MAX 32

/* ---- commands */

static rpc_export_t *commands;
static const char *names[COMMANDS_MAX + 1];

int rpc_register_array(rpc_export_t *rpcs)
{
	commands = rpcs;
	for (int i = 0; i < COMMANDS_MAX && rpcs[i].name != NULL; i++)
		names[i] = rpcs[i].name;
	return 0;
}

struct call {
	const char *text;
	int id;
	bool fault, answered;
};

static void fault(void *ctx, int code, char *format, ...)
{
	((struct call *)ctx)->fault = true;
}

/* For the host, NULL is a text too. */
static size_t size_of(const char *text)
{
	return text != NULL ? strlen(text) : 0;
}

/*
 * Reads all that a command gives, as a transport would, and hands out something where a struct or a list
 * begins.
 */
static void read_values(void *place, const char *format, va_list args, bool named)
{
	for (; *format != '\0'; format++) {
		volatile size_t length = named ? strlen(va_arg(args, char *)) : 0;

		switch (*format) {
		case 's': length = size_of(va_arg(args, const char *)); break;
		case 'd': (void)va_arg(args, int); break;
		case 'l': (void)va_arg(args, long); break;
		case '{':
		case '[': *va_arg(args, void **) = place; break;
		default: abort();
		}
		(void)length;
	}
}

static int add(void *ctx, char *format, ...)
{
	va_list args;

	va_start(args, format);
	read_values(ctx, format, args, false);
	va_end(args);
	((struct call *)ctx)->answered = true;
	return 0;
}

static int struct_add(void *ctx, char *format, ...)
{
	va_list args;

	va_start(args, format);
	read_values(ctx, format, args, true);
	va_end(args);
	return 0;
}

static int scan(void *ctx, char *format, ...)
{
	struct call *call = ctx;
	va_list args;
	int count = 1;

	va_start(args, format);
	if (strcmp(format, "d") == 0)
		*va_arg(args, int *) = call->id;
	else if (strcmp(format, "*.s") == 0 && call->text != NULL)
		*va_arg(args, char **) = (char *)(uintptr_t)call->text;
	else
		count = 0;
	va_end(args);
	return count;
}

static int answer_line(void *ctx, char *format, ...)
{
	((struct call *)ctx)->answered = true;
	return 0;
}

const char *const *asker_commands(void)
{
	return names;
}

bool asker_command(const char *name, const char *text, int id)
{
	static rpc_t rpc = {.fault = fault,
	                    .add = add,
	                    .scan = scan,
	                    .rpl_printf = answer_line,
	                    .struct_add = struct_add,
	                    .array_add = add};
	struct call call = {.text = text, .id = id};

	for (rpc_export_t *command = commands; command->name != NULL; command++) {
		if (strcmp(command->name, name) != 0)
			continue;
		command->function(&rpc, &call);
		return call.answered && !call.fault;
	}
	abort();
}

void tcp_get_info(struct tcp_gen_info *info)
{
	memset(info, 0, sizeof(*info));
}

int ip_addr2sbuf(struct ip_addr *ip, char *out, int size)
{
	const char *text = ip_addr2a(ip);
	int length = (int)strlen(text);

	if (length > size)
		abort();
	memcpy(out, text, (size_t)length);
	return length;
}

/* ---- selects and variables */

static select_f ask_select;

int register_select_table(select_row_t *rows)
{
	ask_select = rows[0].new_f;
	return 0;
}

int pv_parse_index(pv_spec_t *spec, str *in)
{
	spec->pvp.pvi.type = PV_IDX_INT;
	spec->pvp.pvi.u.ival = atoi(in->s);
	return 0;
}

int pv_init_iname(pv_spec_t *spec, int number)
{
	spec->pvp.pvn.u.isname.name.n = number;
	return 0;
}

int pv_get_spec_index(sip_msg_t *msg, pv_param_t *param, int *index, int *flags)
{
	*index = param->pvi.u.ival;
	return 0;
}

int pv_get_null(struct sip_msg *msg, pv_param_t *param, pv_value_t *value)
{
	value->flags = PV_VAL_NULL;
	return 0;
}

int pv_get_strval(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, str *text)
{
	value->flags = PV_VAL_STR;
	value->rs = *text;
	return 0;
}

int pv_get_strintval(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, str *text,
                     tls_compat_pv_number number)
{
	return pv_get_strval(msg, param, value, text);
}

void sr_kemi_xval_null(sr_kemi_xval_t *value, int mode)
{
	value->vtype = SR_KEMIP_NULL;
}

/* An answer is text, and all of it is there. */
static int count_answer(bool there, const str *text)
{
	if (there && strnlen(text->s, (size_t)text->len + 1) != (size_t)text->len)
		abort();
	return there;
}

static bool is_null(const pv_value_t *value)
{
	return (value->flags & PV_VAL_NULL) != 0;
}

/* With the index that it may have: the first of its kind, or, for a count, a kind. */
static int ask_variable(struct sip_msg *msg, pv_export_t *v)
{
	str kind = str_init("hostname"), first = str_init("0");
	pv_spec_t spec;
	pv_value_t value;

	memset(&spec, 0, sizeof(spec));
	if (v->init_param == NULL || v->init_param(&spec, v->iparam) != 0)
		return 0;
	if (v->parse_index != NULL && v->parse_index(&spec, &kind) != 0)
		v->parse_index(&spec, &first);
	memset(&value, 0, sizeof(value));
	if (v->getf(msg, &spec.pvp, &value) != 0)
		abort();
	return count_answer(!is_null(&value), &value.rs);
}

/* Of PATH, words with dots between. */
static int ask_path(struct sip_msg *msg, const char *path)
{
	static select_t s;
	char words[80];
	str value;
	char *rest = words, *word;

	memset(&s, 0, sizeof(s));
	snprintf(words, sizeof(words), "tls.%s", path);
	while ((word = strsep(&rest, ".")) != NULL)
		s.params[s.n++] = (select_param_t){.type = SEL_PARAM_STR, .v.s = {word, (int)strlen(word)}};
	if (ask_select(NULL, &s, msg) != 0)
		abort();
	return count_answer(ask_select(&value, &s, msg) == 0, &value);
}

static int ask_side(struct sip_msg *msg, const char *side)
{
	static const char *const words[] = {"verified",    "revoked",        "expired",
	                                    "self_signed", "subject",        "subject.cn",
	                                    "subject.l",   "subject.c",      "subject.st",
	                                    "subject.o",   "subject.ou",     "subject.uid",
	                                    "issuer",      "issuer.cn",      "issuer.l",
	                                    "issuer.c",    "issuer.st",      "issuer.o",
	                                    "issuer.ou",   "issuer.uid",     "version",
	                                    "sn",          "notBefore",      "notAfter",
	                                    "rawCert",     "URLEncodedCert", "verified_cert_chain",
	                                    "email",       "host",           "uri",
	                                    "ip",          "count.email",    "count.host",
	                                    "count.uri",   "count.ip"};
	char path[64];
	int count = ask_path(msg, side);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		snprintf(path, sizeof(path), "%s.%s", side, words[i]);
		count += ask_path(msg, path);
	}
	return count;
}

int asker_script(struct tcp_connection *c)
{
	static const char *const words[] = {"version", "desc", "cipher", "cipher.bits", "server_name"};
	static struct sip_msg msg;
	str key = str_init("peer_subject_cn");
	sr_kemi_xval_t *value;
	int count = 0;

	msg.rcv.proto = PROTO_TLS;
	msg.rcv.proto_reserved1 = c->id;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		count += ask_path(&msg, words[i]);
	count += ask_side(&msg, "peer") + ask_side(&msg, "my");
	for (pv_export_t *v = tls_select_variables(); v->name.s != NULL; v++)
		count += ask_variable(&msg, v);
	value = tls_select_cget(&msg, &key);
	return count + count_answer(value->vtype == SR_KEMIP_STR, &value->v.s);
}

int asker_start(void)
{
	return tls_select_load() == 0 ? tls_rpc_start() : -1;
}
