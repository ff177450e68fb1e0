/*
 * host/child.c - work in a child process at the start, hidden from the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * While it starts, the host remembers only one signal: a SIGCHLD would make it forget a SIGTERM that arrives at the same
 * time. And if SIGCHLD is ignored, as some supervisors leave it, the kernel keeps no status for waitpid(2).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/child.h"

int tls_child_unheard(int (*work)(void *arg), void *arg)
{
	const struct sigaction nobody = {.sa_handler = SIG_DFL};
	struct sigaction host;
	int result;

	sigaction(SIGCHLD, &nobody, &host);
	result = work(arg);
	sigaction(SIGCHLD, &host, NULL);
	return result;
}

struct run {
	int (*work)(void *arg);
	void *arg;
};

static int fork_and_wait(void *arg)
{
	const struct run *run = arg;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run->work(run->arg) & 0xff);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int tls_child_run(int (*work)(void *arg), void *arg)
{
	struct run run = {.work = work, .arg = arg};

	return tls_child_unheard(fork_and_wait, &run);
}

char tls_child_state(long id)
{
	char path[64], text[512], *end;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", id);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	end = strrchr(text, ')'); /* the name before it may hold anything */
	return end != NULL && end[1] == ' ' ? end[2] : 0;
}
