/*
 * tls.h - what the files of this module share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Nothing here includes a header of the host or of OpenSSL: tls_config.c and its tests and fuzzers need
 * neither. The rooms that need them include them through tls_compat.h.
 *
 * Who may know whom (lower never calls upper):
 *
 *   tls_mod -> tls_rpc, tls_select -> tls_server -> tls_domain, tls_verify -> tls_session, tls_config
 *           -> tls_init -> tls_random, tls_mem -> tls_heap -> the host's shared memory
 */
#ifndef TLS_H
#define TLS_H

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;
struct evp_pkey_st;
struct ossl_lib_ctx_st;
struct tcp_connection;
struct tls_connection;
struct sip_msg;

#define TLS_FORMAT(fmt, first) __attribute__((format(printf, fmt, first)))

/* ------------------------------------- settings: tls_settings.c, tls_report.c, tls_config.c ------------- */

enum tls_role { TLS_SERVER, TLS_CLIENT };

/* Protocol versions as a range: `method` names the lowest and, without "+", also the highest. */
enum tls_method {
	TLS_METHOD_UNSET = -1,
	TLS_METHOD_ANY, /* "SSLv23": whatever the library still accepts */
	TLS_METHOD_1_0,
	TLS_METHOD_1_0_PLUS,
	TLS_METHOD_1_1,
	TLS_METHOD_1_1_PLUS,
	TLS_METHOD_1_2,
	TLS_METHOD_1_2_PLUS,
	TLS_METHOD_1_3,
	TLS_METHOD_1_3_PLUS,
	TLS_METHOD_SSL2, /* only recognised to be refused with a reason */
	TLS_METHOD_SSL3,
};

enum tls_verify_client {
	TLS_VERIFY_CLIENT_UNSET = -1,
	TLS_VERIFY_CLIENT_OFF,
	TLS_VERIFY_CLIENT_ON,
	TLS_VERIFY_CLIENT_OPTIONAL,
	TLS_VERIFY_CLIENT_OPTIONAL_NO_CA,
};

/* What is offered and taken where a section says nothing of it: security_profile. */
enum tls_security_profile { TLS_SECURITY_COMPATIBLE, TLS_SECURITY_RFC9325 };

/* What a peer's certificate must be for: verify_purpose. */
enum tls_verify_purpose {
	TLS_PURPOSE_STRICT, /* the role that the peer has in TLS */
	TLS_PURPOSE_SIP,    /* TLS in either role, SIP (RFC 5924), or all */
	TLS_PURPOSE_ANY,
};

enum tls_name_mode { TLS_NAME_EXACT, TLS_NAME_AND_SUBDOMAINS, TLS_NAME_SUBDOMAINS };

/* An integer nobody has set. A string nobody has set is NULL. */
#define TLS_UNSET INT32_MIN

/*
 * What one domain is made of. Strings are malloc'ed and owned by the struct (tls_settings_free()), except in
 * the struct that holds the module parameters, where the host owns them.
 */
struct tls_settings {
	int method;
	int verify_certificate;
	int require_certificate;
	int verify_client;
	int verify_depth;
	int verify_name;
	int verify_name_wildcard;
	int security_profile;
	int verify_purpose;
	int reuse_verified_only;
	int server_name_mode;
	char *certificate;
	char *private_key;
	char *private_key_password;
	char *certificate2;
	char *private_key2;
	char *private_key_password2;
	char *ca_list;
	char *ca_path;
	char *crl;
	char *cipher_list;
	char *groups;
	char *server_name;
	char *server_id;
};

/*
 * What the module as a whole is told. Every field is an int or a char * and has a row in the table: the
 * host's run-time configuration is laid out by that (tls_runtime.c).
 */
struct tls_options {
	int send_timeout;       /* seconds */
	int handshake_timeout;  /* seconds */
	int connection_timeout; /* seconds, -1 never */
	int disable_compression;
	int certificate_compression;
	int match_profile;
	int log;                /* log level, as the host counts them */
	int debug;              /* log level */
	int low_mem_threshold1; /* KB, -1 default, 0 off */
	int low_mem_threshold2; /* KB, -1 default, 0 off */
	int force_run;
	int session_cache;
	int session_lifetime; /* seconds from the full handshake */
	int renegotiation;
	int ssl_release_buffers; /* -1: the module's choice */
	int ssl_freelist_max_len;
	int ssl_max_send_fragment;
	int ssl_read_ahead;
	int send_close_notify;
	int con_ct_wq_max;  /* bytes of cleartext that one connection may hold back until its handshake is done */
	int ct_wq_max;      /* bytes, all connections together */
	int ct_wq_blk_size; /* bytes, smallest block of such a queue */
	int keylog_mode;
	int provider_quirks;
	int init_mode;
	int key_password_mode;
	int max_handshakes_per_address; /* 0: no limit */
	int max_certificate_chain;      /* bytes */
	int dump_shared_memory;
	int unknown_server_name; /* 0: the default domain, 1: alert unrecognized_name */
	int unknown_server_id;   /* 0: another domain, 1: no connection */
	int reload_on_change;    /* seconds between looks at the files, 0: never */
	char *config;
	char *session_id;
	char *xavp_cfg;
	char *event_callback;
	char *keylog_file;
	char *keylog_peer;
	char *engine;
	char *engine_config;
	char *engine_algorithms;
	char *provider_quirks_config;
	char *rand_engine;
};

enum tls_value_type { TLS_INT, TLS_BOOL, TLS_STRING, TLS_CHOICE };

enum {
	TLS_OF_DOMAIN = 1 << 0,   /* lives in struct tls_settings, else in struct tls_options */
	TLS_IN_MODPARAM = 1 << 1, /* modparam("tls", name, ...) */
	TLS_IN_FILE = 1 << 2,     /* a key of tls.cfg */
	TLS_AT_RUNTIME = 1 << 3,  /* cfg.set_now_* may change it */
	TLS_IGNORED = 1 << 4,     /* accepted, has no effect, said once at start */
	TLS_SECRET = 1 << 5,      /* never printed */
	TLS_IS_PATH = 1 << 6,     /* a file or folder: made absolute by tls_config_resolve() */
};

struct tls_choice {
	const char *word;
	int value;
};

/*
 * One setting. This table is the only place that binds a name to a field: parsing, presets, checks,
 * run-time configuration, printing, freeing and the reference in doc/ walk it.
 */
struct tls_setting {
	const char *name;
	const char *alias;    /* second name in tls.cfg or modparam, NULL: none */
	const char *run_name; /* name in the run-time group "tls", NULL: not there */
	enum tls_value_type type;
	unsigned flags;
	size_t offset;
	int preset; /* for TLS_INT, TLS_BOOL, TLS_CHOICE */
	int min, max;
	const struct tls_choice *choices; /* ends with a NULL word */
	const char *text_preset;          /* for TLS_STRING; NULL: none */
	const char *unit;                 /* "s", "KB", "bytes" or NULL */
	const char *meaning;              /* one line for the reference */
};

/* The table, ended by a row whose name is NULL. */
extern const struct tls_setting tls_settings_table[];

/* How bad a problem is: errors stop a start or a reload, warnings are logged and passed over. */
enum tls_severity { TLS_WARNING, TLS_ERROR };

struct tls_problem {
	struct tls_problem *next;
	enum tls_severity severity;
	int line;   /* 0: not in a file */
	char *text; /* complete and clean: "FILE:LINE: SETTING: what is wrong; what is allowed or what to do" */
};

/*
 * The size in bytes of the character at S, which must not be at its end: 1 to 4; 0 when it is a control
 * character or no UTF-8. What is neither may stand in logs and in RPC answers.
 */
size_t tls_text_character(const char *s);

/* Puts a '?' in the place of each byte of TEXT that tls_text_character() takes for nothing; returns TEXT. */
char *tls_text_clean(char *text);

/* Problems in the order in which they were found. All memory is libc's. */
struct tls_report {
	struct tls_problem *first, **last;
	int errors, warnings;
};

/* Makes an empty report of R. */
void tls_report_init(struct tls_report *r);

/* Frees what R holds and empties it. */
void tls_report_clear(struct tls_report *r);

/*
 * Adds a problem. FILE may be NULL (module parameter), LINE 0, SETTING NULL. Never fails: when memory is
 * short the count still rises and a fixed text stands in.
 */
void tls_report_add(struct tls_report *r, enum tls_severity severity, const char *file, int line,
                    const char *setting, const char *format, ...) TLS_FORMAT(6, 7);

enum tls_section_kind { TLS_SECTION_DEFAULT, TLS_SECTION_ANY, TLS_SECTION_ADDRESS };

struct tls_address {
	int family;     /* 4 or 6, 0: none */
	uint8_t ip[16]; /* network order, an IPv4 address in the first four */
	uint16_t port;  /* host order, 0: any */
};

