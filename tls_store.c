/*
 * tls_store.c - keys, certificates, trust anchors and revocation lists from files, each distinct one loaded once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Files are read into private memory and parsed in the shared world. An RSA key keeps blinding state that belongs to one thread id, and
 * after a fork every process has the same one: so no process signs with the parsed key, each makes a copy when it first
 * has to. EC and EdDSA keys keep no such state.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tls_compat.h"

#include "tls.h"

#define FILE_MAX  (64 * 1024 * 1024)
#define WARN_DAYS 14

/*
 * A CertificateRequest names the acceptable issuers. Above this many (a system's bundle, not a private CA) they are left out: they
 * would cost every handshake 10 KB and more, and no client chooses by them.
 */
#define NAMED_ISSUERS_MAX 32

struct tls_key {
	struct tls_key *next;
	char *path, *password;
	EVP_PKEY *parsed;
	bool per_process;
	_Atomic(EVP_PKEY **) copies; /* one place a process, made with the first copy */
};

struct tls_chain {
	struct tls_chain *next;
	char *path;
	X509 *certificate;
	STACK_OF(X509) *others;
};

struct tls_trust {
	struct tls_trust *next;
	char *ca_list, *ca_path, *crl;
	X509_STORE *anchors;
	STACK_OF(X509_NAME) *issuers; /* NULL: too many to be named */
};

struct tls_store {
	struct tls_key *keys;
	struct tls_chain *chains;
	struct tls_trust *trusts;
};

/* ---- reading files */

/* A file's content, in private memory. */
struct blob {
	char *data;
	size_t size;
};

static void problem(struct tls_report *r, const struct tls_origin *from, const char *path, const char *what)
{
	tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting, "%s: %s", path, what);
}

/* Says what OpenSSL says of PATH. */
static void crypto_problem(struct tls_report *r, const struct tls_origin *from, const char *path,
                           const char *what)
{
	char reason[256];

	tls_init_errors(reason, sizeof(reason));
	tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting, "%s: %s: %s", path, what, reason);
}

static void blob_free(struct blob *b)
{
	if (b->data != NULL)
		OPENSSL_cleanse(b->data, b->size);
	free(b->data);
	b->data = NULL;
}

