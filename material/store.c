/*
 * material/store.c - keys, certificates, trust anchors and revocation lists from files, each distinct one loaded
 * once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Files are read into private memory and parsed in the shared world. An RSA key keeps blinding state that
 * belongs to one thread id, and after a fork every process has the same one: so no process signs with the
 * parsed key, each makes a copy when it first has to. EC and EdDSA keys keep no such state.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "material/store.h"
#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/keyfile.h"
#include "material/stamp.h"
#include "material/access.h"
#include "crypto/openssl/compat.h"
#include "tls_init.h"
#include "material/place.h"
#include "crypto/openssl/bundle.h"
#include "crypto/openssl/crl.h"
#include "crypto/openssl/anchors.h"
#include "crypto/openssl/chain.h"

#define FILE_MAX  (64 * 1024 * 1024)
#define WARN_DAYS 14

/*
 * Calls go on while a configuration is loaded: it leaves them this part of the shared memory, and these
 * bytes, at the least.
 */
#define RESERVED_PART 64
#define RESERVED_SIZE (256 * 1024)

/*
 * A CertificateRequest names the acceptable issuers. Above this many (a system's bundle, not a private CA)
 * they are left out: they would cost every handshake 10 KB and more, and no client chooses by them.
 */
#define NAMED_ISSUERS_MAX 32

enum kind { KEY, CHAIN, TRUST, WATCHED };

/*
 * What was said of an item when it was loaded: each configuration that takes it over says it again. SETTING counts
 * the origins that the loader was given.
 */
struct remark {
	struct remark *next;
	int setting;
	char text[];
};

/*
 * What keys, chains and trust have in common. One item may be in the stores of several configurations: each
 * counts in REFS, and a later configuration takes over the items of the one before whose files are unchanged.
 */
struct item {
	enum kind kind;
	atomic_int refs;
	struct tls_stamp stamp; /* of the files as they were when it was loaded */
	char *id;               /* the settings it was made from; may hold a password */
	struct remark *remarks;
};

struct tls_key {
	struct item item;
	EVP_PKEY *parsed;
	bool per_process;
	_Atomic(EVP_PKEY **) copies; /* one place a process, made with the first copy */
};

struct tls_chain {
	struct item item;
	struct tls_chain_file file;
};

struct tls_trust {
	struct item item;
	X509_STORE *anchors;
	STACK_OF(X509_NAME) *issuers; /* NULL: too many to be named */
	struct tls_anchors *loading;  /* NULL when all are loaded */
	struct remark *faults;        /* what is said only where peers are verified */
	struct tls_crls *lists;
};

struct tls_store {
	const struct tls_store *previous; /* only while it is being filled */
	struct item **items;
	int count, room;
};

/* ---- reading files */

/* A file's content, in private memory. */
struct blob {
	char *data;
	size_t size;
};

/* What an item is loaded from; what it has not is NULL. */
struct files {
	const char *main, *folder, *crl, *password;
};

static const char *text(const char *s)
{
	return s != NULL ? s : "";
}

static void problem(struct tls_report *r, const struct tls_origin *from, const char *path, const char *what)
{
	tls_report_add(r, TLS_ERROR, from->file, from->line, from->setting, "%s: %s", path, what);
}

bool tls_store_memory_short(void)
{
	size_t left = tls_mem_available();

	return left < RESERVED_SIZE || left < shm_mem_size / RESERVED_PART;
}

/* Says what OpenSSL says of PATH, or that there is not the memory for it. */
static void crypto_problem(struct tls_report *r, const struct tls_origin *from, const char *path,
                           const char *what)
{
	tls_place_refused(&(struct tls_place){.path = path, .from = from, .report = r}, 0, what);
}

static void blob_free(struct blob *b)
{
	if (b->data != NULL)
		OPENSSL_cleanse(b->data, b->size);
	free(b->data);
	b->data = NULL;
}

