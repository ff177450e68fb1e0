/*
 * client_wolfssl.c - one request over TLS by a library that is neither OpenSSL nor GnuTLS
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 *   client PORT 1.2|1.3 CA [CERTIFICATE KEY]
 *
 * Sends what stands on its input to 127.0.0.1, prints "VERSION CIPHER" and what comes back up to an empty line. Ends
 * with 0, or 1 with a reason.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

static _Noreturn void fail(const char *what, WOLFSSL *ssl, int result)
{
	char reason[WOLFSSL_MAX_ERROR_SZ] = "";

	if (ssl != NULL)
		wolfSSL_ERR_error_string((unsigned long)wolfSSL_get_error(ssl, result), reason);
	fprintf(stderr, "%s failed: %s\n", what, reason);
	exit(1);
}

static int connected(const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		fail("connect", NULL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static WOLFSSL_CTX *context(int count, char **words)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(strcmp(words[2], "1.3") == 0 ? wolfTLSv1_3_client_method()
	                                                                : wolfTLSv1_2_client_method());

	if (ctx == NULL || wolfSSL_CTX_load_verify_locations(ctx, words[3], NULL) != WOLFSSL_SUCCESS)
		fail("the authority", NULL, 0);
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, NULL);
	if (count > 5 &&
	    (wolfSSL_CTX_use_certificate_chain_file(ctx, words[4]) != WOLFSSL_SUCCESS ||
	     wolfSSL_CTX_use_PrivateKey_file(ctx, words[5], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS))
		fail("the certificate", NULL, 0);
	return ctx;
}

/* Reads up to an empty line, which ends a reply without a body. */
static void print_reply(WOLFSSL *ssl)
{
	char reply[65536];
	int used = 0;

	while (used < (int)sizeof(reply) - 1) {
		int got = wolfSSL_read(ssl, reply + used, (int)sizeof(reply) - 1 - used);

		if (got <= 0)
			fail("reading", ssl, got);
		used += got;
		reply[used] = '\0';
		if (strstr(reply, "\r\n\r\n") != NULL)
			break;
	}
	fputs(reply, stdout);
}

int main(int count, char **words)
{
	char request[65536];
	size_t size = fread(request, 1, sizeof(request), stdin);
	WOLFSSL_CTX *ctx;
	WOLFSSL *ssl;
	int result;

	if (count < 4)
		fail("usage: client PORT 1.2|1.3 CA [CERTIFICATE KEY]: this", NULL, 0);
	wolfSSL_Init();
	ctx = context(count, words);
	ssl = wolfSSL_new(ctx);
	if (ssl == NULL || wolfSSL_set_fd(ssl, connected(words[1])) != WOLFSSL_SUCCESS ||
	    wolfSSL_check_domain_name(ssl, "localhost") != WOLFSSL_SUCCESS)
		fail("setting up", NULL, 0);
	if ((result = wolfSSL_connect(ssl)) != WOLFSSL_SUCCESS)
		fail("handshake", ssl, result);
	printf("%s %s\n", wolfSSL_get_version(ssl), wolfSSL_get_cipher_name(ssl));
	if ((result = wolfSSL_write(ssl, request, (int)size)) != (int)size)
		fail("writing", ssl, result);
	print_reply(ssl);
	wolfSSL_shutdown(ssl);
	wolfSSL_free(ssl);
	wolfSSL_CTX_free(ctx);
	wolfSSL_Cleanup();
	return 0;
}
