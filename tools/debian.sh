#!/usr/bin/env bash
# Other Debian systems in folders, to build and test in: made by debootstrap from the machine's own package sources
# with the suite changed, and kept between runs. As root only.
#
#   debian.sh make SYSTEM              make build/debian-SYSTEM, unless it is there and whole
#   debian.sh run SYSTEM COMMAND...    run a command in it, in a copy of this tree; what is built there stays there
#   debian.sh try SYSTEM COMMAND...    the same, but all changes, those of the command too, are gone at the end
#   debian.sh remove SYSTEM            remove it
#
# SYSTEM is 12, 13 or a suite such as testing; testing-13 is testing with the host of Debian 13. With +NAME behind it, it is
# one more system of that kind, in a folder of its own. Everything that a run
# mounts and starts lives in namespaces of its own and is gone with it, however it ends: on the machine nothing is ever
# mounted. The network is the machine's.
#
# Environment: KAMAILIO_SRC (a source tree of the host; the command sees a copy), PYTEST_ARGS.
set -euo pipefail
export LC_ALL=C

TREE=/usr/src/tls # where the copy of this tree is in the system
HOST_TREE=/usr/src/kamailio
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	printf 'tls: %s\n' "$*" >&2
	exit 1
}

suite_of() {
	case $1 in
	12) echo bookworm ;;
	13) echo trixie ;;
	*) echo "$1" ;;
	esac
}

preflight() {
	local program
	[ "$(id -u)" = 0 ] || die "making and entering another Debian system needs root: run this as root"
	for program in apt-get debootstrap rsync unshare chroot "$KEYRING"; do
		command -v "$program" >/dev/null || [ -f "$program" ] ||
			die "$program is missing: apt-get install debootstrap debian-archive-keyring rsync"
	done
	unshare --mount --pid --fork true 2>/dev/null ||
		die "no new namespaces here (unshare --mount --pid fails): a container needs the right to make them"
}

# The machine's own Debian archives, a line each: URI RELEASE.
archives() {
	apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		sed -n 's/^Debian main //p'
}

# The same for the suite $1: bookworm-updates becomes trixie-updates, and so on. Only sid has but one.
archives_of() {
	local suite=$1 codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ -n "$(archives)" ] || apt-get -qq update >/dev/null 2>&1 || true
	archives | sed -nE "s,^([^ ]+) $codename(-updates|-security)?\$,\1 $suite\2,p" |
		{ [ "$suite" = sid ] && grep ' sid$' || cat; }
}

# Lines of a sources.list for the suite $1.
sources_of() {
	archives_of "$1" | while read -r uri release; do
		echo "deb [signed-by=$KEYRING] $uri $release main"
	done
}

