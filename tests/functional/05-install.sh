#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What "make install" puts where, that the prefix asked for is taken, and that what an operator starts
# from works: manual pages, the example configuration, the systemd unit.
# Usage: 05-install.sh BUILD-DIR
set -eu

build=$(cd "${1:-build}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in meson make mandoc; do
	command -v "$program" >/dev/null || {
		echo "skip: no $program"
		exit 77
	}
done

dir=$(mktemp -d)
pid=
cleanup()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "FAIL: $*"
	[ ! -f "$dir/err" ] || tail -n 20 "$dir/err"
	exit 1
}

# Say what make would do, whatever make this runs under was told.
clean_make()
{
	env -u MAKEFLAGS -u MAKEOVERRIDES make -n "$@"
}

echo "# files"
DESTDIR=$dir/root meson install -C "$build" --no-rebuild --quiet >"$dir/err" 2>&1 || fail "meson install"
prefix=$(meson introspect "$build" --buildoptions |
	python3 -c 'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
at=$dir/root$prefix
for file in bin/cardd bin/cardctl share/man/man1/cardd.1 share/man/man1/cardctl.1 \
	share/man/man5/outboard-config.5 share/bash-completion/completions/cardctl \
	share/doc/outboard/examples/card.json share/doc/outboard/examples/overlay.json \
	lib/systemd/system/outboard-cardd@.service; do
	[ -f "$at/$file" ] || fail "$file is not installed"
done

echo "# the page of the configuration file names what a file may hold"
mandoc -T ascii "$at/share/man/man5/outboard-config.5" | col -b >"$dir/page"
for word in net_create bdev_uring_create uplink_create flow_add mac_set volume_resize queue_pairs; do
	grep -q "$word" "$dir/page" || fail "outboard-config(5): no $word"
done
for word in stats_get net_delete shutdown cpumask; do
	if grep -q "$word" "$dir/page"; then fail "outboard-config(5): $word"; fi
done

echo "# the examples"
mkdir "$dir/images"
mkfifo "$dir/out"
# example NAME COMMAND...: a card starts with it, and each command lists something
example()
{
	sed 's/net_af_packet0,iface=eth1/net_null0/' "$at/share/doc/outboard/examples/$1.json" >"$dir/card.json"
	chmod 600 "$dir/card.json"
	"$at/bin/cardd" --name example --config "$dir/card.json" --volume-dir "$dir/images" \
		--socket-dir "$dir/s" --rpc-socket "$dir/rpc" --mem-mib 96 --mbufs 4095 >"$dir/out" 2>"$dir/err" &
	pid=$!
	line=
	read -r line <"$dir/out" || :
	[ "$line" = ready ] || fail "cardd does not start with $1.json"
	shift
	for what; do
		# shellcheck disable=SC2086 # two words
		"$at/bin/cardctl" --socket "$dir/rpc" $what >"$dir/list" || fail "cardctl $what"
		[ "$(wc -l <"$dir/list")" -gt 1 ] || fail "cardctl $what: nothing there"
	done
	kill "$pid"
	wait "$pid" || fail "cardd ended with $?"
	pid=
}
example card "uplink list" "net list" "volume list" "disk list" "flow list" "mac list"
example overlay "uplink list" "tunnel list" "underlay show" "net list" "flow list"

echo "# the unit"
unit="$at/lib/systemd/system/outboard-cardd@.service"
grep -q "^ExecStart=$prefix/bin/cardd --supervise --name %i " "$unit" || fail "the unit starts another program"
if command -v systemd-analyze >/dev/null; then
	sed "s,^ExecStart=$prefix,ExecStart=$at," "$unit" >"$dir/outboard-cardd@card0.service"
	systemd-analyze verify --man=no "$dir/outboard-cardd@card0.service" >"$dir/verify" 2>&1 ||
		fail "systemd-analyze verify: $(cat "$dir/verify")"
	[ ! -s "$dir/verify" ] || fail "systemd-analyze verify: $(cat "$dir/verify")"
else
	echo "no systemd-analyze: the unit is not verified"
fi

echo "# the prefix: of the build folder, or the one asked for"
cd "$root"
unset PREFIX
clean_make install BUILD="$build" >"$dir/make" 2>&1 || fail "make -n install: $(cat "$dir/make")"
if grep -q 'prefix=' "$dir/make"; then fail "make install changes a prefix that nobody asked for"; fi
clean_make install BUILD="$build" PREFIX=/opt/outboard >"$dir/make" 2>&1 || fail "make -n install PREFIX"
grep -q 'configure .*-Dprefix=/opt/outboard' "$dir/make" ||
	fail "make install ignores PREFIX: $(cat "$dir/make")"
PREFIX=/opt/other env -u MAKEFLAGS -u MAKEOVERRIDES make -n install BUILD="$build" >"$dir/make" 2>&1 ||
	fail "PREFIX make -n install"
grep -q 'configure .*-Dprefix=/opt/other' "$dir/make" || fail "make install ignores PREFIX of the environment"
echo "PASS"
