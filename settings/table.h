/*
 * settings/table.h - the settings: their types, the table that binds names to fields, and what is done with values
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_TABLE_H
#define TLS_SETTINGS_TABLE_H

#include "tls.h"

struct tls_report;

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
	TLS_METHOD_SSL2, /* only recognised to be refused with a reason */
	TLS_METHOD_SSL3,
};

enum tls_verify_client {
	TLS_VERIFY_CLIENT_UNSET = -1,
	TLS_VERIFY_CLIENT_OFF,
	TLS_VERIFY_CLIENT_ON,
	TLS_VERIFY_CLIENT_OPTIONAL,
	TLS_VERIFY_CLIENT_OPTIONAL_NO_CA,
};

/* What is offered and taken where a section says nothing of it: security_profile. */
enum tls_security_profile { TLS_SECURITY_COMPATIBLE, TLS_SECURITY_RFC9325 };

/* What a peer's certificate must be for: verify_purpose. */
enum tls_verify_purpose {
	TLS_PURPOSE_STRICT, /* the role that the peer has in TLS */
	TLS_PURPOSE_SIP,    /* TLS in either role, SIP (RFC 5924), or all */
	TLS_PURPOSE_ANY,
};

enum tls_name_mode { TLS_NAME_EXACT, TLS_NAME_AND_SUBDOMAINS, TLS_NAME_SUBDOMAINS };

/* An integer nobody has set. A string nobody has set is NULL. */
#define TLS_UNSET INT32_MIN

/*
 * What one domain is made of. Strings are malloc'ed and owned by the struct (tls_settings_free()), except in
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
 * What the module as a whole is told. Every field is an int or a char * and has a row in the table: the
 * host's run-time configuration is laid out by that (settings/runtime.c).
 */
struct tls_options {
	int send_timeout;       /* seconds */
	int handshake_timeout;  /* seconds */
	int connection_timeout; /* seconds, -1 never */
	int disable_compression;
	int certificate_compression;
	int match_profile;
	int log;                /* log level, as the host counts them */
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
	int con_ct_wq_max;  /* bytes of cleartext that one connection may hold back until its handshake is done */
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
	int reload_on_change;    /* seconds between looks at the files, 0: never */
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
	TLS_IGNORED = 1 << 4,     /* accepted, has no effect, said once at start */
	TLS_SECRET = 1 << 5,      /* never printed */
	TLS_IS_PATH = 1 << 6,     /* a file or folder: made absolute by tls_config_resolve() */
};

struct tls_choice {
	const char *word;
	int value;
};

/*
 * One setting. This table is the only place that binds a name to a field: parsing, presets, checks,
 * run-time configuration, printing, freeing and the reference in doc/ walk it.
 */
struct tls_setting {
	const char *name;
	const char *alias;    /* second name in tls.cfg or modparam, NULL: none */
	const char *run_name; /* name in the run-time group "tls", NULL: not there */
	enum tls_value_type type;
	unsigned flags;
	size_t offset;
	int preset; /* for TLS_INT, TLS_BOOL, TLS_CHOICE */
	int min, max;
	const struct tls_choice *choices; /* ends with a NULL word */
	const char *text_preset;          /* for TLS_STRING; NULL: none */
	const char *unit;                 /* "s", "KB", "bytes" or NULL */
	const char *meaning;              /* one line for the reference */
};

/* The table, ended by a row whose name is NULL. */
extern const struct tls_setting tls_settings_table[];

/* Sets every field that a table row binds to "unset". */
void tls_settings_init(struct tls_settings *s);
void tls_options_init(struct tls_options *o);

/* Sets every unset field of S to its preset (strings: a copy). Returns 0, -1 when memory is short. */
int tls_settings_preset(struct tls_settings *s);

/* Sets every unset string and integer of O to its preset; text presets are not copied. */
void tls_options_preset(struct tls_options *o);

/* Frees the strings of S and sets every field to "unset". */
void tls_settings_free(struct tls_settings *s);

/* Copies S to TO, which is taken as uninitialised. Returns 0, -1 when memory is short. */
int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s);

/* The row called NAME (name or alias, in any case) with all of FLAGS, NULL: none. */
const struct tls_setting *tls_setting_find(const char *name, unsigned flags);

/*
 * Gives the setting ROW in BASE (a struct tls_settings or struct tls_options) the value written as TEXT.
 * Problems go to R with FILE and LINE. Returns 0, -1 when the value is not allowed (BASE unchanged).
 */
int tls_setting_parse(const struct tls_setting *row, void *base, const char *text, struct tls_report *r,
                      const char *file, int line);

/* Writes ROW's value in BASE as text ("" when unset, "***" when secret); returns OUT. */
const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size);

/*
 * Checks the ranges and words of all rows with TLS_IN_MODPARAM in S and O, as given by module parameters,
 * where the host has filled integers without asking us. Problems go to R.
 */
void tls_modparam_check(const struct tls_settings *s, const struct tls_options *o, struct tls_report *r);

#endif
