#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The card's NVMe/TCP target as an operator sees it: subsystems, namespaces, listeners and hosts made
# twice, refused, listed, kept over a restart and deleted; SPDK's spelling of the same calls.
# Usage: 50-target.sh BUILD-DIR
set -eu

here=$(dirname "$0")
# shellcheck source=tests/functional/control.sh
. "$here/control.sh"
control_env "${1:-build}"
options="--state-dir $dir/state"
trap control_leave EXIT

nqn=nqn.2026-11.test:sub
host=nqn.2026-11.test:host

create_all()
{
	ctl volume create-ram r0 num_blocks=2048 block_size=4096
	ctl volume create-null n0 num_blocks=2048 block_size=512
	ctl subsystem create $nqn serial_number=SER1 ana_reporting=yes
	ctl subsystem add-ns $nqn r0 nsid=1 >/dev/null
	ctl subsystem listen $nqn 127.0.0.1:14420
	ctl subsystem add-host $nqn $host
}

look()
{
	has "$nqn .*NVMe .*SER1 .*no" subsystem list
	has 'bdev_name: r0' subsystem show $nqn
	has "nqn: $host" subsystem show $nqn
	has 'trsvcid: 14420' subsystem show $nqn
}

start || fail "cardd does not start"
create_all
create_all # again with the same parameters: no error
look
refused 1 'exists with other parameters' subsystem create $nqn serial_number=OTHER
refused 1 'in use by 1' volume delete r0
refused 1 'no such volume' subsystem add-ns $nqn nothing
refused 1 'no such subsystem' subsystem add-ns nqn.2026-11.test:none r0
refused 1 'must be ADDRESS:PORT' subsystem listen $nqn 127.0.0.1
refused 1 'out of its range' subsystem listen $nqn 127.0.0.1:99999

# As SPDK's tools say it.
cat >"$dir/calls" <<END
[{"jsonrpc": "2.0", "id": 1, "method": "nvmf_subsystem_add_ns", "params":
  {"nqn": "$nqn", "namespace": {"nsid": 2, "bdev_name": "n0"}, "tgt_name": "x"}},
 {"jsonrpc": "2.0", "id": 2, "method": "nvmf_subsystem_add_listener", "params":
  {"nqn": "$nqn", "listen_address": {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1",
   "trsvcid": "14421"}}}]
END
python3 - "$dir/rpc" "$dir/calls" <<'END' || fail "SPDK's spelling"
import json, socket, sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(open(sys.argv[2], "rb").read())
answer = b""
while answer.count(b'"id"') < 2:
    answer += s.recv(65536)
sys.exit(any("error" in a for a in json.loads(answer)))
END
has 'bdev_name: n0' subsystem show $nqn
has 'trsvcid: 14421' subsystem show $nqn
has 'conns: 0' target stats

stop
start || fail "cardd does not start again"
look
has 'bdev_name: n0' subsystem show $nqn
ctl subsystem set-ana $nqn inaccessible 127.0.0.1:14420
has 'ana_state: inaccessible' subsystem show $nqn
ctl subsystem unlisten $nqn 127.0.0.1:14421
ctl subsystem remove-ns $nqn 2
ctl volume delete n0
ctl subsystem delete $nqn
refused 1 'no such subsystem' subsystem show $nqn
ctl volume delete r0
stop
start || fail "cardd does not start after everything was deleted"
lacks $nqn subsystem list
