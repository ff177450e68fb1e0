/*
 * connection/stats.c - what is counted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The host keeps a row of counters for each process and sums the rows when it is asked: counting takes no lock and
 * shares no cache line. A state (a gauge) is not counted but looked up then.
 */
#include "core/counters.h"

#include "connection/stats.h"
#include "tls.h"
#include "host/compat.h"

#define GROUP "tls"

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
                                        "the client sent no certificate although it must"},
	[TLS_STAT_FAILED_EXPIRED] = {"failed_certificate_expired", "the peer's certificate is not valid today"},
	[TLS_STAT_FAILED_REVOKED] = {"failed_certificate_revoked", "the peer's certificate is revoked"},
	[TLS_STAT_FAILED_UNKNOWN_ISSUER] = {"failed_certificate_unknown_issuer",
                                        "no trust anchor for the peer's certificate"},
	[TLS_STAT_FAILED_CERTIFICATE] = {"failed_certificate_other",
                                     "the peer's certificate was refused for another reason"},
	[TLS_STAT_FAILED_OUR_CERTIFICATE] = {"failed_own_certificate",
                                         "the peer's alert refused our certificate or asked for one"},
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

void tls_stats_established(enum tls_role role, int minor, bool resumed)
{
	tls_stats_add(role == TLS_SERVER ? TLS_STAT_ACCEPTED : TLS_STAT_CONNECTED, 1);
	if (resumed)
		tls_stats_add(TLS_STAT_RESUMED, 1);
	if (minor >= 0 && minor <= TLS_STAT_VERSION_1_3 - TLS_STAT_VERSION_1_0)
		tls_stats_add((enum tls_stat)(TLS_STAT_VERSION_1_0 + minor), 1);
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
		LM_ERR("Kamailio refuses statistics of the group " GROUP "; is another TLS module loaded?\n");
	return started ? 0 : -1;
}
