/*
 * host/clock.h - time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_CLOCK_H
#define TLS_HOST_CLOCK_H

#include "tls.h"

/* Seconds on a clock that cannot be set and never stops, the same in all processes: for ages. */
int64_t tls_clock_steady(void);

/* Seconds since 1970 by the system time, which may be set: for dates in certificates and the like. */
int64_t tls_clock_wall(void);

#endif
