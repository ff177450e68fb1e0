/* links: connection/outgoing.c settings/hostname.c test/unit/fake_host.c */
/*
 * test_outgoing.c - what the script says of outgoing connections, also where it says nonsense or cannot be asked
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/action.h"
#include "core/fmsg.h"
#include "core/kemi.h"
#include "core/onsend.h"
#include "core/route.h"
#include "core/script_cb.h"
#include "core/xavp.h"

#include "host/compat.h"
#include "tls_mem.h"
#include "settings/table.h"
#include "connection/outgoing.h"
#include "fake_host.h"

/* ---- the host */

static struct action *routes[1];
struct route_list event_rt = {.rlist = routes};
onsend_info_t *p_onsend;
struct socket_info *sendipv4_tls, *sendipv6_tls;
int route_type;
static bool has_route, has_memory, drops;
static int asked; /* how often the event route ran */
static int shared_left;
static struct tls_options options = {.xavp_cfg = (char *)(uintptr_t) "tls"};

const struct tls_options *tls_runtime_options(void)
{
	return &options;
}
static sr_xavp_t name, id; /* the fields of the xavp */

int route_lookup(struct route_list *list, char *event)
{
	(void)list;
	(void)event;
	return has_route ? 0 : -1;
}

int register_script_cb(cb_function f, unsigned type, void *arg)
{
	(void)f;
	(void)type;
	(void)arg;
	return 0;
}

unsigned inc_msg_no(void)
{
	return 0;
}

/* It is parsed once in each process, for which there may be no memory. */
int faked_msg_init(void)
{
	return has_memory ? 0 : -1;
}

sip_msg_t *faked_msg_next(void)
{
	static struct sip_msg msg;

	return &msg;
}

int run_actions(struct run_act_ctx *ctx, struct action *first, sip_msg_t *msg)
{
	(void)first;
	(void)msg;
	asked++;
	assert_non_null(get_onsend_info());
	if (drops)
		ctx->run_flags |= DROP_R_F;
	return 1;
}

run_act_ctx_t *sr_kemi_act_ctx_get(void)
{
	return NULL;
}

void sr_kemi_act_ctx_set(run_act_ctx_t *ctx)
{
	(void)ctx;
}

sr_kemi_eng_t *sr_kemi_eng_get(void)
{
	return NULL;
}

int sr_kemi_route(sr_kemi_eng_t *engine, sip_msg_t *msg, int type, str *function, str *event)
{
	(void)engine;
	(void)msg;
	(void)type;
	(void)function;
	(void)event;
	return 1;
}

sr_xavp_t *xavp_get_child_with_sval(str *group, str *field)
{
	sr_xavp_t *x = strcmp(field->s, "server_name") == 0 ? &name : &id;

	(void)group;
	return x->val.v.s.s != NULL ? x : NULL;
}

void *tls_mem_shared_alloc(size_t size)
{
	return shared_left-- > 0 ? calloc(1, size) : NULL;
}

void tls_mem_shared_free(void *p)
{
	free(p);
}

/* ---- tests */

static int begin(void **state)
{
	(void)state;
	has_route = has_memory = true;
	drops = false;
	asked = 0;
	shared_left = 2;
	routes[0] = (struct action *)&routes;
	memset(&name, 0, sizeof(name));
	memset(&id, 0, sizeof(id));
	fake_host_clear();
	return tls_outgoing_start() == 0 && tls_outgoing_set_id("", 0) == 0 ? 0 : -1;
}

static void set(sr_xavp_t *field, const char *text, size_t length)
{
	field->val.v.s = (str){(char *)(uintptr_t)text, (int)length};
}

/* Why no connection can be made, NULL: it can, to NAME and ID. */
static const char *fault(const char *wanted_name, const char *wanted_id)
{
	char *got_name, *got_id;
	const char *why = tls_outgoing_choose(&got_name, &got_id);

	if (why != NULL) {
		assert_null(got_name);
		assert_null(got_id);
		return why;
	}
	assert_string_equal(got_name != NULL ? got_name : "", wanted_name);
	assert_string_equal(got_id != NULL ? got_id : "", wanted_id);
	tls_mem_shared_free(got_name);
	tls_mem_shared_free(got_id);
	return NULL;
}

