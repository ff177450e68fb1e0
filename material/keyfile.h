/*
 * material/keyfile.h - what a file contains in which no private key was found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_KEYFILE_H
#define TLS_MATERIAL_KEYFILE_H

#include "tls.h"

/*
 * What the SIZE bytes at DATA are, the content of the file PATH in which no private key was found, and how to get the
 * key: a sentence without a full stop in OUT, ROOM bytes. PASSWORD: a password is configured. NULL when it cannot be
 * told. Any process; locks and allocates nothing.
 */
const char *tls_keyfile_explain(const char *data, size_t size, const char *path, bool password, char *out,
                                size_t room);

#endif
