/*
 * connection/stats.c - what is counted, and why a handshake failed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The host keeps a row of counters for each process, and sums the rows when somebody asks: counting takes no
 * lock and shares no cache line. What is a state rather than a count (a gauge) is looked up when somebody
 * asks.
 */
#include "core/counters.h"

#include "connection/stats.h"
#include "tls.h"
#include "host/compat.h"
#include "crypto/openssl/compat.h"

#define GROUP        "tls"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* By enum tls_stat. */
static const struct {
	const char *name, *meaning;
} counters[TLS_STATS] = {
	[TLS_STAT_ACCEPTED] = {"handshakes_accepted", "handshakes finished as server"},
	[TLS_STAT_CONNECTED] = {"handshakes_connected", "handshakes finished as client"},
	[TLS_STAT_RESUMED] = {"handshakes_resumed", "of those, the ones that resumed a session"},
	[TLS_STAT_VERSION_1_0] = {"handshakes_tls_1_0", "of those, with TLS 1.0"},
	[TLS_STAT_VERSION_1_1] = {"handshakes_tls_1_1", "of those, with TLS 1.1"},
	[TLS_STAT_VERSION_1_2] = {"handshakes_tls_1_2", "of those, with TLS 1.2"},
	[TLS_STAT_VERSION_1_3] = {"handshakes_tls_1_3", "of those, with TLS 1.3"},
	[TLS_STAT_FAILED_TIMEOUT] = {"failed_timeout", "handshakes not finished within handshake_timeout"},
	[TLS_STAT_FAILED_PEER_CLOSED] = {"failed_peer_closed", "the peer closed in the middle of its handshake"},
	[TLS_STAT_FAILED_VERSION] = {"failed_version", "no protocol version in common"},
	[TLS_STAT_FAILED_CIPHER] = {"failed_cipher", "no cipher, group or signature algorithm in common"},
	[TLS_STAT_FAILED_SERVER_NAME] = {"failed_server_name", "the client asked for a name that no domain has"},
	[TLS_STAT_FAILED_NO_CERTIFICATE] = {"failed_no_certificate",
                                        "the client sent no certificate though it must"},
	[TLS_STAT_FAILED_EXPIRED] = {"failed_certificate_expired", "the peer's certificate is not valid today"},
	[TLS_STAT_FAILED_REVOKED] = {"failed_certificate_revoked", "the peer's certificate is revoked"},
	[TLS_STAT_FAILED_UNKNOWN_ISSUER] = {"failed_certificate_unknown_issuer",
                                        "the peer's certificate comes from nobody trusted"},
	[TLS_STAT_FAILED_CERTIFICATE] = {"failed_certificate_other",
                                     "the peer's certificate was refused for another reason"},
	[TLS_STAT_FAILED_OUR_CERTIFICATE] = {"failed_own_certificate",
                                         "the peer refused our certificate, or misses it, by an alert"},
	[TLS_STAT_FAILED_ALERT] = {"failed_alert", "the peer ended the handshake by another alert"},
	[TLS_STAT_FAILED_BAD_DATA] = {"failed_bad_data", "what the peer sent is not TLS, or wrong"},
	[TLS_STAT_FAILED_MEMORY] = {"failed_memory", "no memory to go on with a handshake"},
	[TLS_STAT_FAILED_INTERNAL] = {"failed_internal", "a mistake on this side: see the log"},
	[TLS_STAT_BROKEN] = {"connections_broken", "connections that ended by an error after their handshake"},
	[TLS_STAT_REFUSED] = {"connections_refused", "connections refused because memory is low"},
	[TLS_STAT_CROWDED] = {"connections_crowded",
                          "connections refused because too many handshakes of their address are in progress"},
	[TLS_STAT_QUEUE_REFUSED] = {"queue_refused", "messages that found no room while a handshake was running"},
	[TLS_STAT_BYTES_IN] = {"bytes_received", "cleartext received"},
	[TLS_STAT_BYTES_OUT] = {"bytes_sent", "cleartext sent"},
	[TLS_STAT_WIRE_IN] = {"wire_bytes_received", "TLS bytes taken from the network"},
	[TLS_STAT_WIRE_OUT] = {"wire_bytes_sent", "TLS bytes given to the network"},
	[TLS_STAT_RECORDS_IN] = {"records_received", "records of application data received"},
	[TLS_STAT_RECORDS_OUT] = {"records_sent", "records of application data sent"},
	[TLS_STAT_RELOADS] = {"reloads", "configurations loaded since the start"},
	[TLS_STAT_RELOADS_FAILED] = {"reloads_failed", "reloads that changed nothing because of an error"},
};

static counter_handle_t handles[TLS_STATS];
static bool started;

/* ---- counting */

void tls_stats_add(enum tls_stat stat, long n)
{
	if (started)
		counter_pprocess_val(process_no, handles[stat]) += n;
}

/* Protocol versions are consecutive numbers, and so are their counters. */
static void count_version(int version)
{
	if (version >= TLS1_VERSION && version <= TLS1_3_VERSION)
		tls_stats_add((enum tls_stat)(TLS_STAT_VERSION_1_0 + version - TLS1_VERSION), 1);
}

void tls_stats_established(const SSL *ssl, enum tls_role role)
{
	tls_stats_add(role == TLS_SERVER ? TLS_STAT_ACCEPTED : TLS_STAT_CONNECTED, 1);
	if (SSL_session_reused(ssl) == 1)
		tls_stats_add(TLS_STAT_RESUMED, 1);
	count_version(SSL_version(ssl));
}

