#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# DPDK's virtio driver against cardd: two virtio_user ports of one testpmd and the switch between them.
# Split and packed rings, each of the driver's receive and transmit paths, queue pairs and sizes, frames
# over several buffers, either side listening, and a cardd that is killed in mid traffic. In every row
# the counts of both sides agree, and captured frames arrive unchanged and in order or are counted as lost.
# Usage: 33-virtio-user.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"

skip()
{
	echo "SKIP: $*"
	exit 77
}

for program in dpdk-testpmd python3 stdbuf; do
	command -v $program >/dev/null || skip "no $program"
done
card_env "${1:-build}"
trap '' PIPE # a testpmd that is gone is found out by say()
export RUNTIME_DIRECTORY="$dir" # where DPDK leaves a folder of each process
judge=$(dirname "$0")/virtio_user_frames.py
log=$dir/testpmd
last_cpu=$(($(getconf _NPROCESSORS_ONLN) - 1))
circulate=20000 # frames, at least
short=3000 # captured frames each way
long=300 # so few that the receive buffers of a row are enough for all of them
no_indirect=$((1 << 28)) # VIRTIO_F_INDIRECT_DESC
row=
# Counters as they were looked at last: testpmd's and cardd's packets of the ports n0 and n1
got0=0 sent0=0 got1=0 sent1=0
took0=0 gave0=0 drops0=0 took1=0 gave1=0 drops1=0

ctl()
{
	"$cardctl" --socket "$dir/rpc" "$@"
}

oops()
{
	echo "---- $row"
	grep -v -e '^$' -e threshold -e 'RX desc' "$log" | tail -n 60
	ctl --json net stats 2>/dev/null | grep -E '"(bad_.*|broken|needs_reset)": [1-9]' || :
	fail "$*"
}

# until_true WHAT COMMAND...: look again until it succeeds, for 20 seconds
until_true()
{
	what=$1
	shift
	deadline=$(($(date +%s) + 20))
	until "$@"; do
		[ "$(date +%s)" -lt $deadline ] || oops "in vain: $what"
		sleep 0.02
	done
}

# ---- testpmd ----

say()
{
	printf '%s\n' "$@" >&3 2>/dev/null || oops "testpmd is gone"
}

# logged TEXT TIMES
logged()
{
	[ "$(grep -c "$1" "$log" || :)" -ge "$2" ]
}

# ask COMMAND...: have testpmd do that; then the statistics of its ports are in $dir/load
ask()
{
	answers=$(grep -c Tx-pps "$log" || :)
	say "$@" "show port stats all"
	until_true "testpmd's answer to: $*" logged Tx-pps $((answers + 4))
	grep -e 'NIC statistics' -e RX-missed -e RX-errors -e TX-errors "$log" | tail -n 16 >"$dir/load"
	eval "$(awk '/NIC/ { port = $6 - 1 }
		port != 0 && port != 1 { next }
		/RX-missed/ { print "got" port "=" $2 }
		/TX-errors/ { print "sent" port "=" $2 }' "$dir/load")"
}

# load_start PAIRS SIZE OPTIONS [ARGUMENT]...: testpmd with the ports capture, n0, n1, capture
load_start()
{
	pairs=$1 size=$2 options=$3
	shift 3
	end0=net_pcap0 end1=net_pcap1
	q=0
	while [ $q -lt "$pairs" ]; do
		end0=$end0,rx_pcap=$frames/$pairs.0.$q,tx_pcap=$dir/out.0.$q
		end1=$end1,rx_pcap=$frames/$pairs.1.$q,tx_pcap=$dir/out.1.$q
		q=$((q + 1))
	done
	options=queues=$pairs,$options
	[ "$pairs" -eq 1 ] || options=$options,cq=1
	[ "$size" -eq 256 ] || options=$options,queue_size=$size # 256 is what it has unasked
	rx_burst=$((size / 8)) # or hardly more arrives than fits the ring
	[ $rx_burst -le 32 ] || rx_burst=32
	rm -f "$dir/say" "$dir"/out.?.? "$log"
	mkfifo "$dir/say"
	stdbuf -oL dpdk-testpmd "--lcores=0@(0-$last_cpu),1@$last_cpu" --main-lcore=0 --no-pci --no-telemetry \
		"--file-prefix=obv$$" --no-huge --no-shconf -m 192 --force-max-simd-bitwidth=512 \
		--log-level=pmd.net.virtio.init:info --log-level=pmd.net.virtio.driver:info \
		--vdev "$end0" --vdev "net_virtio_user0,path=$dir/n0,mac=02:00:00:00:00:01,$options" \
		--vdev "net_virtio_user1,path=$dir/n1,mac=02:00:00:00:00:02,$options" --vdev "$end1" \
		-- -i "--rxq=$pairs" "--txq=$pairs" "--rxd=$size" "--txd=$size" --nb-cores=1 --no-flush-rx \
		--eth-peer=1,02:00:00:00:00:02 --eth-peer=2,02:00:00:00:00:01 --burst=$rx_burst \
		--total-num-mbufs=$((4096 + 4 * pairs * size)) "$@" <"$dir/say" >"$log" 2>&1 &
	pmd=$!
	helpers=$pmd
	exec 3>"$dir/say"
}

