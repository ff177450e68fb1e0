/*
 * settings/table.c - the table of all settings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * What a setting is called, which field it is, what it is when unset and what is allowed: a new one is a row here. Neither
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
 * How a row begins: a setting of a domain, by parameter or in tls.cfg, or one of the module. It is called as its field;
 * with _AS otherwise.
 */
#define FIELD(field)                   offsetof(struct tls_settings, field)
#define DOMAIN(field, type, more)      DOMAIN_AS(#field, field, type, more)
#define DOMAIN_AS(key, field, t, more) ROW(key, t, TLS_IN_FILE | TLS_OF_DOMAIN | (more), FIELD(field))
#define MODULE(field, type, more)      MODULE_AS(#field, field, type, more)
#define MODULE_AS(key, field, t, more) ROW(key, t, more, offsetof(struct tls_options, field))
#define ROW(key, t, more, where)       .name = key, .type = t, .flags = TLS_IN_MODPARAM | (more), .offset = where
#define RUN(name)                      .run_name = #name
#define NUMBER(unset, low, high)       .preset = unset, .min = low, .max = high

/* clang-format off */
const struct tls_setting tls_settings_table[] = {
	/* a domain's: these come first */
	{DOMAIN_AS("tls_method", method, TLS_CHOICE, 0), .alias = "method", RUN(method), .choices = methods,
	 .preset = TLS_METHOD_1_2_PLUS, .meaning = "protocol version, with \"+\" also any newer one"},
	{DOMAIN(certificate, TLS_STRING, TLS_IS_PATH), RUN(certificate), .text_preset = "cert.pem",
	 .meaning = "PEM file: certificate, then its chain; may also hold the key. Clients have no preset"},
	{DOMAIN(private_key, TLS_STRING, TLS_IS_PATH), RUN(private_key),
	 .meaning = "PEM file: the certificate's key; unset: the certificate's file"},
	{DOMAIN(private_key_password, TLS_STRING, TLS_SECRET), .meaning = "password of an encrypted private_key"},
	{DOMAIN(certificate2, TLS_STRING, TLS_IS_PATH),
	 .meaning = "second certificate, of another key type (RSA beside ECDSA), chosen by what the peer offers"},
	{DOMAIN(private_key2, TLS_STRING, TLS_IS_PATH),
	 .meaning = "key of certificate2; unset: certificate2's file"},
	{DOMAIN(private_key_password2, TLS_STRING, TLS_SECRET),
	 .meaning = "password of an encrypted private_key2"},
	{DOMAIN(ca_list, TLS_STRING, TLS_IS_PATH), RUN(ca_list),
	 .meaning = "PEM file: the authorities whose certificates are trusted"},
	{DOMAIN(ca_path, TLS_STRING, TLS_IS_PATH), RUN(ca_path),
	 .meaning = "folder of trusted authorities, with hashed names"},
	{DOMAIN(crl, TLS_STRING, TLS_IS_PATH), RUN(crl), .meaning = "PEM file: revocation lists"},
	{DOMAIN(verify_certificate, TLS_BOOL, 0), .choices = switches, RUN(verify_certificate), NUMBER(0, 0, 1),
	 .meaning = "verify the chain of the peer's certificate"},
	{DOMAIN(require_certificate, TLS_BOOL, 0), .choices = switches, RUN(require_certificate), NUMBER(0, 0, 1),
	 .meaning = "turn away a client that presents no certificate, or one that does not verify"},
	{DOMAIN(verify_client, TLS_CHOICE, 0), RUN(verify_client), .choices = verify_client_words,
	 .preset = TLS_VERIFY_CLIENT_UNSET,
	 .meaning = "verify_certificate and require_certificate in one word; what they ask for counts, too"},
	{DOMAIN(verify_depth, TLS_INT, 0), RUN(verify_depth), NUMBER(9, 0, INT32_MAX),
	 .meaning = "how many authorities may stand between the peer's certificate and a trusted one"},
	{DOMAIN(verify_name, TLS_BOOL, 0), .choices = switches, RUN(verify_name), NUMBER(0, 0, 1),
	 .meaning = "client: the server's certificate must be for the name that is asked for, else for its address"},
	{DOMAIN(verify_name_wildcard, TLS_BOOL, 0), .choices = switches, RUN(verify_name_wildcard), NUMBER(0, 0, 1),
	 .meaning = "names with a wildcard, such as *.example.org, count for one label where a peer's name is looked for"},
	{DOMAIN(verify_purpose, TLS_CHOICE, 0), RUN(verify_purpose), .choices = purposes, .preset = TLS_PURPOSE_STRICT,
	 .meaning = "what a peer's certificate must be for: its role in TLS, TLS or SIP (RFC 5924), or anything"},
	{DOMAIN(reuse_verified_only, TLS_BOOL, 0), .choices = switches, RUN(reuse_verified_only), NUMBER(0, 0, 1),
	 .meaning = "client: send on a connection that the peer opened only if its certificate is good by this section"},
	{DOMAIN(security_profile, TLS_CHOICE, 0), RUN(security_profile), .choices = security_profiles,
	 .preset = TLS_SECURITY_COMPATIBLE,
	 .meaning = "what is offered where nothing else is set: what old phones need, too, or what RFC 9325 recommends"},
	{DOMAIN(cipher_list, TLS_STRING, 0), RUN(cipher_list),
	 .meaning = "ciphers in the library's notation, TLS 1.3 suites among them; unset: those of security_profile"},
	{DOMAIN(groups, TLS_STRING, 0), RUN(groups),
	 .meaning = "groups for the key exchange in the library's notation; unset: the library's own, without RFC 7919's"},
	{DOMAIN(server_name, TLS_STRING, 0), RUN(server_name),
	 .meaning = "server: the name that a client asks for (SNI); client: the name to ask for"},
	{DOMAIN(server_name_mode, TLS_INT, 0), RUN(server_name_mode),
	 NUMBER(TLS_NAME_EXACT, 0, TLS_NAME_SUBDOMAINS),
	 .meaning = "what server_name matches: 0 the name, 1 also its subdomains, 2 only its subdomains"},
	{DOMAIN(server_id, TLS_STRING, 0), RUN(server_id),
	 .meaning = "name by which a script chooses this client section"},

	/* the module's: time */
	{MODULE(send_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(send_timeout), NUMBER(120, 1, SECONDS_MAX),
	 .unit = "s", .meaning = "give up a send that makes no progress, and close its connection"},
	{MODULE(handshake_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(handshake_timeout), NUMBER(120, 1, SECONDS_MAX),
	 .unit = "s",
	 .meaning = "from accept or connect to the end of the handshake, however busy the peer seems"},
	{MODULE(connection_timeout, TLS_INT, TLS_AT_RUNTIME), RUN(connection_timeout),
	 NUMBER(600, -1, SECONDS_MAX), .unit = "s",
	 .meaning = "close a connection that is idle for so long; -1: never"},
	{MODULE(max_handshakes_per_address, TLS_INT, TLS_AT_RUNTIME), RUN(max_handshakes_per_address),
	 NUMBER(0, 0, INT32_MAX),
	 .meaning = "handshakes of clients in progress from one address (IPv6: one /64); 0: no limit"},
	{MODULE(max_certificate_chain, TLS_INT, 0), NUMBER(16384, 1024, 16777215), .unit = "bytes",
	 .meaning = "certificates that a peer may show, all together; each costs the server time before it knows the peer"},
	{MODULE(reload_on_change, TLS_INT, 0), NUMBER(0, 0, SECONDS_MAX), .unit = "s",
	 .meaning = "how often to look for changed files, and reload then; 0: only on request"},

	/* the module's: memory and queues */
	{MODULE(low_mem_threshold1, TLS_INT, TLS_AT_RUNTIME), RUN(low_mem_threshold1), NUMBER(-1, -1, INT32_MAX),
	 .unit = "KB",
	 .meaning = "with less free shared memory, no new connections; -1: chosen by the module, 0: off"},
	{MODULE(low_mem_threshold2, TLS_INT, TLS_AT_RUNTIME), RUN(low_mem_threshold2), NUMBER(-1, -1, INT32_MAX),
	 .unit = "KB",
	 .meaning = "with less free shared memory, no more TLS operations; -1: chosen by the module, 0: off"},
	{MODULE(con_ct_wq_max, TLS_INT, TLS_AT_RUNTIME), RUN(con_ct_wq_max), NUMBER(65536, 0, INT32_MAX),
	 .unit = "bytes", .meaning = "cleartext of one connection that may wait for its handshake"},
	{MODULE(ct_wq_max, TLS_INT, TLS_AT_RUNTIME), RUN(ct_wq_max), NUMBER(10485760, 0, INT32_MAX),
	 .unit = "bytes", .meaning = "cleartext of all connections together that may wait for handshakes"},
	{MODULE(ct_wq_blk_size, TLS_INT, TLS_AT_RUNTIME), RUN(ct_wq_blk_size), NUMBER(4096, 1, INT32_MAX),
	 .unit = "bytes", .meaning = "smallest block of such a queue"},

	/* the module's: the library */
	{MODULE_AS("tls_disable_compression", disable_compression, TLS_BOOL, 0), .choices = switches,
	 RUN(disable_compression), NUMBER(1, 0, 1),
	 .meaning = "no TLS compression, which costs memory and gives secrets away (CRIME)"},
	{MODULE(certificate_compression, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "send and take certificates compressed (RFC 8879), where the library can"},
	{MODULE(ssl_release_buffers, TLS_INT, 0), RUN(ssl_release_buffers), NUMBER(-1, -1, 1),
	 .meaning = "free the library's buffers of an idle connection; -1: chosen by the module"},
	{MODULE(ssl_freelist_max_len, TLS_INT, 0), RUN(ssl_free_list_max), NUMBER(0, -1, INT32_MAX),
	 .meaning = "free buffers that the library keeps for a connection; -1: the library's choice"},
	{MODULE(ssl_max_send_fragment, TLS_INT, 0), RUN(ssl_max_send_fragment), NUMBER(-1, 512, 16384),
	 .unit = "bytes", .meaning = "cleartext in one record; -1: the library's choice"},
	{MODULE(ssl_read_ahead, TLS_INT, 0), RUN(ssl_read_ahead), NUMBER(0, -1, 1),
	 .meaning = "read more than the record at hand; -1: the library's choice"},
	{MODULE(send_close_notify, TLS_BOOL, TLS_AT_RUNTIME), .choices = switches, RUN(send_close_notify),
	 NUMBER(0, 0, 1), .meaning = "tell the peer before a connection is closed"},
	{MODULE(renegotiation, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "let clients renegotiate (TLS 1.2 and older)"},
	{MODULE(session_cache, TLS_BOOL, 0), .choices = switches, RUN(session_cache), NUMBER(0, 0, 1),
	 .meaning = "resume sessions"},
	{MODULE(session_lifetime, TLS_INT, TLS_AT_RUNTIME), RUN(session_lifetime), NUMBER(86400, 0, SECONDS_MAX),
	 .unit = "s",
	 .meaning = "how long after its full handshake a session may be resumed, however often it was; 0: never"},
	{MODULE(session_id, TLS_STRING, 0), RUN(session_id),
	 .meaning = "context that a resumed session must come from"},

	/* the module's: behaviour */
	{MODULE(config, TLS_STRING, TLS_AT_RUNTIME | TLS_IS_PATH), RUN(config),
	 .meaning = "the domains' file, or a folder of such files; it replaces the parameters of the same names"},
	{MODULE_AS("tls_log", log, TLS_INT, TLS_AT_RUNTIME), RUN(log), NUMBER(3, -10, 100),
	 .meaning = "level of messages about single connections, as the host counts levels"},
	{MODULE_AS("tls_debug", debug, TLS_INT, TLS_AT_RUNTIME), RUN(debug), NUMBER(3, -10, 100),
	 .meaning = "level of messages about single steps, as the host counts levels"},
	{MODULE_AS("tls_force_run", force_run, TLS_BOOL, 0), .choices = switches, RUN(force_run), NUMBER(0, 0, 1),
	 .meaning = "start although a check of the library failed"},
	{MODULE(unknown_server_name, TLS_INT, TLS_AT_RUNTIME), RUN(unknown_server_name), NUMBER(0, 0, 1),
	 .meaning = "a client asks for an unknown name: 0 the default section serves it, 1 it is turned away"},
	{MODULE(unknown_server_id, TLS_INT, TLS_AT_RUNTIME), RUN(unknown_server_id), NUMBER(0, 0, 1),
	 .meaning = "a script chooses an unknown server_id: 0 another client section is used, 1 nothing is sent"},
	{MODULE(match_profile, TLS_BOOL, 0), .choices = switches, NUMBER(1, 0, 1),
	 .meaning = "a connection of ours is used again only for the server_id and server_name that it was opened for"},
	{MODULE(dump_shared_memory, TLS_BOOL, 0), .choices = switches, NUMBER(0, 0, 1),
	 .meaning = "core dumps hold the shared memory, with the keys and secrets of connections in it"},
	{MODULE(xavp_cfg, TLS_STRING, 0),
	 .meaning = "xavp with server_name and server_id for the next outgoing connection"},
	{MODULE(event_callback, TLS_STRING, 0), .meaning = "script function that is called for events"},
	{MODULE(key_password_mode, TLS_INT, 0), NUMBER(0, 0, INT32_MAX),
	 .meaning = "how the password of an encrypted key is found"},
	{MODULE(keylog_mode, TLS_INT, 0), NUMBER(0, 0, 1055),
	 .meaning = "where the secrets of connections are written for a protocol analyser, as bits; 0: nowhere"},
	{MODULE(keylog_file, TLS_STRING, TLS_IS_PATH), .meaning = "file for those secrets"},
	{MODULE(keylog_peer, TLS_STRING, 0), .meaning = "address for those secrets"},

	/* the module's: keys in hardware */
	{MODULE(engine, TLS_STRING, 0), .meaning = "engine or provider that holds keys"},
	{MODULE(engine_config, TLS_STRING, TLS_IS_PATH), .meaning = "the library's configuration file for it"},
	{MODULE(engine_algorithms, TLS_STRING, 0), .meaning = "what it is the default for"},
	{MODULE(provider_quirks, TLS_INT, 0), NUMBER(0, 0, INT32_MAX),
	 .meaning = "work around a provider's peculiarities, as bits"},
	{MODULE(provider_quirks_config, TLS_STRING, 0), .meaning = "details of those"},

	/* accepted for the sake of old configurations; without a preset, so that being set shows */
	{MODULE(rand_engine, TLS_STRING, TLS_IGNORED),
	 .meaning = "ignored: random numbers come from the kernel"},
	{MODULE(init_mode, TLS_INT, TLS_IGNORED), NUMBER(TLS_UNSET, INT32_MIN, INT32_MAX),
	 .meaning = "ignored: the library is always initialised in a thread of its own"},

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
