#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Links of the emulator: kind "auto" is what the user may make, and says which; packets pass over either;
# a card that dies is reconnected to by its peer itself, which nobody asks and whose state does not change.
# Usage: 41-fabric.sh BUILD-DIR
set -eu

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

# until_links yes|no CARD...: the uplink of each card says so
until_links()
{
	want=$1
	shift
	for card in "$@"; do
		n=0
		until cardctl --socket "$OUTBOARD_DIR/$card/rpc.sock" uplink list | grep -q "^up0 .* $want "; do
			n=$((n + 1))
			[ $n -lt 200 ] || fail "card $card: the link is not: up=$want"
			sleep 0.05
		done
	done
}

pings()
{
	timeout 60 "$VDRV" net-ping --a "$OUTBOARD_DIR/card-a/vhost/net0" \
		--b "$OUTBOARD_DIR/card-b/vhost/net0" --count 640 || fail "packets from card to card"
}

# What a card keeps: any write to it replaces a file.
kept()
{
	find "$OUTBOARD_DIR/$1/state" -exec stat -c '%n %i %Y %s' {} + | sort
}

if [ "${1:-}" = --inside ]; then
	until_links yes card-a card-b
	pings
	[ "$2" = reconnect ] || exit 0
	for dead in card-a card-b; do
		case $dead in
		card-a) peer='card-b' ;;
		*) peer='card-a' ;;
		esac
		before=$(kept $peer)
		card-emulator --kill $dead
		card-emulator --wait
		until_links yes card-a card-b
		pings
		[ "$(kept $peer)" = "$before" ] || fail "$peer was told something: $before, $(kept $peer)"
		echo "$dead was killed and is back"
	done
	card-emulator --list --json | python3 -c 'import json, sys
starts = {c["name"]: c["starts"] for c in json.load(sys.stdin)["cards"]}
assert starts == {"card-a": 2, "card-b": 2}, starts'
	exit 0
fi

build=$(realpath "${1:-build}")
emulator=$build/card-firmware/emulator/card-emulator
export VDRV="$build/tests/driver/vdrv"
for program in "$emulator" "$VDRV"; do
	[ -x "$program" ] || {
		echo "SKIP: $program is not built"
		exit 77
	}
done
command -v python3 >/dev/null || {
	echo "SKIP: no python3"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# topology KIND: two cards with a NIC each and a link of that kind ("": none is given)
topology()
{
	kind=${1:+\"kind\": \"$1\", }
	parts='"functions": [{"name": "net0", "kind": "net"}], "uplinks": [{"name": "up0"}]'
	cat >"$dir/topology.json" <<-END
		{"name": "fabric",
		 "cards": [{"name": "card-a", $parts}, {"name": "card-b", $parts}],
		 "links": [{$kind"ends": ["card-a/up0", "card-b/up0"]}]}
	END
}

# emulate PROGRAM-PREFIX... -- ARG: run this script's second half, and keep what the emulator says
emulate()
{
	prefix=
	while [ "$1" != -- ]; do
		prefix="$prefix $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words of a command
	$prefix "$emulator" --run "$0" "$dir/topology.json" -- --inside "$@" 2>"$dir/err" || {
		cat "$dir/err" >&2
		fail "the emulator"
	}
}

# What the user may do decides.
may=memif
if command -v ip >/dev/null && { unshare -n true || unshare -rn true; } 2>/dev/null; then
	may=veth
fi
topology ""
emulate -- stay
grep "links are $may" "$dir/err" || fail "not $may: $(cat "$dir/err")"
topology auto
emulate -- stay
grep -q "links are $may" "$dir/err" || fail "the default is not auto: $(cat "$dir/err")"

# One who may make no namespace: a user namespace in which that is forbidden.
cat >"$dir/forbidden" <<-"END"
	#!/bin/sh
	echo 0 >/proc/sys/user/max_net_namespaces
	exec "$@"
END
chmod +x "$dir/forbidden"
if unshare -r "$dir/forbidden" true 2>/dev/null; then
	emulate unshare -r "$dir/forbidden" -- stay
	grep "links are memif" "$dir/err" || fail "not memif: $(cat "$dir/err")"
else
	echo "no user namespaces here: that rights are missing was not tried"
fi

topology memif
emulate -- reconnect
if grep "links are" "$dir/err"; then fail "a choice where there is none"; fi
topology nosuch
if "$emulator" "$dir/topology.json" 2>"$dir/err"; then fail "a kind that does not exist"; fi
grep -q "links\[0\].kind: unknown; known are auto, memif, veth" "$dir/err" || fail "$(cat "$dir/err")"

# Volumes of other cards: refused VOLUME-OF-CARD-A EXPORT-OF-THE-STORE REASON
refused()
{
	cat >"$dir/bad.json" <<-END
		{ "name": "bad", "cards": [
		  { "name": "store", "volumes": [{ "name": "a", "kind": "ram", "size_mib": 1 }], "exports": [$2] },
		  { "name": "card-a", "volumes": [{ "name": "disk0", $1 }], "exports": [{ "volume": "disk0" }] }
		] }
	END
	if "$emulator" "$dir/bad.json" 2>"$dir/err"; then fail "taken: $1 $2"; fi
	grep -q "bad.json:[0-9]*: $3" "$dir/err" || fail "not '$3': $(cat "$dir/err")"
}
local='"kind": "ram", "size_mib": 1' a='{ "volume": "a", "paths": 2 }'
refused "$local" '{ "volume": "b" }' 'cards\[0\].exports\[0\]: no volume "b" on this card'
refused "$local" '{ "volume": "a", "paths": 9 }' 'cards\[0\].exports\[0\].paths: must be a number from 1 to 8'
refused "$local" "$a, $a" 'cards\[0\].exports\[1\]: the name "a" is taken'
refused '"kind": "ram"' "$a" 'cards\[1\].volumes\[0\]: size_mib: missing'
refused "$local, \"encrypted\": true" "$a" 'cards\[1\].volumes\[0\]: encrypted: for a remote volume'
refused "$local, \"from\": \"store/a\"" "$a" 'cards\[1\].volumes\[0\]: from: for a remote volume'
refused '"kind": "remote"' "$a" 'cards\[1\].volumes\[0\]: from: missing'
refused '"kind": "remote", "size_mib": 1, "from": "store/a"' "$a" 'cards\[1\].volumes\[0\]: size_mib: a remote'
refused '"kind": "remote", "from": "store/b"' "$a" 'cards\[1\].volumes\[0\].from: no export "store/b"'
refused '"kind": "remote", "from": "card-a/disk0"' "$a" 'cards\[1\].volumes\[0\].from: is on this card itself'
refused '"kind": "remote", "from": "store/a"' "$a" 'cards\[1\].exports\[0\]: "disk0" is remote itself'
echo "41-fabric: ok"
