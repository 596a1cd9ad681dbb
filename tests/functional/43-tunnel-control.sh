#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tunnels and the underlay through the control socket: every command, every refusal, what a restart, a killed
# card under its supervisor and a configuration file keep, and what goes with an uplink or a tunnel.
# Usage: 43-tunnel-control.sh BUILD-DIR
set -eu

# shellcheck source=tests/functional/control.sh
. "$(dirname "$0")/control.sh"
control_env "${1:-build}"
options="--state-dir $dir/state"

# What an operator sees of all of it.
picture()
{
	for what in "uplink list" "tunnel list" "underlay show" "flow list origin=operator"; do
		# shellcheck disable=SC2086 # words
		ctl --json $what | grep -v '"\(id\|idle_ms\)"' || fail "cardctl $what"
	done
}

out5='set(tunnel(tun_id=0x5,dst=192.0.2.2)),vx0'
in5='tunnel(tun_id=0x5,src=192.0.2.2,dst=192.0.2.1),in_port(vx0)'

start || fail "cardd does not start"
ctl uplink create up0 devargs=net_null0,no-rx=1
ctl uplink create up1 devargs=net_null1,no-rx=1
ctl net create g0

# Tunnels: of every type, twice, and shown.
make_tunnels()
{
	ctl tunnel create vx0 vxlan
	ctl tunnel create vx0 type=vxlan udp_port=4789 # the default
	ctl tunnel create gb0 vxlan-gbp udp_port=4800
	ctl tunnel create gp0 vxlan-gpe
	ctl tunnel create gn0 geneve local=2001:DB8:0::1 zero_csum6=yes take_oam=yes \
		known_options=0x0102:0x80,0x103:0x81
	ctl tunnel create gr0 gre local=192.0.2.1
}
make_tunnels
make_tunnels
has '^vx0 .* vxlan .*4789$' tunnel list
has '^gb0 .* vxlan-gbp .*4800$' tunnel list
has '^gp0 .* vxlan-gpe .*4790$' tunnel list
has '^gn0 .* geneve .*2001:db8::1 .*6081$' tunnel list
has '^gr0 .* gre .*192.0.2.1 .*0$' tunnel list
has 'take_oam: yes' tunnel show gn0
has '0x0103:0x81' tunnel show gn0
lacks 'local' tunnel show vx0
has 'vx0' port list
has 'rx_packets 0' tunnel stats vx0 --all
ctl --json tunnel list | python3 -c 'import json, sys
t = {x["name"]: x for x in json.load(sys.stdin)}
assert t["gn0"]["known_options"] == ["0x0102:0x80", "0x0103:0x81"], t
assert "local" not in t["vx0"] and t["vx0"]["udp_port"] == 4789, t' || fail "tunnel list as JSON"

refused 1 'none of vxlan' tunnel create x0 ipip
refused 1 'exists with other parameters' tunnel create vx0 geneve
refused 1 'takes the same packets' tunnel create x0 vxlan
refused 1 'is the name of an uplink' tunnel create up0 gre
refused 1 'is the name of a NIC' tunnel create g0 gre
refused 1 'is the name of a tunnel' net create vx0
refused 1 'is the name of a tunnel' uplink create vx0 devargs=net_null2
refused 1 'name: ' tunnel create .x gre
refused 1 'gre has none' tunnel create x0 gre udp_port=47
refused 1 'gre has no UDP' tunnel create x0 gre zero_csum6=yes
refused 1 'only geneve' tunnel create x0 vxlan udp_port=5000 take_oam=yes
refused 1 'only geneve' tunnel create x0 vxlan udp_port=5000 known_options=1:0x80
refused 1 'not of the form' tunnel create x0 geneve known_options=colour
refused 1 'not critical' tunnel create x0 geneve known_options=0x0102:0x01
refused 1 'not an IP address' tunnel create x0 vxlan local=192.0.2.256
refused 1 'not between' tunnel create x0 vxlan udp_port=0
refused 1 'no such tunnel' tunnel delete up0
refused 1 'no such tunnel' tunnel show x0
refused 2 'required' tunnel create x0
refused 2 'required' tunnel create
refused 2 'not of the form' tunnel create x0 vxlan 192.0.2.1

