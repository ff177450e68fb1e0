/*
 * host/dry_run.h - the host's configuration check, -c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_DRY_RUN_H
#define TLS_HOST_DRY_RUN_H

#include "tls.h"

/* Says that the host's switch is off, or stands too late. */
void tls_dry_run_say_off(void);

/*
 * When the module is loaded. In a host that was started with -c, START, which returns 0 or logs why not, is
 * called at the process's end, and decides on its status. Returns 0 or -1 (logged).
 */
int tls_dry_run_start(int (*start)(void));

#endif
