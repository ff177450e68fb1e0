#!/usr/bin/env bash
# check-hosts.sh SYSTEM...     runs the tests in other Debian systems, as root; see tools/debian.sh for their names
#
# Where the headers of a system's host can't be had, nor a tree of them was given with KAMAILIO_SRC: those of 6.1 are
# made from those of 6.0 (tools/headers-6.1.sh). Any other host is not run; the system's OpenSSL is, with the host of
# Debian 13. The last lines tell what was run, what was not, and the sum.
#
# Environment: STAGES (those of tools/check.py; all), PYTEST_ARGS, KAMAILIO_SRC (used where its version is the host's);
# CORE=1: only the core (start and run, load, reload, differences from the packaged module), which needs fewer packages.
set -euo pipefail
cd "${0%/*}/.."

STAGES=${STAGES:-style unit asan tsan fuzz server}
DEPS=check
if [ -n "${CORE:-}" ]; then
	STAGES=core DEPS=core
fi
summary=()
missing=()
passed=0 failed=0 skipped=0

# What system $1 is, for people.
describe() {
	tools/debian.sh run "$1" bash -c '
		echo "kamailio $(tools/host.sh version), $(openssl version | cut -d" " -f1,2)"' 2>/dev/null || true
}

# Adds the last count in the file $1; a run that has none has failed.
add_count() {
	local line
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$1" | tail -n 1)
	count=${line:-"0 passed, 1 failed, 0 skipped"}
	set -- ${count//[^0-9 ]/}
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# Builds and tests in system $1; what that prints is kept in build/check-$1.log.
run_in() {
	tools/debian.sh run "$1" bash -c 'tools/deps.sh "$1" && shift || exit
		tools/host.sh tree 2>/dev/null || unset KAMAILIO_SRC
		make all && exec python3 tools/check.py "$@"' - "$DEPS" $STAGES 2>&1 | tee "build/check-$1.log"
}

# Makes build/kamailio-6.1 from the headers of Debian 13's host. Fails where that host is not 6.0.
make_headers() {
	tools/debian.sh run 13 bash -c 'tools/deps.sh run && make -s preflight && rm -rf build/host-6.0 &&
		tools/host.sh headers build/host-6.0' >build/headers-6.1.log 2>&1 || return
	tools/headers-6.1.sh build/debian-13/usr/src/tls/build/host-6.0 build/kamailio-6.1
}

# Notes the outcome of the run in system $1, which began at $2 seconds; $3: what to say of its headers.
note() {
	local count
	add_count "build/check-$1.log"
	summary+=("Debian $1, $(describe "$1")$3: $count ($((SECONDS - $2)) s)")
}

check() {
	local system=$1 log=build/check-$1.log begun=$SECONDS
	echo "=== Debian $system"
	mkdir -p build
	if run_in "$system" || [ "$system" != "${system%-13}" ] ||
		! grep -q '^tls: the headers of .* could not be fetched' "$log"; then
		note "$system" "$begun" ""
	elif grep -q '^tls: the headers of kamailio 6\.1' "$log" && make_headers; then
		KAMAILIO_SRC=$PWD/build/kamailio-6.1 run_in "$system" || true
		note "$system" "$begun" " (headers made from 6.0's)"
	else
		missing+=("not run: Debian $system, $(describe "$system"): no headers of that host (KAMAILIO_SRC= gives them)")
		check "$system-13"
	fi
}

for system in "$@"; do
	check "$system"
done
printf '%s\n' "===" "${summary[@]}" "${missing[@]}"
[ -z "${CORE:-}" ] || echo "(only the core: start and run, load, reload, differences from the packaged module)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
