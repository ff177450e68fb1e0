/*
 * host/clock.h - time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_CLOCK_H
#define TLS_HOST_CLOCK_H

#include "tls.h"

/* Seconds by a clock that nobody sets and that never stops, the same one in all processes: for ages. */
int64_t tls_clock_steady(void);

/* Seconds since 1970, as somebody has set the clock: for what certificates and the like say. */
int64_t tls_clock_wall(void);

#endif