prompt()
{
	logged '^testpmd>' 1 && return
	grep -q 'failed to parse device' "$log" && skip "$(grep -m 1 'failed to parse device' "$log")"
	kill -0 "$pmd" 2>/dev/null || oops "testpmd does not start"
	return 1
}

load_ready()
{
	until_true "testpmd's prompt" prompt
	say "set burst tx delay 10 retry 1000"
	ask "clear port stats all"
}

load_stop()
{
	say quit
	exec 3>&-
	wait "$pmd" || oops "testpmd ended with $?"
	helpers=
}

# ---- what every row does ----

card_counts()
{
	eval "$(ctl port list | awk '$2 ~ /^n[01]$/ { sub("n", "", $2)
		print "took" $2 "=" $3 " gave" $2 "=" $5 " drops" $2 "=" $7 }')"
}

circulated()
{
	card_counts
	[ $((took0 + took1 - taken0 - taken1)) -ge $circulate ]
}

# at_rest LOOKS: the same counts so many times in a row
at_rest()
{
	looks=$1
	was="$got0 $sent0 $got1 $sent1 $took0 $gave0 $took1 $gave1"
	ask
	card_counts
	[ "$was" = "$got0 $sent0 $got1 $sent1 $took0 $gave0 $took1 $gave1" ] || rest=0
	rest=$((rest + 1))
	[ $rest -ge "$looks" ]
}

# testpmd and the card had all of each other's packets; or nothing moves for seconds, and the judge
# will know why
drained()
{
	at_rest 100 || [ "$sent0 $got0 $sent1 $got1" = \
		"$((took0 - taken0)) $((gave0 - given0)) $((took1 - taken1)) $((gave1 - given1))" ]
}

all_there()
{
	at_rest 100 || [ $((got0 + got1 + drops0 + drops1 - dropped)) -eq $((2 * count)) ]
}

# drain CONDITION...: stop sending and receive until it holds
drain()
{
	ask stop "set fwd rxonly" start
	rest=0
	until_true "an end of the traffic" "$@"
	ask stop
}

# snapshot N: all counters of both sides after phase N
snapshot()
{
	ctl --json stats >"$dir/card.$1"
	[ "$1" -eq 0 ] || cp "$dir/load" "$dir/load.$1"
}

# Which of its ways the driver went, by its own log; and why, if it was told to go another one
paths()
{
	rx=$(sed -n 's/.*virtio: using \(.*\) Rx path on port 1$/\1/p' "$log" | tail -n 1)
	tx=$(sed -n 's/.*virtio: using \(.*\) Tx path on port 1$/\1/p' "$log" | tail -n 1)
	[ -n "$rx$tx" ] || oops "no word on the driver's paths"
	printf '%s' "rx ${rx#packed ring }, tx ${tx#packed ring }"
	case "$row $rx" in
	*vectorized=0* | *" vectorized") return ;;
	esac
	why=$(sed -n 's/.*(): disabled \(.*\)/\1/p' "$log" | tail -n 1)
	printf '%s' " (not vectorized: DPDK disabled ${why:-it without a word})"
}

# Two phases and the verdict: frames that circulate, as fast as they can, from one burst on each queue;
# then captured ones, from either end to the other.
measure()
{
	snapshot 0
	card_counts
	taken0=$took0 taken1=$took1 given0=$gave0 given1=$gave1
	ask "set portlist 1,2" "set fwd io" "start tx_first 1"
	until_true "frames that circulate" circulated
	drain drained
	snapshot 1
	dropped=$((drops0 + drops1))
	ask "clear port stats all" "set portlist 0,1,2,3" "set fwd io retry" start
	rest=0
	until_true "the captured frames" all_there
	ask stop
	snapshot 2
	load_stop
	echo "$row" >"$dir/row"
	verdict=$(python3 "$judge" judge "$dir" "$frames" 2>&1) || oops "$verdict"
	echo "$row: $(paths): $verdict"
}

# ---- rows: RING IN_ORDER MRG_RXBUF VECTORIZED PAIRS SIZE [WORD]... ----

name()
{
	packed=0
	[ "$1" = split ] || packed=1
	options=packed_vq=$packed,in_order=$2,mrg_rxbuf=$3,vectorized=$4
	row="ring=$1 in_order=$2 mrg=$3 vectorized=$4 pairs=$5 size=$6"
	frames=$dir/short count=$short
	shift 6
	row="$row${*:+ $*}"
}