/* Why no file like ST is read, NULL when it is. */
static const char *unfit(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (st->st_size == 0)
		return "the file is empty";
	return st->st_size > FILE_MAX ? "the file is larger than 64 MB" : NULL;
}

/* Fills OUT, as far as the file goes, and tells in *GOT how far that is. Returns NULL, or why it cannot. */
static const char *read_bytes(int fd, struct blob *out, size_t *got)
{
	ssize_t n = 1;

	*got = 0;
	while (*got < out->size && n != 0) {
		n = read(fd, out->data + *got, out->size - *got);
		if (n < 0 && errno != EINTR)
			return strerror(errno);
		*got += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

/*
 * Half of an old file and half of a new one may parse: what somebody writes to meanwhile is refused. One byte more
 * is asked for than there should be, as a file may have grown.
 */
static const char *read_all(int fd, struct blob *out)
{
	struct stat before, after;
	const char *reason;
	size_t got;

	if (fstat(fd, &before) != 0)
		return strerror(errno);
	reason = unfit(&before);
	if (reason != NULL)
		return reason;
	out->size = (size_t)before.st_size + 1;
	out->data = malloc(out->size);
	if (out->data == NULL)
		return "no memory to read it";
	reason = read_bytes(fd, out, &got);
	if (reason != NULL)
		return reason;
	if (fstat(fd, &after) != 0)
		return strerror(errno);
	if (got != (size_t)before.st_size || after.st_size != before.st_size ||
	    after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
		return "it changed while it was read; try again";
	out->size = got;
	return NULL;
}

/* Reads PATH whole into OUT. Returns 0, or -1 with the reason in R and OUT empty. */
static int read_file(const char *path, struct blob *out, const struct tls_origin *from, struct tls_report *r)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char room[PATH_MAX + 128];
	const char *reason = fd < 0 ? tls_access_reason(path, room, sizeof(room)) : NULL;

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

/* ---- the store */

struct tls_store *tls_store_new(const struct tls_store *previous)
{
	struct tls_store *store = tls_shared_alloc(sizeof(*store));

	if (store != NULL)
		store->previous = previous;
	return store;
}

void tls_store_seal(struct tls_store *store)
{
	store->previous = NULL;
}

static void free_remarks(struct remark *remark)
{
	while (remark != NULL) {
		struct remark *next = remark->next;

		tls_shared_free(remark);
		remark = next;
	}
}

static void free_key(struct tls_key *key)
{
	EVP_PKEY **copies = atomic_load(&key->copies);

	for (int i = 0; copies != NULL && i < get_max_procs(); i++)
		EVP_PKEY_free(copies[i]);
	tls_shared_free(copies);
	EVP_PKEY_free(key->parsed);
}

static void free_chain(struct tls_chain *chain)
{
	X509_free(chain->file.leaf);
	sk_X509_pop_free(chain->file.others, X509_free);
	tls_shared_free(chain->file.lines);
	tls_shared_free(chain->file.path);
}

static void free_trust(struct tls_trust *trust)
{
	X509_STORE_free(trust->anchors);
	sk_X509_NAME_pop_free(trust->issuers, X509_NAME_free);
	tls_anchors_free(trust->loading);
	free_remarks(trust->faults);
	tls_crls_free(trust->lists);
}

/* Lets go of ITEM; the last one frees it. */
static void drop_item(struct item *item)
{
	if (atomic_fetch_sub(&item->refs, 1) != 1)
		return;
	switch (item->kind) {
	case KEY: free_key((struct tls_key *)item); break;
	case CHAIN: free_chain((struct tls_chain *)item); break;
	case TRUST: free_trust((struct tls_trust *)item); break;
	case WATCHED: break;
	}
	if (item->id != NULL)
		OPENSSL_cleanse(item->id, strlen(item->id));
	tls_shared_free(item->id);
	free_remarks(item->remarks);
	tls_shared_free(item);
}

void tls_store_free(struct tls_store *store)
{
	if (store == NULL)
		return;
	for (int i = 0; i < store->count; i++)
		drop_item(store->items[i]);
	tls_shared_free(store->items);
	tls_shared_free(store);
}

static struct item *find_item(const struct tls_store *store, enum kind kind, const char *id)
{
	for (int i = 0; store != NULL && i < store->count; i++)
		if (store->items[i]->kind == kind && strcmp(store->items[i]->id, id) == 0)
			return store->items[i];
	return NULL;
}

/*
 * Puts ITEM, whose one reference the store takes over, into STORE. Returns 0, -1 without memory (the
 * reference stays).
 */
static int keep_item(struct tls_store *store, struct item *item)
{
	if (store->count == store->room) {
		int room = store->room > 0 ? 2 * store->room : 16;
		struct item **items = tls_shared_alloc((size_t)room * sizeof(struct item *));

		if (items == NULL)
			return -1;
		if (store->count > 0)
			memcpy(items, store->items, (size_t)store->count * sizeof(struct item *));
		tls_shared_free(store->items);
		store->items = items;
		store->room = room;
	}
	store->items[store->count++] = item;
	return 0;
}

/* Keeps the warnings of SAID in LAST. Without memory a later configuration does without them. */
static void keep_remarks(struct remark **last, const struct tls_report *said)
{
	for (const struct tls_problem *p = said->first; p != NULL; p = p->next) {
		struct remark *remark = p->severity == TLS_WARNING
		                            ? tls_shared_alloc(sizeof(*remark) + strlen(p->text) + 1)
		                            : NULL;

		if (remark == NULL)
			continue;
		remark->setting = p->line;
		strcpy(remark->text, p->text);
		*last = remark;
		last = &remark->next;
	}
}

static void say(struct tls_report *r, enum tls_severity severity, const struct tls_origin *from,
                const char *text)
{
	tls_report_add(r, severity, from->file, from->line, from->setting, "%s", text);
}

static void say_remarks(const struct remark *remark, const struct tls_origin *from, struct tls_report *r)
{
	for (; remark != NULL; remark = remark->next)
		say(r, TLS_WARNING, &from[remark->setting], remark->text);
}

/*
 * The item of STORE, or, when its files are as they were, of the configuration before. NULL: it has to be
 * loaded.
 */
static struct item *known_item(struct tls_store *store, enum kind kind, const char *id,
                               const struct tls_stamp *stamp, const struct tls_origin *from,
                               struct tls_report *r)
{
	struct item *item = find_item(store, kind, id);

	if (item != NULL)
		return item;
	item = find_item(store->previous, kind, id);
	if (item == NULL || memcmp(&item->stamp, stamp, sizeof(*stamp)) != 0)
		return NULL;
	atomic_fetch_add(&item->refs, 1);
	if (keep_item(store, item) != 0) {
		drop_item(item);
		return NULL;
	}
	say_remarks(item->remarks, from, r);
	return item;
}

/* A new item of SIZE bytes that nobody owns but the caller. NULL without memory. */
static struct item *new_item(enum kind kind, size_t size, const char *id, const struct tls_stamp *stamp)
{
	struct item *item = tls_shared_alloc(size);

	if (item == NULL)
		return NULL;
	item->kind = kind;
	atomic_init(&item->refs, 1);
	item->stamp = *stamp;
	item->id = tls_shared_strdup(id);
	if (item->id != NULL)
		return item;
	tls_shared_free(item);
	return NULL;
}

/* What to call an item of FILES in a message. */
static const char *first_path(const struct files *files)
{
	return files->main != NULL ? files->main : files->folder != NULL ? files->folder : text(files->crl);
}

/* Fills ITEM from FILES, which are set at FROM. Returns 0, or -1 with the reason in R. */
typedef int item_loader(struct item *item, const struct files *files, const struct tls_origin *from,
                        struct tls_report *r);

/* Runs LOAD, and reports what it says as of the settings at FROM. Returns what it does. */
static int load_and_say(struct item *item, const struct files *files, item_loader *load,
                        const struct tls_origin *from, struct tls_report *r)
{
	const struct tls_origin counted[] = {{.line = 0}, {.line = 1}, {.line = 2}};
	struct tls_report said;
	int result;

	tls_report_init(&said);
	result = load(item, files, counted, &said);
	for (const struct tls_problem *p = said.first; p != NULL; p = p->next)
		say(r, p->severity, &from[p->line], p->text);
	if (result == 0)
		keep_remarks(&item->remarks, &said);
	tls_report_clear(&said);
	return result;
}

static struct item *load_item(struct tls_store *store, enum kind kind, size_t size, const char *id,
                              const struct tls_stamp *stamp, const struct files *files, item_loader *load,
                              const struct tls_origin *from, struct tls_report *r)
{
	const char *path = first_path(files);
	struct item *item = new_item(kind, size, id, stamp);

	if (item == NULL) {
		problem(r, from, path, "no shared memory to load it");
		return NULL;
	}
	if (load_and_say(item, files, load, from, r) != 0) {
		drop_item(item);
		return NULL;
	}
	if (keep_item(store, item) == 0)
		return item;
	problem(r, from, path, "no shared memory to keep it");
	drop_item(item);
	return NULL;
}

/*
 * The item of KIND for ID from FILES: a known one, or a new one that LOAD has filled. NULL with the reason in
 * R. The stamp is taken before loading, so that a file that changes meanwhile is loaded again by the next
 * reload.
 */
static struct item *get_item(struct tls_store *store, enum kind kind, size_t size, const struct files *files,
                             item_loader *load, const struct tls_origin *from, struct tls_report *r)
{
	char id[4 * PATH_MAX];
	struct tls_stamp stamp = tls_stamp_take(files->main, files->folder, files->crl);
	struct item *item = NULL;
	int n = snprintf(id, sizeof(id), "%s\n%s\n%s\n%s", text(files->main), text(files->folder),
	                 text(files->crl), text(files->password));

	if (n >= (int)sizeof(id))
		problem(r, from, first_path(files), "paths and password are too long");
	else if ((item = known_item(store, kind, id, &stamp, from, r)) == NULL)
		item = load_item(store, kind, size, id, &stamp, files, load, from, r);
	OPENSSL_cleanse(id, sizeof(id));
	return item;
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

/* Debian gives keys to root and the group ssl-cert, so a group may read one. */
static void warn_of_readers(const char *path, const struct tls_origin *from, struct tls_report *r)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		tls_report_add(r, TLS_WARNING, from->file, from->line, from->setting,
		               "%s: every user of this machine may %s this private key; run chmod o-rw on it", path,
		               (st.st_mode & S_IROTH) != 0 ? "read" : "write");
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

/* How the packaged module names a key of an engine or a provider. */
static bool in_hardware(const char *path)
{
	return strncmp(path, "/engine:", strlen("/engine:")) == 0 || strncmp(path, "/uri:", strlen("/uri:")) == 0;
}

/* No key was read from B, the content of the file of FILES: says why, or what it is instead. */
static void no_key(const struct blob *b, const struct files *files, const struct tls_origin *from,
                   struct tls_report *r)
{
	bool password = text(files->password)[0] != '\0';
	char room[2 * PATH_MAX];
	const char *other = tls_keyfile_explain(b->data, b->size, files->main, password, room, sizeof(room));

	if (other == NULL) {
		crypto_problem(r, from, files->main,
		               password ? "no private key that private_key_password opens"
		                        : "no private key (an encrypted one needs private_key_password)");
		return;
	}
	ERR_clear_error();
	problem(r, from, files->main, other);
}

static int load_key(struct item *item, const struct files *files, const struct tls_origin *from,
                    struct tls_report *r)
{
	struct tls_key *key = (struct tls_key *)item;
	struct blob b;

	if (in_hardware(files->main)) {
		problem(r, from, files->main, "keys in hardware are not served; name a file");
		return -1;
	}
	if (read_file(files->main, &b, from, r) != 0)
		return -1;
	key->parsed = parse_key(&b, files->password);
	if (key->parsed == NULL)
		no_key(&b, files, from, r);
	blob_free(&b);
	if (key->parsed == NULL)
		return -1;
	key->per_process = EVP_PKEY_is_a(key->parsed, "RSA") == 1 || EVP_PKEY_is_a(key->parsed, "RSA-PSS") == 1;
	return 0;
}

struct tls_key *tls_store_key(struct tls_store *store, const char *path, const char *password,
                              const struct tls_origin *from, struct tls_report *r)
{
	struct files files = {.main = path, .password = password};
	int before = store->count;
	struct tls_key *key = (struct tls_key *)get_item(store, KEY, sizeof(struct tls_key), &files, load_key,
	                                                 from, r);

	if (key != NULL && store->count > before)
		warn_of_readers(path, from, r);
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

/*
 * A copy of KEY. NULL without memory: also when the copy is there, but OpenSSL 3.6 could not note down how
 * large it is.
 */
static EVP_PKEY *copy_of(EVP_PKEY *key)
{
	EVP_PKEY *copy = EVP_PKEY_dup(key);

	if (copy == NULL || EVP_PKEY_get_size(copy) > 0)
		return copy;
	EVP_PKEY_free(copy);
	return NULL;
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
		copies[process_no] = copy_of(key->parsed);
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

/* Notes that the certificate NUMBER, from 0, begins in LINE. Returns 0, -1 without memory. */
static int note_line(struct tls_chain_file *file, int number, int line)
{
	if (number % 16 == 0) {
		int *lines = tls_shared_alloc((size_t)(number + 16) * sizeof(*lines));

		if (lines == NULL)
			return -1;
		if (number > 0)
			memcpy(lines, file->lines, (size_t)number * sizeof(*lines));
		tls_shared_free(file->lines);
		file->lines = lines;
	}
	file->lines[number] = line;
	return 0;
}

/* Reads the leaf and then the rest from B. Returns 0, or -1 (B knows why, or memory is short). */
static int parse_chain(struct tls_bundle *b, struct tls_chain_file *file)
{
	X509 *x;

	file->leaf = tls_bundle_certificate(b);
	file->others = sk_X509_new_null();
	if (file->leaf == NULL || file->others == NULL || note_line(file, 0, b->line) != 0)
		return -1;
	while ((x = tls_bundle_certificate(b)) != NULL)
		if (sk_X509_push(file->others, x) == 0) {
			X509_free(x);
			return -1;
		} else if (note_line(file, sk_X509_num(file->others), b->line) != 0) {
			return -1;
		}
	file->unread = b->unread > 0;
	return 0;
}

static int load_chain(struct item *item, const struct files *files, const struct tls_origin *from,
                      struct tls_report *r)
{
	struct tls_place at = {.path = files->main, .from = from, .report = r};
	struct tls_chain_file *file = &((struct tls_chain *)item)->file;
	struct tls_bundle bundle;
	struct blob b;
	int result;

	if (read_file(files->main, &b, from, r) != 0)
		return -1;
	tls_bundle_open(&bundle, b.data, b.size, &at);
	result = parse_chain(&bundle, file);
	file->path = tls_shared_strdup(files->main);
	if (tls_bundle_end(&bundle, "certificate") != 0)
		result = -1;
	else if (result != 0 || file->path == NULL)
		tls_place_refused(&at, 0, "not loaded");
	blob_free(&b);
	return file->path != NULL ? result : -1;
}

struct tls_chain *tls_store_chain(struct tls_store *store, const char *path, const struct tls_origin *from,
                                  struct tls_report *r)
{
	struct files files = {.main = path};
	int before = store->count;
	struct tls_chain *chain = (struct tls_chain *)get_item(store, CHAIN, sizeof(struct tls_chain), &files,
	                                                       load_chain, from, r);

	if (chain != NULL && store->count > before)
		warn_of_dates(chain->file.leaf, path, from, r);
	return chain;
}

X509 *tls_chain_certificate(const struct tls_chain *chain)
{
	return chain->file.leaf;
}

const struct tls_chain_file *tls_chain_file(const struct tls_chain *chain)
{
	return &chain->file;
}

/* How much of ITEM's id is the path of its file. */
static int path_length(const struct item *item)
{
	return (int)strcspn(item->id, "\n");
}

static long refused_allocations(void)
{
	struct tls_mem_stats mem;

	tls_mem_get_stats(&mem);
	return mem.refused;
}

/*
 * A certificate that came alone is shown with the authorities above it, as far as CTX trusts them, but for the
 * root. OpenSSL would look for them in each handshake. Returns 0, -1 without memory.
 */
static int complete_chain(SSL_CTX *ctx)
{
	const int flags = SSL_BUILD_CHAIN_FLAG_NO_ROOT | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR;
	long before = refused_allocations();

	SSL_CTX_build_cert_chain(ctx, flags);
	ERR_clear_error();
	return refused_allocations() == before ? 0 : -1;
}

/* Says where the certificate of KEY is, if it is anywhere. */
static void wrong_key(const struct tls_chain *chain, const struct tls_key *key,
                      const struct tls_origin from[2], struct tls_report *r)
{
	const struct tls_chain_file *file = &chain->file;
	const struct tls_place at = {.path = file->path, .from = &from[0], .report = r};
	int owner = tls_chain_owner(file, key->parsed);
	char subject[256];

	ERR_clear_error();
	if (owner == 0) {
		tls_report_add(r, TLS_ERROR, from[1].file, from[1].line, from[1].setting,
		               "%.*s: the key is not that of the certificate in %s", path_length(&key->item),
		               key->item.id, file->path);
		return;
	}
	tls_anchors_name(X509_get_subject_name(sk_X509_value(file->others, owner - 1)), subject, sizeof(subject));
	tls_place_say(&at, TLS_ERROR, file->lines[owner],
	              "the private key belongs to this certificate, \"%s\", which is number %d in the file; the "
	              "server's own must be first, and those of the authorities behind it",
	              subject, owner + 1);
}

int tls_store_use_pair(SSL_CTX *ctx, struct tls_chain *chain, struct tls_key *key,
                       const struct tls_origin from[2], struct tls_report *r)
{
	const struct tls_chain_file *file = &chain->file;
	const struct tls_place at = {.path = file->path, .from = &from[0], .report = r};

	if (X509_check_private_key(file->leaf, key->parsed) != 1) {
		wrong_key(chain, key, from, r);
		return -1;
	}
	if (SSL_CTX_use_cert_and_key(ctx, file->leaf, key->parsed, file->others, 1) != 1) {
		char reason[256];

		tls_place_say(&at, TLS_ERROR, 0, "OpenSSL cannot use it: %s",
		              tls_init_errors(reason, sizeof(reason)));
		return -1;
	}
	if (sk_X509_num(file->others) > 0 || complete_chain(ctx) == 0)
		return 0;
	tls_place_say(&at, TLS_ERROR, 0, "no shared memory to use it");
	return -1;
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

static int add_anchors(struct tls_trust *trust, struct tls_bundle *b)
{
	X509 *x;

	while ((x = tls_bundle_certificate(b)) != NULL) {
		int added = X509_STORE_add_cert(trust->anchors, x);

		if (added == 1)
			added = note_issuer(trust, x) == 0 && tls_anchors_add(trust->loading, x, &b->at, b->line) == 0;
		X509_free(x);
		if (added != 1)
			return -1;
	}
	return 0;
}

static int add_crls(struct tls_trust *trust, struct tls_bundle *b)
{
	X509_CRL *crl;

	while ((crl = tls_bundle_crl(b)) != NULL) {
		int added = tls_crls_add(&trust->lists, crl, b->at.path, b->line) == 0;

		if (added == 1 && !tls_crls_is_delta(crl))
			added = X509_STORE_add_crl(trust->anchors, crl);
		X509_CRL_free(crl);
		if (added != 1)
			return -1;
	}
	return 0;
}

/* What a file of a trust store may hold. */
struct content {
	const char *name;
	int (*add)(struct tls_trust *trust, struct tls_bundle *b); /* returns 0, -1 without memory */
};

static const struct content certificates = {"certificate", add_anchors};
static const struct content crls = {"CRL", add_crls};

/* Adds the CONTENT of PATH. Returns 0, or -1 with the reason in R. */
static int add_file(struct tls_trust *trust, const char *path, const struct content *content,
                    const struct tls_origin *from, struct tls_report *r)
{
	struct tls_place at = {.path = path, .from = from, .report = r};
	struct tls_bundle bundle;
	struct blob b;
	int result;

	if (read_file(path, &b, from, r) != 0)
		return -1;
	tls_bundle_open(&bundle, b.data, b.size, &at);
	result = content->add(trust, &bundle);
	if (result != 0)
		tls_place_refused(&at, bundle.line, "cannot be loaded");
	else
		result = tls_bundle_end(&bundle, content->name);
	blob_free(&b);
	return result;
}

/*
 * Loads a hashed folder whole. OpenSSL would open its files during handshakes, in workers that must not wait
 * for a disk and may have lost the right to read.
 */
static int add_folder(struct tls_trust *trust, const char *path, const struct tls_origin *from,
                      struct tls_report *r)
{
	DIR *dir = opendir(path);
	char file[PATH_MAX];
	int files = 0, result = 0;
	bool is_crl;

	if (dir == NULL) {
		problem(r, from, path, tls_access_reason(path, file, sizeof(file)));
		return -1;
	}
	while (result == 0 && tls_folder_next(dir, path, file, sizeof(file), &is_crl)) {
		result = is_crl ? add_file(trust, file, &crls, from, r)
		                : add_file(trust, file, &certificates, from, r);
		files++;
	}
	closedir(dir);
	if (result == 0 && files == 0) {
		problem(r, from, path, "no hashed certificate files in it: run \"openssl rehash\" on the folder");
		result = -1;
	}
	return result;
}

/* When all of TRUST is there. */
static void judge(struct tls_trust *trust)
{
	struct tls_report said;

	tls_report_init(&said);
	tls_anchors_judge(trust->loading, &said);
	keep_remarks(&trust->faults, &said);
	tls_report_clear(&said);
	tls_anchors_free(trust->loading);
	trust->loading = NULL;
}

static int load_trust(struct item *item, const struct files *files, const struct tls_origin *from,
                      struct tls_report *r)
{
	struct tls_trust *trust = (struct tls_trust *)item;

	trust->anchors = X509_STORE_new();
	trust->issuers = sk_X509_NAME_new_null();
	trust->loading = tls_anchors_new();
	if (trust->anchors == NULL || trust->issuers == NULL || trust->loading == NULL) {
		problem(r, from, text(files->main), "no memory to load it");
		return -1;
	}
	if (files->main != NULL && add_file(trust, files->main, &certificates, &from[0], r) != 0)
		return -1;
	if (files->folder != NULL && add_folder(trust, files->folder, &from[1], r) != 0)
		return -1;
	if (files->crl != NULL && add_file(trust, files->crl, &crls, &from[2], r) != 0)
		return -1;
	if (files->crl != NULL &&
	    X509_STORE_set_flags(trust->anchors, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1) {
		crypto_problem(r, from, files->crl, "the lists cannot be put to use");
		return -1;
	}
	judge(trust);
	return 0;
}

X509_STORE *tls_trust_anchors(const struct tls_trust *trust)
{
	return trust->anchors;
}

void tls_trust_say(const struct tls_trust *trust, const char *crl, const struct tls_origin from[3],
                   struct tls_report *r)
{
	struct tls_place at = {.path = crl, .from = &from[2], .report = r};

	say_remarks(trust->faults, from, r);
	if (crl != NULL)
		tls_crls_check(trust->lists, trust->anchors, &at);
}

struct tls_trust *tls_store_trust(struct tls_store *store, const char *ca_list, const char *ca_path,
                                  const char *crl, const struct tls_origin from[3], struct tls_report *r)
{
	struct files files = {.main = ca_list, .folder = ca_path, .crl = crl};

	return (struct tls_trust *)get_item(store, TRUST, sizeof(struct tls_trust), &files, load_trust, from, r);
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

/* ---- watching files */

static int load_nothing(struct item *item, const struct files *files, const struct tls_origin *from,
                        struct tls_report *r)
{
	(void)item;
	(void)files;
	(void)from;
	(void)r;
	return 0;
}

/*
 * Whether PATH was written or replaced at TIME, nanoseconds since 1970, or later. A file from the future was
 * not: the clock has been set back since. It would look changed to each look at it until that future is here.
 */
static bool changed_since(const char *path, int64_t time)
{
	struct timespec now;
	struct stat st;
	int64_t changed;

	if (stat(path, &st) != 0)
		return false;
	changed = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	clock_gettime(CLOCK_REALTIME, &now);
	return changed >= time && changed <= (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int tls_store_watch(struct tls_store *store, const char *path, int64_t read_at, struct tls_report *r)
{
	struct files files = {.main = path};
	struct tls_origin from = {.file = path};
	struct item *item = get_item(store, WATCHED, sizeof(struct item), &files, load_nothing, &from, r);

	if (item == NULL)
		return -1;
	if (atomic_load(&item->refs) == 1 && changed_since(path, read_at))
		item->stamp.file = ~item->stamp.file;
	return 0;
}

/* Adds one of the paths of an item to LOOK, which WAS so when it was loaded and is so NOW. */
static void look_at(struct tls_look *look, const char *path, uint64_t was, uint64_t now, int mode)
{
	if (path == NULL)
		return;
	if (now != TLS_STAMP_HIDDEN && now != was)
		look->changed++;
	if (now != TLS_STAMP_HIDDEN && (access(path, mode) == 0 || errno != EACCES))
		return;
	if (look->unreadable++ == 0)
		snprintf(look->first, sizeof(look->first), "%s", path);
}

static const char *next_path(char **rest)
{
	const char *path = strsep(rest, "\n");

	return path != NULL && path[0] != '\0' ? path : NULL;
}

static void look_at_item(struct tls_look *look, const struct item *item)
{
	char *copy = strdup(item->id), *rest = copy;
	struct files f = {0};
	struct tls_stamp now;

	if (copy == NULL)
		return;
	f.main = next_path(&rest);
	f.folder = next_path(&rest);
	f.crl = next_path(&rest);
	now = tls_stamp_take(f.main, f.folder, f.crl);
	look_at(look, f.main, item->stamp.file, now.file, R_OK);
	look_at(look, f.folder, item->stamp.folder, now.folder, R_OK | X_OK);
	look_at(look, f.crl, item->stamp.crl, now.crl, R_OK);
	look->stamp = tls_stamp_mix(look->stamp, &now);
	OPENSSL_cleanse(copy, strlen(item->id));
	free(copy);
}

void tls_store_look(const struct tls_store *store, struct tls_look *look)
{
	memset(look, 0, sizeof(*look));
	for (int i = 0; i < store->count; i++)
		look_at_item(look, store->items[i]);
}
