#!/usr/bin/env bash
# Installs the Debian packages that this project needs: as root, or through sudo. Does nothing, and needs no
# right to do it, when they are all there.
#
#   deps.sh run       what building and running need
#   deps.sh core      also what the tests against the server need, without those that need more
#   deps.sh check     also what all tests need
#   deps.sh bench     also what the benchmark compares with and draws with
#   deps.sh deb       what building the Debian package needs
#   deps.sh package   also what its tests need
#   deps.sh systems   what the tests in other Debian systems need here
set -euo pipefail

RUN="make gcc libc6-dev libssl-dev zlib1g-dev netbase kamailio openssl python3"
DEB="debhelper"
PACKAGE="$DEB lintian python3-pytest python3-pytest-timeout python3-cryptography kamailio-tls-modules"
SYSTEMS="debootstrap debian-archive-keyring piuparts rsync"
CORE="python3-pytest python3-pytest-timeout python3-cryptography gnutls-bin sip-tester curl procps binutils
	kamailio-tls-modules kamailio-websocket-modules kamailio-extra-modules kamailio-utils-modules"
CHECK="$PACKAGE $CORE libcmocka-dev cppcheck clang clang-format libclang-rt-dev valgrind
	libwolfssl-dev sslscan testssl.sh baresip-core"
BENCH="haproxy python3-matplotlib linux-perf"

# Some releases of Debian do not have these; what needs them is skipped there.
MAY_LACK="libwolfssl-dev"

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
	local package
	for package in "$@"; do
		is_installed "$package" || printf '%s\n' "$package"
	done | awk '!seen[$0]++' | tr '\n' ' ' # some are needed for several reasons
}

# Installing the host or haproxy must not start a server on this machine: for the time of the installation, and where the
# machine has no rule of its own, service scripts are told to stay still.
install_packages() {
	local rule=/usr/sbin/policy-rc.d
	if [ ! -e "$rule" ] && { ! is_installed kamailio || [[ " $* " == *" haproxy "* ]]; }; then
		trap "rm -f $rule" EXIT
		printf '#!/bin/sh\nexit 101\n' >"$rule"
		chmod 755 "$rule"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update || true # one source that is down need not matter: the installation will tell
	apt-get -qq -y --no-install-recommends install $(offered "$@") </dev/null
}

# Those of the packages that can be had, and those that must be.
offered() {
	local package
	for package in "$@"; do
		[[ " $MAY_LACK " == *" $package "* ]] && [ -z "$(apt-cache show "$package" 2>/dev/null)" ] || printf '%s ' "$package"
	done
}

case ${1:-} in
run) wanted=$RUN ;;
core) wanted="$RUN $CORE" ;;
check) wanted="$RUN $CHECK" ;;
bench) wanted="$RUN $CHECK $BENCH" ;;
deb) wanted="$RUN $DEB" ;;
package) wanted="$RUN $PACKAGE" ;;
systems) wanted="$SYSTEMS" ;;
install) # called by itself, with the rights to do it
	shift
	install_packages "$@"
	exit
	;;
*)
	echo "usage: deps.sh run|core|check|bench|deb|package|systems" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "tls: not a Debian machine, so nothing is installed; what is needed, by Debian's names:" $wanted >&2
	exit 0
fi
# a host of the user's own will do
if "${0%/*}/host.sh" find >/dev/null 2>&1; then
	wanted=${wanted/ kamailio / }
fi
missing=$(missing_of $wanted)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
	elevate=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
	elevate=sudo
else
	echo "tls: packages are missing and only root may install them: apt-get install $missing" >&2
	exit 1
fi
echo "Installing $missing"
mkdir -p build
if ! $elevate "$0" install $missing >build/deps.log 2>&1; then
	tail -n 5 build/deps.log | sed 's/^/    /' >&2
	echo "tls: apt-get could not install $missing(its words stand above and in build/deps.log)" >&2
	exit 1
fi
