#!/usr/bin/env bash
# What the build must know about the installed SIP server (the host): its program, its headers and the
# compiler flags it was built with.
#
#   host.sh find                print the host's program
#   host.sh own                 print it when it is another one than is found without KAMAILIO
#   host.sh version             print the host's version, such as 5.6.3
#   host.sh modules             print the folder where the host looks for its modules
#   host.sh preflight           check the compiler, the OpenSSL headers and the host
#   host.sh headers DIR         fill DIR with the host's headers (DIR/src) and compiler flags (DIR/cflags)
#   host.sh tree                check that KAMAILIO_SRC, if it is set, is of the host's version
#   host.sh try MODULE          check that the host accepts the built module
#   host.sh compare MODULE      say so when it was built for a host of another version
#
# Environment: KAMAILIO (the host's program), KAMAILIO_SRC (a source tree to use instead of fetching one),
# CC (the compiler).
set -euo pipefail
export LC_ALL=C

die() {
	printf 'tls: %s\n' "$*" >&2
	exit 1
}

find_host() {
	local program
	program=$(PATH="$PATH:/usr/local/sbin:/usr/sbin" command -v "${KAMAILIO:-kamailio}") ||
		die "no SIP server found (${KAMAILIO:-kamailio}): run 'make deps', or set KAMAILIO= to its program"
	printf '%s\n' "$program"
}

# The user's own: not the one that is found by itself.
own_host() {
	local program
	program=$(find_host)
	[ "$program" = "$(KAMAILIO='' find_host 2>/dev/null)" ] || printf '%s\n' "$program"
}

host_version() {
	"$1" -v 2>/dev/null | sed -n 's/^version: *[^ ]* \([0-9][^ ]*\).*/\1/p' | head -n 1
}

# has_flag HOST FLAG: whether the host was built with it.
has_flag() {
	local flags
	flags=$("$1" -v 2>/dev/null)
	[[ $flags =~ (^|[ ,])$2(,|$|[[:space:]]) ]]
}

# The last folder of the host's search path: packages put their modules there.
modules_dir() {
	"$1" -h 2>&1 | sed -n 's/.*-L path .*(default: \(.*\)).*/\1/p' | tr ':' '\n' | tail -n 1
}

# The folder that holds the host's default configuration, with its slash: the host's CFG_DIR.
config_dir() {
	"$1" -h 2>&1 | sed -n 's/.*-f file .*(default: \(.*\/\)[^/]*).*/\1/p' | head -n 1
}

# at_least 6.0 VERSION
at_least() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

preflight() {
	local host cc=${CC:-cc}
	command -v "$cc" >/dev/null || die "no C compiler ($cc): run 'make deps', or set CC="
	printf 'int main(void) { return 0; }\n' | "$cc" -x c -fsyntax-only -include stdlib.h - 2>/dev/null ||
		die "the C library's headers are missing: run 'make deps' (Debian: libc6-dev)"
	printf '#include <openssl/ssl.h>\n' | "$cc" -x c -fsyntax-only - 2>/dev/null ||
		die "the OpenSSL headers are missing: run 'make deps' (Debian: libssl-dev)"
	printf '#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error old\n#endif\n' |
		"$cc" -x c -fsyntax-only - 2>/dev/null ||
		die "these OpenSSL headers are too old: 3.0 is the oldest that works (library contexts are new in it)"
	host=$(find_host)
	[ -n "$(host_version "$host")" ] || die "$host does not tell its version ('$host -v'): is it a SIP server?"
	has_flag "$host" TLS_HOOKS ||
		die "$host was built without TLS_HOOKS ('$host -v' lists its flags): it cannot take a TLS module"
}

