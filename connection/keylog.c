/*
 * connection/keylog.c - secrets of connections for Wireshark, when the operator asks for them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * These lines make the traffic readable. So the key log is off unless two bits are set, each start logs a warning, and
 * only the user that the server runs as can read the file, also when root starts the server.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection/keylog.h"
#include "host/compat.h"
#include "tls_shared.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "material/access.h"
#include "crypto/crypto.h"

/* The bits of keylog_mode. */
enum {
	KEYLOG_ON = 1,
	KEYLOG_ACTIVE = 2,
	KEYLOG_TO_LOG = 4,
	KEYLOG_TO_FILE = 8,
	KEYLOG_TO_PEER = 16,
	KEYLOG_FILTER = 1024,
	KEYLOG_BITS = KEYLOG_ON | KEYLOG_ACTIVE | KEYLOG_TO_LOG | KEYLOG_TO_FILE | KEYLOG_TO_PEER | KEYLOG_FILTER,
};

/* Labels that pass the filter: enough to read a connection without early data. */
static const char *const filtered_labels[] = {
	"CLIENT_RANDOM",   "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	"EXPORTER_SECRET", "CLIENT_TRAFFIC_SECRET_0",         "SERVER_TRAFFIC_SECRET_0",
};

/* In shared memory. */
struct shared {
	atomic_bool complained; /* about the file, since it was last written */
	int wrong;              /* what the child at the start has found */
};

static struct shared *shared;
static struct sockaddr_storage peer;
static socklen_t peer_length;
static int peer_socket = -1; /* made before the forks; sending is atomic, so all may use it */

bool tls_keylog_enabled(void)
{
	const int both = KEYLOG_ON | KEYLOG_ACTIVE;

	return (tls_runtime_options()->keylog_mode & both) == both;
}

/* What is wrong with a file that was opened; negative, so that it is not an errno. */
enum { NOT_A_FILE = -1, NOT_OURS = -2, OTHERS_MAY = -3, LINKED = -4 };

/* Another user may have made the file, to read what we write or to redirect it by a link. */
static int judge(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return NOT_A_FILE;
	if (st.st_uid != geteuid())
		return NOT_OURS;
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return OTHERS_MAY;
	return st.st_nlink == 1 ? 0 : LINKED;
}

/*
 * Opens the file as this process's user, creating it if necessary. O_NONBLOCK: a pipe without a reader must
 * not block a worker. Returns 0 and *FD, or an errno or one of the above.
 */
static int open_file(int *fd)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int wrong;

	*fd = open(tls_runtime_options()->keylog_file, flags, S_IRUSR | S_IWUSR);
	if (*fd < 0)
		return errno;
	wrong = judge(*fd);
	if (wrong != 0)
		close(*fd);
	return wrong;
}

/* The result of open_file() in words. Returns OUT or a constant. */
static const char *reason(int wrong, char *out, size_t size)
{
	char user_name[64];

	tls_access_user(user_name, sizeof(user_name));
	switch (wrong) {
	case NOT_A_FILE: return "not a regular file";
	case OTHERS_MAY: return "others may read it; run chmod 600 on it";
	case LINKED: return "it has a second name (a hard link); remove that";
	case ELOOP: return "it is a symbolic link; name the file itself";
	case NOT_OURS:
		snprintf(out, size,
		         "it must belong to user %s, which the server runs as; run chown %s on it, or remove it",
		         user_name, user_name);
		return out;
	case EACCES:
		snprintf(
			out, size,
			"Permission denied (user %s); let that user write to it, or name a file in a folder of that user",
			user_name);
		return out;
	default: snprintf(out, size, "%s (user %s)", strerror(wrong), user_name); return out;
	}
}

/* Logs the problem once until the file can be written again, for all processes. */
static void complain(int wrong)
{
	char room[256];

	if (atomic_exchange(&shared->complained, true))
		return;
	LM_ERR("keylog_file %s: %s; no secrets are written until that is fixed\n",
	       tls_runtime_options()->keylog_file, reason(wrong, room, sizeof(room)));
}

/*
 * One write per line: O_APPEND keeps the lines of several processes whole. Returns 0, or a result for
 * reason().
 */
static int append(const char *line, size_t length)
{
	char *whole = malloc(length + 1);
	int fd, wrong = whole != NULL ? open_file(&fd) : ENOMEM;

	if (wrong == 0) {
		memcpy(whole, line, length);
		whole[length] = '\n';
		if (write(fd, whole, length + 1) < 0)
			wrong = errno;
		close(fd);
	}
	if (whole != NULL)
		explicit_bzero(whole, length + 1);
	free(whole);
	return wrong;
}

static void to_file(const char *line, size_t length)
{
	int wrong = append(line, length);

	if (wrong != 0)
		complain(wrong);
	else if (atomic_load(&shared->complained))
		atomic_store(&shared->complained, false);
}

static bool passes_filter(const char *line)
{
	size_t length = strcspn(line, " ");

	for (size_t i = 0; i < sizeof(filtered_labels) / sizeof(filtered_labels[0]); i++)
		if (strlen(filtered_labels[i]) == length && memcmp(line, filtered_labels[i], length) == 0)
			return true;
	return false;
}

void tls_keylog_line(const char *line)
{
	int mode = tls_runtime_options()->keylog_mode;
	size_t length = strlen(line);

	if ((mode & KEYLOG_FILTER) != 0 && !passes_filter(line))
		return;
	if ((mode & KEYLOG_TO_LOG) != 0)
		LM_NOTICE("keylog: %s\n", line);
	if ((mode & KEYLOG_TO_FILE) != 0)
		to_file(line, length);
	if ((mode & KEYLOG_TO_PEER) != 0)
		sendto(peer_socket, line, length, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&peer, peer_length);
}

