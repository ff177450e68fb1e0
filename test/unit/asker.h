/*
 * asker.h - what operators and scripts ask of the module
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Wants tls_rpc.c and tls_select.c linked beside the bench, and takes the part of the host for both.
 */
#ifndef ASKER_H
#define ASKER_H

#include <stdbool.h>

#include "host/compat.h"

/* Takes what the two have to offer. Once. Returns 0 or -1. */
int asker_start(void);

/* The names of the commands, ended by NULL. */
const char *const *asker_commands(void);

/*
 * Calls the command NAME with TEXT, or without when that is NULL; where it wants a number it gets ID. Returns
 * whether it answered, and did not report a fault.
 */
bool asker_command(const char *name, const char *text, int id);

/* Asks for every select and every variable about a message that came over C. Returns how many there were. */
int asker_script(struct tcp_connection *c);

#endif
