#!/usr/bin/env bash
# check-deb.sh SYSTEM...     builds and tries the Debian package in other Debian systems, as root
#
# SYSTEM: see tools/debian.sh. In each: what `make check` does about the package; apt's ways to install, upgrade and
# remove it, and to update the host, with a real start of the host and a request over TLS after each; piuparts. The
# last line is the sum.
set -euo pipefail
cd "${0%/*}/.."

PACKAGE=kamailio-tls-shm
TREE=/usr/src/tls # where tools/debian.sh puts this tree
summary=()
passed=0 failed=0 skipped=0

# count NAME COMMAND...: one check; what it printed is shown when it failed.
count() {
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "$name: passed"
	else
		failed=$((failed + 1))
		printf '%s: FAILED\n%s\n' "$name" "$said"
	fi
}

sum() {
	echo "$passed passed, $failed failed, $skipped skipped"
}

# Adds the last count in the file $1; a run that has none has failed.
add_count() {
	local line
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$1" | tail -n 1) || true
	line=${line:-"0 passed, 1 failed, 0 skipped"}
	summary+=("$2: $line")
	set -- ${line//[^0-9 ]/}
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# --- in the system

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@" </dev/null
}

# Starts and stops the host with the configuration $1: it must answer one OPTIONS over TLS. The packaged module does not
# always stop in time.
answers() {
	local said
	said=$(python3 -B tools/demo.py --dir /tmp/demo --module tls.so --config "$1" --once 2>&1) || true
	grep -q '^SIP/2.0 200 OK' <<<"$said" || { echo "$said"; return 1; }
}

# tls.so is ours in the older version, or in the newer, and the example that came with it runs.
ours_answers() {
	dpkg --verify $PACKAGE && dpkg-divert --list $PACKAGE | grep -q . &&
		! cmp -s "$modules/tls.so" /tmp/debian.so && answers /usr/share/doc/$PACKAGE/examples/ser.cfg
}

debians_answers() {
	cmp "$modules/tls.so" /tmp/debian.so && answers test/lib/plain.cfg && [ -z "$(dpkg-divert --list $PACKAGE)" ] &&
		[ ! -e "$modules/tls-distrib.so" ] && dpkg --verify kamailio-tls-modules
}

aside_is_debians() {
	cmp "$modules/tls-distrib.so" /tmp/debian.so
}

# Nothing asked for a start or stop of a service: the rule below notes each that does.
nothing_restarted() {
	[ ! -e /tmp/services ] || { cat /tmp/services; return 1; }
}

# The packages $2... of the host again, as if they were of its version $1, in /tmp/update.
make_update() {
	local version=$1 package
	mkdir -p /tmp/update && cd /tmp/update
	for package in kamailio kamailio-tls-modules; do
		apt download "$package"
		dpkg-deb -R "$package"_*.deb "$package"
		sed -i "s/^Version: .*/Version: $version/; s/kamailio (= [^)]*)/kamailio (= $version)/" "$package/DEBIAN/control"
		dpkg-deb -b "$package" "new-$package.deb"
	done
}

# The package's life under apt, in a system that has the host and nothing else. $1: the folder with the package, in
# two versions: old and new.
story() {
	local folder=$1 old new next
	modules=$(tools/host.sh modules)
	old=$folder/old.deb new=$folder/new.deb
	next=$(tools/deb.sh next)
	printf '#!/bin/sh\necho "$@" >>/tmp/services\nexit 101\n' >/usr/sbin/policy-rc.d
	cp "$modules/tls.so" /tmp/debian.so
	tools/demo-certs.sh /tmp/demo
	apt purge kamailio-tls-modules >/dev/null
	rm -f /tmp/services

	count "install, without the packaged module" apt install "$old"
	count "... ours answers" ours_answers
	count "the packaged module is installed later" apt install kamailio-tls-modules
	count "... ours answers" ours_answers
	count "... the packaged one is kept aside" aside_is_debians
	count "upgrade" apt install "$new"
	count "... ours answers" ours_answers
	count "the packaged module is installed anew" apt install --reinstall kamailio-tls-modules
	count "... ours answers" ours_answers
	count "the packaged module is removed" apt remove kamailio-tls-modules
	count "... ours answers" ours_answers
	count "... and comes back" apt install kamailio-tls-modules
	count "remove" apt remove $PACKAGE
	count "... the packaged one answers" debians_answers
	count "install over the packaged module" apt install "$old"
	count "... ours answers" ours_answers
	count "purge" apt purge $PACKAGE
	count "... the packaged one answers" debians_answers
	count "install and upgrade at once with the packaged module" apt install --reinstall "$new" kamailio-tls-modules
	count "... ours answers" ours_answers
	count "no service was started or stopped" nothing_restarted

	count "a host of another version is made" make_update "${next%\~}-1"
	count "... it is not installed without a word about ours" not apt install --no-remove /tmp/update/new-*.deb
	count "... ours answers" ours_answers
	count "... it is installed when ours may go" apt install /tmp/update/new-*.deb
	count "... the packaged one answers" debians_answers
	count "... ours does not come back to it" not apt install "$old"
	count "... the packaged one answers" debians_answers
	sum
}

not() {
	! "$@"
}

# --- on this machine

# Another folder of the system $1, with the host as Debian installs it and python for the requests.
make_host_system() {
	tools/debian.sh run "$1+host" bash -c 'dpkg-query -s kamailio-tls-modules python3 openssl >/dev/null 2>&1 || {
		export DEBIAN_FRONTEND=noninteractive
		apt-get -qq update && apt-get -qq -y install kamailio kamailio-tls-modules python3 openssl
	}' </dev/null >"build/check-deb-$1-host.log" 2>&1
}

