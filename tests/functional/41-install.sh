#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An emulator without a guest image names a program that makes one and that is there, whether the
# emulator is installed or in the build folder.
# Usage: 41-install.sh BUILD-DIR
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")
[ -x "$build/card-firmware/emulator/card-emulator" ] || {
	echo "SKIP: the emulator is not built"
	exit 77
}
command -v meson >/dev/null || {
	echo "SKIP: no meson to install with"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "FAIL: $*"
	exit 1
}

# named_tool EMULATOR TOPOLOGY: the program that it tells the user to run
named_tool()
{
	(cd / && "$1" --image "$dir/none" "$2") 2>"$dir/err" && fail "$1 runs without an image"
	sed -n 's/^card-emulator: no guest image: run \(.*\) DIR and give --image DIR$/\1/p' "$dir/err"
}

# tool_ok PATH: it is there with what it needs, and says how it is used
tool_ok()
{
	[ -x "$1" ] && [ -x "${1%/*}/guest-init" ] && [ -r "${1%/*}/packages.sh" ] || fail "no program $1: $(cat "$dir/err")"
	status=0
	(cd / && "$1") 2>"$dir/err" || status=$?
	[ $status -eq 2 ] && grep -q '^Usage: guest-image' "$dir/err" || fail "$1 does not work"
}

topology=card-firmware/emulator/topologies/one-card-two-guests.json
tool=$(named_tool "$build/card-firmware/emulator/card-emulator" "$here/../../$topology")
tool_ok "$tool"
cmp "$tool" "$here/../lab/guest-image" || fail "$tool is out of date"
echo "in the build folder: $tool"

DESTDIR=$dir/root meson install -C "$build" --no-rebuild >"$dir/log" 2>&1 || fail "$(cat "$dir/log")"
emulator=$(find "$dir/root" -type f -name card-emulator)
topology=$(find "$dir/root" -type f -name one-card-two-guests.json)
[ -x "$emulator" ] && [ -n "$topology" ] || fail "the emulator is not installed"
tool=$(named_tool "$emulator" "$topology")
tool_ok "$tool"
case $(realpath "$tool") in
"$(realpath "$dir")"/root/*) echo "installed: ${tool#"$dir"/root}" ;;
*) fail "the installed emulator names $tool" ;;
esac
echo "41-install: ok"