/* A section of tls.cfg, or the two that the module parameters make. */
struct tls_section {
	struct tls_section *next;
	enum tls_role role;
	enum tls_section_kind kind;
	struct tls_address address;
	const char *file; /* that it stands in, of the configuration's; NULL: no file */
	int line;         /* of the section's head, 0: no file */
	int *
		set_lines; /* line at which each row of the table was set, 0: not set here; below 0: to a bad value */
	bool unsure;   /* a mistake may have been meant to set what is not set */
	struct tls_settings settings;
};

/* A file that was read. */
struct tls_config_file {
	struct tls_config_file *next;
	char name[];
};

/* Sections in the files' order; both default sections are always there, in whatever order. */
struct tls_config {
	char *file;      /* what it was read from, a file or a folder; NULL: made from module parameters */
	int64_t read_at; /* when reading began, in nanoseconds since 1970; 0: unknown */
	struct tls_config_file *files;
	struct tls_section *sections;
	bool unsure; /* a mistake may have been meant as one of the default sections */
};

/* Sets every field that a table row binds to "unset". */
void tls_settings_init(struct tls_settings *s);
void tls_options_init(struct tls_options *o);

/* Sets every unset field of S to its preset (strings: a copy). Returns 0, -1 when memory is short. */
int tls_settings_preset(struct tls_settings *s);

/* Sets every unset string and integer of O to its preset; text presets are not copied. */
void tls_options_preset(struct tls_options *o);

/* Frees the strings of S and sets every field to "unset". */
void tls_settings_free(struct tls_settings *s);

/* Copies S to TO, which is taken as uninitialised. Returns 0, -1 when memory is short. */
int tls_settings_copy(struct tls_settings *to, const struct tls_settings *s);

/* The row called NAME (name or alias, in any case) with all of FLAGS, NULL: none. */
const struct tls_setting *tls_setting_find(const char *name, unsigned flags);

/*
 * Gives the setting ROW in BASE (a struct tls_settings or struct tls_options) the value written as TEXT.
 * Problems go to R with FILE and LINE. Returns 0, -1 when the value is not allowed (BASE unchanged).
 */
int tls_setting_parse(const struct tls_setting *row, void *base, const char *text, struct tls_report *r,
                      const char *file, int line);

/* Writes ROW's value in BASE as text ("" when unset, "***" when secret); returns OUT. */
const char *tls_setting_print(const struct tls_setting *row, const void *base, char *out, size_t size);

/*
 * Checks the ranges and words of all rows with TLS_IN_MODPARAM in S and O, as given by module parameters,
 * where the host has filled integers without asking us. Problems go to R.
 */
void tls_modparam_check(const struct tls_settings *s, const struct tls_options *o, struct tls_report *r);

/*
 * Reads TEXT, the SIZE bytes of the domains' file PATH. Presets fill what a section does not set; relative
 * paths stay as they are written. Every problem of the file is reported, not only the first. Returns the
 * configuration (free it with tls_config_free()) even when R then holds errors; NULL only when memory is
 * short.
 */
struct tls_config *tls_config_parse(const char *path, const char *text, size_t size, struct tls_report *r);

/*
 * As tls_config_parse(), from the file itself; when PATH is a folder, from all regular files in it, in the
 * order of their names, as one configuration. NULL when it, or a file in it, cannot be read (reported).
 */
struct tls_config *tls_config_read(const char *path, struct tls_report *r);

/* The configuration that module parameters alone make: the two default sections, both from S. */
struct tls_config *tls_config_from_params(const struct tls_settings *s);

/*
 * Makes every path of CFG absolute: "/..." stays, what begins with "." is relative to WORK_DIR, all else to
 * MAIN_DIR, the folder of the main configuration file. Returns 0, -1 when memory is short.
 */
int tls_config_resolve(struct tls_config *cfg, const char *main_dir, const char *work_dir);

/* The same for one path: a malloc'ed string, NULL when memory is short. */
char *tls_path_resolve(const char *path, const char *main_dir, const char *work_dir);

void tls_config_free(struct tls_config *cfg);

/*
 * "server:default", "client:127.0.0.1:5061", "server:[::1]:5061", "server:any", with " (name)" when SECTION
 * has a server_name or server_id. Returns OUT.
 */
const char *tls_section_name(const struct tls_section *section, char *out, size_t size);

/* Where a setting came from, for messages: FILE NULL and LINE 0 for module parameters. */
struct tls_origin {
	const char *file;
	int line;
	const char *setting;
};

/* Where SETTING of SECTION was set; the section's head where it was not. */
struct tls_origin tls_section_origin(const struct tls_section *section, const char *setting);

/*
 * Whether SECTION does not set SETTING only because of a mistake in it, which is reported: then nothing more is
 * to be said of that.
 */
bool tls_section_unsure(const struct tls_section *section, const char *setting);

/* ------------------------------------------------------------------ what is legal and hollow: tls_advice.c */

/*
 * Warns of what CFG, in which nothing is wrong, says in vain: a name that leads around a port's demand for
 * certificates, an address that no connection has, a password in a file that everybody may read.
 * UNKNOWN_REFUSED: clients that ask for a name that no section has are refused. Any process; without memory it
 * says less.
 */
void tls_advice_add(const struct tls_config *cfg, bool unknown_refused, struct tls_report *r);

/* ------------------------------------------------------------------ shared blocks: tls_heap.c ---------- */

/*
 * Where shared memory comes from: one range, at the same address in all processes. All functions may be
 * called in any process.
 *   take       a block of SIZE bytes aligned for any type, NULL when there is none
 *   give       takes a block back
 *   contains   whether P points into the range
 *   available  bytes left
 *   complain   tells the operator TEXT, a line, before the process is ended
 */
struct tls_mem_source {
	void *(*take)(size_t size);
	void (*give)(void *p);
	bool (*contains)(const void *p);
	size_t (*available)(void);
	void (*complain)(const char *text);
};

/*
 * Live blocks, and their bytes as rounded up by the heap; requests that found no memory; bytes taken from the
 * source: blocks, room for more, and bookkeeping.
 */
struct tls_mem_stats {
	long blocks, bytes, refused, held;
};

/*
 * Sets the heap up in the memory of SOURCE, which must outlive the process. Once, in the main process before
 * any fork. Before it hold, let_go, trim and get_stats do nothing, and nothing else may be called. Returns 0,
 * -1 without memory.
 */
int tls_heap_start(const struct tls_mem_source *source);

/*
 * A block for SIZE bytes, aligned to 16, with whatever content. NULL when there is no memory. Any thread of
 * any process may free it.
 */
void *tls_heap_alloc(size_t size);

/*
 * Wipes and frees the block P: OpenSSL leaves secrets of TLS 1.3 in what it frees, and other processes see
 * this memory. Ends the process, with a message, when P is not a live block of the heap.
 */
void tls_heap_free(void *p);

/*
 * How many bytes the block P has room for: what was asked for, or more. Ends the process as tls_heap_free().
 */
size_t tls_heap_size(const void *p);

/* Whether P points into the source's range, as its contains() says, but at less cost. */
bool tls_heap_contains(const void *p);

/*
 * Between these two the thread has a cache to itself and need not lease one for each call. They do not nest.
 * Nobody ever waits for it, so it may be held for long.
 */
void tls_heap_hold(void);
void tls_heap_let_go(void);

/*
 * What this thread takes from now on belongs to group G, 1 or 2, and stands apart from all else; 0: to none.
 * For many blocks that are freed together.
 */
void tls_heap_choose_group(unsigned g);

/* Gives back what no block needs. For a timer, in one process; it takes microseconds. */
void tls_heap_trim(void);

/*
 * Bytes that this thread has taken less those that it has given back, since it began: the difference over a
 * stretch of work tells what that added.
 */
long tls_heap_balance(void);

/* Sums the counters of all processes. */
void tls_heap_get_stats(struct tls_mem_stats *out);

/*
 * For tests, and after each trim in builds with -DTLS_DEBUG: walks everything and ends the process when an
 * invariant does not hold. Returns how many live blocks it saw, which is exact while nobody else is at work.
 */
long tls_heap_check(void);

#ifdef TLS_FAULTS
/*
 * For tests: of this process's allocations the N-th from now fails, and with FOREVER all after it. N of 0:
 * none does any more. The other tells how many there were since.
 */
void tls_heap_fail_at(long n, bool forever);
long tls_heap_asked(void);
#endif

/* ------------------------------------------------------------------ two worlds: tls_mem.c -------------- */

/*
 * Gives OpenSSL our allocation functions. To be called when the module is loaded: OpenSSL takes them only
 * before its first allocation. Returns 0, -1 when OpenSSL is in use already.
 */
int tls_mem_install(void);

