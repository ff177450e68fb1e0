/*
 * material/remarks.c - warnings that are kept, to be given again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * What was said about files when they were loaded is said again by each configuration that takes them over.
 */
#include <string.h>

#include "material/remarks.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"

struct tls_remark {
	struct tls_remark *next;
	int setting; /* the number of its origin */
	char text[];
};

void tls_remarks_keep(struct tls_remark **remarks, const struct tls_report *said)
{
	while (*remarks != NULL)
		remarks = &(*remarks)->next;
	for (const struct tls_problem *p = said->first; p != NULL; p = p->next) {
		struct tls_remark *remark = p->severity == TLS_WARNING
		                                ? tls_mem_shared_alloc(sizeof(*remark) + strlen(p->text) + 1)
		                                : NULL;

		if (remark == NULL)
			continue;
		remark->setting = p->line;
		strcpy(remark->text, p->text);
		*remarks = remark;
		remarks = &remark->next;
	}
}

void tls_remarks_say(const struct tls_remark *remark, const struct tls_origin *from, struct tls_report *r)
{
	for (; remark != NULL; remark = remark->next) {
		const struct tls_origin *o = &from[remark->setting];

		tls_report_add(r, TLS_WARNING, o->file, o->line, o->setting, "%s", remark->text);
	}
}

void tls_remarks_free(struct tls_remark *remark)
{
	while (remark != NULL) {
		struct tls_remark *next = remark->next;

		tls_mem_shared_free(remark);
		remark = next;
	}
}