static const char *read_all(int fd, struct blob *out)
{
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if (st.st_size == 0)
		return "the file is empty";
	if (st.st_size > FILE_MAX)
		return "the file is larger than 64 MB";
	out->data = malloc((size_t)st.st_size);
	if (out->data == NULL)
		return "no memory to read it";
	out->size = (size_t)st.st_size;
	while (got < out->size) {
		ssize_t n = read(fd, out->data + got, out->size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return strerror(errno);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	out->size = got;
	return got > 0 ? NULL : "the file is empty";
}

/* Reads PATH whole into OUT. Returns 0, or -1 with the reason in R and OUT empty. */
static int read_file(const char *path, struct blob *out, const struct tls_origin *from, struct tls_report *r)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	const char *reason = fd < 0 ? strerror(errno) : NULL;

	out->data = NULL;
	out->size = 0;
	if (reason == NULL)
		reason = read_all(fd, out);
	if (fd >= 0)
		close(fd);
	if (reason == NULL)
		return 0;
	problem(r, from, path, reason);
	blob_free(out);
	return -1;
}

/* Whether what is in the error queue only says that a PEM file has no more entries. Empties it then. */
static bool end_of_pem(void)
{
	unsigned long code = ERR_peek_last_error();

	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

/* The next certificate of BIO, NULL at the end or on an error (which stays in the queue). */
static X509 *next_certificate(BIO *bio)
{
	X509 *x = X509_new_ex(tls_init_libctx(), NULL);

	if (x != NULL && PEM_read_bio_X509(bio, &x, NULL, NULL) == NULL) {
		X509_free(x);
		return NULL;
	}
	return x;
}

static X509_CRL *next_crl(BIO *bio)
{
	X509_CRL *crl = X509_CRL_new_ex(tls_init_libctx(), NULL);

	if (crl != NULL && PEM_read_bio_X509_CRL(bio, &crl, NULL, NULL) == NULL) {
		X509_CRL_free(crl);
		return NULL;
	}
	return crl;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A shared copy of S; NULL stays NULL. Clears *OK when there is no memory. */
static char *shared_copy(const char *s, bool *ok)
{
	char *copy = s != NULL ? tls_shared_strdup(s) : NULL;

	if (s != NULL && copy == NULL)
		*ok = false;
	return copy;
}

/* ---- the store */

struct tls_store *tls_store_new(void)
{
	return tls_shared_alloc(sizeof(struct tls_store));
}

static void key_free(struct tls_key *key)
{
	EVP_PKEY **copies = atomic_load(&key->copies);

	for (int i = 0; copies != NULL && i < get_max_procs(); i++)
		EVP_PKEY_free(copies[i]);
	tls_shared_free(copies);
	EVP_PKEY_free(key->parsed);
	if (key->password != NULL)
		OPENSSL_cleanse(key->password, strlen(key->password));
	tls_shared_free(key->password);
	tls_shared_free(key->path);
	tls_shared_free(key);
}

static void chain_free(struct tls_chain *chain)
{
	X509_free(chain->certificate);
	sk_X509_pop_free(chain->others, X509_free);
	tls_shared_free(chain->path);
	tls_shared_free(chain);
}

static void trust_free(struct tls_trust *trust)
{
	X509_STORE_free(trust->anchors);
	sk_X509_NAME_pop_free(trust->issuers, X509_NAME_free);
	tls_shared_free(trust->ca_list);
	tls_shared_free(trust->ca_path);
	tls_shared_free(trust->crl);
	tls_shared_free(trust);
}

void tls_store_free(struct tls_store *store)
{
	if (store == NULL)
		return;
	for (struct tls_key *next, *k = store->keys; k != NULL; k = next) {
		next = k->next;
		key_free(k);
	}
	for (struct tls_chain *next, *c = store->chains; c != NULL; c = next) {
		next = c->next;
		chain_free(c);
	}
	for (struct tls_trust *next, *t = store->trusts; t != NULL; t = next) {
		next = t->next;
		trust_free(t);
	}
	tls_shared_free(store);
}

/* ---- private keys */

/* What OpenSSL asks when a key is encrypted: the configured password, and never a person. */
static int give_password(char *out, int size, int writing, void *password)
{
	size_t n = password != NULL ? strlen(password) : 0;

	(void)writing;
	if (n == 0 || n > (size_t)size)
		return -1;
	memcpy(out, password, n);
	return (int)n;
}

static EVP_PKEY *parse_key(const struct blob *b, const char *password)
{
	BIO *bio = BIO_new_mem_buf(b->data, (int)b->size);
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey_ex(bio, NULL, give_password, (void *)(uintptr_t)password,
		                                 tls_init_libctx(), NULL);
	BIO_free(bio);
	return key;
}

static struct tls_key *load_key(const char *path, const char *password, const struct tls_origin *from,
                                struct tls_report *r)
{
	struct tls_key *key = tls_shared_alloc(sizeof(*key));
	struct blob b = {0};
	bool ok = true;

	if (key == NULL) {
		problem(r, from, path, "no shared memory to load it");
		return NULL;
	}
	key->path = shared_copy(path, &ok);
	key->password = shared_copy(password, &ok);
	if (!ok)
		problem(r, from, path, "no shared memory to load it");
	else if (read_file(path, &b, from, r) == 0 && (key->parsed = parse_key(&b, password)) == NULL)
		crypto_problem(r, from, path,
		               password != NULL ? "no private key that private_key_password opens"
		                                : "no private key (an encrypted one needs private_key_password)");
	blob_free(&b);
	if (key->parsed == NULL) {
		key_free(key);
		return NULL;
	}
	key->per_process = EVP_PKEY_is_a(key->parsed, "RSA") == 1 || EVP_PKEY_is_a(key->parsed, "RSA-PSS") == 1;
	return key;
}

struct tls_key *tls_store_key(struct tls_store *store, const char *path, const char *password,
                              const struct tls_origin *from, struct tls_report *r)
{
	struct tls_key *key;

	for (key = store->keys; key != NULL; key = key->next)
		if (same(key->path, path) && same(key->password, password))
			return key;
	key = load_key(path, password, from, r);
	if (key == NULL)
		return NULL;
	key->next = store->keys;
	store->keys = key;
	return key;
}

/* The table of copies of KEY, made by whichever process comes first. */
static EVP_PKEY **copies_of(struct tls_key *key)
{
	EVP_PKEY **copies = atomic_load(&key->copies), **fresh;

	if (copies != NULL)
		return copies;
	fresh = tls_shared_alloc((size_t)get_max_procs() * sizeof(*fresh));
	if (fresh == NULL)
		return NULL;
	if (atomic_compare_exchange_strong(&key->copies, &copies, fresh))
		return fresh;
	tls_shared_free(fresh);
	return copies;
}

int tls_key_adopt(SSL *ssl, struct tls_key *key)
{
	EVP_PKEY **copies;

	if (!key->per_process)
		return 0;
	copies = copies_of(key);
	if (copies == NULL)
		return -1;
	if (copies[process_no] == NULL)
		copies[process_no] = EVP_PKEY_dup(key->parsed);
	if (copies[process_no] == NULL)
		return -1;
	if (SSL_get_privatekey(ssl) == copies[process_no])
		return 0;
	return SSL_use_PrivateKey(ssl, copies[process_no]) == 1 ? 0 : -1;
}

/* ---- certificates */

static void warn_of_dates(const X509 *x, const char *path, const struct tls_origin *from,
                          struct tls_report *r)
{
	const ASN1_TIME *end = X509_get0_notAfter(x);
	int days = 0, seconds = 0;

	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		tls_report_add(r, TLS_WARNING, from->file, from->line, from->setting,
		               "%s: the certificate is not valid yet; peers will refuse it (is the clock right?)",
		               path);
	if (ASN1_TIME_diff(&days, &seconds, NULL, end) != 1)
		return;
	if (days < 0 || seconds < 0)
		tls_report_add(
			r, TLS_WARNING, from->file, from->line, from->setting,
			"%s: the certificate has expired %d days ago; peers will refuse it, renew it and reload", path,
			-days);
	else if (days < WARN_DAYS)
		tls_report_add(r, TLS_WARNING, from->file, from->line, from->setting,
		               "%s: the certificate expires in %d days; renew it and reload", path, days);
}

/* Reads the leaf and then the rest from BIO. Returns 0, or -1 with an error in OpenSSL's queue or what is missing in *WHAT. */
static int parse_chain(BIO *bio, struct tls_chain *chain, const char **what)
{
	X509 *x;

	chain->certificate = next_certificate(bio);
	chain->others = sk_X509_new_null();
	if (chain->certificate == NULL || chain->others == NULL) {
		*what = end_of_pem() ? "no certificate in PEM form in it" : NULL;
		return -1;
	}
	while ((x = next_certificate(bio)) != NULL)
		if (sk_X509_push(chain->others, x) == 0) {
			X509_free(x);
			return -1;
		}
	return end_of_pem() ? 0 : -1;
}

static int load_chain(struct tls_chain *chain, const char *path, const struct tls_origin *from,
                      struct tls_report *r)
{
	const char *what = NULL;
	struct blob b;
	BIO *bio;
	int result;

	if (read_file(path, &b, from, r) != 0)
		return -1;
	bio = BIO_new_mem_buf(b.data, (int)b.size);
	result = bio != NULL ? parse_chain(bio, chain, &what) : -1;
	if (result == 0)
		warn_of_dates(chain->certificate, path, from, r);
	else if (what != NULL)
		problem(r, from, path, what);
	else
		crypto_problem(r, from, path, "not a good certificate chain");
	BIO_free(bio);
	blob_free(&b);
	return result;
}

struct tls_chain *tls_store_chain(struct tls_store *store, const char *path, const struct tls_origin *from,
                                  struct tls_report *r)
{
	struct tls_chain *chain;
	bool ok = true;

	for (chain = store->chains; chain != NULL; chain = chain->next)
		if (same(chain->path, path))
			return chain;
	chain = tls_shared_alloc(sizeof(*chain));
	if (chain != NULL)
		chain->path = shared_copy(path, &ok);
	if (chain == NULL || !ok)
		problem(r, from, path, "no shared memory to load it");
	if (chain == NULL)
		return NULL;
	if (!ok || load_chain(chain, path, from, r) != 0) {
		chain_free(chain);
		return NULL;
	}
	chain->next = store->chains;
	store->chains = chain;
	return chain;
}

X509 *tls_chain_certificate(const struct tls_chain *chain)
{
	return chain->certificate;
}

int tls_store_use_pair(SSL_CTX *ctx, struct tls_chain *chain, struct tls_key *key,
                       const struct tls_origin *from, struct tls_report *r)
{
	if (X509_check_private_key(chain->certificate, key->parsed) != 1) {
		ERR_clear_error();
		tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting,
		               "%s: the key is not that of the certificate in %s", key->path, chain->path);
		return -1;
	}
	if (SSL_CTX_use_cert_and_key(ctx, chain->certificate, key->parsed, chain->others, 1) != 1) {
		crypto_problem(r, from, chain->path, "cannot be used");
		return -1;
	}
	return 0;
}

/* ---- trust */

static int note_issuer(struct tls_trust *trust, const X509 *x)
{
	X509_NAME *name;

	if (trust->issuers == NULL)
		return 0;
	if (sk_X509_NAME_num(trust->issuers) >= NAMED_ISSUERS_MAX) {
		sk_X509_NAME_pop_free(trust->issuers, X509_NAME_free);
		trust->issuers = NULL;
		return 0;
	}
	name = X509_NAME_dup(X509_get_subject_name(x));
	if (name != NULL && sk_X509_NAME_push(trust->issuers, name) > 0)
		return 0;
	X509_NAME_free(name);
	return -1;
}

static int add_anchors(struct tls_trust *trust, BIO *bio)
{
	int count = 0;
	X509 *x;

	while ((x = next_certificate(bio)) != NULL) {
		int added = X509_STORE_add_cert(trust->anchors, x);

		if (added == 1)
			added = note_issuer(trust, x) == 0;
		X509_free(x);
		if (added != 1)
			return -1;
		count++;
	}
	return end_of_pem() ? count : -1;
}

static int add_crls(struct tls_trust *trust, BIO *bio)
{
	int count = 0;
	X509_CRL *crl;

	while ((crl = next_crl(bio)) != NULL) {
		int added = X509_STORE_add_crl(trust->anchors, crl);

		X509_CRL_free(crl);
		if (added != 1)
			return -1;
		count++;
	}
	return end_of_pem() ? count : -1;
}

/* Adds what ADD finds in PATH. Returns 0, or -1 with the reason in R. */
static int add_file(struct tls_trust *trust, const char *path, int (*add)(struct tls_trust *, BIO *),
                    const char *kind, const struct tls_origin *from, struct tls_report *r)
{
	struct blob b;
	BIO *bio;
	int count;

	if (read_file(path, &b, from, r) != 0)
		return -1;
	bio = BIO_new_mem_buf(b.data, (int)b.size);
	count = bio != NULL ? add(trust, bio) : -1;
	BIO_free(bio);
	blob_free(&b);
	if (count < 0)
		crypto_problem(r, from, path, kind);
	else if (count == 0)
		tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting, "%s: no %s in PEM form in it",
		               path, kind);
	return count > 0 ? 0 : -1;
}

/* Whether NAME is one that "openssl rehash" gives: eight hexadecimal digits, a dot, "r" for a CRL, a number. */
static bool hashed_name(const char *name, bool *is_crl)
{
	size_t hex = strspn(name, "0123456789abcdef");
	const char *rest = name + hex;

	if (hex != 8 || *rest++ != '.')
		return false;
	*is_crl = *rest == 'r';
	rest += *is_crl ? 1 : 0;
	return *rest != '\0' && strspn(rest, "0123456789") == strlen(rest);
}

/*
 * Loads a hashed folder whole. OpenSSL would open its files during handshakes, in workers that must not wait for a disk
 * and may have lost the right to read.
 */
static int add_folder(struct tls_trust *trust, const char *path, const struct tls_origin *from,
                      struct tls_report *r)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int files = 0, result = 0;
	bool is_crl;

	if (dir == NULL) {
		problem(r, from, path, strerror(errno));
		return -1;
	}
	while (result == 0 && (entry = readdir(dir)) != NULL) {
		char file[PATH_MAX];

		if (!hashed_name(entry->d_name, &is_crl) ||
		    snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= (int)sizeof(file))
			continue;
		result = is_crl ? add_file(trust, file, add_crls, "CRL", from, r)
		                : add_file(trust, file, add_anchors, "certificate", from, r);
		files++;
	}
	closedir(dir);
	if (result == 0 && files == 0) {
		problem(r, from, path, "no hashed certificate files in it: run \"openssl rehash\" on the folder");
		result = -1;
	}
	return result;
}

