/*
 * tls_compat.h - every difference between versions of the host and of OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Oldest supported: OpenSSL 3.0 (library contexts do not exist before it), host 5.6. No other file looks at a
 * version number.
 */
#ifndef TLS_COMPAT_H
#define TLS_COMPAT_H

#include <openssl/opensslv.h>
#include <stdbool.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed: older ones have no library contexts"
#endif

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* The host's headers. */
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

/* The oldest protocol version that the library was compiled with. */
#if !defined(OPENSSL_NO_TLS1) && !defined(OPENSSL_NO_TLS1_METHOD)
#define TLS_COMPAT_OLDEST TLS1_VERSION
#else
#define TLS_COMPAT_OLDEST TLS1_2_VERSION
#endif

/* The host's main program has it, but no header. */
extern int config_check __attribute__((weak));

/* Whether the host was started with -c: it only parses its configuration and ends. */
static inline bool tls_compat_config_check(void)
{
	return &config_check != NULL && config_check != 0;
}

/* Whether the running library can stand in for the one of the headers: same major version, not an older minor one. */
static inline bool tls_compat_library_fits(void)
{
	unsigned long running = OpenSSL_version_num() >> 20, built = OPENSSL_VERSION_NUMBER >> 20;

	return running >> 8 == built >> 8 && running >= built;
}

#endif
