/*
 * settings/table.h - the settings: their types, and the table that binds names to fields
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_TABLE_H
#define TLS_SETTINGS_TABLE_H

#include "tls.h"

/* Protocol versions as a range: `method` names the lowest and, without "+", also the highest. */
enum tls_method {
	TLS_METHOD_UNSET = -1,
	TLS_METHOD_ANY, /* "SSLv23": whatever the library still accepts */
	TLS_METHOD_1_0,
	TLS_METHOD_1_0_PLUS,
	TLS_METHOD_1_1,
	TLS_METHOD_1_1_PLUS,
	TLS_METHOD_1_2,
	TLS_METHOD_1_2_PLUS,
	TLS_METHOD_1_3,
	TLS_METHOD_1_3_PLUS,
	TLS_METHOD_SSL2, /* recognised only to be refused with a reason */
	TLS_METHOD_SSL3,
};

enum tls_verify_client {
	TLS_VERIFY_CLIENT_UNSET = -1,
	TLS_VERIFY_CLIENT_OFF,
	TLS_VERIFY_CLIENT_ON,
	TLS_VERIFY_CLIENT_OPTIONAL,
	TLS_VERIFY_CLIENT_OPTIONAL_NO_CA,
};

/* security_profile: what is offered and accepted where a section does not set it. */
enum tls_security_profile { TLS_SECURITY_COMPATIBLE, TLS_SECURITY_RFC9325 };

/* verify_purpose: the purpose that a peer's certificate must allow. */
enum tls_verify_purpose {
	TLS_PURPOSE_STRICT, /* the role that the peer has in TLS */
	TLS_PURPOSE_SIP,    /* TLS in either role, SIP (RFC 5924), or all */
	TLS_PURPOSE_ANY,
};

enum tls_name_mode { TLS_NAME_EXACT, TLS_NAME_AND_SUBDOMAINS, TLS_NAME_SUBDOMAINS };

/* The value of an integer that is not set. A string that is not set is NULL. */
#define TLS_UNSET INT32_MIN

/*
 * The settings of one domain. Strings are malloc'ed and owned by the struct (tls_settings_free()), except in
 * the struct that holds the module parameters, where the host owns them.
 */
struct tls_settings {
	int method;
	int verify_certificate;
	int require_certificate;
	int verify_client;
	int verify_depth;
	int verify_name;
	int verify_name_wildcard;
	int security_profile;
	int verify_purpose;
	int reuse_verified_only;
	int server_name_mode;
	char *certificate;
	char *private_key;
	char *private_key_password;
	char *certificate2;
	char *private_key2;
	char *private_key_password2;
	char *ca_list;
	char *ca_path;
	char *crl;
	char *cipher_list;
	char *groups;
	char *server_name;
	char *server_id;
};

/*
 * The settings of the module as a whole. Every field is an int or a char * and has a row in the table: the
 * layout of the host's run-time configuration follows from that (settings/runtime.c).
 */
struct tls_options {
	int send_timeout;       /* seconds */
	int handshake_timeout;  /* seconds */
	int connection_timeout; /* seconds, -1 never */
	int disable_compression;
	int certificate_compression;
	int match_profile;
	int log;                /* log level in the host's numbers */
	int debug;              /* log level */
	int low_mem_threshold1; /* KB, -1 default, 0 off */
	int low_mem_threshold2; /* KB, -1 default, 0 off */
	int force_run;
	int session_cache;
	int session_lifetime; /* seconds from the full handshake */
	int renegotiation;
	int ssl_release_buffers; /* -1: the module's choice */
	int ssl_freelist_max_len;
	int ssl_max_send_fragment;
	int ssl_read_ahead;
	int send_close_notify;
	int con_ct_wq_max;  /* bytes of cleartext that one connection may queue until its handshake is done */
	int ct_wq_max;      /* bytes, all connections together */
	int ct_wq_blk_size; /* bytes, smallest block of such a queue */
	int keylog_mode;
	int provider_quirks;
	int init_mode;
	int key_password_mode;
	int max_handshakes_per_address; /* 0: no limit */
	int max_certificate_chain;      /* bytes */
	int dump_shared_memory;
	int unknown_server_name; /* 0: the default domain, 1: alert unrecognized_name */
	int unknown_server_id;   /* 0: another domain, 1: no connection */
	int reload_on_change;    /* seconds between checks of the files, 0: never */
	char *config;
	char *session_id;
	char *xavp_cfg;
	char *event_callback;
	char *keylog_file;
	char *keylog_peer;
	char *engine;
	char *engine_config;
	char *engine_algorithms;
	char *provider_quirks_config;
	char *rand_engine;
};

enum tls_value_type { TLS_INT, TLS_BOOL, TLS_STRING, TLS_CHOICE };

enum {
	TLS_OF_DOMAIN = 1 << 0,   /* lives in struct tls_settings, else in struct tls_options */
	TLS_IN_MODPARAM = 1 << 1, /* modparam("tls", name, ...) */
	TLS_IN_FILE = 1 << 2,     /* a key of tls.cfg */
	TLS_AT_RUNTIME = 1 << 3,  /* cfg.set_now_* may change it */
	TLS_LENIENT = 1 << 4,     /* a number out of range counts as the default, with a warning */
	TLS_REFUSED = 1 << 5,     /* has no effect, and setting it is an error rather than a warning */
	TLS_SECRET = 1 << 6,      /* never printed */
	TLS_IS_PATH = 1 << 7,     /* a file or folder: made absolute by tls_config_resolve() */
};

struct tls_choice {
	const char *word;
	int value;
};

/*
 * One setting. The table is the only place that binds a name to a field: parsing, defaults, checks, run-time
 * configuration, printing, freeing and the reference in doc/ follow it.
 */
struct tls_setting {
	const char *name;
	const char *alias; /* second name in tls.cfg or modparam, NULL: none */
	/* Name in the run-time group "tls"; NULL: the module's settings have `name` there, a domain's are not there. */
	const char *run_name;
	const char *rpc_name; /* name in the answer of tls.options, NULL: that in the group */
	enum tls_value_type type;
	unsigned flags;
	size_t offset;
	int default_number; /* for TLS_INT, TLS_BOOL, TLS_CHOICE */
	int min, max;
	const struct tls_choice *choices; /* ends with a NULL word */
	const char *default_text;         /* for TLS_STRING; NULL: none */
	const char *unit;                 /* "s", "KB", "bytes" or NULL */
	const char *meaning;              /* one line, shown by the host's command cfg.help */
	const char *no_effect; /* why the setting, though accepted, does nothing; NULL: it has an effect */
};

/* The table, ended by a row whose name is NULL. */
extern const struct tls_setting tls_settings_table[];

/* The row called NAME (name or alias, in any case) with all of FLAGS, NULL: none. */
const struct tls_setting *tls_setting_find(const char *name, unsigned flags);

#endif
