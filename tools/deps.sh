#!/usr/bin/env bash
# Installs the Debian packages that this project needs: as root, or through sudo. Does nothing, and needs no
# right to do it, when they are all there.
#
#   deps.sh run         what building and running need
#   deps.sh STAGE       what one stage of the tests needs: style, unit, asan, tsan, fuzz, server
#   deps.sh check       what all of them need
#   deps.sh quick       what make check-quick needs
#   deps.sh core        what most tests against the server need, with building and running
#   deps.sh bench       beside all that, what the benchmark compares with and draws with
#   deps.sh deb         what building the Debian package needs
#   deps.sh package     also what its tests need
#   deps.sh systems     what the tests in other Debian systems need here
#   deps.sh list SET    print one of these, a package a line
set -euo pipefail

BUILD="make gcc libc6-dev libssl-dev zlib1g-dev kamailio python3"
RUN="$BUILD netbase openssl"
STYLE="make python3 openssl cppcheck clang-format"
UNIT="$BUILD libcmocka-dev"
FUZZ="$UNIT clang libclang-rt-dev"
DEB="debhelper"
PACKAGE="$DEB lintian python3-pytest python3-pytest-timeout python3-pytest-xdist python3-cryptography kamailio-tls-modules"
SYSTEMS="debootstrap debian-archive-keyring piuparts rsync"
CORE="python3-pytest python3-pytest-timeout python3-pytest-xdist python3-cryptography gnutls-bin sip-tester curl procps binutils
	kamailio-tls-modules kamailio-websocket-modules kamailio-extra-modules kamailio-utils-modules"
SERVER="$RUN $PACKAGE $CORE openssh-client valgrind libwolfssl-dev sslscan testssl.sh baresip-core"
CHECK="$STYLE $UNIT $FUZZ $SERVER"
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

# The packages of the set $1.
packages_of() {
	case $1 in
	run) echo $RUN ;;
	style) echo $STYLE ;;
	unit | asan | tsan) echo $UNIT ;;
	fuzz) echo $FUZZ ;;
	server) echo $SERVER ;;
	check) echo $CHECK ;;
	core) echo $RUN $CORE ;;
	quick) echo $STYLE $UNIT $RUN $CORE ;;
	bench) echo $CHECK $BENCH ;;
	deb) echo $RUN $DEB ;;
	package) echo $RUN $PACKAGE ;;
	systems) echo $SYSTEMS ;;
	*)
		echo "usage: deps.sh [list] run|style|unit|asan|tsan|fuzz|server|check|quick|core|bench|deb|package|systems" >&2
		return 2
		;;
	esac
}

case ${1:-} in
install) # called by itself, with the rights to do it
	shift
	install_packages "$@"
	exit
	;;
list)
	wanted=$(packages_of "${2:-}")
	printf '%s\n' $wanted | sort -u
	exit
	;;
esac
wanted=$(packages_of "${1:-}")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "tls: not a Debian machine, so nothing is installed; what is needed, by Debian's names:" $wanted >&2
	exit 0
fi
# a host of the user's own will do
if "${0%/*}/host.sh" find >/dev/null 2>&1; then
	wanted=$(printf '%s\n' $wanted | grep -vx kamailio)
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
	echo "tls: apt-get could not install $missing(see its messages above and in build/deps.log)" >&2
	exit 1
fi
