/*
 * tls_keylog.c - secrets of connections for Wireshark, when the operator asks for them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Whoever has these lines reads the traffic. So it is off unless two bits are set, it says so at each start,
 * and the file is only its owner's to read.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls_compat.h"

#include "tls.h"

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

/* What the filter lets through: what it takes to read a connection without early data. */
static const char *const filtered_labels[] = {
	"CLIENT_RANDOM",   "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	"EXPORTER_SECRET", "CLIENT_TRAFFIC_SECRET_0",         "SERVER_TRAFFIC_SECRET_0",
};

static const struct tls_options *options;
static struct sockaddr_storage peer;
static socklen_t peer_length;
static int peer_socket = -1; /* made before the forks; sending is atomic, so all may use it */

bool tls_keylog_enabled(void)
{
	const int both = KEYLOG_ON | KEYLOG_ACTIVE;

	return options != NULL && (options->keylog_mode & both) == both;
}

/* O_NONBLOCK: a pipe that nobody reads must not keep a worker. */
static int open_file(void)
{
	return open(options->keylog_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
	            S_IRUSR | S_IWUSR);
}

/* One write a line: O_APPEND keeps the lines of several processes whole. */
static void to_file(const char *line, size_t length)
{
	char *whole = malloc(length + 1);
	int fd = whole != NULL ? open_file() : -1;

	if (fd >= 0) {
		memcpy(whole, line, length);
		whole[length] = '\n';
		if (write(fd, whole, length + 1) < 0)
			LM_ERR("keylog_file %s: %s\n", options->keylog_file, strerror(errno));
		close(fd);
	}
	if (whole != NULL)
		OPENSSL_cleanse(whole, length + 1);
	free(whole);
}

static bool passes_filter(const char *line)
{
	size_t length = strcspn(line, " ");

	for (size_t i = 0; i < sizeof(filtered_labels) / sizeof(filtered_labels[0]); i++)
		if (strlen(filtered_labels[i]) == length && memcmp(line, filtered_labels[i], length) == 0)
			return true;
	return false;
}

void tls_keylog_line(const SSL *ssl, const char *line)
{
	int mode = options->keylog_mode;
	size_t length = strlen(line);

	(void)ssl;
	if ((mode & KEYLOG_FILTER) != 0 && !passes_filter(line))
		return;
	if ((mode & KEYLOG_TO_LOG) != 0)
		LM_NOTICE("keylog: %s\n", line);
	if ((mode & KEYLOG_TO_FILE) != 0)
		to_file(line, length);
	if ((mode & KEYLOG_TO_PEER) != 0)
		sendto(peer_socket, line, length, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&peer, peer_length);
}

static int check_file(void)
{
	struct stat st;
	int fd;

	if (options->keylog_file == NULL || options->keylog_file[0] == '\0') {
		LM_ERR("keylog_mode %d writes to a file: set keylog_file\n", options->keylog_mode);
		return -1;
	}
	fd = open_file();
	if (fd < 0 || fstat(fd, &st) != 0) {
		LM_ERR("keylog_file %s: %s\n", options->keylog_file, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	if (!S_ISREG(st.st_mode)) {
		LM_ERR("keylog_file %s: not a regular file\n", options->keylog_file);
		return -1;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return 0;
	LM_ERR("keylog_file %s: others may read it; run chmod 600 on it\n", options->keylog_file);
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
	const char *text = options->keylog_peer != NULL ? options->keylog_peer : "";

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

int tls_keylog_start(const struct tls_options *o)
{
	options = o;
	if ((o->keylog_mode & ~KEYLOG_BITS) != 0) {
		LM_ERR("keylog_mode %d: %d of it means nothing; give the sum of some of 1, 2, 4, 8, 16 and 1024\n",
		       o->keylog_mode, o->keylog_mode & ~KEYLOG_BITS);
		return -1;
	}
	if (!tls_keylog_enabled())
		return 0;
	if ((o->keylog_mode & KEYLOG_TO_FILE) != 0 && check_file() != 0)
		return -1;
	if ((o->keylog_mode & KEYLOG_TO_PEER) != 0 && check_peer() != 0)
		return -1;
	LM_WARN(
		"the secrets of ALL TLS connections are being written out (keylog_mode %d): whoever reads them reads the "
		"traffic; set keylog_mode to 0 when you are done\n",
		o->keylog_mode);
	return 0;
}
