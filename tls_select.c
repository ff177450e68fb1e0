/*
 * tls_select.c - what a script may ask about a message's connection: selects, pseudo-variables, KSR.tls.cget
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * All three ways to ask end in ask(), which holds the connection, reads, and lets it go. The answer is a copy.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kemi.h"
#include "core/pvar.h"
#include "core/select.h"

#include "tls_select.h"
#include "host/compat.h"
#include "connection/answer.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/item.h"

#define RESULTS    16 /* answers that stay valid at the same time */
#define PATH_WORDS 4
#define VARIABLES  160
#define NAME_SIZE  48

/* ---- asking */

/* An empty answer, valid until RESULTS - 1 more are begun in this process. */
static struct tls_answer *new_answer(void)
{
	static struct tls_answer results[RESULTS];
	static unsigned turn;
	struct tls_answer *a = &results[turn++ % RESULTS];

	tls_answer_begin(a);
	return a;
}

static struct tls_connection *hold_connection(const struct sip_msg *msg)
{
	if (msg == NULL || (msg->rcv.proto != PROTO_TLS && msg->rcv.proto != PROTO_WSS))
		return NULL;
	return tls_list_hold(msg->rcv.proto_reserved1);
}

/*
 * Item CODE about the connection that MSG came over. Returns whether there is such information; OUT then points to a
 * buffer of this process that stays as it is for RESULTS - 1 more questions.
 */
static bool ask(const struct sip_msg *msg, int code, int index, str *out)
{
	struct tls_connection *t = hold_connection(msg);
	struct tls_answer *answer;
	bool good;

	if (t == NULL)
		return false;
	answer = new_answer();
	good = t->ssl != NULL && tls_item_read(t->ssl, code, index, answer);
	tls_list_release(t);
	if (good) {
		out->s = answer->s;
		out->len = (int)answer->used;
	}
	return good;
}

/* ---- selects */

/* S as it is written in a script, as far as it fits OUT. */
static const char *spell(const select_t *s, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "@tls");

	for (int i = 1; i < s->n && used < size; i++) {
		const select_param_t *p = &s->params[i];

		used += (size_t)(p->type == SEL_PARAM_INT
		                     ? snprintf(out + used, size - used, "[%d]", p->v.i)
		                     : snprintf(out + used, size - used, ".%.*s", p->v.s.len, p->v.s.s));
	}
	return out;
}

/*
 * When the script is read: finds out what S asks for, and puts that into the first two parameters. Returns 0
 * or -1 (logged).
 */
static int resolve(select_t *s)
{
	str words[PATH_WORDS];
	char name[128];
	int count = 0, index = 0, code = -1;
	bool indexed = s->n > 1 && s->params[s->n - 1].type == SEL_PARAM_INT;
	int last = s->n - (indexed ? 1 : 0);

	while (count < PATH_WORDS && count + 1 < last && s->params[count + 1].type == SEL_PARAM_STR) {
		words[count] = s->params[count + 1].v.s;
		count++;
	}
	if (count + 1 == last)
		code = tls_item_find_path(words, count);
	if (code < 0 || (indexed && (tls_item_flags(code) & TLS_ITEM_INDEXED) == 0)) {
		LM_ERR("there is no select %s\n", spell(s, name, sizeof(name)));
		return -1;
	}
	if (indexed)
		index = s->params[s->n - 1].v.i;
	s->params[0] = (select_param_t){.type = SEL_PARAM_INT, .v.i = code};
	s->params[1] = (select_param_t){.type = SEL_PARAM_INT, .v.i = index};
	return 0;
}

/* RES is NULL when the script is read. Returns 0, 1 when there is no such information, -1 on an error. */
static int run(str *res, select_t *s, struct sip_msg *msg)
{
	if (res == NULL)
		return resolve(s);
	return ask(msg, s->params[0].v.i, s->params[1].v.i, res) ? 0 : 1;
}

static select_row_t select_rows[] = {
	{NULL, SEL_PARAM_STR, str_init("tls"), run, CONSUME_ALL | FIXUP_CALL},
	{NULL, SEL_PARAM_INT, {NULL, 0}, NULL, 0},
};

