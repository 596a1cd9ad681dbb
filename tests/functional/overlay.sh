# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests whose tunnels end in a network namespace: in the kernel's own device, or in a stock Open
# vSwitch with its userspace datapath. They have netns.sh.
# shellcheck disable=SC2154 # the caller's

# kernel_has TYPE: whether the kernel makes such tunnel devices
kernel_has()
{
	case $1 in
	vxlan) words='vxlan id 1 dstport 4789' ;;
	vxlan-gbp) words='vxlan id 1 dstport 4789 gbp' ;;
	geneve) words='geneve id 1 remote 192.0.2.9' ;;
	gre) words='gretap local 192.0.2.8 remote 192.0.2.9' ;;
	esac
	# shellcheck disable=SC2086 # words
	unshare -n ip link add probe type $words 2>/dev/null
}

# kernel_tunnel PID TYPE LOCAL REMOTE ID: the namespace's end of the tunnel is its device "tun"
kernel_tunnel()
{
	case $2 in
	vxlan) words="vxlan id $5 dstport 4789 udpcsum udp6zerocsumrx local $3 remote $4" ;;
	vxlan-gbp) words="vxlan id $5 dstport 4789 gbp udpcsum local $3 remote $4" ;;
	geneve) words="geneve id $5 udpcsum udp6zerocsumrx remote $4" ;;
	gre)
		case $3 in
		*:*) words="ip6gretap local $3 remote $4 key $5 ocsum encaplimit none" ;;
		*) words="gretap local $3 remote $4 key $5 ocsum" ;;
		esac
		;;
	esac
	# shellcheck disable=SC2086 # words
	within "$1" ip link add tun type $words
}

# ovs_has: whether a stock Open vSwitch is installed
ovs_has()
{
	for program in ovsdb-tool ovsdb-server ovs-vswitchd ovs-vsctl ovs-ofctl; do
		command -v $program >/dev/null || return 1
	done
}

# ovs_start PID IFACE: Open vSwitch in that namespace. Bridge "phy" has IFACE and is to get the addresses
# of the underlay; bridge "tun" is to get the tunnels, and is a host's interface as well.
ovs_start()
{
	ovs=$dir/ovs
	mkdir "$ovs"
	export OVS_RUNDIR="$ovs" OVS_LOGDIR="$ovs" OVS_DBDIR="$ovs" OVS_SYSCONFDIR="$ovs"
	ovsdb-tool create "$ovs/conf.db" /usr/share/openvswitch/vswitch.ovsschema
	nsenter -t "$1" -n ovsdb-server --remote="punix:$ovs/db.sock" --no-chdir --pidfile="$ovs/db.pid" \
		-vconsole:off "$ovs/conf.db" 2>"$ovs/db.err" &
	pids="$pids $!"
	wait_for "no ovsdb-server" test -S "$ovs/db.sock"
	ovs_vsctl --no-wait init
	nsenter -t "$1" -n ovs-vswitchd "unix:$ovs/db.sock" --no-chdir --pidfile="$ovs/v.pid" \
		--disable-system -vconsole:off 2>"$ovs/v.err" &
	pids="$pids $!"
	for bridge in phy tun; do
		ovs_vsctl --timeout=30 add-br $bridge -- set bridge $bridge datapath_type=netdev
	done
	ovs_vsctl --timeout=30 add-port phy "$2"
	# The kernel sees what comes by IFACE as well, and would answer ARP for the addresses of "phy" with another
	# MAC address: who hears it last sends to the kernel.
	within "$1" sh -c "echo 8 >/proc/sys/net/ipv4/conf/$2/arp_ignore"
	within "$1" ip link set phy up
	within "$1" ip link set tun up
}

ovs_vsctl()
{
	ovs-vsctl --db="unix:$ovs/db.sock" "$@"
}

# ovs_tunnel TYPE REMOTE ID [OPTION]...: the tunnel's port "end" of bridge "tun"
ovs_tunnel()
{
	type=$1 remote=$2 id=$3
	shift 3
	ovs_vsctl --timeout=30 --if-exists del-port tun end -- add-port tun end -- set interface end \
		"type=$type" "options:remote_ip=$remote" "options:key=$id" "$@"
}

# record_start NAME PID IFACE: into $dir/NAME.pcap
record_start()
{
	nsenter -t "$2" -n python3 "$here/overlay_peers.py" record "$3" "$dir/$1.pcap" &
	eval "record_$1=$!"
	pids="$pids $!"
	wait_for "no capture" test -e "$dir/$1.pcap.started"
}

record_stop()
{
	eval "p=\$record_$1"
	kill "$p"
	wait "$p" || fail "the capture ended with $?"
	rm "$dir/$1.pcap.started"
}

# frames NAME FILTER: how many frames of a capture tshark selects, with every checksum looked at
frames()
{
	tshark -r "$dir/$1.pcap" -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE \
		-o tcp.check_checksum:TRUE -Y "$2" 2>"$dir/tshark.err" >"$dir/tshark.out" || {
		cat "$dir/tshark.err"
		fail "tshark"
	}
	wc -l <"$dir/tshark.out"
}