/*
 * Opens the shared world: before it a scope changes nothing. Called once in the main
 * process before any fork; SOURCE must outlive the process. Returns 0, -1 when there is no shared memory.
 */
int tls_mem_start(const struct tls_mem_source *source);

/*
 * From now on LIBCTX is the default library context inside a scope. Not everything in OpenSSL passes on the
 * context that it was given: 3.0 decodes the peer's certificate in a session ticket with the default one, and
 * would tie a shared key to what only one process has.
 */
void tls_mem_set_library(struct ossl_lib_ctx_st *libctx);

/*
 * Between these two, what this thread allocates through OpenSSL is shared. They nest. Freeing and resizing go
 * by the block's address and never need a scope.
 */
void tls_mem_enter(void);
void tls_mem_leave(void);

/*
 * Between these two, a piece that is not there in shared memory comes from this process's own instead, for a
 * step of OpenSSL's that cannot fail without harm. The second returns false when that happened: what was made
 * is good for nothing but to be freed, here and at once.
 */
void tls_mem_cover(void);
bool tls_mem_uncover(void);

/*
 * A shared block, zeroed; no scope needed. NULL when there is no memory. The caller owns it and frees it with
 * tls_shared_free(), in whatever process.
 */
void *tls_shared_alloc(size_t size);
char *tls_shared_strdup(const char *s);
void tls_shared_free(void *p);

/* Bytes of OpenSSL's in the calling process's own world, with what malloc adds. */
long tls_mem_private(void);

/* What tls_heap_get_stats() and tls_heap_balance() tell. */
void tls_mem_get_stats(struct tls_mem_stats *out);
long tls_mem_balance(void);

/* How often this thread has found no shared memory, since it began. */
long tls_mem_refused(void);

/* Bytes that the source can still give. */
size_t tls_mem_available(void);

/*
 * While ON, this thread's blocks come from a small reserve when there is no other shared memory: for
 * established connections, which go on when nothing else does.
 */
void tls_mem_insist(bool on);

/*
 * Whether anyone, in any process, has found no shared memory since the last recovery: there may be much left,
 * in small pieces.
 */
bool tls_mem_missed(void);

/*
 * Fills the reserve, and looks whether a piece of SIZE bytes is left beside it. Returns false when not; else
 * that is a recovery. The host logs an attempt that fails, so it should not be made often. No lock is held.
 */
bool tls_mem_recover(size_t size);

/* ------------------------------------------------------------------ OpenSSL: tls_init.c ---------------- */

/* Each returns 0, or -1 after it has logged what to do. */

/* When the module is loaded: tls_mem_install(), no exit handlers. */
int tls_init_load(void);

/*
 * In the main process before any fork: OpenSSL's process-wide roots, the lock proof, the shared library
 * context with its provider, one handshake for each protocol version. FORCE: go on, with a warning, when a
 * sanity check fails.
 */
int tls_init_start(bool force);

/*
 * Keeps the host's shared memory, with the keys and the secrets of connections in it, out of core dumps of
 * this process and of those that it forks. Warns when that cannot be.
 */
void tls_init_hide_memory(void);

/* In each process after its fork. */
void tls_init_process(void);

/* The shared library context, NULL before tls_init_start(). */
struct ossl_lib_ctx_st *tls_init_libctx(void);

/*
 * Runs WORK(ARG) inside the shared scope. Before the first fork it does so in a thread of its own that is
 * joined, so that nothing thread-local of OpenSSL's is left to be inherited; later, in place. Returns what
 * WORK returns; -1, too, when a single allocation has failed meanwhile (logged).
 */
int tls_init_run_shared(int (*work)(void *arg), void *arg);

/*
 * Empties this thread's OpenSSL error queue into OUT as "reason; reason", oldest first, each once, as many as
 * fit; "no reason given" when empty. Returns OUT.
 */
const char *tls_init_errors(char *out, size_t size);

/*
 * tls_random.c: makes the kernel the source of LIBCTX's random numbers, before any is drawn; where it gives
 * none (an old sandbox), the library's own generators stay. Inside the shared scope. Returns 0, -1 without
 * memory.
 */
int tls_random_start(struct ossl_lib_ctx_st *libctx);

/* ------------------------------------------------------------------ the entries of a PEM file: tls_pem.c */

enum tls_pem_state {
	TLS_PEM_GOOD,
	TLS_PEM_NO_BEGIN,     /* a line that was meant as a BEGIN and is none: there is no entry, and no label */
	TLS_PEM_NO_END,       /* the next one begins before this one has ended; what it holds is there */
	TLS_PEM_END_INDENTED, /* likewise */
	TLS_PEM_ENDS_BADLY,   /* the END line has another label, or is not exactly one */
	TLS_PEM_GLUED,        /* the next BEGIN is on the line of the END: that entry is lost */
	TLS_PEM_CUT,          /* the file ends first */
};

struct tls_pem_entry {
	enum tls_pem_state state;
	int number;         /* from 1 */
	int line, end_line; /* of its BEGIN; of its END, or of what stands in its place */
	const char *label;  /* "CERTIFICATE"; not terminated */
	size_t label_size;
	const char *text; /* with BEGIN and END; without the END when that is not good */
	size_t size;
};

/* The fields are tls_pem_next()'s. */
struct tls_pem {
	const char *at, *end;
	int line, entries;
};

/* P reads the SIZE bytes at DATA, which must stay. */
void tls_pem_open(struct tls_pem *p, const char *data, size_t size);

/* The next entry, or what was meant as one. It points into the data. Returns false at the end. */
bool tls_pem_next(struct tls_pem *p, struct tls_pem_entry *out);

bool tls_pem_is(const struct tls_pem_entry *e, const char *label);

/* What a file without entries is instead, and what to do; NULL: unknown. */
const char *tls_pem_other_form(const char *data, size_t size);

/* ------------------------------------------------------------------ children: tls_child.c -------------- */

/*
 * Runs WORK(ARG) here and returns what it returns; the end of a child that it forks and awaits is nobody's to hear of,
 * as SIGCHLD does meanwhile what it does by default. Main process, one thread.
 */
int tls_child_unheard(int (*work)(void *arg), void *arg);

/*
 * Runs WORK(ARG) in a child, unheard as above, and waits for it. Returns the lowest 8 bits of what WORK returned, or
 * -1: no child, or it ended by a signal. Main process.
 */
int tls_child_run(int (*work)(void *arg), void *arg);

/* ------------------------------------------------------------------ what the server's user may: tls_access.c */

/*
 * Whether this process is root and the server will be somebody else (-u): true in the host's main process until it
 * gives up root's rights, and in its configuration check.
 */
bool tls_access_will_change(void);

/* The user and the group as whom the server works, or will; the user's name into OUT, which it returns. */
uid_t tls_access_uid(void);
gid_t tls_access_gid(void);
const char *tls_access_user(char *out, size_t size);

/*
 * Runs WORK(ARG) as that user: in a child while tls_access_will_change(), which waits for it, else in place. Returns
 * what WORK returned as 0 or -1, and -1, too, when no child could become the user. Any process.
 */
int tls_access_as_user(int (*work)(void *arg), void *arg);

/*
 * What to say of errno after PATH could not be opened: where that is EACCES, with this process's user, and the folder
 * that it may not enter. Returns OUT or a text of strerror()'s.
 */
const char *tls_access_reason(const char *path, char *out, size_t size);

/*
 * Warns of the files of CFG that the server's user may not read, so that it could not load them again, each obstacle
 * once. Any process. Returns how many warnings those are.
 */
int tls_access_check(const struct tls_config *cfg, struct tls_report *r);

/* ------------------------------------------------------------------ what files are like: tls_stamp.c --- */

/* What changes when a file is written or replaced, or a folder or a file in it. */
struct tls_stamp {
	uint64_t file, folder, crl;
};

/* In the place of a number: this process's user may not look, so nobody knows whether anything has changed. */
#define TLS_STAMP_HIDDEN UINT64_MAX

/* Of up to three paths; NULL: none. Any process. */
struct tls_stamp tls_stamp_take(const char *file, const char *folder, const char *crl);

/* H with STAMP in it. */
uint64_t tls_stamp_mix(uint64_t h, const struct tls_stamp *stamp);

/*
 * The next file of DIR with a name that "openssl rehash" gives, as a path in OUT, SIZE bytes. Returns false at the
 * end.
 */
bool tls_folder_next(DIR *dir, const char *folder, char *out, size_t size, bool *is_crl);

/* What has become of the files of a configuration since it was loaded. */
struct tls_look {
	int changed;          /* how many have changed, or are gone */
	int unreadable;       /* how many this process's user may not read, or not even look at */
	uint64_t stamp;       /* a number that changes when one of them does */
	char first[PATH_MAX]; /* one that it may not read */
};

/* ------------------------------------------------------------------ files: tls_store.c ----------------- */