# The package of system $1 twice, in build/deb-$1: as it is, and as if it were newer.
build_packages() {
	local system=$1 out=build/deb-$1
	tools/debian.sh run "$system" bash -c '
		rm -rf build/deb build/deb-new
		make deb && make deb DEB_DIR=build/deb-new DEB_VERSION="9999-1+kamailio$(tools/host.sh version)"'
	mkdir -p "$out"
	cp "build/debian-$system$TREE/build/deb/${PACKAGE}"_*.deb "$out/old.deb"
	cp "build/debian-$system$TREE/build/deb-new/${PACKAGE}"_*.deb "$out/new.deb"
}

# Installs and purges it in a copy of system $1, and compares the file systems.
run_piuparts() {
	local system=$1
	unshare --mount piuparts --existing-chroot="$PWD/build/debian-$system+host" --distribution=any --keep-sources-list \
		--no-upgrade-test "build/deb-$system/old.deb"
}

check() {
	local system=$1 log=build/check-deb-$1.log begun=$SECONDS before=$failed
	echo "=== Debian $system"
	mkdir -p build
	tools/debian.sh run "$system" bash -c 'tools/deps.sh package && make all && exec python3 tools/check.py deb' \
		</dev/null 2>&1 | tee "$log" || true
	add_count "$log" "Debian $system, tests"
	count "the packages for Debian $system" build_packages "$system"
	count "a system with the host" make_host_system "$system"
	[ "$failed" = "$before" ] || return 0
	mkdir -p "build/debian-$system+host$TREE/build/deb"
	cp "build/deb-$system"/*.deb "build/debian-$system+host$TREE/build/deb/"
	tools/debian.sh try "$system+host" tools/check-deb.sh story "$TREE/build/deb" </dev/null 2>&1 | tee -a "$log" || true
	add_count "$log" "Debian $system, apt"
	count "Debian $system, piuparts" run_piuparts "$system"
	summary+=("Debian $system: $((SECONDS - begun)) s")
}

if [ "${1:-}" = story ]; then
	story "$2"
	exit
fi
for system in "$@"; do
	check "$system"
done
printf '%s\n' "===" "${summary[@]}"
sum
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
