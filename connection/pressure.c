/*
 * connection/pressure.c - what is refused when shared memory is low, or one address has too many handshakes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * New connections and handshakes are refused, and a connection that keeps a buffer for an incomplete record is ended.
 * All other established connections go on with what is left.
 */
#include <stdatomic.h>
#include <stddef.h>

#include "connection/pressure.h"
#include "tls.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "tls_shared.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "connection/failure.h"
#include "connection/deadline.h"

/* A handshake takes pieces of up to 22 KB, in each process. */
#define HANDSHAKE_PIECE (128 * 1024)

#define LOG_SECONDS 5 /* between two lines of one kind */

/* In shared memory. */
struct shared {
	atomic_uint refused_at;    /* ticks of the last line about low memory, 0: none yet */
	atomic_uint limited_at;    /* ... about too many handshakes of one address */
	atomic_uint pieces_gone;   /* ticks until which no large piece is looked for, as none was left; 0: look */
	atomic_size_t left_before; /* bytes that were left then */
};

static struct shared *shared;

int tls_pressure_start(void)
{
	shared = tls_shared_new(sizeof(*shared));
	return shared != NULL ? 0 : -1;
}

/* Whether a line may be logged: the last one, at *AT, is LOG_SECONDS ago. Then *AT is now. */
static bool may_log(atomic_uint *at)
{
	unsigned now = get_ticks_raw(), before = atomic_load(at);

	return (before == 0 || tls_deadline_is_past(before + S_TO_TICKS(LOG_SECONDS), now)) &&
	       atomic_compare_exchange_strong(at, &before, now > 0 ? now : 1);
}

/*
 * The default of low_mem_threshold1, in KB: half a megabyte for each process, as all of them may be in a handshake at
 * once, but at most a sixteenth of the shared memory, so that a small one can be used at all.
 */
static int default_limit(void)
{
	int kb = 512 * get_max_procs(), most = (int)(shm_mem_size / 1024 / 16);

	return kb < most ? kb : most;
}

/*
 * Whether the LEFT bytes of shared memory are in pieces that are large enough: no request has been refused, or there
 * are large pieces again. When there are none, nobody looks again for a second, or until a quarter more is left: the
 * host logs each attempt that fails.
 */
static bool has_large_pieces(size_t left)
{
	unsigned now, until;

	if (!tls_mem_was_short())
		return true;
	now = get_ticks_raw();
	until = atomic_load(&shared->pieces_gone);
	if (until != 0 && !tls_deadline_is_past(until, now) && left < atomic_load(&shared->left_before) / 4 * 5)
		return false;
	if (tls_mem_recover(HANDSHAKE_PIECE))
		return true;
	atomic_store(&shared->left_before, left);
	atomic_store(&shared->pieces_gone, (now + S_TO_TICKS(1)) | 1);
	return false;
}

/*
 * Whether less than LIMIT_KB (the setting NAME; 0: no limit) of shared memory is left, or only small pieces between
 * what the connections use.
 */
static bool is_low(const struct tcp_connection *c, int limit_kb, const char *name)
{
	size_t limit = limit_kb > 0 ? (size_t)limit_kb * 1024 : 0, left = tls_mem_available();
	bool large = has_large_pieces(left);
	struct tls_failure_peer peer;

	if (limit == 0 || (left >= limit && large))
		return false;
	tls_stats_add(TLS_STAT_REFUSED, 1);
	if (may_log(&shared->refused_at))
		LM_ERR(
			"connection with %s refused: %zu KB of shared memory are left%s (%s %d); give Kamailio more with -m\n",
			tls_failure_peer(c, &peer), left / 1024, left >= limit ? ", but in small pieces" : "", name,
			limit_kb);
	return true;
}

bool tls_pressure_is_low_to_open(const struct tcp_connection *c)
{
	int kb = tls_runtime_options()->low_mem_threshold1;

	return is_low(c, kb >= 0 ? kb : default_limit(), "low_mem_threshold1");
}

bool tls_pressure_is_low_to_go_on(const struct tcp_connection *c)
{
	int kb = tls_runtime_options()->low_mem_threshold2;

	return is_low(c, kb >= 0 ? kb : default_limit() / 2, "low_mem_threshold2");
}

void tls_pressure_log_limit(const struct tcp_connection *c, int limit)
{
	struct tls_failure_peer peer;

	tls_stats_add(TLS_STAT_CROWDED, 1);
	if (may_log(&shared->limited_at))
		LM_NOTICE(
			"TLS handshake failed: peer %s, domain none yet: its address has %d handshakes in progress "
			"already (max_handshakes_per_address); more such refusals are counted, and logged every 5 seconds\n",
			tls_failure_peer(c, &peer), limit);
}
