/*
 * fake_host.h - the host's log, kept for a unit test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

/* What has been logged since the last fake_host_clear(), oldest first, up to its first 16 KB. */
const char *fake_host_log(void);
void fake_host_clear(void);

#endif