row()
{
	name "$@"
	load_start "$5" "$6" "$options"
	load_ready
	measure
}

# Frames of up to 9000 bytes through buffers of 2 KiB
row_long()
{
	name "$@" long=1
	frames=$dir/long count=$long
	load_start "$5" "$6" "$options" --max-pkt-len=9018 --disable-device-start
	until_true "testpmd's prompt" prompt
	say "port config 1 rx_offload scatter on" "port config 2 rx_offload scatter on" "port start all"
	load_ready
	measure
}

# again PORT [PARAMETER]...: the function anew
again()
{
	port=$1
	shift
	ctl net delete "n$port" >/dev/null
	ctl net create "n$port" "mac=02:00:00:00:00:0$((port + 1))" queue_pairs=4 mtu=9000 "$@" >/dev/null
}

# testpmd listens. It waits for the peer of a port before it makes the next one.
row_server()
{
	name "$@" server=1
	for n in 0 1; do
		again $n client=true
	done
	load_start "$5" "$6" "$options,server=1"
	load_ready
	measure
}

# The card is killed while frames circulate; its successor has to do all that any other row asks for.
row_kill()
{
	name "$@" server=1 killed=1
	card_start --cores 0
	load_start "$5" "$6" "$options,server=1"
	load_ready
	taken0=0 taken1=0
	ask "set portlist 1,2" "start tx_first 1"
	until_true "frames that circulate" circulated
	card_kill
	# At a new connection the driver empties packed rings, and gives a thread of its own that polls
	# them one millisecond to be through: not enough where it has to share its CPU.
	[ "$1" = split ] || ask stop
	card_start --cores 0
	until_true "testpmd has the card back" logged 'reconnection succeeds' 2
	drain at_rest 10
	ask "clear port stats all"
	measure
	card_stop
}

# config CLIENT: two functions; true: they connect
config()
{
	cat >"$dir/config" <<-END
		[{"method": "net_create", "params": {"name": "n0", "mac": "02:00:00:00:00:01",
		    "queue_pairs": 4, "mtu": 9000, "client": $1}},
		 {"method": "net_create", "params": {"name": "n1", "mac": "02:00:00:00:00:02",
		    "queue_pairs": 4, "mtu": 9000, "client": $1}}]
	END
}

mkdir "$dir/short" "$dir/long"
python3 "$judge" make "$dir/short" $short 1514
python3 "$judge" make "$dir/long" $long 9014
timeout 20 dpdk-testpmd --no-pci --no-telemetry "--file-prefix=obv$$" --no-huge --no-shconf -m 64 \
	--vdev "net_pcap0,rx_pcap=$dir/short/1.0.0,tx_pcap=$dir/probe" -- --total-num-mbufs=2048 \
	</dev/null >"$log" 2>&1 || skip "testpmd does not start here: $(tail -n 1 "$log")"

# Every way that the driver has into and out of a ring
config false
card_start --cores 0
for ring in split packed; do
	for in_order in 0 1; do
		for mrg in 0 1; do
			for vectorized in 0 1; do
				row $ring $in_order $mrg $vectorized 1 256
			done
		done
	done
done

# Queue pairs and sizes; that of a packed ring need not be a power of two
for ring in split packed; do
	for pairs in 1 2 4; do
		for size in 64 1024; do
			row $ring 0 1 0 "$pairs" $size
		done
	done
	row $ring 1 1 0 4 256
	row $ring 0 0 0 2 128
done
row split 0 0 1 2 64
row split 0 0 1 4 1024
row packed 1 0 1 2 64
row packed 1 0 1 4 1024
row packed 0 1 0 2 96
row packed 1 0 1 1 96

# Packets of many parts: in a table of their own, and in the ring itself
for ring in split packed; do
	row_long $ring 0 1 0 1 1024
	row_long $ring 1 1 0 4 256
done
for n in 0 1; do
	again $n features_off=$no_indirect
done
for ring in split packed; do
	row_long $ring 0 1 0 2 1024 indirect=0
	row_long $ring 1 1 0 1 1024 indirect=0
done

# testpmd listens
for ring in split packed; do
	row_server $ring 0 1 0 1 256
	row_server $ring 1 0 0 4 64
done
row_server packed 1 0 1 2 256
card_stop

# Two workers, one of them on the CPU of testpmd: rings that hold all the frames
config false
if [ "$last_cpu" -gt 0 ]; then
	card_start --cores 0-1
	row split 0 1 0 4 2048 workers=2
	row packed 1 1 0 4 2048 workers=2
	card_stop
else
	echo "two workers left out: one CPU"
fi

config true
for ring in split packed; do
	row_kill $ring 0 1 0 1 256
	row_kill $ring 1 0 0 2 256
done
row_kill packed 1 0 1 2 256
echo "33-virtio-user: ok"