# Makes apt's source indices below $1, from copies of the machine's own sources: no server is named here, and
# the machine's configuration stays as it is.
apt_options() {
	local dir=$1 file parts
	parts=$dir/parts
	mkdir -p "$parts" "$dir/lists/partial" "$dir/cache/archives/partial"
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$parts/${file##*/}"
	done
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$file" ] && sed -n 's/^ *deb \(.*\)/deb-src \1/p' "$file" >"$parts/copy-of-${file##*/}"
	done
	printf '%s\n' -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$parts" \
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" \
		-o "APT::Sandbox::User=$(id -un)" -o "Acquire::Retries=3" -o "Acquire::http::Timeout=30" \
		-o "Acquire::Languages=none"
}

# Downloads into $1 the upstream tarball of the host's version $2 and prints its name. Debian's later
# revisions of one version share that tarball, so any of them will do.
fetch_tarball() {
	local dir=$1 version=$2 exact candidate
	local -a options
	command -v apt-get >/dev/null ||
		die "no apt-get to fetch the host's headers with: set KAMAILIO_SRC= to the source tree of version $version"
	mapfile -t options < <(apt_options "$dir/apt")
	apt-get "${options[@]}" -qq update >"$dir/apt.log" 2>&1 || true
	exact=$(dpkg-query -W -f '${source:Version}' kamailio 2>/dev/null || true)
	for candidate in $exact $(apt-cache "${options[@]}" showsrc --only-source kamailio 2>/dev/null |
		sed -n 's/^Version: //p' | sort -Vr); do
		case $candidate in
		"$version" | "$version"[-+~]*) ;;
		*) continue ;;
		esac
		(cd "$dir" && apt-get "${options[@]}" -qq --tar-only --download-only source "kamailio=$candidate") \
			>>"$dir/apt.log" 2>&1 || continue
		ls "$dir"/kamailio_*.orig.tar.* 2>/dev/null | grep -v '\.asc$' | head -n 1
		return
	done
	sed 's/^/    /' "$dir/apt.log" | tail -n 5 >&2
	die "the headers of kamailio $version could not be fetched: check the network and apt's sources," \
		"or set KAMAILIO_SRC= to its source tree"
}

# Unpacks the core, the libraries and the build definitions, nothing else, to $1/src.
unpack_tarball() {
	local dir=$1 tarball=$2
	mkdir -p "$dir/src"
	tar -xf "$tarball" -C "$dir/src" --strip-components=2 --wildcards --no-wildcards-match-slash \
		'*/src/core' '*/src/lib' '*/src/Makefile*'
	tar -xf "$tarball" -C "$dir/src" --strip-components=1 --wildcards --no-wildcards-match-slash \
		'*/cmake' '*/CMakeLists.txt' 2>/dev/null || true
}

# Points $1/src at the user's own tree $2; nothing is written there.
link_tree() {
	local dir=$1 tree
	tree=$(cd "$2" 2>/dev/null && pwd) || die "KAMAILIO_SRC=$2: no such folder"
	[ -d "$tree/src/core" ] && tree=$tree/src
	[ -f "$tree/core/sr_module.h" ] ||
		die "KAMAILIO_SRC=$2: not a source tree of the host (no src/core/sr_module.h in it)"
	mkdir -p "$dir/src"
	ln -s "$tree/core" "$dir/src/core"
	ln -s "$tree/lib" "$dir/src/lib"
	cp "$tree"/Makefile* "$dir/src/" 2>/dev/null || true
	[ ! -f "$tree/config.mak" ] || cp "$tree/config.mak" "$dir/src/"
}

# The version of the source tree $1, such as 6.0; nothing when it does not tell.
tree_version() {
	local dir=${1%/} told
	dir=${dir%/src}
	told=$(sed -nE 's/^(VERSION|PATCHLEVEL) *= *([0-9]+) *$/\2/p' "$dir/src/Makefile.defs" 2>/dev/null |
		head -n 2 | paste -sd.) || true
	[ -n "$told" ] ||
		told=$(sed -nE 's/^ *VERSION +([0-9]+\.[0-9]+)[0-9.]*$/\1/p' "$dir/CMakeLists.txt" 2>/dev/null | head -n 1) || true
	printf '%s\n' "$told"
}

# A tree of another version has other structs: the host would take the module and fall over it.
check_tree() {
	local version=$1 told
	[ -n "${KAMAILIO_SRC:-}" ] || return 0
	told=$(tree_version "$KAMAILIO_SRC")
	case $version. in
	"$told".*) ;;
	*) [ -z "$told" ] || die "KAMAILIO_SRC=$KAMAILIO_SRC is version $told, but the host is $version: give the tree of that" ;;
	esac
}

