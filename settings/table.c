/*
 * settings/table.c - the table of all settings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The names of a setting, its field, its default and the values that it allows: a new setting is a row here. Neither
 * OpenSSL nor the host is known here.
 */
#include <strings.h>

#include "settings/table.h"

#define SECONDS_MAX 134217727 /* the host counts sixteenths of a second in 31 bits */

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

static const struct tls_choice purposes[] = {
	{"strict", TLS_PURPOSE_STRICT},
	{"sip", TLS_PURPOSE_SIP},
	{"any", TLS_PURPOSE_ANY},
	{NULL, 0},
};

static const struct tls_choice security_profiles[] = {
	{"compatible", TLS_SECURITY_COMPATIBLE},
	{"rfc9325", TLS_SECURITY_RFC9325},
	{NULL, 0},
};

/*
 * The beginning of a row: a setting of a domain (module parameter or key of tls.cfg), or one of the module (parameter
 * only). It has the name of its field, or with _AS another one.
 */
#define FIELD(field)                   offsetof(struct tls_settings, field)
#define DOMAIN(field, type, more)      DOMAIN_AS(#field, field, type, more)
#define DOMAIN_AS(key, field, t, more) ROW(key, t, TLS_IN_FILE | TLS_OF_DOMAIN | (more), FIELD(field))
#define MODULE(field, type, more)      MODULE_AS(#field, field, type, more)
#define MODULE_AS(key, field, t, more) ROW(key, t, more, offsetof(struct tls_options, field))
#define ROW(key, t, more, where)       .name = key, .type = t, .flags = TLS_IN_MODPARAM | (more), .offset = where
#define RUN(name)                      .run_name = #name
#define NUMBER(value, low, high)       .default_number = value, .min = low, .max = high