/*
 * What one configuration has loaded from files, each distinct file or set of files once. Everything lives in
 * the shared world. All functions that take a store run inside the shared scope, in one process; problems go
 * to R with the file they are in.
 */
struct tls_store;
struct stack_st_X509;
struct x509_store_st;

/* A private key. RSA keys are not used themselves: each process signs with a copy of its own. */
struct tls_key;

/* A certificate with the chain that is sent with it. */
struct tls_chain;

/* Trust anchors and revocation lists. */
struct tls_trust;

/*
 * An empty store that takes over what PREVIOUS (NULL: nothing) has from files that are unchanged. PREVIOUS
 * must stay until tls_store_seal().
 */
struct tls_store *tls_store_new(const struct tls_store *previous);

/* When everything is loaded. */
void tls_store_seal(struct tls_store *store);

/*
 * Whether so little shared memory is left that nothing more may be loaded: what is left is for the traffic.
 */
bool tls_store_memory_short(void);

/* Frees STORE; contexts and connections that still use parts of it keep those. Any process, any scope. */
void tls_store_free(struct tls_store *store);

/*
 * Makes PATH, which somebody else has begun to read at READ_AT (nanoseconds since 1970), one of the files
 * that tls_store_look() looks at. Changed since then, it counts as changed. Returns 0 or -1.
 */
int tls_store_watch(struct tls_store *store, const char *path, int64_t read_at, struct tls_report *r);

/* Looks at every file of STORE. Any process. */
void tls_store_look(const struct tls_store *store, struct tls_look *look);

/* Each returns what the store owns, or NULL with the reason in R. PASSWORD may be NULL. */
struct tls_key *tls_store_key(struct tls_store *store, const char *path, const char *password,
                              const struct tls_origin *from, struct tls_report *r);
struct tls_chain *tls_store_chain(struct tls_store *store, const char *path, const struct tls_origin *from,
                                  struct tls_report *r);
/* Each of the three may be NULL; FROM has where each is set, in this order. */
struct tls_trust *tls_store_trust(struct tls_store *store, const char *ca_list, const char *ca_path,
                                  const char *crl, const struct tls_origin from[3], struct tls_report *r);

/*
 * Gives CTX the pair; FROM has where the certificate is set, and the key. Returns 0, or -1 when they do not
 * match, OpenSSL finds them too weak, or memory is short (reported).
 */
int tls_store_use_pair(struct ssl_ctx_st *ctx, struct tls_chain *chain, struct tls_key *key,
                       const struct tls_origin from[2], struct tls_report *r);

/* Makes CTX trust TRUST. */
int tls_store_use_trust(struct ssl_ctx_st *ctx, struct tls_trust *trust);

/*
 * In the shared scope, in the process that is about to sign: gives SSL this process's own copy of KEY when it
 * is of a kind that needs one. Returns 0, -1 when memory is short.
 */
int tls_key_adopt(struct ssl_st *ssl, struct tls_key *key);

/* The certificate itself, still the chain's. */
struct x509_st *tls_chain_certificate(const struct tls_chain *chain);

/* What the file of a chain holds. */
struct tls_chain_file {
	char *path;
	struct x509_st *leaf;
	struct stack_st_X509 *others;
	int *lines;  /* of the leaf's BEGIN, then of those of the others */
	bool unread; /* something in it was passed over, and that is reported */
};

/* Still the chain's. */
const struct tls_chain_file *tls_chain_file(const struct tls_chain *chain);

/* Still the trust's. */
struct x509_store_st *tls_trust_anchors(const struct tls_trust *trust);

/*
 * Says which of TRUST anchor nothing, and which revocation lists of CRL (NULL: none count) keep everybody out, for
 * somebody who verifies peers by it; FROM as for tls_store_trust(). Shared scope.
 */
void tls_trust_say(const struct tls_trust *trust, const char *crl, const struct tls_origin from[3],
                   struct tls_report *r);

/* ------------------------------------------------------------------ what a PEM file holds: tls_bundle.c */

/* A file that is being loaded, and the setting that names it. */
struct tls_place {
	const char *path;
	const struct tls_origin *from;
	struct tls_report *report;
};

/* "FILE:LINE: SETTING: PATH:LINE: words"; LINE 0: of the file as a whole. Never fails. */
void tls_place_say(const struct tls_place *at, enum tls_severity severity, int line, const char *format, ...)
	TLS_FORMAT(4, 5);

/* An error: WHAT, and what OpenSSL's queue says, which is emptied; or that there is no shared memory for it. */
void tls_place_refused(const struct tls_place *at, int line, const char *what);

/* Others than tls_bundle.c look at LINE and UNREAD only. */
struct tls_bundle {
	struct tls_place at;
	struct tls_pem pem;
	const char *data;
	size_t size;
	int line;                   /* of the last object's BEGIN */
	int unread;                 /* the first line that was meant as a BEGIN; 0: none */
	int count;                  /* objects given */
	bool failed;                /* reported */
	struct tls_pem_entry other; /* the first of another kind */
};

/* B reads the SIZE bytes at DATA, which must stay, for AT. */
void tls_bundle_open(struct tls_bundle *b, const char *data, size_t size, const struct tls_place *at);

/*
 * The next one, which the caller owns; NULL when there is none, or one cannot be read: tls_bundle_end() tells.
 * Shared scope.
 */
struct x509_st *tls_bundle_certificate(struct tls_bundle *b);
struct X509_crl_st *tls_bundle_crl(struct tls_bundle *b);

/* Returns 0; -1 when something could not be read, or there was nothing, which NAME calls (reported). */
int tls_bundle_end(const struct tls_bundle *b, const char *name);

/* ------------------------------------------------------------------ revocation lists: tls_crl.c -------- */

/* Lists and where each is from, in shared memory. NULL is none. */
struct tls_crls;

/* Adds CRL, of which it keeps a reference, from LINE of PATH. Shared scope. Returns 0, -1 without memory. */
int tls_crls_add(struct tls_crls **all, struct X509_crl_st *crl, const char *path, int line);

/*
 * Whether CRL lists only what has changed since another one. OpenSSL would take it for a full list, and let in whom
 * only the full one names, so it must not get into a store.
 */
bool tls_crls_is_delta(const struct X509_crl_st *crl);

/* Any process, any scope. */
void tls_crls_free(struct tls_crls *all);

/*
 * Warns, for AT, of each authority in STORE all of whose certificates OpenSSL will refuse by the lists in it, which are
 * of ALL: by file, line and reason; and of lists of kinds that it does not use. A check that had nothing to say is
 * repeated only when a list or an authority has begun or ended to be valid since: that is why ALL and STORE always
 * come together. Shared scope; one process at a time, while others may use STORE.
 */
void tls_crls_check(struct tls_crls *all, struct x509_store_st *store, const struct tls_place *at);

/* ------------------------------------------------------------------ time: tls_clock.c ------------------ */

/* Seconds by a clock that nobody sets and that never stops, the same one in all processes: for ages. */
int64_t tls_clock_steady(void);

/* Seconds since 1970, as somebody has set the clock: for what certificates and the like say. */
int64_t tls_clock_wall(void);

/* ------------------------------------------------------------------ how long a verification holds: tls_lifetime.c */

struct asn1_string_st;
struct x509_store_ctx_st;

#define TLS_LIFETIME_ENDLESS INT64_MAX

/*
 * When the first thing ends that the verification in STORE, which is done, rests on, in seconds since 1970:
 * a certificate of the chain, its authority's included, or a revocation list. Of a certificate that was
 * accepted without being good, its own end, if that is to come. 0 when it cannot be told. Shared scope, in
 * the process that verifies.
 */
int64_t tls_lifetime_end(struct x509_store_ctx_st *store);

/* T in seconds since 1970; 0 when it is NULL or no time. Any process. */
int64_t tls_lifetime_seconds(const struct asn1_string_st *t);

/* ------------------------------------------------------------------ what is no private key: tls_keyfile.c */

/*
 * What the SIZE bytes at DATA are, the content of the file PATH in which no private key was found, with PASSWORD
 * although there is one, and how to get the key: a sentence without a full stop in OUT, which has ROOM bytes.
 * NULL when that cannot be told. Any process; locks and allocates nothing.
 */
const char *tls_keyfile_explain(const char *data, size_t size, const char *path, bool password, char *out,
                                size_t room);

/* ------------------------------------------------------------------ what certificates are for: tls_purpose.c */

/*
 * Warns when X, the certificate NUMBER (0 or 1) of SECTION, is one that peers refuse in its role: by its key
 * usages, its kind of key, or because it must be stapled. In the shared scope; leaves the error queue as it is.
 */
void tls_purpose_check(const struct tls_section *section, int number, struct x509_st *x,
                       struct tls_report *r);

