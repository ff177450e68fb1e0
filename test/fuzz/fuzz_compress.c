/* links: crypto/openssl/pair.c host/child.c test/unit/fake_host.c */
/*
 * fuzz_compress.c - what a peer may send as compressed records, and whether what we compress comes back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * An input is a row of records: two bytes for the size, of which the upper bit tells who made it, the peer or
 * we, then its bytes.
 */
#include <stdio.h>

#include "tls_mem.h"
#include "crypto/openssl/compat.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compress.c" /* for its method */
#include "require.h"

#define BLOCKS_SIZE_MAX (64 * 1024) /* of one direction: zlib's window and what belongs to it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the shared world */

static size_t blocks_size;

void *tls_mem_shared_alloc(size_t size)
{
	size_t *p = calloc(1, size + 16);

	REQUIRE(p != NULL);
	*p = size;
	blocks_size += size;
	REQUIRE(blocks_size <= 2 * BLOCKS_SIZE_MAX);
	return (char *)p + 16;
}

void tls_mem_shared_free(void *p)
{
	size_t *begin = (size_t *)((char *)p - 16);

	blocks_size -= *begin;
	free(begin);
}

int tls_crypto_run_shared(int (*work)(void *arg), void *arg)
{
	abort();
}

/* ---- records. Each is in a block of its own, so that what is read or written beside it is seen */

static struct tls_compat_comp_ctx theirs, sender, receiver;

/* What zlib makes of the same records when there is room for a byte more than we give. */
static void compare(z_stream *plain, const uint8_t *record, size_t size, const unsigned char *out, size_t n)
{
	static unsigned char expected[SSL3_RT_MAX_PLAIN_LENGTH + 1];

	set_buffers(plain, expected, sizeof(expected), (unsigned char *)(uintptr_t)record, size);
	inflate(plain, Z_SYNC_FLUSH);
	REQUIRE(plain->avail_in == 0 && sizeof(expected) - plain->avail_out == n);
	REQUIRE(memcmp(expected, out, n) == 0);
}

/* One of the peer's. Returns whether the connection goes on. */
static bool take(z_stream *plain, const uint8_t *record, size_t size)
{
	unsigned char *in = malloc(size + 1), *out = malloc(SSL3_RT_MAX_PLAIN_LENGTH);
	int n;

	REQUIRE(in != NULL && out != NULL);
	memcpy(in, record, size);
	n = (int)method_expand((COMP_CTX *)&theirs, out, SSL3_RT_MAX_PLAIN_LENGTH, in, size);
	REQUIRE(n <= SSL3_RT_MAX_PLAIN_LENGTH);
	if (n >= 0)
		compare(plain, record, size, out, (size_t)n);
	free(in);
	free(out);
	return n >= 0;
}

static void round_trip(const uint8_t *record, size_t size)
{
	size_t room = size + SSL3_RT_MAX_COMPRESSED_OVERHEAD;
	unsigned char *in = malloc(size + 1), *packed = malloc(room), *back = malloc(size + 1);
	int n;

	REQUIRE(in != NULL && packed != NULL && back != NULL);
	memcpy(in, record, size);
	n = (int)method_compress((COMP_CTX *)&sender, packed, room, in, size);
	REQUIRE(n > 0 || size == 0);
	REQUIRE((size_t)method_expand((COMP_CTX *)&receiver, back, size, packed, (size_t)n) == size);
	REQUIRE(memcmp(in, back, size) == 0);
	free(in);
	free(packed);
	free(back);
}

static void begin(struct tls_compat_comp_ctx *ctx)
{
	memset(ctx, 0, sizeof(*ctx));
	REQUIRE(method_init((COMP_CTX *)ctx) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	z_stream plain = {.next_in = NULL};
	bool goes_on = inflateInit2(&plain, 0) == Z_OK;

	begin(&theirs);
	begin(&sender);
	begin(&receiver);
	while (goes_on && size > 2) {
		size_t length = ((size_t)(data[0] & 0x7f) << 8 | data[1]) % (SSL3_RT_MAX_PLAIN_LENGTH + 1);

		if (length > size - 2)
			length = size - 2;
		if ((data[0] & 0x80) != 0)
			goes_on = take(&plain, data + 2, length);
		else
			round_trip(data + 2, length);
		data += 2 + length;
		size -= 2 + length;
	}
	inflateEnd(&plain);
	method_finish((COMP_CTX *)&theirs);
	method_finish((COMP_CTX *)&sender);
	method_finish((COMP_CTX *)&receiver);
	REQUIRE(blocks_size == 0);
	return 0;
}
