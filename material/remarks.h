/*
 * material/remarks.h - warnings that are kept, to be given again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_MATERIAL_REMARKS_H
#define TLS_MATERIAL_REMARKS_H

#include "tls.h"

struct tls_origin;
struct tls_remark;
struct tls_report;

/*
 * Adds the warnings of SAID to *REMARKS (NULL: none yet), in shared memory. The line of each problem is the number of
 * the origin that it is about. Any process, any scope. Without memory some are left out.
 */
void tls_remarks_keep(struct tls_remark **remarks, const struct tls_report *said);

/* Reports REMARKS as warnings about the settings at FROM, an array as long as their numbers need. Any process. */
void tls_remarks_say(const struct tls_remark *remarks, const struct tls_origin *from, struct tls_report *r);

/* Any process, any scope. */
void tls_remarks_free(struct tls_remark *remarks);

#endif
