#!/usr/bin/env bash
# Puts the module where the host finds it, and takes it away again.
#
#   install.sh add FOLDER MODULE     installs MODULE as FOLDER/tls/tls.so and says how to load it
#   install.sh remove FOLDER         removes that
#
# FOLDER is the host's folder of modules: it looks in `tls` there by itself, and no package uses it.
# Environment: DESTDIR (put in front of FOLDER, for packaging), HOST_MODULES (the host's own folder of modules).
set -euo pipefail

die() {
	printf 'tls: %s\n' "$*" >&2
	exit 1
}

# Without DESTDIR the files of packages are left alone.
refuse_packaged() {
	local owner
	[ -z "${DESTDIR:-}" ] || return 0
	owner=$(dpkg-query -S "$folder/tls.so" 2>/dev/null | cut -d: -f1) || true
	[ -z "$owner" ] || die "$folder/tls.so belongs to the package $owner and is left alone: choose another MODULES_DIR="
}

# A new file and a rename: a running server keeps the module that it has mapped.
add() {
	local module=$1
	"${0%/*}/host.sh" try "$module"
	install -d -m 755 "${target%/*}" && install -m 644 "$module" "$target.new" && mv "$target.new" "$target" ||
		die "could not write $target: run this as root, or set DESTDIR= or prefix="
	echo "Installed $target, for kamailio $("${0%/*}/host.sh" version)"
	echo "In the server's configuration, after enable_tls=yes and before any other module that uses OpenSSL:"
	echo "    loadmodule \"$([ "$folder" = "${HOST_MODULES:-}/tls" ] && echo tls || echo "$folder")/tls.so\""
}

remove() {
	if [ ! -e "$target" ]; then
		echo "There is no $target"
		return
	fi
	rm -f "$target" || die "could not remove $target: run this as root"
	rmdir "${target%/*}" 2>/dev/null || true # someone else's files may be there
	echo "Removed $target; a server that loads it does not start until its loadmodule line says another one"
}

[ -n "${2:-}" ] || die "no folder of modules: is the host installed? Or set prefix= or MODULES_DIR="
folder=$2/tls
target=${DESTDIR:-}$folder/tls.so
refuse_packaged
case $1 in
add) add "$3" ;;
remove) remove ;;
*) die "usage: install.sh add FOLDER MODULE | remove FOLDER" ;;
esac
