# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by guest-image: Debian packages, fetched and unpacked and never installed, so that any user may do
# this. $dir is the folder that is being made, $work one that goes at the end, $cache where packages are kept.
# shellcheck disable=SC2154 # the caller's

die()
{
	echo "guest-image: $*" >&2
	exit 1
}

# Downloads are kept over builds. A folder that another user could fill is never used.
choose_cache()
{
	for c in "${OUTBOARD_CACHE:-}" "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/outboard}" \
		/var/cache/outboard "${HOME:+$HOME/.cache/outboard}" "$dir/packages"; do
		if [ -n "$c" ] && mkdir -p "$c" 2>/dev/null && [ -O "$c" ] && [ -w "$c" ]; then
			echo "$c"
			return
		fi
	done
	die "no folder to keep packages in"
}

# fetch NAME: path of the package's newest version, downloaded when missing. apt checks what it loads
# against the archive's signed lists.
fetch()
{
	version=$(apt-cache policy "$1" | sed -n 's/^ *Candidate: //p')
	[ -n "$version" ] && [ "$version" != "(none)" ] ||
		die "package $1 is unknown: run 'apt-get update' first"
	for deb in "$cache/$1_"*.deb; do
		case $deb in
		"$cache/$1_$(echo "$version" | sed 's/:/%3a/g')_"*) echo "$deb" && return ;;
		esac
	done
	echo "guest-image: downloading $1 $version" >&2
	(cd "$work" && apt-get -qq -o APT::Sandbox::User= download "$1=$version" >&2) ||
		die "cannot download $1"
	deb=$(find "$work" -maxdepth 1 -name "$1_*.deb")
	mv "$deb" "$cache/"
	echo "$cache/${deb##*/}"
}

# unpack FOLDER PACKAGE...: all of them into one folder of $work
unpack()
{
	into=$work/$1
	shift
	for package in "$@"; do
		deb=$(fetch "$package") || exit 1
		dpkg-deb -x "$deb" "$into"
	done
}

# add_program PROGRAM [LIBRARIES]: into $root, with the libraries it needs; those of that folder come first
add_program()
{
	cp "$1" "$root/bin/${3:-${1##*/}}"
	LD_LIBRARY_PATH=${2:-} ldd "$1" >"$work/ldd" || die "ldd $1"
	if grep 'not found' "$work/ldd" >&2; then die "${1##*/} lacks libraries"; fi
	grep -o '/[^ ]*' "$work/ldd" | while read -r lib; do
		to=$root$lib
		[ "${lib#"$work"}" = "$lib" ] || to=$root/usr/lib/${lib##*/}
		mkdir -p "${to%/*}"
		cp -L "$lib" "$to"
	done
}

# stubs PROGRAM FOLDER LIBRARY...: these libraries with the names of the functions that the program asks for
# and nothing behind them. For one that is linked to clients of storage clusters and never uses them here:
# they would be a hundred megabytes.
stubs()
{
	stubbed=$1 folder=$2
	shift 2
	nm -D --undefined-only "$stubbed" | awk -v code="$folder/stub.c" -v map="$folder/stub.map" '
		$2 !~ /^[a-z]/ || $2 ~ /@(GLIBC|LIBAIO|libnuma)/ { next }
		{
			split($2, part, "@")
			print "void " part[1] "(void) {}" >code
			names[part[2]] = names[part[2]] part[1] "; "
		}
		END {
			for (v in names)
				if (v != "")
					print v " { " names[v] "};" >map
			print "STUB { " names[""] "};" >map
		}'
	for library in "$@"; do
		cc -shared -nostdlib -fno-builtin -w -Wl,--version-script="$folder/stub.map" \
			-o "$folder/$library" "$folder/stub.c" || die "cannot make $library"
	done
}
