/*
 * crypto/openssl/memory.c - OpenSSL's memory, in two worlds: private outside a scope, shared inside
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "crypto/openssl/compat.h"
#include "crypto/crypto.h"
#include "crypto/openssl/memory.h"
#include "tls_mem.h"

static OSSL_LIB_CTX *shared; /* the default one inside a scope */
static _Thread_local OSSL_LIB_CTX *outside __attribute__((tls_model("initial-exec")));

static void *library_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return tls_mem_alloc(size);
}

static void *library_realloc(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return tls_mem_realloc(p, size);
}

static void library_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	tls_mem_free(p);
}

int tls_crypto_load(void)
{
	return CRYPTO_set_mem_functions(library_malloc, library_realloc, library_free) == 1 &&
	               OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) == 1
	           ? 0
	           : -1;
}

void tls_memory_set_context(OSSL_LIB_CTX *libctx)
{
	shared = libctx;
}

void tls_crypto_enter(void)
{
	if (shared != NULL && !tls_mem_in_scope())
		outside =
			OSSL_LIB_CTX_set0_default(shared); /* before the scope: it may allocate, for this thread alone */
	tls_mem_enter_scope();
}

void tls_crypto_leave(void)
{
	tls_mem_leave_scope();
	if (shared != NULL && !tls_mem_in_scope())
		OSSL_LIB_CTX_set0_default(outside);
}

int tls_memory_set_role(SSL *ssl, enum tls_role role)
{
	tls_mem_begin_fallback();
	if (role == TLS_SERVER)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return tls_mem_end_fallback() ? 0 : -1;
}
