/*
 * host/dry_run.c - the host's configuration check, -c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * With -c the host parses its configuration, reports that it is fine, and exits before it initialises any module. To find
 * the errors that a start would find, the module starts in an exit handler, where the host itself would have gone on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/shm_init.h"

#include "host/dry_run.h"
#include "host/compat.h"

static int (*start)(void);

/* Does what the host does between the point where -c ends and its first module. Returns 0 or -1 (logged). */
static int go_on_as_the_host(void)
{
	if (!dont_fork && chdir(working_dir) != 0) {
		LM_ERR("cannot change to the working directory %s: %s\n", working_dir, strerror(errno));
		return -1;
	}
	if (shm_initialized() || init_shm() == 0)
		return 0;
	LM_ERR("cannot allocate %lu MB of shared memory; set less with -m\n", shm_mem_size / 1024 / 1024);
	return -1;
}

void tls_dry_run_say_off(void)
{
	LM_WARN("TLS is off: put enable_tls=yes before the first loadmodule to use it\n");
}

/* STATUS is 0 when the host has found no error. */
static void check(int status, void *arg)
{
	(void)arg;
	if (status != 0)
		return;
	if (tls_disable) {
		tls_dry_run_say_off();
		return;
	}
	fflush(NULL); /* else children that are forked at the start would print the buffered output again */
	if (chroot_dir != NULL && chroot(chroot_dir) != 0) {
		if (errno != EPERM) {
			LM_ERR("%s: %s\n", chroot_dir, strerror(errno));
			_exit(1);
		}
		LM_WARN("TLS is not checked: its files are under %s, which only root can enter\n", chroot_dir);
		return;
	}
	if (go_on_as_the_host() == 0 && start() == 0)
		return;
	fputs("TLS configuration not ok: see the errors above\n", stderr);
	_exit(1);
}

int tls_dry_run_start(int (*start_all)(void))
{
	if (!tls_compat_config_check())
		return 0;
	start = start_all;
	if (on_exit(check, NULL) == 0)
		return 0;
	LM_ERR("out of memory: the TLS configuration cannot be checked\n");
	return -1;
}