/* Runs as the user that will write; the result goes to shared memory. */
static int try_file(void *unused)
{
	int fd;

	(void)unused;
	shared->wrong = open_file(&fd);
	if (shared->wrong == 0)
		close(fd);
	return 0;
}

/*
 * Whether only root can replace what is in the folder FD: root owns it, and others may not write there or, as
 * in /tmp, may not move the files of others.
 */
static bool is_roots(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == 0 &&
	       ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (st.st_mode & S_ISVTX) != 0);
}

/*
 * Opens the folder of the key log by a path without links, in which only root can rename anything. *NAME is
 * the file's name in it, a part of PATH, which is cut into names. Returns -1 when PATH is not like that.
 */
static int open_folder(char *path, const char **name)
{
	int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *rest = path, *part = strsep(&rest, "/");

	while (folder >= 0 && rest != NULL) {
		int next = -1;

		if (part[0] != '\0' && is_roots(folder))
			next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (part[0] != '\0') {
			close(folder);
			folder = next;
		}
		part = strsep(&rest, "/");
	}
	*name = part;
	if (folder >= 0 && is_roots(folder))
		return folder;
	if (folder >= 0)
		close(folder);
	return -1;
}

/*
 * As root, for a user that may not create files in FOLDER. Only a new file, so that no link leads elsewhere.
 */
static int make_file(int folder, const char *name)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	int result;

	if (fd < 0)
		return -1;
	result = fchown(fd, tls_access_uid(), tls_access_gid());
	close(fd);
	return result;
}

/* Creates the file for the user that the server will run as, where that user may not create it. */
static void make_for_user(void)
{
	char path[PATH_MAX];
	const char *name;
	int folder;

	if (tls_runtime_options()->keylog_file[0] != '/' ||
	    strlen(tls_runtime_options()->keylog_file) >= sizeof(path))
		return;
	strcpy(path, tls_runtime_options()->keylog_file);
	folder = open_folder(path, &name);
	if (folder < 0)
		return;
	if (make_file(folder, name) == 0) {
		tls_access_as_user(try_file, NULL);
		if (shared->wrong != 0) /* that user may not enter the folder */
			unlinkat(folder, name, 0);
	}
	close(folder);
}

static int check_file(void)
{
	char room[256];

	if (tls_runtime_options()->keylog_file == NULL || tls_runtime_options()->keylog_file[0] == '\0') {
		LM_ERR("keylog_mode %d writes to a file: set keylog_file\n", tls_runtime_options()->keylog_mode);
		return -1;
	}
	shared->wrong = EPERM;
	tls_access_as_user(try_file, NULL);
	if (shared->wrong == EACCES && tls_access_will_change())
		make_for_user();
	if (shared->wrong == 0)
		return 0;
	LM_ERR("keylog_file %s: %s\n", tls_runtime_options()->keylog_file,
	       reason(shared->wrong, room, sizeof(room)));
	return -1;
}

static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	long port = digits > 0 && digits <= 5 && text[digits] == '\0' ? strtol(text, NULL, 10) : 0;

	return port > 0 && port <= 65535;
}

/* "udp:ADDRESS:PORT" or "ADDRESS:PORT", an IPv6 address in brackets, into PEER. Returns 0 or -1. */
static int parse_peer(const char *text)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
	const char *start = strncmp(text, "udp:", 4) == 0 ? text + 4 : text, *colon = strrchr(start, ':');
	char address[64];
	size_t n;

	if (colon == NULL || !is_port(colon + 1))
		return -1;
	n = (size_t)(colon - start);
	if (n >= 2 && start[0] == '[' && start[n - 1] == ']') {
		start++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(address))
		return -1;
	memcpy(address, start, n);
	address[n] = '\0';
	if (getaddrinfo(address, colon + 1, &hints, &found) != 0)
		return -1;
	memcpy(&peer, found->ai_addr, found->ai_addrlen);
	peer_length = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int check_peer(void)
{
	const char *text = tls_runtime_options()->keylog_peer != NULL ? tls_runtime_options()->keylog_peer : "";

	if (parse_peer(text) != 0) {
		LM_ERR("keylog_peer \"%s\": give it as udp:ADDRESS:PORT\n", text);
		return -1;
	}
	peer_socket = socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (peer_socket >= 0)
		return 0;
	LM_ERR("keylog_peer %s: %s\n", text, strerror(errno));
	return -1;
}

int tls_keylog_start(void)
{
	const struct tls_options *o = tls_runtime_options();

	if ((o->keylog_mode & ~KEYLOG_BITS) != 0) {
		LM_ERR("keylog_mode %d: %d of it means nothing; set it to a sum of 1, 2, 4, 8, 16 and 1024\n",
		       o->keylog_mode, o->keylog_mode & ~KEYLOG_BITS);
		return -1;
	}
	if (!tls_keylog_enabled())
		return 0;
	shared = tls_shared_new(sizeof(*shared));
	if (shared == NULL)
		return -1;
	if ((o->keylog_mode & KEYLOG_TO_FILE) != 0 && check_file() != 0)
		return -1;
	if ((o->keylog_mode & KEYLOG_TO_PEER) != 0 && check_peer() != 0)
		return -1;
	LM_WARN(
		"the secrets of ALL TLS connections are being written out (keylog_mode %d): anyone who reads them can read the "
		"traffic; set keylog_mode to 0 when you are done\n",
		o->keylog_mode);
	return 0;
}
