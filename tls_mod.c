/*
 * tls_mod.c - the module's face: what the host looks up, and when it calls what
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Order of the host's calls: mod_register when the module is loaded, then the parameters, on_start (mod_init)
 * in the main process, on_process (child_init) in each process, on_end (mod_destroy) in the main process,
 * while connections are still to be cleaned.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kemi.h"
#include "core/mod_fix.h"
#include "core/timer_proc.h"

#include "host/compat.h"
#include "host/dry_run.h"
#include "heap/heap.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/values.h"
#include "tls_config.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "crypto/crypto.h"
#include "tls_init.h"
#include "connection/keylog.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "tls_reload.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/deadline.h"
#include "connection/outgoing.h"
#include "connection/reuse.h"
#include "tls_server.h"
#include "tls_select.h"
#include "tls_rpc.h"

/* The host looks these up by name; everything else is hidden. */
#pragma GCC visibility push(default)
MODULE_VERSION
struct module_exports exports;
int mod_register(char *path, int *dlflags, void *p1, void *p2);
#pragma GCC visibility pop

#define PARAMS_MAX 96

static struct tls_settings given;  /* module parameters of the default domains */
static struct tls_options options; /* module parameters of the module as a whole */
static param_export_t params[PARAMS_MAX];
static char *choice_text
	[PARAMS_MAX]; /* texts of the parameters that are stored as numbers, by their place in PARAMS */

/* ---- module parameters: made from the table of settings */

static void *field_of(const struct tls_setting *row)
{
	char *base = (row->flags & TLS_OF_DOMAIN) != 0 ? (char *)&given : (char *)&options;

	return base + row->offset;
}

/* Appends the parameter NAME for ROW. Returns 0, -1 when the table is full. */
static int add_param(const char *name, const struct tls_setting *row, int *count)
{
	param_export_t *p = &params[*count];

	if (*count >= PARAMS_MAX - 1)
		return -1;
	p->name = (char *)(uintptr_t)name;
	switch (row->type) {
	case TLS_INT:
	case TLS_BOOL:
		p->type = PARAM_INT;
		p->param_pointer = field_of(row);
		break;
	case TLS_STRING:
		p->type = PARAM_STRING;
		p->param_pointer = field_of(row);
		break;
	case TLS_CHOICE:
		p->type = PARAM_STRING;
		p->param_pointer = &choice_text[*count];
		break;
	}
	++*count;
	return 0;
}

static int make_params(void)
{
	int count = 0;

	tls_settings_init(&given);
	tls_settings_init_options(&options);
	TLS_EACH_SETTING(row) {
		if ((row->flags & TLS_IN_MODPARAM) == 0)
			continue;
		if (add_param(row->name, row, &count) != 0 ||
		    (row->alias != NULL && add_param(row->alias, row, &count) != 0))
			return -1;
	}
	return 0;
}

/* Parses those texts. Problems go to R. */
static void read_choices(struct tls_report *r)
{
	for (int i = 0; params[i].name != NULL; i++) {
		const struct tls_setting *row = tls_setting_find(params[i].name, TLS_IN_MODPARAM);

		if (choice_text[i] != NULL)
			tls_setting_parse(&(struct tls_spot){.r = r, .setting = row->name}, row,
			                  (row->flags & TLS_OF_DOMAIN) != 0 ? (void *)&given : (void *)&options,
			                  choice_text[i]);
	}
}

/* With config set, the parameters of the default domains have no effect. */
static void note_beside_config(struct tls_report *r)
{
	char value[2];

	if (options.config == NULL || options.config[0] == '\0')
		return;
	TLS_EACH_DOMAIN_SETTING(row)
		if ((row->flags & TLS_IN_MODPARAM) != 0 &&
		    tls_setting_print(row, &given, value, sizeof(value))[0] != '\0')
			tls_report_add(r, TLS_WARNING, NULL, 0, row->name,
			               "has no effect beside config: set it in the sections of that file");
}

/* Makes the path of the key log absolute. Returns 0, -1 without memory (logged). */
static int resolve_keylog_file(void)
{
	char room[PATH_MAX], work[PATH_MAX];

	if (options.keylog_file == NULL)
		return 0;
	options.keylog_file = tls_config_resolve_path(options.keylog_file, tls_reload_folder(room, sizeof(room)),
	                                              getcwd(work, sizeof(work)) != NULL ? work : "/");
	if (options.keylog_file != NULL)
		return 0;
	LM_ERR("no memory for the path of keylog_file\n");
	return -1;
}

/*
 * Checks what the host has put into the fields, and fills the rest. Returns 0, -1 on a wrong value (logged).
 */