/* clang-format off */
const struct tls_setting tls_settings_table[] = {
	/* a domain's settings, which must come first */
	{DOMAIN_AS("tls_method", method, TLS_CHOICE, 0), .alias = "method", RUN(method), .choices = methods,
	 .default_number = TLS_METHOD_1_2_PLUS, .meaning = "protocol version; with \"+\" also all newer ones"},
	{DOMAIN(certificate, TLS_STRING, TLS_IS_PATH), RUN(certificate), .default_text = "cert.pem",
	 .meaning = "PEM file: certificate, then its chain; may also hold the private key. No default for client sections"},
	{DOMAIN(private_key, TLS_STRING, TLS_IS_PATH), RUN(private_key),
	 .meaning = "PEM file: private key; default: in the certificate's file"},
	{DOMAIN(private_key_password, TLS_STRING, TLS_SECRET), .meaning = "password of an encrypted private_key"},
	{DOMAIN(certificate2, TLS_STRING, TLS_IS_PATH),
	 .meaning = "second certificate with another key type (RSA beside ECDSA); the peer's offer decides which is sent"},
	{DOMAIN(private_key2, TLS_STRING, TLS_IS_PATH),
	 .meaning = "private key of certificate2; default: in certificate2's file"},
	{DOMAIN(private_key_password2, TLS_STRING, TLS_SECRET),
	 .meaning = "password of an encrypted private_key2"},
	{DOMAIN(ca_list, TLS_STRING, TLS_IS_PATH), RUN(ca_list),
	 .meaning = "PEM file: trusted CA certificates"},
	{DOMAIN(ca_path, TLS_STRING, TLS_IS_PATH), RUN(ca_path),
	 .meaning = "folder of trusted CA certificates with hashed names"},
	{DOMAIN(crl, TLS_STRING, TLS_IS_PATH), RUN(crl), .meaning = "PEM file: certificate revocation lists"},
	{DOMAIN(verify_certificate, TLS_BOOL, 0), .choices = switches, RUN(verify_certificate), NUMBER(0, 0, 1),
	 .meaning = "verify the peer's certificate chain"},
	{DOMAIN(require_certificate, TLS_BOOL, 0), .choices = switches, RUN(require_certificate), NUMBER(0, 0, 1),
	 .meaning = "reject a client without a certificate, or with one that does not verify"},
	{DOMAIN(verify_client, TLS_CHOICE, 0), RUN(verify_client), .choices = verify_client_words,
	 .default_number = TLS_VERIFY_CLIENT_UNSET,
	 .meaning = "verify_certificate and require_certificate in one word; either of them may ask for more"},
	{DOMAIN(verify_depth, TLS_INT, 0), RUN(verify_depth), NUMBER(9, 0, INT32_MAX),
	 .meaning = "largest number of intermediate certificates between the peer's certificate and a trust anchor"},
	{DOMAIN(verify_name, TLS_BOOL, 0), .choices = switches, RUN(verify_name), NUMBER(0, 0, 1),
	 .meaning = "client: the server's certificate must match the server name, or without one the server's address"},
	{DOMAIN(verify_name_wildcard, TLS_BOOL, 0), .choices = switches, RUN(verify_name_wildcard), NUMBER(0, 0, 1),
	 .meaning = "a wildcard such as *.example.org in a peer's certificate matches one label"},
	{DOMAIN(verify_purpose, TLS_CHOICE, 0), RUN(verify_purpose), .choices = purposes, .default_number = TLS_PURPOSE_STRICT,
	 .meaning = "purpose that a peer's certificate must allow: its role in TLS, TLS or SIP (RFC 5924), or any"},
	{DOMAIN(reuse_verified_only, TLS_BOOL, 0), .choices = switches, RUN(reuse_verified_only), NUMBER(0, 0, 1),
	 .meaning = "client: reuse a connection that the peer opened only if its certificate passes this section's checks"},
	{DOMAIN(security_profile, TLS_CHOICE, 0), RUN(security_profile), .choices = security_profiles,
	 .default_number = TLS_SECURITY_COMPATIBLE,
	 .meaning = "offer where nothing else is set: compatible with old phones, or as RFC 9325 recommends"},
	{DOMAIN(cipher_list, TLS_STRING, 0), RUN(cipher_list),
	 .meaning = "ciphers in the library's notation, including TLS 1.3 suites; default: those of security_profile"},
	{DOMAIN(groups, TLS_STRING, 0), RUN(groups),
	 .meaning = "key exchange groups in the library's notation; default: the library's, without those of RFC 7919"},
	{DOMAIN(server_name, TLS_STRING, 0), RUN(server_name),
	 .meaning = "server: name that clients ask for (SNI); client: name to ask the server for"},
	{DOMAIN(server_name_mode, TLS_INT, TLS_LENIENT), RUN(server_name_mode),
	 NUMBER(TLS_NAME_EXACT, 0, TLS_NAME_SUBDOMAINS),
	 .meaning = "what server_name matches: 0 the name, 1 the name and its subdomains, 2 only its subdomains"},
	{DOMAIN(server_id, TLS_STRING, 0), RUN(server_id),
	 .meaning = "name by which a script selects this client section"},

	/* the module's settings: time */
	{MODULE(send_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(send_timeout), NUMBER(120, 1, SECONDS_MAX),
	 .unit = "s", .meaning = "close a connection when a send makes no progress for this long"},
	{MODULE(handshake_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(handshake_timeout), NUMBER(120, 1, SECONDS_MAX),
	 .unit = "s",
	 .meaning = "time limit from accept or connect to the end of the handshake, even if the peer keeps sending"},
	{MODULE(connection_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(connection_timeout),
	 NUMBER(600, -1, SECONDS_MAX), .unit = "s",
	 .meaning = "close a connection that is idle for this long; -1: never"},
	{MODULE(max_handshakes_per_address, TLS_INT, TLS_AT_RUNTIME), RUN(max_handshakes_per_address),
	 NUMBER(0, 0, INT32_MAX),
	 .meaning = "limit of clients' concurrent handshakes from one address (IPv6: one /64); 0: no limit"},
	{MODULE(max_certificate_chain, TLS_INT, 0), NUMBER(16384, 1024, 16777215), .unit = "bytes",
	 .meaning = "total size of the certificates that a peer may send; each costs time before the peer is known"},
	{MODULE(reload_on_change, TLS_INT, 0), NUMBER(0, 0, SECONDS_MAX), .unit = "s",
	 .meaning = "how often to check the files for changes, which cause a reload; 0: reload only on request"},

	/* the module's settings: memory and queues */
	{MODULE(low_mem_threshold1, TLS_INT, TLS_AT_RUNTIME), RUN(low_mem_threshold1), NUMBER(-1, -1, INT32_MAX),
	 .unit = "KB",
	 .meaning = "with less free shared memory, refuse new connections; -1: chosen by the module, 0: off"},
	{MODULE(low_mem_threshold2, TLS_INT, TLS_AT_RUNTIME), RUN(low_mem_threshold2), NUMBER(-1, -1, INT32_MAX),
	 .unit = "KB",
	 .meaning = "with less free shared memory, refuse all TLS operations; -1: chosen by the module, 0: off"},
	{MODULE(con_ct_wq_max, TLS_INT, TLS_AT_RUNTIME), RUN(con_ct_wq_max), NUMBER(65536, 0, INT32_MAX),
	 .unit = "bytes", .meaning = "limit of cleartext that one connection queues until its handshake is done"},
	{MODULE(ct_wq_max, TLS_INT, TLS_AT_RUNTIME), RUN(ct_wq_max), NUMBER(10485760, 0, INT32_MAX),
	 .unit = "bytes", .meaning = "limit of cleartext that all connections together queue until their handshakes are done"},
	{MODULE(ct_wq_blk_size, TLS_INT, TLS_AT_RUNTIME), RUN(ct_wq_blk_size), NUMBER(4096, 1, INT32_MAX),
	 .unit = "bytes", .meaning = "smallest block of these queues"},

	/* the module's settings: the library */
	{MODULE_AS("tls_disable_compression", disable_compression, TLS_BOOL, 0), .choices = switches,
	 RUN(disable_compression), NUMBER(1, 0, 1),
	 .meaning = "disable TLS compression, which costs memory and leaks secrets (CRIME)"},
	{MODULE(certificate_compression, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "send and accept compressed certificates (RFC 8879) where the library supports it"},
	{MODULE(ssl_release_buffers, TLS_INT, 0), RUN(ssl_release_buffers), NUMBER(-1, -1, 1),
	 .meaning = "free the library's buffers while a connection is idle; -1: chosen by the module"},
	{MODULE(ssl_freelist_max_len, TLS_INT, 0), RUN(ssl_free_list_max), NUMBER(0, -1, INT32_MAX),
	 .rpc_name = "ssl_freelist_max", /* the packaged module has two names for it, too */
	 .meaning = "number of free buffers that the library keeps for a connection; -1: chosen by the library",
	 .no_effect = "OpenSSL has had no such list since 1.1.0"},
	{MODULE(ssl_max_send_fragment, TLS_INT, 0), RUN(ssl_max_send_fragment), NUMBER(-1, 512, 16384),
	 .unit = "bytes", .meaning = "cleartext in one record; -1: chosen by the library"},
	{MODULE(ssl_read_ahead, TLS_INT, 0), RUN(ssl_read_ahead), NUMBER(0, -1, 1),
	 .meaning = "read beyond the current record; -1: chosen by the library"},
	{MODULE(send_close_notify, TLS_BOOL, TLS_AT_RUNTIME), .choices = switches, RUN(send_close_notify),
	 NUMBER(0, 0, 1), .meaning = "send close_notify before closing a connection"},
	{MODULE(renegotiation, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "allow clients to renegotiate (TLS 1.2 and older)"},
	{MODULE(session_cache, TLS_BOOL, 0), .choices = switches, RUN(session_cache), NUMBER(0, 0, 1),
	 .meaning = "resume sessions",
	 .no_effect = "sessions are always resumed by tickets, in any process, and need no cache"},
	{MODULE(session_lifetime, TLS_INT, TLS_AT_RUNTIME), RUN(session_lifetime), NUMBER(86400, 0, SECONDS_MAX),
	 .unit = "s",
	 .meaning = "how long after its full handshake a session may be resumed, regardless of resumptions since; 0: never"},
	{MODULE(session_id, TLS_STRING, 0), RUN(session_id),
	 .meaning = "session id context that a resumed session must belong to"},

	/* the module's settings: behaviour */
	{MODULE(config, TLS_STRING, TLS_AT_RUNTIME | TLS_IS_PATH), RUN(config),
	 .meaning = "file with the domains (tls.cfg) or folder of such files; it replaces the parameters of the same names"},
	{MODULE_AS("tls_log", log, TLS_INT, TLS_AT_RUNTIME), RUN(log), NUMBER(3, -10, 100),
	 .meaning = "log level of messages about single connections"},
	{MODULE_AS("tls_debug", debug, TLS_INT, TLS_AT_RUNTIME), RUN(debug), NUMBER(3, -10, 100),
	 .meaning = "log level of messages about single steps"},
	{MODULE_AS("tls_force_run", force_run, TLS_BOOL, 0), .choices = switches, RUN(force_run), NUMBER(0, 0, 1),
	 .meaning = "start even if a check of the library fails"},
	{MODULE(unknown_server_name, TLS_INT, TLS_AT_RUNTIME), RUN(unknown_server_name), NUMBER(0, 0, 1),
	 .meaning = "client asks for an unknown name: 0 the default section serves it, 1 it is rejected"},
	{MODULE(unknown_server_id, TLS_INT, TLS_AT_RUNTIME), RUN(unknown_server_id), NUMBER(0, 0, 1),
	 .meaning = "script selects an unknown server_id: 0 another client section is used, 1 nothing is sent"},
	{MODULE(match_profile, TLS_BOOL, 0), .choices = switches, NUMBER(1, 0, 1),
	 .meaning = "reuse an outgoing connection only for the server_id and server_name that it was opened for"},
	{MODULE(dump_shared_memory, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "include shared memory, with the private keys and connection secrets in it, in core dumps"},
	{MODULE(xavp_cfg, TLS_STRING, 0),
	 .meaning = "xavp that holds server_name and server_id for the next outgoing connection"},
	{MODULE(event_callback, TLS_STRING, 0), .meaning = "script function to call for events"},
	{MODULE(key_password_mode, TLS_INT, 0), NUMBER(0, 0, INT32_MAX),
	 .meaning = "source of an encrypted private key's password",
	 .no_effect = "the password of a private key is always private_key_password"},
	{MODULE(keylog_mode, TLS_INT, 0), NUMBER(0, 0, 1055),
	 .meaning = "where to write connection secrets for a protocol analyser, as bits; 0: nowhere"},
	{MODULE(keylog_file, TLS_STRING, TLS_IS_PATH), .meaning = "file for these secrets"},
	{MODULE(keylog_peer, TLS_STRING, 0), .meaning = "address to send these secrets to"},

	/* the module's settings: keys in hardware */
	{MODULE(engine, TLS_STRING, TLS_REFUSED), .meaning = "engine or provider that holds private keys",
	 .no_effect = "private keys in hardware are not supported; remove it if your keys are in files"},
	{MODULE(engine_config, TLS_STRING, TLS_IS_PATH), .meaning = "configuration file of the engine",
	 .no_effect = "the module loads no engine"},
	{MODULE(engine_algorithms, TLS_STRING, 0), .meaning = "algorithms that the engine is the default for",
	 .no_effect = "the module loads no engine"},
	{MODULE(provider_quirks, TLS_INT, 0), NUMBER(0, 0, INT32_MAX),
	 .meaning = "workarounds for providers, as bits",
	 .no_effect = "this module's library contexts need no workaround"},
	{MODULE(provider_quirks_config, TLS_STRING, 0), .meaning = "details of these workarounds",
	 .no_effect = "this module's library contexts need no workaround"},

	/* the module's settings: accepted because old configurations have them */
	{MODULE(rand_engine, TLS_STRING, 0), .meaning = "engine for random numbers",
	 .no_effect = "random numbers come from the kernel"},
	{MODULE(init_mode, TLS_INT, 0), NUMBER(0, INT32_MIN, INT32_MAX), .meaning = "how to initialise the library",
	 .no_effect = "the library is always initialised in a thread of its own"},

	{.name = NULL},
};
/* clang-format on */

const struct tls_setting *tls_setting_find(const char *name, unsigned flags)
{
	for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++) {
		if ((row->flags & flags) != flags)
			continue;
		if (strcasecmp(row->name, name) == 0 || (row->alias != NULL && strcasecmp(row->alias, name) == 0))
			return row;
	}
	return NULL;
}