# What the apt of the system in $1 needs: the machine's way to its archives (proxies and the like), the archives of the
# suite $2, and the suite $3 for the host alone if there is one.
write_settings() {
	local root=$1 suite=$2 host_suite=$3
	apt-config dump --no-empty | grep -E '^Acquire::(https?|Check-|Retries)' >"$root/etc/apt/apt.conf.d/90machine" || true
	printf '%s\n' 'APT::Install-Recommends "false";' 'APT::Sandbox::User "root";' 'Acquire::Languages "none";' \
		>"$root/etc/apt/apt.conf.d/91tests"
	echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/tests" # what a crash of the machine would leave, nobody needs
	rm -f "$root"/etc/apt/sources.list.d/*
	sources_of "$suite" >"$root/etc/apt/sources.list"
	if [ -n "$host_suite" ]; then
		sources_of "$host_suite" >>"$root/etc/apt/sources.list"
		printf 'Package: %s\nPin: release n=%s*\nPin-Priority: %s\n\n' 'kamailio*' "$host_suite" 1001 '*' "$host_suite" 100 \
			>"$root/etc/apt/preferences.d/host"
	fi
	# servers that packages bring are not to be started
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
}

# Fills $1.part, and gives it its name when it is whole.
make_system() {
	local root=$1 suite host_suite= uri log=$1.log
	[ ! -e "$root/etc/debian_version" ] || return 0
	set -- "$1" "${2%+*}"
	suite=$(suite_of "${2%-*}")
	[ "$2" = "${2%-*}" ] || host_suite=$(suite_of "${2##*-}")
	uri=$(archives_of "$suite" | sed -n "s, $suite\$,,p" | head -n 1)
	[ -n "$uri" ] || die "apt's sources name no Debian archive of this machine's own release: where to get $suite from?"
	echo "Making a Debian system ($suite) in $root"
	rm -rf --one-file-system "$root.part"
	mkdir -p "$root.part"
	# in namespaces too, because debootstrap mounts /proc and /sys
	unshare --mount --pid --fork --kill-child debootstrap --variant=minbase \
		--include=ca-certificates,debian-archive-keyring --keyring="$KEYRING" "$suite" "$root.part" "$uri" >"$log" 2>&1 || {
		tail -n 5 "$log" | sed 's/^/    /' >&2
		die "debootstrap could not make $root (see its messages above and in $log)"
	}
	write_settings "$root.part" "$suite" "$host_suite"
	mv "$root.part" "$root"
}

# Copies the folder $1 to $2, but for what is built there; what was built in the copy stays. A file that is not what it was
# is as old as its copy, so that make sees it: here it may be older than what was built of the one before.
copy_tree() {
	mkdir -p "$2"
	rsync --recursive --links --perms --checksum --delete --exclude=/build --exclude=/.git --exclude=/tls.so \
		--exclude=__pycache__ "$1/" "$2"
}

# Mounts a layer over the system $1, which takes all changes, and prints where.
put_layer() {
	local layer=$1/mnt
	mount -t tmpfs tmpfs "$layer"
	mkdir "$layer/changes" "$layer/work" "$layer/root"
	mount -t overlay overlay -o "lowerdir=$1,upperdir=$layer/changes,workdir=$layer/work" "$layer/root" ||
		die "no layer can be mounted over $1 (overlay): a container needs the right to"
	echo "$layer/root"
}

# The first process of the namespaces: mounts, then the command, then everything goes with it.
inside() {
	local root=$1
	shift
	mount --bind "$root" "$root" # a mount point, so that namespaces can be made in it too
	[ -z "${LAYER:-}" ] || root=$(put_layer "$root")
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
	mount -t tmpfs tmpfs "$root/run"
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
	cp /etc/hosts "$root/etc/hosts"
	trap : INT TERM # the command gets them too, and ends
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 SHELL=/bin/bash \
		TERM="${TERM:-dumb}" PYTEST_ARGS="${PYTEST_ARGS:-}" KAMAILIO_SRC="${KAMAILIO_SRC:-}" \
		chroot "$root" bash -c 'cd "$1" && shift && "$@"' - "$TREE" "$@"
}

case ${1:-} in
inside) # called by itself, in the namespaces
	shift
	inside "$@"
	exit
	;;
make | run | try | remove) ;;
*)
	echo "usage: debian.sh make|run|try|remove SYSTEM [COMMAND...]" >&2
	exit 2
	;;
esac
action=$1
system=${2:?which system: 12, 13, testing, testing-13}
shift 2
cd "${0%/*}/.."
root=$PWD/build/debian-$system
preflight
if [ "$action" = remove ]; then
	rm -rf --one-file-system "$root" "$root.part" "$root.log"
	exit
fi
mkdir -p build
make_system "$root" "$system"
[ "$action" != make ] || exit 0
[ "$action" != try ] || export LAYER=1
copy_tree "$PWD" "$root$TREE"
if [ -n "${KAMAILIO_SRC:-}" ]; then
	copy_tree "$KAMAILIO_SRC" "$root$HOST_TREE"
	export KAMAILIO_SRC=$HOST_TREE
fi
exec unshare --mount --pid --fork --kill-child "$PWD/tools/debian.sh" inside "$root" "$@"
