/* links: material/pem.c */
/*
 * test_pem.c - the entries of a PEM file and their lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "material/pem.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define B            "-----BEGIN CERTIFICATE-----"
#define E            "-----END CERTIFICATE-----"
#define CERT         B "\nAAAA\n" E "\n"

/*
 * A file, and what is found in it: for each entry its state, the line of its BEGIN and that of its END. States: g
 * good, b no BEGIN, n no END, i END indented, x ends badly, l glued, c cut.
 */
static const struct {
	const char *name, *data, *wanted;
} files[] = {
	{"empty", "", ""},
	{"text", "nothing\nof use\n", ""},
	{"one", CERT, "g1-3"},
	{"two", CERT CERT, "g1-3 g4-6"},
	{"no line break at the end", B "\nAAAA\n" E, "g1-3"},
	{"text around", "a\n\nb\n" CERT "c\n\n" CERT "d", "g4-6 g9-11"},
	{"CRLF", B "\r\nAAAA\r\n" E "\r\n" B "\r\nAAAA\r\n" E "\r\n", "g1-3 g4-6"},
	{"BOM", "\xef\xbb\xbf" CERT, "g1-3"},
	{"BOM in the middle", CERT "\xef\xbb\xbf" CERT, "g1-3 b4-4"},
	{"blanks behind", B " \t\nAAAA \n" E "  \n" CERT, "g1-3 g4-6"},
	{"indented", "  " B "\nAAAA\n" E "\n", "b1-1"},
	{"all of it indented", CERT " " B "\n AAAA\n " E "\n" CERT, "g1-3 b4-4 g7-9"},
	{"tab", "\t" B "\n", "b1-1"},
	{"quoted mail", "> " B "\n", "b1-1"},
	{"behind text", "subject=a" B "\nAAAA\n" E "\n" CERT, "b1-1 g4-6"},
	{"four hyphens", "----BEGIN CERTIFICATE-----\n" CERT, "b1-1 g2-4"},
	{"four hyphens behind", "-----BEGIN CERTIFICATE----\n" CERT, "b1-1 g2-4"},
	{"none behind", "-----BEGIN CERTIFICATE\n" CERT, "b1-1 g2-4"},
	{"small letters", "-----begin certificate-----\n" CERT, "b1-1 g2-4"},
	{"word processor", "\xe2\x80\x94\xe2\x80\x94-BEGIN CERTIFICATE\xe2\x80\x94\xe2\x80\x94-\n" CERT,
     "b1-1 g2-4"},
	{"commented out", "#" B "\n ;" B "\n//" B "\n" CERT, "g4-6"},
	{"told of", "the line BEGIN CERTIFICATE begins one\nBEGIN CERTIFICATE\n" CERT, "g3-5"},
	{"indented, and none of ours",
     "  -----BEGIN CERTIFICATE REQUEST-----\n  ---- BEGIN SSH2 PUBLIC KEY ----\n", ""},
	{"CRL", " -----BEGIN X509 CRL-----\n -----BEGIN TRUSTED CERTIFICATE-----\n", "b1-1 b2-2"},
	{"glued", B "\nAAAA\n" E B "\nAAAA\n" E "\n", "l1-3"},
	{"no END", B "\nAAAA\n" CERT, "n1-3 g3-5"},
	{"END indented", B "\nAAAA\n " E "\n" CERT, "i1-3 g4-6"},
	{"another END", B "\nAAAA\n-----END X509 CRL-----\n" CERT, "x1-3 g4-6"},
	{"half an END", B "\nAAAA\n-----END CERTIFICATE--\n" CERT, "x1-3 g4-6"},
	{"cut", CERT B "\nAAAA\n", "g1-3 c4-5"},
	{"BEGIN alone", B, "c1-1"},
	{"lone END", E "\n" CERT, "g2-4"},
	{"no label", "-----BEGIN -----\n", "c1-1"},
	{"hyphens", "-----BEGIN----------\n----------\n-----\n-\n", ""},
};

static char state_letter(enum tls_pem_state state)
{
	static const char letters[] = {
		[TLS_PEM_GOOD] = 'g',         [TLS_PEM_NO_BEGIN] = 'b',   [TLS_PEM_NO_END] = 'n',
		[TLS_PEM_END_INDENTED] = 'i', [TLS_PEM_ENDS_BADLY] = 'x', [TLS_PEM_GLUED] = 'l',
		[TLS_PEM_CUT] = 'c'};

	return letters[state];
}

/* What is found in SIZE bytes, which have no byte behind them that may be read. */
static void describe(const char *data, size_t size, char *out, size_t room)
{
	char *copy = malloc(size > 0 ? size : 1);
	struct tls_pem_entry e;
	struct tls_pem p;
	int number = 0;

	memcpy(copy, data, size);
	out[0] = '\0';
	tls_pem_open(&p, copy, size);
	while (tls_pem_next(&p, &e)) {
		size_t used = strlen(out);

		assert_true(e.text >= copy && e.text + e.size <= copy + size);
		if (e.state != TLS_PEM_NO_BEGIN)
			assert_int_equal(e.number, ++number);
		snprintf(out + used, room - used, "%s%c%d-%d", used > 0 ? " " : "", state_letter(e.state), e.line,
		         e.end_line);
	}
	free(copy);
}

static void test_what_is_found(void **state)
{
	char found[256];

	for (size_t i = 0; i < COUNT(files); i++) {
		describe(files[i].data, strlen(files[i].data), found, sizeof(found));
		if (strcmp(found, files[i].wanted) != 0)
			fail_msg("%s: found \"%s\", not \"%s\"", files[i].name, found, files[i].wanted);
	}
}

/* Cut anywhere, and with a zero byte anywhere: nothing is read beyond the end. */
static void test_any_part(void **state)
{
	char found[256], data[512];

	for (size_t i = 0; i < COUNT(files); i++)
		for (size_t size = 0; size <= strlen(files[i].data); size++) {
			describe(files[i].data, size, found, sizeof(found));
			strcpy(data, files[i].data);
			data[size] = '\0';
			describe(data, strlen(files[i].data), found, sizeof(found));
		}
}

static void test_label_and_text(void **state)
{
	static const char data[] = "a\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\nb\n";
	struct tls_pem_entry e;
	struct tls_pem p;

	tls_pem_open(&p, data, strlen(data));
	assert_true(tls_pem_next(&p, &e));
	assert_true(tls_pem_is(&e, "X509 CRL"));
	assert_false(tls_pem_is(&e, "X509"));
	assert_false(tls_pem_is(&e, "X509 CRLS"));
	assert_int_equal(e.size, strlen(data) - 4);
	assert_memory_equal(e.text, data + 2, e.size);
	assert_false(tls_pem_next(&p, &e));
}

static void test_other_forms(void **state)
{
	assert_non_null(strstr(tls_pem_other_form("\x30\x82\x01\x02\x30", 5), "DER"));
	assert_non_null(strstr(tls_pem_other_form("\xff\xfe-\0-\0", 6), "UTF-16"));
	assert_non_null(strstr(tls_pem_other_form("\xfe\xff\0-\0-", 6), "UTF-16"));
	assert_non_null(strstr(tls_pem_other_form(B "\rAAAA\r" E "\r", 60), "carriage"));
	assert_null(tls_pem_other_form("0000000", 7));
	assert_null(tls_pem_other_form(CERT, strlen(CERT)));
	assert_null(tls_pem_other_form("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_found),
		cmocka_unit_test(test_any_part),
		cmocka_unit_test(test_label_and_text),
		cmocka_unit_test(test_other_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
