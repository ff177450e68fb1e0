/*
 * tls_init.c - starts the TLS library in two worlds, and proves that its locks work between processes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Order matters: the private world comes first, so that nothing that belongs to one process gets into the shared one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tls_init.h"
#include "host/compat.h"
#include "host/child.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "crypto/crypto.h"

#define LOCK_PROOF_MS 5000 /* how long the lock proof waits for a woken process */

/* ---- shared memory of the host */

static void *host_take(size_t size)
{
	return shm_malloc(size);
}

static void host_give(void *p)
{
	shm_free(p);
}

static bool host_contains(const void *p)
{
	return shm_address_in((void *)(uintptr_t)p) == 1;
}

static size_t host_available(void)
{
	return shm_available();
}

static void host_complain(const char *text)
{
	LM_CRIT("%s", text);
}

static const struct tls_mem_source host_memory = {
	.take = host_take,
	.give = host_give,
	.contains = host_contains,
	.available = host_available,
	.complain = host_complain,
};

/* ---- the lock proof */

static int new_shared_lock(void *arg)
{
	struct tls_crypto_lock **lock = arg;

	*lock = tls_crypto_lock_new();
	return *lock != NULL ? 0 : -1;
}

static void sleep_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (nanosleep(&t, &t) != 0)
		;
}

/* Waits until PID sleeps, which after its announcement on the pipe can only be in the lock. */
static void wait_until_asleep(pid_t pid)
{
	for (int ms = 0; ms < 200; ms += 2) {
		char state = tls_child_state(pid);

		if (state == 'S' || state == 0)
			break;
		sleep_ms(2);
	}
	sleep_ms(10);
}

/* Waits at most LOCK_PROOF_MS for PID to end well; ends it otherwise. */
static int reap(pid_t pid)
{
	int status = -1;

	for (int ms = 0; ms < LOCK_PROOF_MS; ms += 2) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
		sleep_ms(2);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

/* A child waits for LOCK, which this process holds. Returns 0 when releasing it wakes the child. */
static int lock_wakes_child(void *lock)
{
	int pipe_fd[2], result = -1;
	char byte = 'x';
	pid_t pid;

	if (pipe(pipe_fd) != 0)
		return -1;
	pid = tls_crypto_lock_take(lock) == 0 ? fork() : -1;
	if (pid == 0) {
		if (write(pipe_fd[1], &byte, 1) == 1 && tls_crypto_lock_take(lock) == 0)
			_exit(tls_crypto_lock_release(lock) == 0 ? 0 : 1);
		_exit(1);
	}
	if (pid > 0 && read(pipe_fd[0], &byte, 1) == 1)
		wait_until_asleep(pid);
	tls_crypto_lock_release(lock); /* the child proves that it worked */
	if (pid > 0)
		result = reap(pid);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return result;
}

/* Logs why the locks work in one process only, as far as that can be told, and what to do. */
static void complain_of_locks(void)
{
	const char *said = "a lock of OpenSSL's does not wake another process";

	if (!tls_compat_has_shared_locks())
		LM_ERR(
			"%s: Kamailio was built without KSR_PTHREAD_MUTEX_SHARED ('TLS_PTHREAD_MUTEX_SHARED' is not among "
			"the flags of 'kamailio -v'): build it with that, or use the distribution's; tls_force_run starts "
			"anyway\n",
			said);
	else if (tls_compat_main_threads() != 0)
		LM_ERR("%s: tcp_main_threads is %d, and from 6.2 on Kamailio has such locks only with 0: set "
		       "tcp_main_threads=0; tls_force_run starts anyway\n",
		       said, tls_compat_main_threads());
	else
		LM_ERR("%s: something replaces Kamailio's pthread_rwlock_init (see LD_PRELOAD): start without it; "
		       "tls_force_run starts anyway\n",
		       said);
}

static int prove_locks(void)
{
	struct tls_crypto_lock *lock = NULL;
	int result;

	if (tls_crypto_run_shared(new_shared_lock, &lock) != 0)
		return -1;
	result = tls_child_unheard(lock_wakes_child, lock);
	tls_crypto_lock_free(lock);
	if (result != 0)
		complain_of_locks();
	return result;
}

/* ---- core dumps */

/* The mapping that holds the address WITHIN. Returns 0, -1 when it cannot be found. */
static int find_mapping(const void *within, void **start, size_t *size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uintptr_t address = (uintptr_t)within;
	unsigned long from, to;
	char line[512];
	int result = -1;

	while (result != 0 && maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= address && address < to) {
			*start = (void *)(uintptr_t)from;
			*size = to - from;
			result = 0;
		}
	if (maps != NULL)
		fclose(maps);
	return result;
}

void tls_init_hide_memory(void)
{
	void *probe = tls_mem_shared_alloc(1), *start;
	size_t size;

	if (probe != NULL &&
	    (find_mapping(probe, &start, &size) != 0 || madvise(start, size, MADV_DONTDUMP) != 0))
		LM_WARN(
			"core dumps of this server would hold the keys and secrets of TLS (%s): set disable_core_dump=yes, or keep "
			"them safe\n",
			strerror(errno));
	tls_mem_shared_free(probe);
}

/* ---- life cycle */

int tls_init_load(void)
{
	if (tls_crypto_load() != 0) {
		LM_ERR(
			"OpenSSL is already initialised, so its allocator can no longer be replaced: put loadmodule \"tls.so\" before every other "
			"module that uses OpenSSL (such as db_mysql, db_postgres, crypto, http_client, outbound, auth_identity)\n");
		return -1;
	}
	return 0;
}

static int check_library(bool force)
{
	if (tls_crypto_fits())
		return 0;
	LM_ERR("this module was built with %s but runs with %s: build it again%s\n", tls_crypto_built_with(),
	       tls_crypto_version(), force ? "; going on because of tls_force_run" : ", or set tls_force_run");
	return force ? 0 : -1;
}

int tls_init_start(bool force)
{
	if (check_library(force) != 0 || tls_crypto_start() != 0)
		return -1;
	if (tls_mem_start(&host_memory) != 0) {
		LM_ERR("no shared memory for OpenSSL: give Kamailio more with -m\n");
		return -1;
	}
	if (prove_locks() != 0 && !force)
		return -1;
	return tls_crypto_start_shared();
}
