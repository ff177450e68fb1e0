/*
 * tls_config_files.h - reads the configuration from its files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONFIG_FILES_H
#define TLS_CONFIG_FILES_H

#include "tls.h"

struct tls_config;
struct tls_report;

/*
 * Reads the file PATH as tls_config_parse() does; when PATH is a folder, all regular files in it, in the order of their
 * names, as one configuration. Returns NULL when it, or a file in it, cannot be read (reported). Any process.
 */
struct tls_config *tls_config_files_read(const char *path, struct tls_report *r);

#endif