/* ---- pseudo-variables */

static int get_variable(struct sip_msg *msg, pv_param_t *param, pv_value_t *res)
{
	int code = param->pvn.u.isname.name.n, index = 0, flags = 0;
	long number;
	str value;

	if (pv_get_spec_index(msg, param, &index, &flags) != 0 || !ask(msg, code, index, &value))
		return pv_get_null(msg, param, res);
	if ((tls_item_flags(code) & TLS_ITEM_NUMBER) == 0)
		return pv_get_strval(msg, param, res, &value);
	number = strtol(value.s, NULL, 10); /* a serial number beyond an int is 0 as a number */
	return pv_get_strintval(msg, param, res, &value,
	                        number >= INT_MIN && number <= INT_MAX ? (int)number : 0);
}

/* [N], but not [*] or [+]: their results would look like an answer. */
static int parse_index(pv_spec_t *sp, str *in)
{
	if (in->len == 1 && (*in->s == '*' || *in->s == '+')) {
		LM_ERR("[%c] is not an index here: give a number\n", *in->s);
		return -1;
	}
	return pv_parse_index(sp, in);
}

/* [KIND], in the words that the select uses. */
static int parse_kind(pv_spec_t *sp, str *in)
{
	str words[] = {str_init("peer"), str_init("count"), *in};
	int code = tls_item_find_path(words, 3);

	if (code < 0) {
		LM_ERR("[%.*s] is not a kind of name: use email, hostname, uri or ip\n", in->len, in->s);
		return -1;
	}
	sp->pvp.pvi.type = PV_IDX_INT;
	sp->pvp.pvi.u.ival = tls_item_kind(code);
	return 0;
}

/* $tls(KEY) */
static int parse_key(pv_spec_t *sp, str *in)
{
	int code = tls_item_find_key(in);

	if (code < 0) {
		LM_ERR("there is no $tls(%.*s)\n", in->len, in->s);
		return -1;
	}
	return pv_init_iname(sp, code);
}

static pv_export_t variables[VARIABLES] = {
	{str_init("tls"), PVT_OTHER, get_variable, NULL, parse_key, NULL, NULL, 0},
};
static char variable_names[VARIABLES][NAME_SIZE];

/* Adds the variable called "tls_" PREFIX and the SIZE bytes at NAME. Returns 0, -1 when the table is full. */
static int add_variable(const char *prefix, const char *name, int size, int code)
{
	static int count = 1;
	unsigned flags = tls_item_flags(code);
	pv_parse_index_f parse = (flags & TLS_ITEM_INDEXED) != 0 ? parse_index : NULL;
	char *full = variable_names[count];
	pv_export_t *v = &variables[count];

	if (count >= VARIABLES - 1)
		return -1;
	if ((flags & TLS_ITEM_KINDS) != 0)
		parse = parse_kind;
	snprintf(full, NAME_SIZE, "tls_%s%.*s", prefix, size, name);
	*v = (pv_export_t){
		{full, (int)strlen(full)}, PVT_OTHER, get_variable, NULL, NULL, parse, pv_init_iname, code};
	count++;
	return 0;
}

/* ---- for tls_mod.c */

int tls_select_load(void)
{
	if (tls_item_walk_variables(add_variable) != 0) {
		LM_BUG("more variables than %d\n", VARIABLES);
		return -1;
	}
	return register_select_table(select_rows) < 0 ? -1 : 0;
}

struct _pv_export *tls_select_variables(void)
{
	return variables;
}

struct sr_kemi_xval *tls_select_cget(struct sip_msg *msg, struct _str *key)
{
	static sr_kemi_xval_t value;
	int code = tls_item_find_key(key);

	memset(&value, 0, sizeof(value));
	if (code < 0)
		LM_WARN("KSR.tls.cget(\"%.*s\"): there is no such value\n", key->len, key->s);
	if (code >= 0 && ask(msg, code, 0, &value.v.s))
		value.vtype = SR_KEMIP_STR;
	else
		sr_kemi_xval_null(&value, SR_KEMI_XVAL_NULL_EMPTY);
	return &value;
}