static int load_trust(struct tls_trust *trust, const struct tls_origin *from, struct tls_report *r)
{
	struct tls_origin where = *from;

	trust->anchors = X509_STORE_new();
	trust->issuers = sk_X509_NAME_new_null();
	if (trust->anchors == NULL || trust->issuers == NULL) {
		problem(r, from, trust->ca_list != NULL ? trust->ca_list : trust->ca_path,
		        "no shared memory to load it");
		return -1;
	}
	where.setting = "ca_list";
	if (trust->ca_list != NULL && add_file(trust, trust->ca_list, add_anchors, "certificate", &where, r) != 0)
		return -1;
	where.setting = "ca_path";
	if (trust->ca_path != NULL && add_folder(trust, trust->ca_path, &where, r) != 0)
		return -1;
	where.setting = "crl";
	if (trust->crl == NULL)
		return 0;
	if (add_file(trust, trust->crl, add_crls, "CRL", &where, r) != 0)
		return -1;
	return X509_STORE_set_flags(trust->anchors, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1 ? 0
	                                                                                                    : -1;
}

struct tls_trust *tls_store_trust(struct tls_store *store, const char *ca_list, const char *ca_path,
                                  const char *crl, const struct tls_origin *from, struct tls_report *r)
{
	struct tls_trust *trust;
	bool ok = true;

	for (trust = store->trusts; trust != NULL; trust = trust->next)
		if (same(trust->ca_list, ca_list) && same(trust->ca_path, ca_path) && same(trust->crl, crl))
			return trust;
	trust = tls_shared_alloc(sizeof(*trust));
	if (trust != NULL) {
		trust->ca_list = shared_copy(ca_list, &ok);
		trust->ca_path = shared_copy(ca_path, &ok);
		trust->crl = shared_copy(crl, &ok);
	}
	if (trust == NULL || !ok)
		problem(r, from, ca_list != NULL ? ca_list : ca_path, "no shared memory to load it");
	if (trust == NULL)
		return NULL;
	if (!ok || load_trust(trust, from, r) != 0) {
		trust_free(trust);
		return NULL;
	}
	trust->next = store->trusts;
	store->trusts = trust;
	return trust;
}

int tls_store_use_trust(SSL_CTX *ctx, struct tls_trust *trust)
{
	STACK_OF(X509_NAME) *issuers;

	SSL_CTX_set1_cert_store(ctx, trust->anchors);
	if (trust->issuers == NULL)
		return 0;
	issuers = sk_X509_NAME_deep_copy(trust->issuers, X509_NAME_dup, X509_NAME_free);
	if (issuers == NULL)
		return -1;
	SSL_CTX_set0_CA_list(ctx, issuers);
	return 0;
}
