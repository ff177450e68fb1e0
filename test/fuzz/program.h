/*
 * program.h - a connection of the module's with a live peer, worked on by a program
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * An input is two bytes of choices, at times a server name, and then a program: instructions of two bytes,
 * what and how much, some followed by bytes. They decide who takes the next step, how much of the wire is
 * there to be read, and what is said; and they change, insert and remove bytes on the wire. So whatever a
 * network or a peer can do to one flight of a handshake happens while the rest is live.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>

/* Whether the module's end is the server: what a fuzzer says, and all that it says. */
extern const bool program_is_server;

#endif