static int read_params(void)
{
	struct tls_report r;
	int errors;

	tls_report_init(&r);
	read_choices(&r);
	tls_settings_check_params(&given, &options, &r);
	note_beside_config(&r);
	if (options.certificate_compression > 0 && !tls_crypto_has_certificate_compression())
		tls_report_add(&r, TLS_WARNING, NULL, 0, "certificate_compression", "has no effect: %s",
		               "this OpenSSL is older than 3.2, or was built without a compressor");
	tls_reload_log(&r);
	errors = r.errors;
	tls_report_clear(&r);
	tls_settings_set_option_defaults(&options);
	return errors == 0 ? resolve_keylog_file() : -1;
}

/* ---- life cycle */

/* Starts everything in its order; also for the host's -c. Each part has logged why when it fails. */
static int start_rooms(void)
{
	if (read_params() != 0 || tls_runtime_start(&given, &options) != 0 ||
	    tls_init_start(options.force_run != 0) != 0)
		return -1;
	if (options.dump_shared_memory != 1)
		tls_init_hide_memory();
	tls_compress_start(options.disable_compression == 0);
	if (tls_io_start() != 0 || tls_ticket_start() != 0 || tls_keylog_start() != 0 ||
	    tls_outgoing_start() != 0 || tls_reuse_start() != 0 || tls_generation_start() != 0 ||
	    tls_server_start() != 0)
		return -1;
	return tls_reload_start(&given);
}

/* Timer process: gives memory that a flood has left free back to the host. */
static void trim_memory(unsigned int ticks, void *unused)
{
	(void)ticks;
	(void)unused;
	tls_heap_trim();
}

static int on_start(void)
{
	if (tls_disable) {
		tls_dry_run_say_off();
		return 0;
	}
	if (start_rooms() != 0 || tls_stats_start(tls_rpc_gauges) != 0 || tls_rpc_start() != 0)
		return -1;
	if (register_timer(tls_deadline_sweep, NULL, 1) < 0 || register_timer(tls_ticket_sweep, NULL, 1) < 0 ||
	    register_timer(trim_memory, NULL, 1) < 0) {
		LM_ERR("no timer\n");
		return -1;
	}
	if (options.reload_on_change > 0)
		register_basic_timers(1);
	return 0;
}

/* Main process: starts the process that watches the files. */
static int start_watcher(void)
{
	if (tls_disable || options.reload_on_change <= 0)
		return 0;
	return fork_basic_timer(PROC_TIMER, "TLS file watcher", 1, tls_reload_watch, NULL,
	                        options.reload_on_change) < 0
	           ? -1
	           : 0;
}

static int on_process(int rank)
{
	if (!tls_disable && rank == PROC_INIT)
		return tls_reuse_watch();
	if (!tls_disable && rank != PROC_INIT && rank != PROC_POSTCHILDINIT)
		tls_crypto_process();
	return rank == PROC_MAIN ? start_watcher() : 0;
}

static void on_end(void)
{
	tls_server_end();
}

/* ---- script functions */

/* Whether T's peer, held, showed a certificate that verified. */
static bool is_verified(const struct tls_connection *t)
{
	struct tls_facts f;

	if (t->phase != TLS_PHASE_ESTABLISHED)
		return false;
	tls_ssl_facts(t->ssl, &f);
	return f.has_peer_certificate && f.verify == TLS_VERIFY_GOOD;
}

/* Whether MSG came over TLS from a peer whose certificate verified. Returns 1, or -1. */
static int peer_is_verified(struct sip_msg *msg)
{
	struct tls_connection *t;
	bool verified;

	if (msg->rcv.proto != PROTO_TLS && msg->rcv.proto != PROTO_WSS)
		return -1;
	t = tls_list_hold(msg->rcv.proto_reserved1);
	if (t == NULL)
		return -1;
	verified = is_verified(t);
	tls_list_release(t);
	return verified ? 1 : -1;
}

static int w_is_peer_verified(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return peer_is_verified(msg);
}

static int ki_is_peer_verified(struct sip_msg *msg)
{
	return peer_is_verified(msg);
}

/* Whether MSG came from a verified peer whose certificate is for DOMAIN. Returns 1, or -1. */
static int peer_is_named(struct sip_msg *msg, const str *domain)
{
	struct tls_connection *t;
	bool named;

	if (msg->rcv.proto != PROTO_TLS && msg->rcv.proto != PROTO_WSS)
		return -1;
	t = tls_list_hold(msg->rcv.proto_reserved1);
	if (t == NULL)
		return -1;
	named = is_verified(t) && tls_cert_is_for(tls_ssl_peer_cert(t->ssl), domain->s, (size_t)domain->len,
	                                          t->use.domain->wildcards);
	tls_list_release(t);
	return named ? 1 : -1;
}

