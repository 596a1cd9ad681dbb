# SPDX-License-Identifier: Apache-2.0
"""A private Open vSwitch with DPDK: own database, sockets and processes in one scratch directory.

Nothing of the system's own Open vSwitch is read or touched, and no service is started.
"""
import json
import os
import re
import signal
import socket
import subprocess

import benchlib
import odp_pipelines as pipes
from benchlib import BACKEND_CPU, LOAD_CPU

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PEER = "ovs-vswitchd-dpdk, userspace datapath"
DATAPATH = "netdev@ovs-netdev"
BRIDGE, UNDERLAY = "br0", "br-under"


class Ovs:
    """One ovsdb-server and one ovs-vswitchd, whose PMD thread runs on the back-end's CPU."""

    def __init__(self, run, huge, **other_config):
        if not os.path.exists(VSWITCHD):
            raise RuntimeError(f"{VSWITCHD}: not installed (openvswitch-switch-dpdk)")
        if not huge:
            raise RuntimeError("Open vSwitch with DPDK needs hugepages, and there are none")
        self.run = run
        self.sock, self.ctl_sock = run.path("db.sock"), run.path("vswitchd.ctl")
        self.env = ["env", f"OVS_RUNDIR={run.dir}", f"OVS_LOGDIR={run.dir}", f"OVS_DBDIR={run.dir}"]
        self.tool("ovsdb-tool", "create", run.path("conf.db"), SCHEMA)
        self.daemon("ovsdb", "ovsdb-server", f"--remote=punix:{self.sock}",
                    f"--unixctl={run.path('db.ctl')}", run.path("conf.db"))
        benchlib.wait_for(lambda: os.path.exists(self.sock), "ovsdb-server")
        extra = ("--huge-dir /dev/hugepages --single-file-segments --no-pci --in-memory "
                 f"--file-prefix={os.path.basename(run.dir)}-ovs")
        conf = {"dpdk-init": "true", "dpdk-extra": f'"{extra}"', "per-port-memory": "true",
                "pmd-cpu-mask": hex(1 << BACKEND_CPU), "dpdk-lcore-mask": hex(1 << LOAD_CPU),
                **other_config}
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   *[f"other_config:{k}={v}" for k, v in conf.items()])
        # In a network namespace of its own: its bridges are devices with addresses
        self.daemon("vswitchd", "unshare", "-n", VSWITCHD, f"unix:{self.sock}", f"--unixctl={self.ctl_sock}")
        benchlib.wait_for(lambda: os.path.exists(self.ctl_sock), "ovs-vswitchd", self.child)

    def pause(self):
        """Its PMD thread polls with or without packets, on the CPU where ours is measured."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def daemon(self, name, *argv):
        self.child = self.run.start(self.env + list(argv), name)

    def tool(self, *argv):
        res = subprocess.run(self.env + list(argv), capture_output=True, text=True, check=False)
        if res.returncode:
            raise RuntimeError(f"{' '.join(argv[:4])}: {res.stderr[-500:]}")
        return res.stdout

    def vsctl(self, *args):
        return self.tool("ovs-vsctl", f"--db=unix:{self.sock}", "--timeout=20", *args)

    def bridge(self, name, *more):
        """A bridge of the userspace datapath without any flow."""
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev",
                   "fail_mode=secure", *more)

    def vhost(self, bridge, name, path, *more):
        """A port that connects to the load's socket; its OpenFlow number."""
        self.vsctl("add-port", bridge, name, "--", "set", "Interface", name,
                   "type=dpdkvhostuserclient", f"options:vhost-server-path={path}", *more)
        return int(self.vsctl("get", "Interface", name, "ofport"))

    def underlay(self):
        """A bridge with an address of its own; what the tunnels send goes to the port that it gets."""
        self.bridge(UNDERLAY, f'other_config:hwaddr="{pipes.MAC_HERE}"')
        inside = ["nsenter", "-t", str(self.child.pid), "-n", "ip"]
        self.tool(*inside, "address", "add", f"{pipes.HERE}/24", "dev", UNDERLAY)
        self.tool(*inside, "link", "set", UNDERLAY, "up")
        self.ctl("tnl/neigh/set", UNDERLAY, pipes.THERE, pipes.MAC_THERE)

    def tunnel(self, bridge, name, kind):
        self.vsctl("add-port", bridge, name, "--", "set", "Interface", name, f"type={kind}",
                   f"options:remote_ip={pipes.THERE}", f"options:key={pipes.VNI}")
        return int(self.vsctl("get", "Interface", name, "ofport"))

    def flows(self, bridge, lines):
        """OpenFlow rules, one a line."""
        path = self.run.path("rules")
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        self.tool("ovs-ofctl", "--bundle", "add-flows", bridge, path)

    def ctl(self, method, *params):
        """What "ovs-appctl METHOD PARAMS" says, without starting a process for it."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.ctl_sock)
            s.sendall(json.dumps({"id": 0, "method": method, "params": params}).encode())
            text = b""
            while True:
                text += s.recv(65536)
                try:
                    reply = json.loads(text)
                    break
                except ValueError:
                    continue
        if reply["error"]:
            raise RuntimeError(f"{method}: {reply['error'].strip()}")
        return reply["result"]

    def datapath_ports(self):
        """Numbers of the datapath's ports by name."""
        text = self.ctl("dpctl/show", DATAPATH)
        return {name: int(no) for no, name in re.findall(r"port (\d+): (\S+)", text)}

    def datapath_flow(self, key, actions):
        """Past OpenFlow. The revalidators keep it where it matches what they would, or more."""
        self.ctl("dpctl/add-flow", DATAPATH, f"recirc_id(0),packet_type(ns=0,id=0),eth(),{key}",
                 actions)

    def datapath_flows(self):
        text = self.ctl("dpctl/dump-flows", DATAPATH)
        return [line for line in text.split("\n") if "actions:" in line]

    def stages(self):
        """Hits per table and cycles per packet of the PMD thread since it was asked last."""
        text = self.ctl("dpif-netdev/pmd-stats-show").split("main thread")[0]
        self.ctl("dpif-netdev/pmd-stats-clear")
        return {what.strip(): float(value)
                for what, value in re.findall(r"^  ([^:]+): ([\d.]+)", text, re.M)
                if float(value)}

    def tunnelled(self):
        """Packets of the flows that push or pop outer headers."""
        return {what: sum(int(re.search(r"packets:(\d+)", line).group(1))
                          for line in self.datapath_flows() if what in line)
                for what in ("tnl_push", "tnl_pop")}