/* ---- why a handshake failed */

/* What number NUMBER, one of OpenSSL's reasons, of X.509's results or of TLS's alerts, counts as. */
struct meaning {
	long number;
	enum tls_stat stat;
};

static const struct meaning of_reasons[] = {
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, TLS_STAT_FAILED_NO_CERTIFICATE},
	{SSL_R_NO_SHARED_CIPHER, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_KEY_SHARE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_GROUPS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SHARED_GROUPS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_WRONG_SIGNATURE_TYPE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_CIPHERS_AVAILABLE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_WRONG_CIPHER_RETURNED, TLS_STAT_FAILED_CIPHER},
	{SSL_R_UNSUPPORTED_PROTOCOL, TLS_STAT_FAILED_VERSION},
	{SSL_R_VERSION_TOO_LOW, TLS_STAT_FAILED_VERSION},
	{SSL_R_VERSION_TOO_HIGH, TLS_STAT_FAILED_VERSION},
	{SSL_R_WRONG_SSL_VERSION, TLS_STAT_FAILED_VERSION},
	{SSL_R_INAPPROPRIATE_FALLBACK, TLS_STAT_FAILED_VERSION},
	{SSL_R_NO_PROTOCOLS_AVAILABLE, TLS_STAT_FAILED_VERSION},
	{SSL_R_CALLBACK_FAILED, TLS_STAT_FAILED_SERVER_NAME}, /* our only one that refuses is for the name */
	{SSL_R_UNEXPECTED_EOF_WHILE_READING, TLS_STAT_FAILED_PEER_CLOSED},
	{SSL_R_CERT_CB_ERROR, TLS_STAT_FAILED_INTERNAL},
	{ERR_R_INTERNAL_ERROR, TLS_STAT_FAILED_INTERNAL},
	{ERR_R_MALLOC_FAILURE, TLS_STAT_FAILED_MEMORY},
};

static const struct meaning of_verification[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, TLS_STAT_FAILED_EXPIRED},
	{X509_V_ERR_CERT_NOT_YET_VALID, TLS_STAT_FAILED_EXPIRED},
	{X509_V_ERR_CERT_REVOKED, TLS_STAT_FAILED_REVOKED},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_CERT_UNTRUSTED, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_OUT_OF_MEM, TLS_STAT_FAILED_MEMORY},
};

/* Received; RFC 8446 section 6.2. */
static const struct meaning of_alerts[] = {
	{SSL_AD_BAD_CERTIFICATE, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_UNSUPPORTED_CERTIFICATE, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_REVOKED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_EXPIRED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_UNKNOWN, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_UNKNOWN_CA, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_REQUIRED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_PROTOCOL_VERSION, TLS_STAT_FAILED_VERSION},
	{SSL_AD_INSUFFICIENT_SECURITY, TLS_STAT_FAILED_CIPHER},
};

static enum tls_stat look_up(const struct meaning *table, size_t count, long number, enum tls_stat otherwise)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].number == number)
			return table[i].stat;
	return otherwise;
}

enum tls_stat tls_stats_failure_reason(unsigned long error, long verify_result)
{
	int reason = ERR_GET_REASON(error), alert = reason - SSL_AD_REASON_OFFSET;
	bool common = (reason & ERR_RFLAG_COMMON) != 0;

	if (error == 0)
		return TLS_STAT_FAILED_PEER_CLOSED;
	if (ERR_GET_LIB(error) != ERR_LIB_SSL && !common)
		return TLS_STAT_FAILED_BAD_DATA; /* another library's reasons are other numbers */
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return look_up(of_verification, COUNT(of_verification), verify_result, TLS_STAT_FAILED_CERTIFICATE);
	if (!common && alert >= 0 && alert < 256)
		return look_up(of_alerts, COUNT(of_alerts), alert, TLS_STAT_FAILED_ALERT);
	return look_up(of_reasons, COUNT(of_reasons), reason, TLS_STAT_FAILED_BAD_DATA);
}

/* ---- registration */

static counter_val_t read_gauge(counter_handle_t handle, void *param)
{
	const struct tls_gauge *gauge = param;

	(void)handle;
	return gauge->read();
}

static counter_val_t sum_failures(counter_handle_t handle, void *param)
{
	counter_val_t sum = 0;

	(void)handle;
	(void)param;
	for (int i = TLS_STAT_FAILED_FIRST; i <= TLS_STAT_FAILED_LAST; i++)
		sum += counter_get_raw_val(handles[i]);
	return sum;
}

static int register_counters(void)
{
	for (int i = 0; i < TLS_STATS; i++)
		if (counter_register(&handles[i], GROUP, counters[i].name, 0, NULL, NULL, counters[i].meaning, 0) < 0)
			return -1;
	return counter_register(NULL, GROUP, "handshakes_failed", CNT_F_NO_RESET, sum_failures, NULL,
	                        "handshakes that failed: the sum of failed_*", 0);
}

int tls_stats_start(const struct tls_gauge *gauges)
{
	int result = register_counters();

	for (const struct tls_gauge *g = gauges; result >= 0 && g->name != NULL; g++)
		result = counter_register(NULL, GROUP, g->name, CNT_F_NO_RESET, read_gauge, (void *)(uintptr_t)g,
		                          g->meaning, 0);
	started = result >= 0;
	if (!started)
		LM_ERR("the host takes no statistics for the group " GROUP ": is another TLS module loaded?\n");
	return started ? 0 : -1;
}