static void what_is_chosen(void **state)
{
	(void)state;
	assert_null(fault("", ""));
	set(&name, "a.test", 6);
	set(&id, "one", 3);
	assert_null(fault("a.test", "one"));
	shared_left = 2;
	assert_int_equal(tls_outgoing_set_id("two", 3), 0);
	assert_null(fault("a.test", "two"));
	shared_left = 2;
	assert_null(fault("a.test", "one")); /* the other was for one connection */
}

/* Cut at the zero byte it would be another's name, or another's certificate would be shown. */
static void zero_bytes_are_refused(void **state)
{
	(void)state;
	set(&name, "a.test\0.evil", 12);
	assert_non_null(strstr(fault("", ""), "server_name in the xavp of xavp_cfg has a zero byte"));
	set(&name, NULL, 0);
	set(&id, "one\0two", 7);
	assert_non_null(strstr(fault("", ""), "server_id in the xavp of xavp_cfg has a zero byte"));
	set(&id, NULL, 0);
	assert_int_equal(tls_outgoing_set_id("one\0two", 7), -1);
	assert_non_null(strstr(fake_host_log(), "zero byte"));
	assert_null(fault("", ""));
}

static void names_that_are_too_long_are_refused(void **state)
{
	char text[257];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[255] = text[256] = '\0';
	set(&name, text, 255);
	assert_null(fault(text, ""));
	text[255] = 'x';
	set(&name, text, 256);
	assert_non_null(strstr(fault("", ""), "longer than 255 bytes"));
}

static void names_of_nobody_are_refused(void **state)
{
	static const char *const texts[] = {"a b", "sip:a.test", "a.test:sip", "[a.test]", ".", "joe@a.test"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tls_wish wish;

		set(&name, texts[i], strlen(texts[i]));
		assert_non_null(strstr(fault("", ""), "is neither a host name nor an address"));
		tls_outgoing_wish(&wish);
		assert_non_null(wish.fault); /* which no connection that stands suits either */
	}
	set(&name, "[2001:db8::7]:5061", 18);
	assert_null(fault("[2001:db8::7]:5061", ""));
}

static void without_shared_memory(void **state)
{
	(void)state;
	set(&name, "a.test", 6);
	set(&id, "one", 3);
	for (shared_left = 0; shared_left < 2;) {
		int left = shared_left;

		assert_ptr_equal(fault("", ""), TLS_OUTGOING_NO_MEMORY);
		shared_left = left + 1;
	}
	assert_null(fault("a.test", "one"));
}

/* A script that forbids some connections must not be passed over where it cannot be asked. */
static void who_cannot_be_asked_has_not_agreed(void **state)
{
	struct tcp_connection c = {.rcv.src_ip = {.af = AF_INET, .len = 4, .u.addr = {192, 0, 2, 7}},
	                           .rcv.src_port = 5061};

	(void)state;
	assert_true(tls_outgoing_allowed(&c));
	drops = true;
	assert_false(tls_outgoing_allowed(&c));
	assert_int_equal(asked, 2);
	assert_null(p_onsend);
	drops = has_memory = false;
	assert_false(tls_outgoing_allowed(&c));
	assert_int_equal(asked, 2);
	assert_non_null(
		strstr(fake_host_log(), "192.0.2.7 port 5061, so it is not made; give Kamailio more with -M"));
	has_route = false;
	assert_int_equal(tls_outgoing_start(), 0);
	assert_true(tls_outgoing_allowed(&c)); /* nobody is to be asked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_chosen, begin),
		cmocka_unit_test_setup(zero_bytes_are_refused, begin),
		cmocka_unit_test_setup(names_that_are_too_long_are_refused, begin),
		cmocka_unit_test_setup(names_of_nobody_are_refused, begin),
		cmocka_unit_test_setup(without_shared_memory, begin),
		cmocka_unit_test_setup(who_cannot_be_asked_has_not_agreed, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
