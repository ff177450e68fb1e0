#!/usr/bin/env bash
# install.sh MODULE FOLDER     installs MODULE as FOLDER/tls.so and says how to load it
#
# FOLDER is `tls` below the host's folder of modules: the host looks there by itself, and no package uses it.
# Environment: DESTDIR (put in front of FOLDER, for packaging).
set -euo pipefail

module=$1
folder=$2
target=${DESTDIR:-}$folder/tls.so

owner=$(dpkg-query -S "$folder/tls.so" 2>/dev/null | cut -d: -f1 || true)
if [ -n "$owner" ]; then
	echo "tls: $folder/tls.so belongs to the package $owner and is left alone: choose another MODULES_DIR=" >&2
	exit 1
fi
# A new file and a rename: a running server keeps the module that it has mapped.
install -d -m 755 "${target%/*}" && install -m 644 "$module" "$target.new" && mv "$target.new" "$target" || {
	echo "tls: could not write $target: run this as root, or set MODULES_DIR= or DESTDIR=" >&2
	exit 1
}
echo "Installed $target"
echo "In the server's configuration, after enable_tls=yes and before any other module that uses OpenSSL:"
echo "    loadmodule \"$([ "$folder" = "${HOST_MODULES:-}/tls" ] && echo tls || echo "$folder")/tls.so\""
