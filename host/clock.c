/*
 * host/clock.c - what time it is, by two clocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Anybody may set the clock on the wall, back as well as forward. So ages are measured by the other one; the
 * one on the wall is only for what others have dated.
 */
#include <time.h>

#include "host/clock.h"

static int64_t seconds(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return now.tv_sec;
}

int64_t tls_clock_steady(void)
{
	return seconds(CLOCK_BOOTTIME);
}

int64_t tls_clock_wall(void)
{
	return seconds(CLOCK_REALTIME);
}