/* ------------------------------------------------------------------ names of ciphers: tls_ciphers.c ---- */

/*
 * Warns of each word of LIST, which CTX has as its ciphers and which is set at FROM, that stands for nothing in
 * this OpenSSL. In the shared scope; leaves the error queue as it is; says nothing without memory.
 */
void tls_ciphers_check(const char *list, struct ssl_ctx_st *ctx, const struct tls_origin *from,
                       struct tls_report *r);

/* ------------------------------------------------------------------ what anchors are good for: tls_anchors.c */

/* What is being loaded into a trust store, in private memory. */
struct tls_anchors;
struct X509_name_st;

/* NULL without memory. */
struct tls_anchors *tls_anchors_new(void);
void tls_anchors_free(struct tls_anchors *a);

/* Adds X, whose BEGIN is in LINE; AT->from->line counts the settings. Returns 0, -1 without memory. */
int tls_anchors_add(struct tls_anchors *a, struct x509_st *x, const struct tls_place *at, int line);

/*
 * When all are there: warns of those that anchor nothing. A problem has the number of its setting as its line, and
 * no other origin. Shared scope.
 */
void tls_anchors_judge(struct tls_anchors *a, struct tls_report *r);

/* NAME in one line, in OUT, which is returned. */
const char *tls_anchors_name(const struct X509_name_st *name, char *out, size_t size);

/* ------------------------------------------------------------------ a host as it is written: tls_hostname.c */

struct tls_hostname {
	char text[256]; /* a name without its final dot, or an address in its usual form; never with a port */
	bool is_address;
	bool has_port; /* as it is written */
};

/*
 * Reads the LENGTH bytes at NAME: a name or an address, an IPv6 one in brackets or not, with a port or without.
 * Returns false when it is none of these. Any process; locks and allocates nothing.
 */
bool tls_hostname_read(const char *name, size_t length, struct tls_hostname *out);

/* ------------------------------------------------------------------ resumption: tls_session.c ---------- */

/*
 * Makes the ticket keys that all contexts and processes share. Main process, before the forks. Returns 0 or
 * -1.
 */
int tls_session_start(void);

/*
 * Timer process, once a second: makes a new ticket key when the current one is old, and wipes the one before
 * when no ticket that it made is good any more. Keeps nobody waiting.
 */
void tls_session_sweep(unsigned ticks, void *param);

#define TLS_SESSION_CONTEXT_SIZE 32

/*
 * Hashes IDENTITY into what tells contexts apart: a session is resumed only where OUT is the same. Shared
 * scope. Returns 0 or -1.
 */
int tls_session_context(const char *identity, unsigned char out[TLS_SESSION_CONTEXT_SIZE]);

/* What a session that is being made will depend on, as far as it is known. Server. */
struct tls_session_terms {
	int64_t end; /* of what the client was verified by, in seconds since 1970; 0: not known */
};

/*
 * In the process that goes on with SSL's handshake, as server: a ClientHello has come that asks for NAME, not
 * NUL-terminated, NULL: for none, and that stays until its ticket has been looked at; the client has been
 * verified, with the outcome in STORE.
 */
void tls_session_hello(struct ssl_st *ssl, const char *name, size_t length);
void tls_session_verified(struct ssl_st *ssl, struct x509_store_ctx_st *store);

/* Sets resumption up in CTX. SERVER: issue tickets. Shared scope. Returns 0 or -1. */
int tls_session_setup(struct ssl_ctx_st *ctx, bool server,
                      const unsigned char context[TLS_SESSION_CONTEXT_SIZE]);

/* ------------------------------------------------------------------ names as text: tls_names.c --------- */

/*
 * For whom X is, as text for people in OUT: the DNS names, URIs and addresses among its alternative names, where
 * there are no such names the common name. A few of many, each in quotes and clean. Any process. Returns OUT.
 */
const char *tls_names_list(const struct x509_st *x, char *out, size_t size);

/* ------------------------------------------------------------------ who the peer is: tls_verify.c ------ */

/* Whether the peer sent a certificate and its chain verified. */
bool tls_verify_peer_is_verified(const struct ssl_st *ssl);

/*
 * Whether SSL's handshake has just failed, by the newest error in the queue, because the peer shows more
 * certificates than it may: then that error says by which setting. The process that took the step.
 */
bool tls_verify_too_long(struct ssl_st *ssl);

/*
 * OpenSSL's callbacks for the certificates of a chain, in the process that goes on with the handshake. The
 * first leaves a refusal as it is and says in the error queue what was wrong with whose certificate; the
 * second accepts all.
 */
int tls_verify_note(int ok, struct x509_store_ctx_st *store);
int tls_verify_accept(int ok, struct x509_store_ctx_st *store);

/*
 * Whether X is for DOMAIN, a name or an address of LENGTH bytes ("[" and "]" around an IPv6 address or not),
 * by the rules of RFC 5922 section 7: the sip URIs among its alternative names, without a user part, count;
 * without any, its DNS names; without alternative names at all, its common name. No part of a name, and no
 * wildcards but, with WILDCARDS, those of DNS names by RFC 9525 section 6.3. An address is also looked for
 * among the IP addresses. Any process; holds no lock; without memory the answer is no.
 */
bool tls_verify_names(const struct x509_st *x, const char *domain, size_t length, bool wildcards);

/*
 * X509_verify_cert(3), which it returns, with PURPOSE as the rule for what the certificates of a PEER of this
 * role may be for. STORE is set up for the peer's certificate as for X509_verify_cert(): this function puts
 * purpose and trust into its parameters itself, and all else in them counts. A refusal is in STORE
 * (X509_V_ERR_INVALID_PURPOSE, with depth and certificate) and goes to its callback, which may let it pass. A
 * certificate above the peer's own must be an authority's by every rule. Any process; holds no lock; in the
 * scope of STORE's memory. Without memory the answer is no.
 */
int tls_verify_certificates(struct x509_store_ctx_st *store, enum tls_verify_purpose purpose,
                            enum tls_role peer);

/*
 * OpenSSL's callback for a whole chain (SSL_CTX_set_cert_verify_callback(3)). Verifies it; a client's, if a
 * ticket for such a client can be issued; a server's name, where its domain asks for that (verify_name). What
 * the certificate may be for is as the domain says (verify_purpose).
 */
int tls_verify_chain(struct x509_store_ctx_st *store, void *arg);

/* ------------------------------------------------------------------ policies: tls_policy.c ------------- */

struct tls_domain;

/*
 * Gives CTX, which is new, the ciphers, signature algorithms and security level of PROFILE. Before the section's
 * own settings, which count more. In the shared scope. Returns 0, -1 when OpenSSL refuses (in its queue) or
 * memory is short.
 */
int tls_policy_preset(struct ssl_ctx_st *ctx, enum tls_security_profile profile, enum tls_role role);

/* Warns of what SECTION, which D is made from, sets against its own profile. */
void tls_policy_check(const struct tls_domain *d, const struct tls_section *section, struct tls_report *r);

/* ------------------------------------------------------------------ domains: tls_domain.c -------------- */

struct tls_generation;

/*
 * One domain of a configuration generation. Read-only once the generation is installed, but for
 * `connections`.
 */
struct tls_domain {
	struct tls_domain *next_in_bucket, *next_by_id, *next_at_place;
	struct tls_generation *generation;
	enum tls_role role;
	enum tls_section_kind kind;
	struct tls_address address;
	struct ssl_ctx_st *ctx;
	char *name;        /* for people: "server:127.0.0.1:5061 (example.org)" */
	char *server_name; /* lower case, NULL: none */
	char *server_id;   /* NULL: none */
	enum tls_name_mode server_name_mode;
	int oldest, newest; /* protocol versions, 0: the library's */
	char *groups;       /* NULL: the module's choice */
	int verify_mode;    /* SSL_VERIFY_... */
	int verify_depth;
	bool accept_any;  /* a certificate that does not verify does not end the handshake */
	bool verify_name; /* a server must be who its certificate names */
	bool wildcards;   /* in those names, and where a script asks for them */
	enum tls_verify_purpose verify_purpose;
	bool reuse_verified_only;
	struct tls_key *keys[2];
	struct tls_chain *chains[2];
	struct tls_trust *trust;       /* NULL: none */
	unsigned char fingerprint[32]; /* of the settings it was made from */
	unsigned char session_context[TLS_SESSION_CONTEXT_SIZE];
	int connections; /* atomic */
};

/* A connection's tie to its domain: what SSL_get_app_data() gives. */
struct tls_domain_use {
	struct tls_domain *domain;
	struct tls_address address; /* that it was chosen by: ours when accepting, the peer's when connecting */
	const char *name; /* connecting: who the peer should be, as it is written; NULL: only its address says */
	struct tls_session_terms session;
};