# The flags of a build made by the host's own makefiles (every version before 6.1): the definitions, and the
# thread options, which carry the process-shared mutexes. Whether it has those, the host itself tells; its makefiles
# would guess from what is installed here.
make_flags() {
	local dir=$1 host=$2 mutexes=0
	if [ ! -f "$dir/src/config.mak" ]; then
		! has_flag "$host" TLS_PTHREAD_MUTEX_SHARED || mutexes=1
		env -i PATH="$PATH" make -C "$dir/src" cfg FLAVOUR=kamailio CC="${CC:-cc}" \
			LIBSSL_SET_MUTEX_SHARED="$mutexes" >"$dir/cfg.log" 2>&1 ||
			die "the host's 'make cfg' failed: see $dir/cfg.log"
		sed -i "s|-DCFG_DIR='\"[^\"]*\"'|-DCFG_DIR='\"$(config_dir "$host")\"'|" "$dir/src/config.mak"
	fi
	sed -n -e 's/^C_DEFS= *//p' -e 's/^CC_PMUTEX_OPTS= *//p' "$dir/src/config.mak"
}

# The flags of a build made by cmake (6.1 and later). What was chosen there the host itself tells, by the names of the
# definitions; a run of its cmake files would tell what they choose here. The rest is the same on every Linux.
told_flags() {
	local host=$1 version=$2 said arch os number flag
	said=$("$host" -v)
	read -r arch os < <(sed -n 's,^version:.*(\(.*\)/\(.*\)).*,\1 \2,p' <<<"$said") ||
		die "'$host -v' does not tell its architecture"
	number=$(IFS=.-; set -- $version; echo $(($1 * 1000000 + $2 * 1000 + $3)))
	cat <<-END
		-DNAME='"kamailio"' -DVERSION='"$version"' -DVERSIONVAL=$number
		-DARCH='"$arch"' -D__CPU_$arch -DOS=$os -DOS_QUOTED='"$os"' -D__OS_${os,,} -DCOMPILER='"${CC:-cc}"'
		-DCFG_DIR='"$(config_dir "$host")"' -DRUN_DIR='"/var/run/kamailio/"'
		-DSTATISTICS -DMALLOC_STATS -DCC_GCC_LIKE_ASM -DHAVE_GETHOSTBYNAME2 -DHAVE_UNION_SEMUN -DHAVE_SCHED_YIELD
		-DHAVE_MSG_NOSIGNAL -DHAVE_MSGHDR_MSG_CONTROL -DHAVE_ALLOCA_H -DHAVE_TIMEGM -DHAVE_SCHED_SETSCHEDULER
		-DHAVE_IP_MREQN -DHAVE_EPOLL -DHAVE_SIGIO_RT -DSIGINFO64_WORKAROUND -DHAVE_SELECT
	END
	for flag in $(sed -n 's/^flags: *//p' <<<"$said" | tr -d ','); do
		case $flag in
		TLS_PTHREAD_MUTEX_SHARED) echo "-DKSR_PTHREAD_MUTEX_SHARED" ;;
		FAST_LOCK-ADAPTIVE_WAIT*) echo "-DFAST_LOCK -DADAPTIVE_WAIT -DADAPTIVE_WAIT_LOOPS=1024" ;;
		FAST_LOCK-BUSY_WAIT*) echo "-DFAST_LOCK -DBUSY_WAIT" ;;
		DBG_*_MALLOC) ;; # follows from DBG_SR_MEMORY in the host's headers
		*) echo "-D${flag%-NOSMP}" ;;
		esac
		[[ $flag != *-NOSMP ]] || echo "-DNOSMP"
	done
}

# The size of the symbol $2 in the file $1; nothing when that does not tell.
symbol_size() {
	{ readelf -W --symbols "$1" 2>/dev/null || true; } | awk -v name="$2" '($8 == name || $8 ~ "^" name "@") && !found++ { print $3 }'
}