static int w_is_peer_named(struct sip_msg *msg, char *domain, char *unused)
{
	str value;

	(void)unused;
	return fixup_get_svalue(msg, (gparam_p)domain, &value) == 0 ? peer_is_named(msg, &value) : -1;
}

static int ki_is_peer_named(struct sip_msg *msg, str *domain)
{
	return peer_is_named(msg, domain);
}

static int fix_connect_server_id(void **param, int number)
{
	tls_outgoing_may_choose();
	return fixup_spve_null(param, number);
}

static int set_connect_server_id(struct sip_msg *msg, char *id, char *unused)
{
	str value;

	(void)unused;
	if (fixup_get_svalue(msg, (gparam_p)id, &value) != 0)
		return -1;
	return tls_outgoing_set_id(value.s, (size_t)value.len) == 0 ? 1 : -1;
}

static int ki_set_connect_server_id(struct sip_msg *msg, str *id)
{
	(void)msg;
	return tls_outgoing_set_id(id->s, (size_t)id->len) == 0 ? 1 : -1;
}

/* Reloads the configuration from a script. Returns 1, -1 when it has failed (logged, nothing has changed). */
static int reload(void)
{
	struct tls_report r;
	int number;

	tls_report_init(&r);
	number = tls_reload_run(&r);
	tls_reload_log(&r);
	tls_report_clear(&r);
	return number > 0 ? 1 : -1;
}

static int w_reload(struct sip_msg *msg, char *a, char *b)
{
	(void)msg;
	(void)a;
	(void)b;
	return reload();
}

static int ki_reload(struct sip_msg *msg)
{
	(void)msg;
	return reload();
}

static cmd_export_t functions[] = {
	{"is_peer_verified", (cmd_function)w_is_peer_verified, 0, NULL, NULL, REQUEST_ROUTE},
	{"is_peer_named", (cmd_function)w_is_peer_named, 1, fixup_spve_null, fixup_free_spve_null,
     REQUEST_ROUTE | ONREPLY_ROUTE},
	{"tls_set_connect_server_id", (cmd_function)set_connect_server_id, 1, fix_connect_server_id,
     fixup_free_spve_null, ANY_ROUTE},
	{"tls_reload", (cmd_function)w_reload, 0, NULL, NULL, ANY_ROUTE},
	{NULL, NULL, 0, NULL, NULL, 0},
};

static sr_kemi_t kemi_functions[] = {
	{str_init("tls"), str_init("is_peer_verified"), SR_KEMIP_INT, ki_is_peer_verified, {SR_KEMIP_NONE}},
	{str_init("tls"), str_init("is_peer_named"), SR_KEMIP_INT, ki_is_peer_named, {SR_KEMIP_STR}},
	{str_init("tls"), str_init("cget"), SR_KEMIP_XVAL, tls_select_cget, {SR_KEMIP_STR}},
	{str_init("tls"),
     str_init("set_connect_server_id"),
     SR_KEMIP_INT,
     ki_set_connect_server_id,
     {SR_KEMIP_STR}},
	{str_init("tls"), str_init("reload"), SR_KEMIP_INT, ki_reload, {SR_KEMIP_NONE}},
	{{NULL, 0}, {NULL, 0}, 0, NULL, {0}},
};

/* ---- what the host looks up */

/* Before the forks, for each listening socket. Returns 0 or -1. */
static int open_socket(struct socket_info *si)
{
	if (tcp_init(si) < 0)
		return -1; /* logged by the host */
	si->proto = PROTO_TLS;
	return 0;
}

static struct tls_hooks hooks = {.read = tls_server_read,
                                 .encode = tls_server_encode,
                                 .on_tcpconn_init = tls_server_open,
                                 .tcpconn_clean = tls_server_clean,
                                 .tcpconn_close = tls_server_close,
                                 .init_si = open_socket,
                                 TLS_COMPAT_MATCH_HOOKS(tls_reuse_match, tls_reuse_match_two)};

struct module_exports exports = {
	.name = "tls",
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = functions,
	.params = params,
	.init_mod_f = on_start,
	.init_child_f = on_process,
	.destroy_mod_f = on_end,
};

int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	(void)path;
	(void)dlflags;
	(void)p1;
	(void)p2;
	if (make_params() != 0) {
		LM_BUG("more settings than module parameters\n");
		return -1;
	}
	if (tls_init_load() != 0 || tls_dry_run_start(start_rooms) != 0 || tls_select_load() != 0)
		return -1;
	exports.pv_items = tls_select_variables();
	if (!tls_disable && register_tls_hooks(&hooks) != 0)
		return -1;
	sr_kemi_modules_add(kemi_functions);
	return 0;
}