/* What the hooks need to choose a domain. */
struct tls_domain_query {
	enum tls_role role;
	struct tls_address address; /* ours when accepting, the peer's when connecting */
	struct tls_address own;     /* ours when connecting, family 0: not known */
	const char *server_name;    /* not NUL-terminated, NULL: none */
	size_t server_name_length;
	const char *server_id; /* NULL: none */
};

/*
 * Before the first generation: what contexts are built with beyond a domain's own settings. O must outlive
 * the module.
 */
int tls_domain_start(const struct tls_options *o);

/*
 * Loads everything that CFG names and checks it. Any process; takes no lock. Returns a generation that nobody
 * sees yet, or NULL when R holds an error (then nothing is left behind).
 */
struct tls_generation *tls_generation_build(const struct tls_config *cfg, struct tls_report *r);

/* Makes G the one that new connections use; the one before goes with its last connection. */
void tls_generation_install(struct tls_generation *g);

/* tls_store_look() at the files that G was built from, the configuration file among them. */
void tls_generation_look(const struct tls_generation *g, struct tls_look *look);

/* Frees a generation that was never installed. */
void tls_generation_discard(struct tls_generation *g);

/* Pins the current generation, NULL when there is none. */
struct tls_generation *tls_generation_pin(void);

/* Lets it go, in whatever process; the last one frees it. NULL is nothing. */
void tls_generation_unpin(struct tls_generation *g);

/* Numbers since start, from 1. */
int tls_generation_number(const struct tls_generation *g);

/*
 * The domain of G for QUERY; there is always one, the role's default. *NAMED tells whether the server name
 * matched.
 */
struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *query,
                                   bool *named);

/* Whether G has a domain of that role and id. */
bool tls_domain_has_id(struct tls_generation *g, enum tls_role role, const char *id);

/* Whether D's address and port are those of A, its port 0 any. */
bool tls_domain_is_at(const struct tls_domain *d, const struct tls_address *a);

/* Walks the domains of G: NULL gives the first, the last gives NULL. */
struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d);

/*
 * A new SSL for a connection of USE->domain. A ClientHello may move USE to the domain of the server name in
 * it. USE must outlive the SSL. Shared scope. NULL when memory is short.
 */
struct ssl_st *tls_domain_open(struct tls_domain_use *use);

/* Frees SSL (may be NULL) and ends what tls_domain_open() began. Any process. */
void tls_domain_close(struct tls_domain_use *use, struct ssl_st *ssl);

/*
 * In the process that takes the next step of SSL's handshake, shared scope: puts this process's own keys in.
 * Returns 0 or -1.
 */
int tls_domain_own_keys(struct ssl_st *ssl);

/* ------------------------------------------------------------------ secrets for Wireshark: tls_keylog.c */

/*
 * O must outlive the module. Makes the file, for the user as whom the server will run. Main process, before the forks,
 * after tls_init_start(). Returns 0, -1 when O asks for what cannot be (logged).
 */
int tls_keylog_start(const struct tls_options *o);

/* Whether contexts are to have tls_keylog_line() as their callback. */
bool tls_keylog_enabled(void);
void tls_keylog_line(const struct ssl_st *ssl, const char *line);

/* ------------------------------------------------------------------ TLS compression: tls_compress.c ---- */

/*
 * With tls_disable_compression=0: proves in a child that the running OpenSSL takes a DEFLATE method from us,
 * and gives it one. Says once what comes of it; when nothing does, connections stay uncompressed. Main
 * process, before the forks and before any context, outside the shared scope.
 */
void tls_compress_start(const struct tls_options *o);

/* Whether contexts are to offer and accept compression. */
bool tls_compress_offered(void);

/* Whether CTX, whose ciphers are set, would agree to it: from security level 2 on OpenSSL does not. */
bool tls_compress_allowed(const struct ssl_ctx_st *ctx);

/* "DEFLATE", or "none". SSL is held, or its handshake is done. */
const char *tls_compress_name(const struct ssl_st *ssl);

/* ------------------------------------------------------------------ contexts: tls_context.c ------------ */

/* O must outlive the module. */
void tls_context_start(const struct tls_options *o);

/*
 * Loads what SECTION names into STORE and gives D its context: that of BEFORE, the same section in the
 * configuration before (NULL: none), when neither settings nor files have changed. Shared scope. Returns 0,
 * -1 with all problems found in R.
 */
int tls_context_make(struct tls_domain *d, const struct tls_section *section, struct tls_store *store,
                     const struct tls_domain *before, struct tls_report *r);

/* Puts everything of D into SSL, which began with the context of FROM. Shared scope. Returns 0 or -1. */
int tls_context_move(struct ssl_st *ssl, const struct tls_domain *from, struct tls_domain *d);

/* ------------------------------------------------------------------ chains that hold together: tls_chain.c */

/*
 * Warns of chains with holes, strangers and twins, and of trust anchors that anchor nothing, each once. DOMAINS are
 * the first COUNT sections of CFG. Shared scope.
 */
void tls_chains_check(const struct tls_domain *domains, int count, const struct tls_config *cfg,
                      struct tls_report *r);

/* Which of the others in FILE, from 1, has this private key; 0: none. */
int tls_chain_owner(const struct tls_chain_file *file, struct evp_pkey_st *key);

/* ------------------------------------------------------------------ what the script chose: tls_outgoing.c */

/* O must outlive the module. Main process, when the script is parsed. Returns 0 or -1 (logged). */
int tls_outgoing_start(const struct tls_options *o);

/*
 * The profile of the next outgoing connection that this process opens for the message at hand; empty: none.
 * Returns 0, -1 when it is too long or has a zero byte (logged).
 */
int tls_outgoing_set_id(const char *id, size_t length);

/*
 * What the script wants for the connection that this process is opening: its xavp (xavp_cfg), and the id of
 * tls_outgoing_set_id(), which comes first. Shared strings that the caller owns, NULL where nothing is set.
 * Returns NULL; else why the connection cannot be made, a text for the log, which is TLS_OUTGOING_NO_MEMORY
 * without shared memory: then both are NULL.
 */
extern const char TLS_OUTGOING_NO_MEMORY[];
const char *tls_outgoing_choose(char **server_name, char **server_id);

/*
 * What the script wants at this moment, in this process. Good until it goes on. Lengths are 0 where it wants
 * nothing.
 */
struct tls_wish {
	const char *id;
	size_t id_length;
	const char *name;
	size_t name_length;
	const char *fault; /* what one of them has that no section and no server can be called; NULL: nothing */
};
void tls_outgoing_wish(struct tls_wish *out);

/* Whether the script has the means to want anything. After its parsing. */
bool tls_outgoing_can_choose(void);

/* The script has the function that chooses. While it is parsed. */
void tls_outgoing_may_choose(void);

/*
 * Runs event_route[tls:connection-out] or event_callback for C, which is being opened, in the sender's process.
 * Returns false when it called drop(), and when it could not be asked for want of private memory (logged).
 */
bool tls_outgoing_allowed(struct tcp_connection *c);

/* ------------------------------------------------------------------ whether an accepted connection will do: tls_verdict.c */

#define TLS_DEMAND_KEY_SIZE 32

enum tls_demand_kind {
	TLS_DEMAND_NOTHING,    /* every connection that its peer has opened will do */
	TLS_DEMAND_PEER,       /* one whose peer the client section would take for the server */
	TLS_DEMAND_IMPOSSIBLE, /* none */
};

/* What a message asks of a connection that its peer has opened. */
struct tls_demand {
	enum tls_demand_kind kind;
	unsigned char key[TLS_DEMAND_KEY_SIZE];
	/* until tls_demand_end(): */
	struct tls_generation *generation; /* pinned */
	const struct tls_domain *domain;
	struct tls_hostname name; /* whom the certificate must name, where the section asks for that */
};

/* Any process; takes the lock of the generation. What Q points to must stay until tls_demand_end(). */
void tls_demand_begin(struct tls_demand *out, const struct tls_domain_query *q);

/* Lets the generation go. Kind and key stay good for tls_verdict_look() and tls_verdict_holds(). */
void tls_demand_end(struct tls_demand *demand);

enum tls_verdict { TLS_VERDICT_OPEN, TLS_VERDICT_GOOD, TLS_VERDICT_BAD };

/* What a connection keeps of it. */
struct tls_verdict_note;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_verdict_start(void);

/*
 * What is known of T, which its peer has opened and which cannot go meanwhile: OPEN, it would have to be found
 * out. Any process, whatever locks of the host's it holds; compares some bytes.
 */
enum tls_verdict tls_verdict_look(const struct tls_connection *t, const struct tls_demand *d);

/*
 * Whether D, which has not ended, lets T carry its message: finds it out where it is not known, which takes as
 * long as to verify a chain. Any process, with a reference to T's connection, and no lock. Without memory the
 * answer is no.
 */
