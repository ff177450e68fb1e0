#!/usr/bin/env bash
# headers-6.1.sh TREE OUT
#
# Makes in OUT, from the headers of Kamailio 6.0 below TREE, those of 6.1, as far as this module uses them: for a system
# that has the program of 6.1 and whose source package can't be had. What differs is small: two hooks, two fields of
# what is known about a connection, and futex locks without a second kind beside them. The build compares the table of
# hooks with the program's; the rest is for the tests to show: with a field in the wrong place little would work.
# Where the real headers can be had, these are not for you.
set -euo pipefail

die() {
	printf 'tls: %s\n' "$*" >&2
	exit 1
}

tree=$(cd "${1:?the tree of 6.0}" && pwd) out=${2:?where to write}
[ ! -d "$tree/src/core" ] || tree=$tree/src
grep -q '^PATCHLEVEL *= *0' "$tree/Makefile.defs" 2>/dev/null && grep -q '^VERSION *= *6' "$tree/Makefile.defs" ||
	die "$tree is no source tree of Kamailio 6.0"

# edit FILE EXPRESSION: changes one place, and it must be there
edit() {
	cp "$out/src/$1" "$out/before"
	sed -i -E "$2" "$out/src/$1"
	! cmp -s "$out/before" "$out/src/$1" || die "$1 of $tree is not as expected: nothing there for '$2'"
	rm "$out/before"
}

rm -rf "$out"
mkdir -p "$out/src"
cp -a "$tree/core" "$tree/lib" "$tree/Makefile.defs" "$out/src/"
edit Makefile.defs 's/^(PATCHLEVEL *= *)0/\11/'
edit core/tls_hooks.h 's/^\} tls_hooks_t;/\
	int (*match_domain)(struct tcp_connection *c, struct ip_addr *ip, unsigned short port);\
	int (*match_connections_domain)(struct tcp_connection *a, struct tcp_connection *b);\
&/'
edit core/ip_addr.h 's/^\} ksr_coninfo_t;/\
	str server_name;\
	str server_id;\
&/'
edit core/lock_alloc.h 's/^#if defined\(FAST_LOCK\)/#if defined(USE_FUTEX) || defined(FAST_LOCK)/'
