/*
 * host/dry_run.h - the host's configuration check, -c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HOST_DRY_RUN_H
#define TLS_HOST_DRY_RUN_H

#include "tls.h"

/* Logs that enable_tls is off or comes too late in the configuration. */
void tls_dry_run_say_off(void);

/*
 * Call when the module is loaded. If the host was started with -c, START is called when the process exits; it returns 0, or
 * another value after logging the reason, and thus decides the exit status. Returns 0 or -1 (logged).
 */
int tls_dry_run_start(int (*start)(void));

#endif