bool tls_verdict_reach(struct tls_connection *t, const struct tls_demand *d);

/* Whether that is known to be so, and the peer's certificate still the same. T's write_lock held. */
bool tls_verdict_holds(const struct tls_connection *t, const struct tls_demand *d);

/* NOTE may be NULL. Any process. */
void tls_verdict_free(struct tls_verdict_note *note);

/* ------------------------------------------------------------------ which connection for which message: tls_reuse.c */

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_reuse_start(const struct tls_options *o);

/* The same, when the script is parsed. */
int tls_reuse_watch(const struct tls_options *o);

/* T, which we open, can be found by its peer's address. The sender, before anybody else knows it. */
void tls_reuse_add(struct tls_connection *t);

/*
 * Whether what this process is about to encrypt for T must not go out on it: then it is kept back, and goes
 * out on another connection when the host has done with it. The sender; T's write_lock held.
 */
bool tls_reuse_keeps_back(const struct tls_connection *t);

/*
 * The message that this process was about to send is over, also where the host could not send it and did not
 * tell: it reads. What it sends next without telling, the answer to a keep-alive, may go out anywhere.
 */
void tls_reuse_forget(void);

/* Takes T out again, if it is in. Any process. */
void tls_reuse_remove(struct tls_connection *t);

/* ------------------------------------------------------------------ between socket and OpenSSL: tls_io.c */

/*
 * The buffers of one call of a hook. A process handles one connection at a time, so it has one pair of
 * buffers, and a connection points to it only during the call.
 */
struct tls_io {
	const unsigned char *in;
	size_t in_size, in_taken;
	unsigned char *out;
	size_t out_used, out_room;
};

/* What a step of OpenSSL's came to. */
enum tls_step {
	TLS_STEP_DONE,
	TLS_STEP_WANTS_INPUT,
	TLS_STEP_CLOSED, /* close_notify */
	TLS_STEP_FAILED, /* see the error queue */
};

/* How much of the buffer for output may be filled before a sender is asked to come again. */
#define TLS_IO_OUT_SOFT_MAX (64 * 1024)
#define TLS_IO_IN_SIZE      (64 * 1024)

/*
 * The kind of BIO that reads and writes a connection's struct tls_io. Main process, before the forks. Returns
 * 0 or -1.
 */
int tls_io_start(void);

/*
 * Gives SSL a BIO whose reads and writes go to *PLACE, and wait when that is NULL. Shared scope. Returns 0 or
 * -1.
 */
int tls_io_attach(struct ssl_st *ssl, struct tls_io **place);

/* Begins a call: this process's buffers, with nothing in and out. */
struct tls_io *tls_io_begin(void);

/* This process's input buffer, TLS_IO_IN_SIZE bytes. NULL when memory is short. */
unsigned char *tls_io_input(void);

/*
 * One step each, in the shared scope that they enter themselves; the error queue is empty before and holds
 * the reason after a failure.
 */
enum tls_step tls_io_handshake(struct ssl_st *ssl);
enum tls_step tls_io_read(struct ssl_st *ssl, void *to, size_t room, size_t *got);
enum tls_step tls_io_write(struct ssl_st *ssl, const void *from, size_t size, size_t *taken);
enum tls_step tls_io_shutdown(struct ssl_st *ssl);

/* ------------------------------------------------------------------ bytes that wait: tls_queue.c ------- */

/* One piece, in shared memory. */
struct tls_chunk {
	struct tls_chunk *next;
	unsigned room, used;
	unsigned char bytes[];
};

/* Oldest first; all zero is empty. */
struct tls_queue {
	struct tls_chunk *first, *last;
	unsigned bytes;
};

enum tls_queue_result { TLS_QUEUE_OK, TLS_QUEUE_FULL, TLS_QUEUE_NO_MEMORY };

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_queue_start(void);

/*
 * Appends SIZE bytes within con_ct_wq_max and ct_wq_max, all of them or none. The first message may be larger
 * than con_ct_wq_max: whoever opens a connection to send it has no other way.
 */
enum tls_queue_result tls_queue_add(struct tls_queue *q, const char *bytes, unsigned size);

/* Wipes and frees what waits. */
void tls_queue_clear(struct tls_queue *q);

/* Bytes that wait in all queues. */
unsigned long tls_queue_total(void);

/* A piece with room for ROOM bytes that holds SIZE of BYTES. The caller owns it. NULL without memory. */
struct tls_chunk *tls_chunk_new(const void *bytes, unsigned size, unsigned room);

/* Wipes and frees CHUNK, which may be NULL. */
void tls_chunk_free(struct tls_chunk *chunk);

/* ------------------------------------------------------------------ handshakes by address: tls_crowd.c  */

/* The handshakes in progress of one address. */
struct tls_crowd;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_crowd_start(void);

/*
 * Counts one more handshake of FROM, an IPv6 address with its whole /64, unless LIMIT are in progress
 * already: then it returns false. *OUT is for tls_crowd_leave(), NULL when there is nothing to count (LIMIT
 * 0) or no memory. Any process.
 */
bool tls_crowd_enter(const struct tls_address *from, int limit, struct tls_crowd **out);

/* Takes that back. CROWD may be NULL. Any process. */
void tls_crowd_leave(struct tls_crowd *crowd);

/* ------------------------------------------------------------------ connections: tls_server.c ---------- */

enum tls_phase {
	TLS_PHASE_NEW, /* nothing received or sent yet */
	TLS_PHASE_HANDSHAKE,
	TLS_PHASE_ESTABLISHED,
	TLS_PHASE_CLOSED, /* our close_notify is sent, or an error: nothing more goes out */
};

/*
 * One connection. In shared memory, found through the host connection's extra_data. Written by whoever holds
 * the host connection's write_lock, the links by whoever holds the list's lock.
 */
struct tls_connection {
	struct tls_connection *next, *previous; /* all connections */
	struct tls_connection *next_to_peer,
		**link_to_peer;               /* those that we opened, and some others, in the table of tls_reuse.c */
	unsigned short peer_port;         /* by which they are found there */
	struct tls_verdict_note *verdict; /* accepted: tls_verdict.c; NULL: nobody has asked */
	struct tcp_connection *tcp;
	int id; /* the host's */
	enum tls_role role;
	enum tls_phase phase;
	struct tls_generation *generation; /* pinned; NULL before the first byte */
	struct tls_domain_use use;
	struct ssl_st *ssl;
	struct tls_io *io; /* only during a call of a hook */
	unsigned started;  /* ticks */
	unsigned deadline; /* ticks: of the handshake, then of a message begun */
	bool deadline_set;
	bool close_after_queue; /* the sender wants the connection closed behind data that still waits */
	bool
		peer_closed; /* its close_notify has come: RFC 8446 section 6.1 lets us go on sending, and asks for ours */
	bool eof_after_input; /* the peer has closed, but not all that came before is delivered */
	bool greedy;          /* had more for us than its last turn took */
	bool heard;         /* the peer has taken our part of the handshake: nothing it says now is about that */
	bool renegotiating; /* established, and in another handshake: the deadline is that one's */
	struct tls_queue queue;        /* cleartext out */
	long memory;                   /* shared bytes that belong to it */
	unsigned held;                 /* bytes in the host's buffer when the last read ended */
	struct tls_chunk *input;       /* ciphertext in */
	char *server_name, *server_id; /* outgoing: what the script chose; NULL: nothing */
	struct tls_crowd *crowd;       /* accepted, until the handshake is done; NULL: not counted */
};

#ifdef TLS_COMPAT_H /* these need the host's types */

/* ------------------------------------------------------------------ turns: tls_turn.c ------------------ */

/* Bytes that T may deliver in one call of its reading hook. */
unsigned tls_turn_size(const struct tcp_connection *c, const struct tls_connection *t);

/*
 * Bytes that may be taken from T's socket now, 0 when this turn has had its share. The caller takes them at
 * once. FLAGS are the host's; write_lock held.
 */
unsigned tls_turn_take(const struct tcp_connection *c, const struct tls_connection *t,
                       rd_conn_flags_t *flags);

/*
 * At the end of a call: whether the host must call again at once, since nothing else would make it come back.
 * MORE: something waits here that can be delivered. write_lock held.
 */
bool tls_turn_goes_on(const struct tcp_connection *c, struct tls_connection *t, bool more,
                      rd_conn_flags_t *flags);

#endif

/*
 * Makes what the hooks share. Main process, before the forks, after tls_runtime_start(). Returns 0 or -1
 * (logged).
 */
int tls_server_start(void);

/*
 * When the server stops: from here on nothing is freed. The kernel takes everything back in a moment, while a
 * process that was killed in the middle of its work may have left a connection, or a lock of OpenSSL's, in
 * any state.
 */
void tls_server_end(void);