# The underlay: addresses, and with them interfaces; routes; neighbours.
make_underlay()
{
	ctl underlay address add up0 192.0.2.1/24
	ctl underlay address add up0 2001:DB8::1/64
	ctl underlay address add up1 198.51.100.1/24 vlan=7 mac=02:00:00:00:00:0A mtu=1400
	ctl underlay address add up1 198.51.100.9/24 vlan=7
	ctl underlay route add 0.0.0.0/0 up0 192.0.2.254
	ctl underlay route add 10.9.0.0/16 uplink=up1 vlan=7
	ctl underlay neighbour set 192.0.2.2 02:00:00:00:00:02 up0
}
make_underlay
make_underlay
has '^up0 .* 0 .*02:.* 1500$' underlay show
has '^up1 .* 7 .*02:00:00:00:00:0a .* 1400$' underlay show
has '^2001:db8::1/64 .*up0' underlay show
has '^0.0.0.0/0 .*192.0.2.254 .*up0 .* no$' underlay show
has '^192.0.2.0/24 .*up0 .* yes$' underlay show
has '^10.9.0.0/16 .*up1 .*7 .* no$' underlay show
has '^192.0.2.2 .*02:00:00:00:00:02 .*up0 .* yes$' underlay show
has 'conflicts 0' underlay stats --all
own=$(ctl --json uplink show up0 | sed -n 's/.*"mac": "\(.*\)".*/\1/p')
has "^up0 .*$own" underlay show

# An uplink with an address is no part of the learning switch, unless an operator says otherwise.
switched()
{
	[ "$(ctl --json uplink show "$1" | sed -n 's/.*"switched": \([a-z]*\).*/\1/p')" = "$2" ] ||
		fail "$1: switched is not $2"
}
switched up0 false
ctl uplink create up2 devargs=net_null2,no-rx=1
ctl uplink create up2 devargs=net_null2,no-rx=1 switched=auto # the default
switched up2 true
ctl uplink create up3 devargs=net_null3,no-rx=1 switched=no
switched up3 false
ctl uplink set up0 switched=yes
switched up0 true
ctl uplink set up0 switched=auto
switched up0 false
ctl uplink set up1 switched=yes # kept
refused 1 'exists with other parameters' uplink create up2 devargs=net_null2,no-rx=1 switched=yes
refused 1 'none of yes, no and auto' uplink create up4 devargs=net_null4 switched=on
refused 1 'none of yes, no and auto' uplink set up0 switched=off
refused 1 'no such uplink' uplink set g0 switched=yes
refused 2 'required' uplink set up0
has '"switched": "yes"' card config

# Storm control: of any port but a tunnel, kept, and gone with the port.
ctl port set g0 storm_pps=500 storm_burst=50
ctl port set up1 storm_pps=0
ctl port set up2 storm_pps=1
ctl port set up2 storm_pps=2
storm()
{
	[ "$(ctl --json port show "$1" | sed -n 's/.*"storm_\(pps\|burst\)": \([0-9]*\).*/\2/p' | tr '\n' ' ')" = "$2 " ] ||
		fail "$1: storm control is not $2"
}
storms()
{
	storm g0 "500 50"
	storm up0 "100000 0"
	storm up1 "0 0"
	storm up2 "2 0"
}
storms
refused 1 'no such port' port set x0 storm_pps=5
refused 1 'is a tunnel' port set vx0 storm_pps=5
refused 2 'required' port set up0
has '"storm_pps": 500' card config

refused 1 'no such uplink' underlay address add up9 203.0.113.1/24
refused 1 'no such uplink' underlay address add g0 203.0.113.1/24
refused 1 'and a length' underlay address add up0 203.0.113.1
refused 1 'and a length' underlay address add up0 203.0.113.1/33
refused 1 'that a host can have' underlay address add up0 224.0.0.1/24
refused 1 'with length 24 on up0' underlay address add up0 192.0.2.1/25
refused 1 'with length 24 on up0' underlay address add up1 192.0.2.1/24
refused 1 'addresses of up1 have 02:00:00:00:00:0a' underlay address add up1 198.51.100.3/24 vlan=7 \
	mac=02:00:00:00:00:0b
