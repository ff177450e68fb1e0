/*
 * crypto/openssl/random.c - random numbers for the shared world: the kernel's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * OpenSSL's own generators are a tree, made for one process: each is seeded anew when it is used by another process than
 * the last time, or when its parent was seeded anew. In shared memory the root serves another process at nearly every
 * handshake, so each handshake took the root's lock, asked the kernel, and seeded three generators. Here the kernel is
 * asked directly: no lock, and no state that a fork could copy or that another process could read.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "crypto/openssl/random.h"
#include "host/compat.h"
#include "crypto/openssl/compat.h"

#define GENERATOR   "TLS-KERNEL-RANDOM"
#define STRENGTH    256 /* bits */
#define MAX_REQUEST ((size_t)65536)

static char generator; /* stateless, so all are this one */

static int fill(unsigned char *out, size_t size)
{
	while (size > 0) {
		ssize_t n = getrandom(out, size, 0);

		if (n <= 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			out += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* ---- what OpenSSL calls: provider-rand(7) */

static void *generator_new(void *provider, void *parent, const OSSL_DISPATCH *parent_calls)
{
	(void)provider;
	(void)parent;
	(void)parent_calls;
	return &generator;
}

static void generator_free(void *g)
{
	(void)g;
}

static int generator_instantiate(void *g, unsigned int strength, int resistance,
                                 const unsigned char *personal, size_t size, const OSSL_PARAM params[])
{
	(void)g;
	(void)resistance;
	(void)personal;
	(void)size;
	(void)params;
	return strength <= STRENGTH;
}

static int generator_uninstantiate(void *g)
{
	(void)g;
	return 1;
}

static int generator_generate(void *g, unsigned char *out, size_t size, unsigned int strength, int resistance,
                              const unsigned char *additional, size_t additional_size)
{
	(void)g;
	(void)resistance; /* the kernel provides it */
	(void)additional;
	(void)additional_size;
	if (strength > STRENGTH)
		return 0;
	if (fill(out, size) == 0)
		return 1;
	LM_ERR("the kernel gives no random numbers: %s; does a sandbox forbid getrandom(2)?\n", strerror(errno));
	return 0;
}

static int generator_enable_locking(void *g)
{
	(void)g;
	return 1;
}

static int generator_get_params(void *g, OSSL_PARAM params[])
{
	OSSL_PARAM *state = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
	OSSL_PARAM *strength = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
	OSSL_PARAM *most = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);

	(void)g;
	return (state == NULL || OSSL_PARAM_set_int(state, EVP_RAND_STATE_READY) == 1) &&
	       (strength == NULL || OSSL_PARAM_set_uint(strength, STRENGTH) == 1) &&
	       (most == NULL || OSSL_PARAM_set_size_t(most, MAX_REQUEST) == 1);
}

static const OSSL_DISPATCH generator_calls[] = {
	{OSSL_FUNC_RAND_NEWCTX, (void (*)(void))generator_new},
	{OSSL_FUNC_RAND_FREECTX, (void (*)(void))generator_free},
	{OSSL_FUNC_RAND_INSTANTIATE, (void (*)(void))generator_instantiate},
	{OSSL_FUNC_RAND_UNINSTANTIATE, (void (*)(void))generator_uninstantiate},
	{OSSL_FUNC_RAND_GENERATE, (void (*)(void))generator_generate},
	{OSSL_FUNC_RAND_ENABLE_LOCKING, (void (*)(void))generator_enable_locking},
	{OSSL_FUNC_RAND_GET_CTX_PARAMS, (void (*)(void))generator_get_params},
	{0, NULL},
};

/* ---- the provider: provider(7) */

static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM random[] = {
		{GENERATOR, "provider=" GENERATOR, generator_calls, "random numbers of the kernel"},
		{NULL, NULL, NULL, NULL},
	};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_RAND ? random : NULL;
}

static const OSSL_DISPATCH provider_calls[] = {
	{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))provider_query},
	{0, NULL},
};

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **out,
                         void **provider)
{
	(void)handle;
	(void)core;
	*out = provider_calls;
	*provider = &generator;
	return 1;
}

int tls_random_start(struct ossl_lib_ctx_st *libctx)
{
	unsigned char probe;

	if (fill(&probe, sizeof(probe)) != 0)
		return 0; /* OpenSSL's own generators find another source, or report that there is none */
	return OSSL_PROVIDER_add_builtin(libctx, GENERATOR, provider_init) == 1 &&
	               OSSL_PROVIDER_load(libctx, GENERATOR) != NULL &&
	               RAND_set_DRBG_type(libctx, GENERATOR, NULL, NULL, NULL) == 1
	           ? 0
	           : -1;
}
