/*
 * material/access.h - which files the server's user may read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_ACCESS_H
#define TLS_MATERIAL_ACCESS_H

#include <sys/types.h>

#include "tls.h"

struct tls_config;
struct tls_report;

/*
 * Whether this process is root and the server will run as another user (-u): true in the host's main process until it
 * gives up root's rights, and in its configuration check.
 */
bool tls_access_will_change(void);

/*
 * The user and the group that the server runs as, or will; the user's name goes into OUT, which is returned. Any
 * process.
 */
uid_t tls_access_uid(void);
gid_t tls_access_gid(void);
const char *tls_access_user(char *out, size_t size);

/*
 * Runs WORK(ARG) as that user: in place, or, while tls_access_will_change(), in a child, and waits for it. Returns 0
 * or -1 as WORK did; also -1 when no child could become the user. Any process.
 */
int tls_access_as_user(int (*work)(void *arg), void *arg);

/*
 * The text for errno after PATH could not be opened: for EACCES, with this process's user and the folder that it may
 * not enter. Any process. Returns OUT or a text of strerror()'s.
 */
const char *tls_access_reason(const char *path, char *out, size_t size);

/*
 * Warns of the files of CFG that the server's user may not read, and so could not load again; each obstacle once. Any
 * process. Returns the number of warnings.
 */
int tls_access_check(const struct tls_config *cfg, struct tls_report *r);

#endif
