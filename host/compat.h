/*
 * host/compat.h - the host's headers, and every difference between its versions
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Oldest supported: 5.6. No other file looks at the host's version number.
 */
#ifndef TLS_HOST_COMPAT_H
#define TLS_HOST_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "core/cfg/cfg.h"
#include "core/dprint.h"
#include "core/events.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/locking.h"
#include "core/mem/shm.h"
#include "core/pass_fd.h"
#include "core/pt.h"
#include "core/resolve.h"
#include "core/rpc.h"
#include "core/sr_module.h"
#include "core/tcp_conn.h"
#include "core/tcp_info.h"
#include "core/tcp_init.h"
#include "core/tcp_int_send.h"
#include "core/tcp_options.h"
#include "core/tcp_read.h"
#include "core/timer.h"
#include "core/timer_ticks.h"
#include "core/tls_hooks.h"
#include "core/ut.h"

#include "tls.h"

/*
 * Fields of tls.list that the module packaged for the host has: sni and timestamp since 6.0, dom since 6.1.
 */
#define TLS_COMPAT_LIST_SNI (VERSIONVAL >= 6000000)
#define TLS_COMPAT_LIST_DOM (VERSIONVAL >= 6001000)

/* The host's main program defines it, but no header declares it. */
extern int config_check __attribute__((weak));

/*
 * The host's tcp_main_threads, which came with 6.1. Newer ones than that make the C library's locks work
 * between processes only while it is 0.
 */
extern int ksr_tcp_main_threads __attribute__((weak));

static inline int tls_compat_main_threads(void)
{
	return &ksr_tcp_main_threads != NULL ? ksr_tcp_main_threads : 0;
}

/* Whether the host was built to make those locks work between processes at all. */
static inline bool tls_compat_has_shared_locks(void)
{
#ifdef KSR_PTHREAD_MUTEX_SHARED
	return true;
#else
	return false;
#endif
}

/*
 * Flags of an RPC command whose calls the host spaces by its rpc_exec_delta, which 5.6 does not have.
 */
#if VERSIONVAL >= 6000000
#define TLS_COMPAT_RPC_SPACED RPC_EXEC_DELTA
#else
#define TLS_COMPAT_RPC_SPACED 0
#endif

/* Numbers of pseudo-variables. */
#if VERSIONVAL >= 6000000
typedef long tls_compat_pv_number;
#else
typedef int tls_compat_pv_number;
#endif

/* Whether the host was started with -c: it only parses its configuration and ends. */
static inline bool tls_compat_config_check(void)
{
	return &config_check != NULL && config_check != 0;
}

/* The host's address IP, with PORT, as the module keeps addresses. */
static inline void tls_compat_address(const struct ip_addr *ip, unsigned short port, struct tls_address *out)
{
	*out = (struct tls_address){.family = ip->af == AF_INET6 ? 6 : 4, .port = port};
	memcpy(out->ip, ip->u.addr, out->family == 6 ? 16 : 4);
}

/*
 * Tells the host that no message has begun. From 6.0 on the host times a message from the first read to its
 * last byte, and would include the handshake and the idle time before the first request.
 */
static inline void tls_compat_no_message(struct tcp_connection *c)
{
#if VERSIONVAL >= 6000000
	c->req.tvrstart = (struct timeval){0, 0};
#else
	(void)c;
#endif
}

/*
 * The connection to IP and PORT that the host would send on, with a reference, NULL: none. FROM: the local
 * address to send from, NULL: any. LOCAL_PORT and, from 6.0 on, PROTOCOL count when the host is told to match
 * them, too.
 */
static inline struct tcp_connection *tls_compat_find(struct ip_addr *ip, int port, union sockaddr_union *from,
                                                     int local_port, int protocol)
{
	if (tcp_connection_match != TCPCONN_MATCH_STRICT)
		return tcpconn_get(0, ip, port, from, 0);
#if VERSIONVAL >= 6000000
	return tcpconn_lookup(0, ip, port, from, local_port, 0, (sip_protos_t)protocol);
#else
	(void)protocol;
	return tcpconn_lookup(0, ip, port, from, local_port, 0);
#endif
}

/* The lock of the host's table of connections, which no header declares. */
extern gen_lock_t *tcpconn_lock;

/*
 * Hooks of the host from 6.1 on: MATCH tells whether a connection suits the message at hand, MATCH_TWO whether two
 * connections suit the same messages. The host calls them while a switch of its own is on.
 */
#if VERSIONVAL >= 6001000
#define TLS_COMPAT_MATCH_HOOKS(match, match_two) .match_domain = match, .match_connections_domain = match_two
extern int tls_connection_match_domain;
#else
#define TLS_COMPAT_MATCH_HOOKS(match, match_two)
#endif

/*
 * Sets what the host shows of C, an outgoing connection: the name and the id that the script chose (NULL:
 * none). The module keeps owning them, and passes NULL for both before it frees them.
 */
static inline void tls_compat_show_choice(struct tcp_connection *c, char *name, char *id)
{
#if VERSIONVAL >= 6001000
	c->cinfo.server_name = (str){name, name != NULL ? (int)strlen(name) : 0};
	c->cinfo.server_id = (str){id, id != NULL ? (int)strlen(id) : 0};
#else
	(void)c;
	(void)name;
	(void)id;
#endif
}

static inline bool tls_compat_host_asks(void)
{
	return VERSIONVAL >= 6001000;
}

static inline void tls_compat_ask_about_profiles(void)
{
#if VERSIONVAL >= 6001000
	tls_connection_match_domain = 1;
#endif
}

#endif
