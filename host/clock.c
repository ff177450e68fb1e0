/*
 * host/clock.c - the time on two clocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The system time may be set forward or back at any time, so ages are measured by the boot-time clock. The system time is
 * only for comparison with dates from outside.
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
