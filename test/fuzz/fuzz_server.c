/* links: BENCH test/fuzz/program.c -Itest/unit -D_GNU_SOURCE -Wno-unused-parameter -lssl -lcrypto -lz -lpthread */
/*
 * fuzz_server.c - a client does to a server of the module's whatever an input says (program.h)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "program.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	program_start();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	program_run(data, size, true);
	return 0;
}
