/*
 * connection/stats.h - what is counted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_STATS_H
#define TLS_CONNECTION_STATS_H

#include "tls.h"

enum tls_stat {
	TLS_STAT_ACCEPTED,
	TLS_STAT_CONNECTED,
	TLS_STAT_RESUMED,
	TLS_STAT_VERSION_1_0,
	TLS_STAT_VERSION_1_1,
	TLS_STAT_VERSION_1_2,
	TLS_STAT_VERSION_1_3,
	TLS_STAT_FAILED_TIMEOUT, /* from here to INTERNAL: why a handshake failed */
	TLS_STAT_FAILED_PEER_CLOSED,
	TLS_STAT_FAILED_VERSION,
	TLS_STAT_FAILED_CIPHER,
	TLS_STAT_FAILED_SERVER_NAME,
	TLS_STAT_FAILED_NO_CERTIFICATE,
	TLS_STAT_FAILED_EXPIRED,
	TLS_STAT_FAILED_REVOKED,
	TLS_STAT_FAILED_UNKNOWN_ISSUER,
	TLS_STAT_FAILED_CERTIFICATE,
	TLS_STAT_FAILED_OUR_CERTIFICATE,
	TLS_STAT_FAILED_ALERT,
	TLS_STAT_FAILED_BAD_DATA,
	TLS_STAT_FAILED_MEMORY,
	TLS_STAT_FAILED_INTERNAL,
	TLS_STAT_BROKEN,
	TLS_STAT_REFUSED,
	TLS_STAT_CROWDED,
	TLS_STAT_QUEUE_REFUSED,
	TLS_STAT_BYTES_IN,
	TLS_STAT_BYTES_OUT,
	TLS_STAT_WIRE_IN,
	TLS_STAT_WIRE_OUT,
	TLS_STAT_RECORDS_IN,
	TLS_STAT_RECORDS_OUT,
	TLS_STAT_RELOADS,
	TLS_STAT_RELOADS_FAILED,
	TLS_STATS,
	TLS_STAT_FAILED_FIRST = TLS_STAT_FAILED_TIMEOUT,
	TLS_STAT_FAILED_LAST = TLS_STAT_FAILED_INTERNAL,
};

/* A number that is looked up when it is asked for, in whatever process that happens. */
struct tls_gauge {
	const char *name, *meaning;
	long (*read)(void);
};

/*
 * Registers the counters and GAUGES, an array that outlives the module and ends with a NULL name, in the
 * host's group "tls". Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_stats_start(const struct tls_gauge *gauges);

/* Adds N to STAT. Any process, no lock. Does nothing before tls_stats_start(). */
void tls_stats_add(enum tls_stat stat, long n);

/*
 * Counts a finished handshake with TLS 1.MINOR (another number: no version is counted), in the process that
 * finished it.
 */
void tls_stats_established(enum tls_role role, int minor, bool resumed);

#endif