refused 1 'addresses of up1 have 1400' underlay address add up1 198.51.100.3/24 vlan=7 mtu=1300
refused 1 'more than the 1500' underlay address add up1 203.0.113.1/24 mtu=9000
refused 1 'not between 1280' underlay address add up1 2001:db8:1::1/64 mtu=1000
refused 1 'unicast' underlay address add up1 203.0.113.1/24 mac=01:00:5e:00:00:01
refused 1 'none of the card' underlay address delete 192.0.2.77
refused 1 'none of the card' underlay address delete 192.0.2.1/25
refused 1 'another family' underlay route add 10.0.0.0/8 up0 2001:db8::2
refused 1 'behind the length' underlay route add 10.0.0.1/8 up0 192.0.2.254
refused 1 'has a route by 192.0.2.254 on up0' underlay route add 0.0.0.0/0 up0 192.0.2.253
refused 1 'of an address' underlay route add 192.0.2.0/24 up0 192.0.2.254
refused 1 'has no address there' underlay route add 10.0.0.0/8 up1 198.51.100.2
refused 1 'has no route' underlay route delete 10.0.0.0/8
refused 1 'goes with it' underlay route delete 192.0.2.0/24
refused 1 'has no address there' underlay neighbour set 198.51.100.2 02:00:00:00:00:03 up1
refused 1 'unicast' underlay neighbour set 192.0.2.3 ff:ff:ff:ff:ff:ff up0
refused 1 'not an IP address' underlay neighbour set 192.0.2 02:00:00:00:00:03 up0
refused 1 'not a neighbour' underlay neighbour delete 192.0.2.3
refused 2 'required' underlay address add up0
refused 2 'no such command' underlay address change up0
lacks '203.0.113' underlay show # nothing stays behind a refusal

# The last address of an interface is not taken from under routes.
ctl underlay address delete 198.51.100.9
refused 1 'goes by' underlay address delete 198.51.100.1
ctl underlay address add up1 198.51.100.9/24 vlan=7
ctl underlay address delete 198.51.100.1 # the first, which said MAC and MTU
has '^up1 .* 7 .*02:00:00:00:00:0a .* 1400$' underlay show

# Flows on tunnels, by name.
has '"id"' --json flow add "$in5" actions=g0
has '"id"' --json flow add 'in_port(g0)' "actions=$out5"
has '"id"' --json flow add 'in_port(g0),eth_type(0x0806)' "actions=clone($out5)"
has 'tun_id=0x5' flow list origin=operator
has '"actions": ".*vx0"' card config
has '"flow": ".*in_port(vx0)' card config

# A restart keeps all of it, MAC and MTU too.
picture >"$dir/before"
ctl --json card config >"$dir/config-before"
stop
start || fail "cardd does not start again"
has 'degraded: none' card info
switched up0 false
switched up1 true
switched up3 false
storms
picture >"$dir/after"
cmp "$dir/before" "$dir/after" || fail "the restart changed: $(diff "$dir/before" "$dir/after")"
make_tunnels
ctl --json card config >"$dir/config-after"
cmp "$dir/config-before" "$dir/config-after" || fail "creating again changed the configuration"

