#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Connection tracking as operators set it: limits of zones and timeouts hold, come back after a
# restart, go when they are taken back, and can stand in a configuration file.
# Usage: 42-conntrack.sh BUILD-DIR
set -eu

# shellcheck source=tests/functional/control.sh
. "$(dirname "$0")/control.sh"
control_env "${1:-build}"
options="--ct-conns 4096"

# got EXPRESSION WANT COMMAND...: a Python expression of the command's result r
got()
{
	expression=$1 want=$2
	shift 2
	ctl --json "$@" >"$dir/reply" || fail "cardctl $*: $(cat "$dir/reply")"
	value=$(python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$dir/reply" "$expression")
	[ "$value" = "$want" ] || fail "cardctl $*: $expression is $value instead of $want"
}

settings()
{
	got '[(z["zone"], z["limit"], z["policy"]) for z in r["zones"]]' "$1" ct zone-list
	got 'r["default_limit"]' "$2" ct zone-list
	got '{t["state"]: t["timeout_ms"] for t in r}["tcp_established"]' "$3" ct timeout-list 2
}

start --state-dir "$dir/state" || fail "cardd does not start"
got 'r["total"]' 0 ct list
got 'r["conntrack"][0]["now"]["capacity"]' 4096 ct stats
got 'r["conntrack"][0]["now"]["memory_bytes"]' 0 ct stats # no flow tracks, nothing is set
settings '[]' 0 86400000

ctl ct zone-set 5 limit=10
ctl ct zone-set 5 policy=2 # the limit stays
ctl ct zone-set 7 policy=1
ctl ct default-limit 100
ctl ct timeout-set 2 state=TCP_Established timeout_ms=5000
ctl ct timeout-set 2 state=tcp_established timeout_ms=6000
ctl ct timeout-set 2 state=udp_first timeout_ms=7000
settings '[(5, 10, 2), (7, 100, 1)]' 100 6000
got 'r["conntrack"][0]["now"]["memory_bytes"] > 4096 * 200' True ct stats
got 'sum(c["method"] == "ct_timeout_set" for c in r)' 2 card config
got 'r["deleted"]' 0 ct flush
got 'r["deleted"]' 0 ct flush ct_nw_src=10.0.0.1,ct_nw_proto=6 zone=5
got 'r["total"]' 0 ct list 5 tuple=ct_ipv6_dst=::1 max=1
refused 1 'cannot read "x" at byte 10' ct flush ct_nw_src=x

# What is said to who mistypes, and to who asks.
refused 2 "ct list: zone: \"x\" is not a number" ct list x
refused 2 "Try 'cardctl ct list --help'" ct list x
refused 2 'ct: one of these is missing' ct
refused 2 'no such command: ct lists' ct lists
refused 1 'limit or policy must be given' ct zone-set 5
refused 1 'in_port: no such port: "nosuch"' flow add 'in_port(nosuch)' actions=drop
refused 1 'in_port: no such port: "nosuch"' trace 'in_port(nosuch),eth_type(0x0800)'
refused 1 'in_port: no such port: 77' trace 'in_port(77),eth_type(0x0800)'
refused 1 'in_port() is required' trace 'eth_type(0x0800)'
for words in 'ct help' 'help ct' 'ct --help'; do
	# shellcheck disable=SC2086 # two words
	ctl $words | grep -q 'timeout-set' || fail "cardctl $words does not tell"
done
# Of states only those that a connection is in, unless all is asked for.
if ctl ct stats | grep -q 'state tcp_established'; then fail "a state without connections is shown"; fi
ctl --all ct stats | grep -q 'state tcp_established' || fail "not all is shown"
refused 1 'no such state' ct timeout-set 2 state=tcp_open timeout_ms=1
refused 1 'limit' ct zone-set 5
refused 1 'zone' ct zone-set 65536 limit=1
refused 1 'no settings' ct zone-reset 6
ctl ct zone-list | grep -q '^ *5 .* 10 .* 2$' || fail "the table of zones: $(ctl ct zone-list)"
ctl ct timeout-list 2 | grep -q '^udp_first *7000 *60000$' || fail "the table of timeouts"
stop

start --state-dir "$dir/state" || fail "cardd does not start again"
settings '[(5, 10, 2), (7, 100, 1)]' 100 6000
got '{t["state"]: t["timeout_ms"] for t in r}["udp_first"]' 7000 ct timeout-list 2
ctl --json card config >"$dir/config"
ctl ct zone-reset 5
ctl ct timeout-reset 2
ctl ct default-limit 0
settings '[(7, 0, 1)]' 0 86400000
stop
start --state-dir "$dir/state" || fail "cardd does not start a third time"
settings '[(7, 0, 1)]' 0 86400000
stop

# What a card keeps is a configuration file for another one.
start --config "$dir/config" || fail "the configuration is refused"
settings '[(5, 10, 2), (7, 100, 1)]' 100 6000
stop

for n in 0 1023 67108865 many; do
	if "$cardd" --ct-conns "$n" >/dev/null 2>&1; then fail "--ct-conns $n is taken"; fi
done
echo "PASS"
