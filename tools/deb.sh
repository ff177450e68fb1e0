#!/usr/bin/env bash
# The Debian package of the module, for the host that is installed.
#
#   deb.sh build OUT HEADERS     builds it into the folder OUT; HEADERS: the folder with the host's headers
#   deb.sh version               print the package's version
#   deb.sh next                  print the version after the installed host's: from it on the package is for none
#
# Version of the package: that of the newest release in CHANGELOG.md (0: there was none), behind it the time of the
# commit when that is another one (.1: and changes; outside of git the time of the newest file), then the host's:
# 1.2.0+git202601311200-1+kamailio5.6.3.
# Environment: DEB_VERSION (a version to take instead), KAMAILIO_SRC, DEBFULLNAME and DEBEMAIL (who maintains it).
set -euo pipefail
export LC_ALL=C TZ=UTC
cd "${0%/*}/.."

die() {
	printf 'tls: %s\n' "$*" >&2
	exit 1
}

# The version after the host's, in the last number: 5.6.4~ after 5.6.3.
next_version() {
	local version
	version=$(tools/host.sh version)
	[[ $version =~ ^([0-9.]+\.)([0-9]+)$ ]] || die "a package is for a released host, and this one is $version"
	echo "${BASH_REMATCH[1]}$((BASH_REMATCH[2] + 1))~"
}

# The host must come from a package, of just the version that the program tells.
check_host() {
	local program package
	program=$(realpath "$(tools/host.sh find)")
	package=$(dpkg-query -S "$program" 2>/dev/null | cut -d: -f1) || true
	[ "$package" = kamailio ] ||
		die "$program is not from the package kamailio, on which this one depends: make install is for it"
	package=$(dpkg-query -W -f '${Version}' kamailio)
	dpkg --compare-versions "$package" ge "$(tools/host.sh version)" &&
		dpkg --compare-versions "$package" lt "$(next_version)" ||
		die "the package kamailio is $package, but $program tells $(tools/host.sh version): install it again"
}

# What this tree is, as a version.
tree_version() {
	local release state
	release=$(sed -nE 's/^## \[([0-9][^]]*)\].*/\1/p' CHANGELOG.md | head -n 1)
	state=$(git status --porcelain 2>/dev/null | head -n 1) || true
	if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$PWD" ]; then
		state=+$(find . -path ./build -prune -o -type f -printf '%TY%Tm%Td%TH%TM\n' | sort | tail -n 1)
	elif [ -n "$release" ] && [ -z "$state" ] && git describe --tags --exact-match --match "v$release" >/dev/null 2>&1; then
		state=
	else
		state=+git$(git log -1 --date=format-local:%Y%m%d%H%M --format=%cd)${state:+.1}
	fi
	echo "${release:-0}$state"
}

package_version() {
	echo "${DEB_VERSION:-$(tree_version)-1+kamailio$(tools/host.sh version)}"
}

# Fills $1 with the tree, the host's headers $2, and a changelog.
make_source() {
	local source=$1 headers=$2 maintainer
	rm -rf "$source"
	mkdir -p "$source/build"
	tar --exclude=./build --exclude=./.git --exclude=./tls.so --exclude=__pycache__ -cf - . | tar -C "$source" -xf -
	ln -s "$(realpath "$headers")" "$source/build/"
	[ -z "${DEBEMAIL:-}" ] ||
		sed -i "s/^Maintainer: .*/Maintainer: ${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>/" "$source/debian/control"
	maintainer=$(sed -n 's/^Maintainer: //p' "$source/debian/control")
	cat >"$source/debian/changelog" <<-END
		kamailio-tls-shm ($(package_version)) unstable; urgency=medium

		  * Built for kamailio $(tools/host.sh version)$(git log -1 --format=' from commit %h' 2>/dev/null || true).
		    What changed in the module is in changelog.gz.

		 -- $maintainer  $(date -R -d "@$(git log -1 --format=%ct 2>/dev/null || date +%s)")
	END
}

build() {
	local out=$1 headers=$2 source=$1/source
	check_host
	next_version >/dev/null
	mkdir -p "$out"
	make_source "$source" "$headers"
	echo "Building the package for kamailio $(tools/host.sh version)"
	# without make's own variables, which would be the package's too; deps.sh has seen to what it needs
	(cd "$source" && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u DESTDIR dpkg-buildpackage -b -us -uc -d -nc) \
		>"$out/build.log" 2>&1 || {
		tail -n 15 "$out/build.log" | sed 's/^/    /' >&2
		die "the package could not be built (the end of $out/build.log stands above)"
	}
	rm -rf "$source"
	sed -nE "s,.*building package 'kamailio-tls-shm' in '\.\./(.*)'.*,$out/\1,p" "$out/build.log"
}

case ${1:-} in
build) build "$2" "$3" ;;
version) package_version ;;
next) next_version ;;
*) die "usage: deb.sh build OUT HEADERS | version | next" ;;
esac