# A tree of another version would have another table of hooks, most likely: one of the few structs whose size a program
# shows. $1: the folder of headers and flags.
check_hooks() {
	local dir=$1 host=$2 theirs ours
	theirs=$(symbol_size "$host" tls_hook)
	printf '#include "core/tls_hooks.h"\nchar tls_hook[sizeof(struct tls_hooks)];\n' >"$dir/hooks.c"
	"${CC:-cc}" -w -isystem "$dir/src" @"$dir/flags" -c -o "$dir/hooks.o" "$dir/hooks.c" 2>/dev/null || return 0
	ours=$(symbol_size "$dir/hooks.o" tls_hook)
	rm -f "$dir/hooks.c" "$dir/hooks.o"
	[ "${theirs:-$ours}" = "$ours" ] ||
		die "the headers are not those of $host: their table of TLS hooks has $ours bytes, the program's has $theirs"
}

headers() {
	local dir=$1 host version work tarball
	host=$(find_host)
	version=$(host_version "$host")
	work=$dir.part
	rm -rf "$work"
	mkdir -p "$work"
	if [ -n "${KAMAILIO_SRC:-}" ]; then
		link_tree "$work" "$KAMAILIO_SRC"
		check_tree "$version"
	else
		echo "Fetching the headers of kamailio $version"
		tarball=$(fetch_tarball "$(realpath "$work")" "$version")
		unpack_tarball "$work" "$tarball"
	fi
	{
		if at_least 6.1 "$version"; then
			told_flags "$host" "$version"
		else
			make_flags "$work" "$host"
		fi
		! at_least 6.0 "$version" || echo "-DMOD_NAMEID=tls"
	} >"$work/flags"
	grep -q -- -DTLS_HOOKS "$work/flags" || die "the host's definitions were not found in $work/src"
	check_hooks "$work" "$host"
	rm -rf "$work"/apt "$work"/kamailio_*.tar.* "$dir"
	mv "$work" "$dir"
	{
		printf -- '-isystem %s/src\n' "$dir"
		cat "$dir/flags"
	} >"$dir/cflags"
}

# Loads the module into the host in its configuration check: the host compares versions and flags, and the
# linker resolves every name. TLS stays off, because the module's own check would ask for certificates. Prints the
# host's words when it refuses.
load_module() {
	"$1" -c -E -f <(printf 'debug=0\nenable_tls=no\nlisten=udp:127.0.0.1:5\nloadmodule "%s"\n' "$2"
		printf 'request_route { exit; }\n') 2>&1 >/dev/null
}

# What the words $1 of a host say about versions, such as "built for kamailio 5.6.3, and the host is kamailio 6.0.1".
version_of_refusal() {
	sed -nE 's/.*version mismatch for .*; core: (.*); module: (.*)$/built for \2, and the host is \1/p' <<<"$1" | head -n 1
}

try_module() {
	local module=$1 host said why
	host=$(find_host)
	said=$(load_module "$host" "$module") && return
	why=$(version_of_refusal "$said")
	[ -z "$why" ] || die "$module was $why ($host): a server of that version would refuse it. Build it again here: make"
	printf '%s\n' "$said" | sed 's/^ *[0-9]*([0-9]*) */    /' >&2
	die "$host refuses $module: see its messages above. After an update of the host: make clean, then make"
}

# Tells, before a build, that the host is another one than at the last.
compare_module() {
	local why
	why=$(version_of_refusal "$(load_module "$(find_host)" "$1" || true)")
	[ -z "$why" ] || echo "$1 was $why now: building it again"
}

case ${1:-} in
find) find_host ;;
own) own_host ;;
version) host_version "$(find_host)" ;;
modules) modules_dir "$(find_host)" ;;
preflight) preflight ;;
headers) headers "$2" ;;
tree) check_tree "$(host_version "$(find_host)")" ;;
try) try_module "$2" ;;
compare) compare_module "$2" ;;
*) die "usage: host.sh find|own|version|modules|preflight|headers DIR|tree|try MODULE|compare MODULE" ;;
esac