/* Timer process, once a second: closes connections past a deadline. */
void tls_server_sweep(unsigned ticks, void *param);

#ifdef TLS_COMPAT_H /* these need the host's types */

/* The hooks. The contract is the host's tls_hooks.h; what holds in which process stands in tls_server.c. */
int tls_server_open(struct tcp_connection *c, int sock);
int tls_server_read(struct tcp_connection *c, rd_conn_flags_t *flags);
int tls_server_encode(struct tcp_connection *c, const char **pbuf, unsigned *plen, const char **rest_buf,
                      unsigned *rest_len, snd_flags_t *send_flags);
void tls_server_close(struct tcp_connection *c, int fd);
void tls_server_clean(struct tcp_connection *c);

/*
 * Hooks of the host from 6.1 on, the host's table of connections locked. Whether C may carry the message at
 * hand, to IP and PORT, in the sender's process; whether A and B stand for the same profile and name.
 */
int tls_reuse_match(struct tcp_connection *c, struct ip_addr *ip, unsigned short port);
int tls_reuse_match_two(struct tcp_connection *a, struct tcp_connection *b);

#endif

/* ------------------------------------------------------------------ all connections: tls_list.c -------- */

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_list_start(void);

/* T must stay until it is removed. Any process, nobody else removes it meanwhile. */
void tls_list_add(struct tls_connection *t);
void tls_list_remove(struct tls_connection *t);

/* How many there are. */
int tls_list_count(void);

/*
 * Calls EACH for every connection with the list locked: EACH must not block nor call back. Stops when it
 * returns non-zero.
 */
void tls_list_walk(int (*each)(struct tls_connection *t, void *arg), void *arg);

/*
 * Has tcp_main close connection ID. Any process that has the host's socket to tcp_main. Returns 0, -1 when
 * there is no such connection.
 */
int tls_list_kill(int id);

/*
 * The TLS or WSS connection with the host's ID, its write_lock held, so that it neither changes nor goes;
 * NULL when there is none. tls_list_release() ends that.
 */
struct tls_connection *tls_list_hold(int id);
void tls_list_release(struct tls_connection *t);

/*
 * Gives a reference to C back that the host's tcpconn_get() gave. Any process that has the host's socket to
 * tcp_main.
 */
void tls_list_put(struct tcp_connection *c);

/* ------------------------------------------------------------------ from settings to a generation: tls_load.c */

/*
 * S: the module parameters of the default domains, which must outlive the module and may hold unset fields.
 * Main process, before the forks, after tls_runtime_start(). Returns 0 or -1 (logged).
 */
int tls_load_start(const struct tls_settings *s);

/*
 * Reads the configuration again and makes it the current one; any process. What is wrong goes to R and then
 * nothing has changed. One at a time: one that comes meanwhile is an error. Returns the new generation's
 * number, -1 on an error, TLS_LOAD_BUSY while another is under way.
 */
#define TLS_LOAD_BUSY (-2)
int tls_load_reload(struct tls_report *r);

/*
 * In a process of its own, every reload_on_change seconds: reloads when a file has changed since the
 * configuration in use was read. A file that cannot be loaded is tried again when it changes again.
 */
void tls_load_watch(unsigned ticks, void *param);

/*
 * Of the files of the configuration in use: how many have changed since it was read, and how many the server's user may
 * not read. Any process; looks at all of them.
 */
long tls_load_changed_files(void);
long tls_load_unreadable_files(void);

/* Loads everything as a reload would, tells R what is wrong, and drops it again; any process. */
void tls_load_check(struct tls_report *r);

/* The folder of the main configuration file, to which paths are relative; OUT may hold it. */
const char *tls_load_folder(char *out, size_t size);

/* Writes R to the log. */
void tls_load_log(const struct tls_report *r);

/* ------------------------------------------------------------------ what is counted: tls_stats.c ------ */

enum tls_stat {
	TLS_STAT_ACCEPTED,
	TLS_STAT_CONNECTED,
	TLS_STAT_RESUMED,
	TLS_STAT_VERSION_1_0,
	TLS_STAT_VERSION_1_1,
	TLS_STAT_VERSION_1_2,
	TLS_STAT_VERSION_1_3,
	TLS_STAT_FAILED_TIMEOUT, /* from here to INTERNAL: why a handshake failed */
	TLS_STAT_FAILED_PEER_CLOSED,
	TLS_STAT_FAILED_VERSION,
	TLS_STAT_FAILED_CIPHER,
	TLS_STAT_FAILED_SERVER_NAME,
	TLS_STAT_FAILED_NO_CERTIFICATE,
	TLS_STAT_FAILED_EXPIRED,
	TLS_STAT_FAILED_REVOKED,
	TLS_STAT_FAILED_UNKNOWN_ISSUER,
	TLS_STAT_FAILED_CERTIFICATE,
	TLS_STAT_FAILED_OUR_CERTIFICATE,
	TLS_STAT_FAILED_ALERT,
	TLS_STAT_FAILED_BAD_DATA,
	TLS_STAT_FAILED_MEMORY,
	TLS_STAT_FAILED_INTERNAL,
	TLS_STAT_BROKEN,
	TLS_STAT_REFUSED,
	TLS_STAT_CROWDED,
	TLS_STAT_QUEUE_REFUSED,
	TLS_STAT_BYTES_IN,
	TLS_STAT_BYTES_OUT,
	TLS_STAT_WIRE_IN,
	TLS_STAT_WIRE_OUT,
	TLS_STAT_RECORDS_IN,
	TLS_STAT_RECORDS_OUT,
	TLS_STAT_RELOADS,
	TLS_STAT_RELOADS_FAILED,
	TLS_STATS,
	TLS_STAT_FAILED_FIRST = TLS_STAT_FAILED_TIMEOUT,
	TLS_STAT_FAILED_LAST = TLS_STAT_FAILED_INTERNAL,
};

/* A number that is looked up when somebody asks, in whatever process. */
struct tls_gauge {
	const char *name, *meaning;
	long (*read)(void);
};

/*
 * Registers the counters and GAUGES, an array that outlives the module and ends with a NULL name, in the
 * host's group "tls". Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_stats_start(const struct tls_gauge *gauges);

/* Adds N to STAT. Any process, no lock; nothing before tls_stats_start(). */
void tls_stats_add(enum tls_stat stat, long n);

/* Counts a handshake that is done. */
void tls_stats_established(const struct ssl_st *ssl, enum tls_role role);

/*
 * What a handshake that failed counts as: ERROR is the newest in OpenSSL's queue (0: none), VERIFY_RESULT
 * what became of the peer's certificate.
 */
enum tls_stat tls_stats_failure_reason(unsigned long error, long verify_result);

/* ------------------------------------------------------------------ settings that change: tls_runtime.c  */

/*
 * Declares the host's run-time configuration group "tls" with O's values, and with S's, the default domains',
 * to read. S may hold unset fields, O none. Main process, before the forks. Returns 0 or -1 (logged).
 */
int tls_runtime_start(const struct tls_settings *s, const struct tls_options *o);

/*
 * The module's options as they are now. Good, strings too, until the process turns back to the host: look
 * again in each hook and command, keep nothing. Costs nothing.
 */
const struct tls_options *tls_runtime_options(void);

struct tls_runtime_value {
	const char *name;
	bool is_number;
	int number;
	const char *text; /* NULL: not set */
};

/* The setting number I of the group, from 0, as it is now. Returns false behind the last one. */
bool tls_runtime_get(int i, struct tls_runtime_value *out);

/* ------------------------------------------------------------------ selects and variables: tls_select.c  */

struct _pv_export;
struct sr_kemi_xval;
struct _str;

/* When the module is loaded: registers @tls..., makes the variables. Returns 0 or -1 (logged). */
int tls_select_load(void);

/* The variables after tls_select_load(), as the host's pv_items want them. */
struct _pv_export *tls_select_variables(void);

/*
 * What KSR.tls.cget(KEY) returns: a string, empty when MSG's connection has no such value. In any process
 * that has a message; good until the next call.
 */
struct sr_kemi_xval *tls_select_cget(struct sip_msg *msg, struct _str *key);

/* ------------------------------------------------------------------ the host's -c: tls_check.c --------- */

/* Says that the host's switch is off, or stands too late. */
void tls_check_say_off(void);

/*
 * When the module is loaded. In a host that was started with -c, START, which returns 0 or logs why not, is
 * called at the process's end, and decides on its status. Returns 0 or -1 (logged).
 */
int tls_check_start(int (*start)(void));

/* ------------------------------------------------------------------ RPC: tls_rpc.c -------------------- */

/* Registers the commands. Returns 0 or -1 (logged). */
int tls_rpc_start(void);

/* What can be looked up: tls.info prints it, and it stands among the statistics. Ends with a NULL name. */
extern const struct tls_gauge tls_rpc_gauges[];

#endif