# So does a card that is killed, when the spare takes over.
stop
start --supervise || fail "cardd does not start under a supervisor"
has_spare()
{
	kill -0 "$pid" || fail "the supervisor ended"
	ctl card info 2>/dev/null | grep -q 'spare: yes'
}
wait_for "no spare card" has_spare
front=$(ctl --json card info | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
kill -9 "$front"
took_over()
{
	kill -0 "$pid" || fail "the supervisor ended with its card"
	ctl card info 2>/dev/null | grep 'pid: ' | grep -qv "pid: $front\$"
}
wait_for "the spare does not take over" took_over
has 'degraded: none' card info
picture >"$dir/after"
cmp "$dir/before" "$dir/after" || fail "the spare is different: $(diff "$dir/before" "$dir/after")"
stop

# What goes with a tunnel, and with an uplink: in the card and in the store.
start || fail "cardd does not start after its supervisor"
ctl tunnel delete vx0
lacks 'tun_id=0x5' flow list origin=operator
lacks 'vx0' card config
refused 1 'no such port' flow add 'in_port(vx0)' actions=drop
ctl uplink delete up0
ctl uplink delete up2
ctl uplink delete up3
lacks 'up0\|192.0.2' underlay show
lacks 'up0\|up2' card config
has '^up1 .* 7 ' underlay show
ctl underlay route delete 10.9.0.0/16
ctl underlay address delete 198.51.100.9/24
lacks 'up1' underlay show
stop
start || fail "cardd does not start after deletions"
has 'degraded: none' card info
lacks 'up0\|up1 ' underlay show
lacks 'vx0' tunnel list
has 'gn0' tunnel list
for name in gb0 gp0 gn0 gr0; do
	ctl tunnel delete $name
done
ctl uplink delete up1
ctl net delete g0
stop

# A configuration file holds them; what hangs on it and is not there is remembered, and can be deleted.
cat >"$dir/card.json" <<'JSON'
[
 {"method": "uplink_create", "params": {"name": "c0", "devargs": "net_null0,no-rx=1"}},
 {"method": "underlay_address_add", "params": {"uplink": "c0", "address": "192.0.2.1/24"}},
 {"method": "underlay_route_add", "params": {"net": "0.0.0.0/0", "gateway": "192.0.2.254", "uplink": "c0"}},
 {"method": "tunnel_create", "params": {"name": "vx0", "type": "vxlan"}},
 {"method": "flow_add", "params": {"flow": "tunnel(tun_id=0x5,src=192.0.2.2),in_port(vx0)", "actions": "drop"}}
]
JSON
chmod 600 "$dir/card.json"
start --config "$dir/card.json" || fail "cardd does not start with a configuration file"
has '^192.0.2.1/24 .*c0' underlay show
has 'vx0' tunnel list
has 'tun_id=0x5' flow list origin=operator
ctl underlay address add c0 203.0.113.1/24
ctl underlay neighbour set 203.0.113.2 02:00:00:00:00:02 c0
ctl underlay route add 10.0.0.0/8 c0 203.0.113.2
stop
start || fail "cardd does not start without the uplink"
has 'c0: no such uplink' card info
ctl underlay neighbour delete 203.0.113.2
ctl underlay route delete 10.0.0.0/8
ctl underlay address delete 203.0.113.1
has 'degraded: none' card info
stop

# Metrics.
port=$(free_port)
start --config "$dir/card.json" --metrics-port "$port" || fail "cardd does not start with metrics"
python3 - "$port" <<'PY' || fail "metrics"
import http.client, sys
h = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
h.request("GET", "/metrics")
text = h.getresponse().read().decode()
for line in ('outboard_tunnel_tx_packets_total{card="ctl",tunnel="vx0"} 0',
             'outboard_underlay_conflicts_total{card="ctl"} 0', 'outboard_underlay_waiting{card="ctl"} 0'):
    assert line in text, line
PY
stop

# Help and completion know commands of two words.
"$cardctl" underlay route add --help | grep -q '^Usage: cardctl underlay route add net uplink \[gateway\]' ||
	fail "help of a command of two words"
"$cardctl" underlay --help | grep -q 'neighbour delete' || fail "help of an object"
if command -v bash >/dev/null; then
	"$cardctl" --completion bash >"$dir/complete"
	words=$(bash -c ". '$dir/complete'; COMP_WORDS=(cardctl underlay route ''); COMP_CWORD=3; _cardctl 2>/dev/null
		echo \${COMPREPLY[*]}; COMP_WORDS=(cardctl underlay route add ''); COMP_CWORD=4; _cardctl 2>/dev/null
		echo \${COMPREPLY[*]}; COMP_WORDS=(cardctl underlay ''); COMP_CWORD=2; _cardctl 2>/dev/null
		echo \${COMPREPLY[*]}")
	[ "$(echo "$words" | tr '\n' '|')" = "add delete|net= uplink= gateway= vlan=|address route neighbour show stats|" ] ||
		fail "completion: $words"
fi

echo "43-tunnel-control: commands, refusals, restart, spare, configuration file, metrics: ok"
