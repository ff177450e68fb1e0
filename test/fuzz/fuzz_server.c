/* links: BENCH test/fuzz/program.c */
/*
 * fuzz_server.c - a client does to a server of the module's whatever an input says (program.h)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "program.h"

const bool program_is_server = true;
