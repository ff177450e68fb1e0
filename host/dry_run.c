/*
 * host/dry_run.c - the host's configuration check, -c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * With -c the host parses its configuration, says that it is fine, and ends before it initialises any module.
 * What we would find at a start is found all the same: by starting, in a handler of the process's end, as the
 * host itself would go on.
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

/* What the host does between the end of -c and its first module. Returns 0 or -1 (logged). */
static int go_on_as_the_host(void)
{
	if (!dont_fork && chdir(working_dir) != 0) {
		LM_ERR("no working directory %s: %s\n", working_dir, strerror(errno));
		return -1;
	}
	if (shm_initialized() || init_shm() == 0)
		return 0;
	LM_ERR("no shared memory of %lu MB; give less with -m\n", shm_mem_size / 1024 / 1024);
	return -1;
}

void tls_dry_run_say_off(void)
{
	LM_WARN("TLS is off: put enable_tls=yes before the first loadmodule to use it\n");
}

/* The host has found no error when STATUS is 0. */
static void check(int status, void *arg)
{
	(void)arg;
	if (status != 0)
		return;
	if (tls_disable) {
		tls_dry_run_say_off();
		return;
	}
	fflush(NULL); /* what the host has printed must not be printed again by the children of the lock proof */
	if (chroot_dir != NULL && chroot(chroot_dir) != 0) {
		if (errno != EPERM) {
			LM_ERR("%s: %s\n", chroot_dir, strerror(errno));
			_exit(1);
		}
		LM_WARN("TLS is not checked: its files are under %s, where only root may look\n", chroot_dir);
		return;
	}
	if (go_on_as_the_host() == 0 && start() == 0)
		return;
	fputs("TLS configuration not ok: the errors stand above\n", stderr);
	_exit(1);
}

int tls_dry_run_start(int (*start_all)(void))
{
	if (!tls_compat_config_check())
		return 0;
	start = start_all;
	if (on_exit(check, NULL) == 0)
		return 0;
	LM_ERR("no memory for what -c is to do at the process's end\n");
	return -1;
}
