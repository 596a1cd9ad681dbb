# SPDX-License-Identifier: Apache-2.0
"""Clients of the control socket that cardctl is too polite to be. Called by 10-control.sh.

JR-13 (a suspend whose time runs out) does not apply: there is no suspend."""
import array
import base64
import json
import os
import random
import socket
import sys
import threading

PATH = sys.argv[1]


class Client:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(PATH)  # waits while the card's backlog is full
        self.s.settimeout(20)
        self.buf = b""

    def raw(self, data):
        self.s.sendall(data)

    def answer(self):
        while b"\n" not in self.buf:
            more = self.s.recv(65536)
            if not more:
                raise EOFError
            self.buf += more
        line, _, self.buf = self.buf.partition(b"\n")
        return json.loads(line)

    def call(self, method, **params):
        self.raw(json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        return self.answer()

    def close(self):
        self.s.close()


def ok(answer):
    assert "result" in answer, answer
    return answer["result"]


def code(answer):
    return answer["error"]["code"]


def alive():
    c = Client()
    assert ok(c.call("card_ready"))["ready"] is True
    c.close()


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def jr02():
    """64 MiB string, idle clients: refused, and an operator still gets in."""
    c = Client()
    sent = 0
    try:
        c.raw(b'{"a":"')
        for _ in range(64):
            c.raw(b"x" * (1 << 20))
            sent += 1
        raise AssertionError("64 MiB were taken")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 8, sent
    c.close()
    idle = []
    for i in range(1000):
        c = Client()
        if i % 2:
            c.raw(b"{")
        idle.append(c)
    alive()
    for c in idle:
        c.close()


def jr05():
    c = Client()
    c.raw(b'{"jsonrpc":"2.0","id":1,"id":1,"method":"card_info"}')
    assert code(c.answer()) == -32600
    c.raw(b'{"jsonrpc":"2.0","method":"card_info"}')  # no id: no answer
    c.raw(b'{"jsonrpc":"2.0","id":2,"method":"card_info","params":["x"]}')
    a = c.answer()
    assert a["id"] == 2 and code(a) == -32602, a
    one = {"jsonrpc": "2.0", "id": 1, "method": "card_ready"}
    c.raw(json.dumps([one] * 64).encode())
    assert len(c.answer()) == 64
    c.raw(json.dumps([one] * 10000).encode())
    assert code(c.answer()) == -32600
    c.close()


def jr06():
    c = Client()
    for name in ("../../etc/cron.d/x", "a/b", "a\nb", "\x1b[2Jx", ".", "-x", "a" * 64, "", "é"):
        for method, params in (
                ("bdev_null_create", {"name": name, "num_blocks": 8, "block_size": 512}),
                ("net_create", {"name": name}),
                ("uplink_create", {"name": name, "devargs": "net_null0"}),
                ("vhost_create_blk_controller", {"ctrlr": name, "dev_name": "x"})):
            a = c.call(method, **params)
            assert code(a) in (-32602, -22), (method, name, a)
            assert "\x1b" not in a["error"]["message"], a
    c.close()


def jr10():
    for i in range(200):
        c = Client()
        c.raw(b'{"jsonrpc":"2.0","id":1,"method":"stats_get"}' * (i % 7 + 1))
        if i % 2:
            c.s.recv(10)
        c.close()
    c = Client()
    c.raw(b'{"jsonrpc":"2.0","id":1,"method":"card_ready"}')
    c.s.shutdown(socket.SHUT_WR)
    ok(c.answer())
    c.close()
    alive()


def jr11(pid):
    c = Client()
    ok(c.call("card_ready"))
    before = fds(pid)
    files = array.array("i", [1] * 16)
    for _ in range(8):
        c.s.sendmsg([b'{"jsonrpc":"2.0","id":1,"method":"card_ready"}'],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        ok(c.answer())
    assert fds(pid) == before, (fds(pid), before)
    c.close()


def spdk():
    """The calls that SPDK's rpc.py makes for these methods, with its parameters and answers."""
    c = Client()
    uuid = "6a5c3f0e-1b2d-4c3e-9f80-0123456789ab"
    ok(c.call("rpc_get_methods", current=True, include_aliases=False))
    first = ok(c.call("bdev_malloc_create", num_blocks=2048, block_size=512))
    second = ok(c.call("bdev_malloc_create", num_blocks=2048, block_size=512, md_size=0,
                       md_interleave=False, dif_type=0, dif_is_head_of_md=False,
                       optimal_io_boundary=8, physical_block_size=4096))
    assert (first, second) == ("Malloc0", "Malloc1"), (first, second)
    assert ok(c.call("bdev_null_create", name="sn", num_blocks=2048, block_size=512, uuid=uuid)) == "sn"
    assert code(c.call("bdev_null_create", name="sm", num_blocks=8, block_size=520, md_size=8)) < 0
    assert code(c.call("bdev_malloc_create", num_blocks=8, block_size=512, dif_type=1)) == -22
    bdev, = ok(c.call("bdev_get_bdevs", name="sn", timeout=0))
    assert bdev["uuid"] == uuid and bdev["zoned"] is False and bdev["claimed"] is False, bdev
    assert set(bdev["assigned_rate_limits"].values()) == {0}, bdev
    stat = ok(c.call("bdev_get_iostat", name="sn", per_channel=False, reset_mode="none"))
    assert stat["bdevs"][0]["num_read_ops"] == 0, stat
    assert stat["bdevs"][0]["read_latency_ticks"] == 0, stat
    ok(c.call("bdev_enable_histogram", name="sn", enable=True))
    histogram = ok(c.call("bdev_get_histogram", name="sn"))
    counts = base64.b64decode(histogram["histogram"])
    shift = histogram["bucket_shift"]
    assert len(counts) == (64 - shift + 1) * (1 << shift) * 8 and not any(counts), histogram
    assert histogram["tsc_rate"] == 10 ** 9 and histogram["timed_every"] == 1, histogram
    for method, params in (("bdev_get_bdevs", {"name": "gone"}),
                           ("bdev_enable_histogram", {"name": "gone", "enable": True}),
                           ("bdev_get_histogram", {"name": "gone"}),
                           ("bdev_get_iostat", {"name": "gone"}),
                           ("bdev_null_delete", {"name": "gone"}),
                           ("bdev_null_resize", {"name": "gone", "new_size": 1}),
                           ("vhost_create_blk_controller", {"ctrlr": "sd", "dev_name": "gone"}),
                           ("vhost_delete_controller", {"ctrlr": "gone"}),
                           ("vhost_get_controllers", {"name": "gone"})):
        a = c.call(method, **params)
        assert code(a) == -19, (method, a)  # ENODEV
    ok(c.call("vhost_create_blk_controller", ctrlr="sd", dev_name="Malloc0", cpumask="0x1",
              transport="vhost_user_blk", readonly=False, packed_ring=True))
    assert code(c.call("vhost_create_blk_controller", ctrlr="se", dev_name="Malloc1",
                       transport="virtio_pci")) == -22
    ctrlr, = ok(c.call("vhost_get_controllers", name="sd"))
    assert ctrlr["sessions"] == [] and int(ctrlr["cpumask"], 16) > 0, ctrlr
    assert ctrlr["backend_specific"]["block"]["bdev"] == "Malloc0", ctrlr
    # SIZE_MAX (bit 1) and SECURE_ERASE (bit 16) are offered when asked for.
    assert int(ctrlr["features_offered"], 16) & (1 << 1 | 1 << 16) == 0, ctrlr
    assert code(c.call("vhost_create_blk_controller", ctrlr="se", dev_name="Malloc0",
                       size_max=4097)) == -22
    ok(c.call("vhost_create_blk_controller", ctrlr="se", dev_name="Malloc0", size_max=8192,
              secure_erase=True))
    assert code(c.call("vhost_create_blk_controller", ctrlr="se", dev_name="Malloc0",
                       size_max=8192)) == -17  # other parameters
    ctrlr, = ok(c.call("vhost_get_controllers", name="se"))
    assert ctrlr["size_max"] == 8192 and ctrlr["secure_erase"] is True, ctrlr
    assert int(ctrlr["features_offered"], 16) & (1 << 1 | 1 << 16) == 1 << 1 | 1 << 16, ctrlr
    ok(c.call("vhost_delete_controller", ctrlr="se"))
    path = os.path.join(os.path.dirname(PATH), "aio.img")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    assert ok(c.call("bdev_aio_create", name="sa", filename=path, block_size=512, readonly=False,
                     fallocate=True, nowait=True)) == "sa"
    ok(c.call("bdev_aio_delete", name="sa"))
    assert code(c.call("vhost_delete_controller", ctrlr="g0")) == -22  # a NIC is not one
    ok(c.call("vhost_delete_controller", ctrlr="sd"))
    ok(c.call("bdev_null_delete", name="sn"))
    # A volume that was given no name has one in the store, and frees it.
    kept = [k["params"].get("name") for k in ok(c.call("config_get"))]
    assert "Malloc0" in kept and "Malloc1" in kept and None not in kept[:2], kept
    ok(c.call("bdev_malloc_delete", name="Malloc0"))
    assert ok(c.call("bdev_malloc_create", num_blocks=8, block_size=512)) == "Malloc0"
    for name in ("Malloc0", "Malloc1"):
        ok(c.call("bdev_malloc_delete", name=name))
    c.close()


def jr09(pid, rounds):
    """Eight clients make and delete the same objects: every answer is one of those that are right, and
    nothing is left behind. The caller has I/O running meanwhile."""
    allowed = {None, -19, -16, -17}  # done, no such object, in use, exists with other parameters
    failures = []
    before = fds(pid)

    def work(seed):
        rng = random.Random(seed)
        c = Client()
        try:
            for _ in range(rounds // 8):
                method, params = rng.choice((
                    ("bdev_malloc_create", {"name": "rv", "num_blocks": 2048, "block_size": 512}),
                    ("bdev_malloc_create", {"name": "rv", "num_blocks": 4096, "block_size": 512}),
                    ("bdev_malloc_delete", {"name": "rv"}),
                    ("volume_resize", {"name": "rv", "num_blocks": 1024}),
                    ("vhost_create_blk_controller", {"ctrlr": "rd", "dev_name": "rv"}),
                    ("vhost_delete_controller", {"ctrlr": "rd"}),
                    ("net_create", {"name": "rn"}),
                    ("net_set", {"name": "rn", "link": "down"}),
                    ("net_delete", {"name": "rn"})))
                a = c.call(method, **params)
                got = a["error"]["code"] if "error" in a else None
                if got not in allowed:
                    failures.append((method, a))
        except Exception as e:  # told by the main thread
            failures.append(repr(e))
        c.close()

    threads = [threading.Thread(target=work, args=(s,)) for s in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
    c = Client()
    # What is there is what is kept, and all of it can be deleted.
    kept = {k["params"].get("name", k["params"].get("ctrlr")) for k in ok(c.call("config_get"))}
    there = {o[key] for method, key in (("bdev_get_bdevs", "name"), ("net_list", "name"),
                                        ("vhost_get_controllers", "ctrlr"))
             for o in ok(c.call(method))}
    for name in ("rv", "rd", "rn"):
        assert (name in kept) == (name in there), (name, kept, there)
    for method, params in (("vhost_delete_controller", {"ctrlr": "rd"}),
                           ("bdev_malloc_delete", {"name": "rv"}), ("net_delete", {"name": "rn"})):
        a = c.call(method, **params)
        assert a.get("error", {}).get("code", -19) == -19, a
    c.close()
    c = Client()  # the daemon has seen the others go
    ok(c.call("card_ready"))
    assert fds(pid) == before + 1, (fds(pid), before)
    c.close()


def jr14(pid):
    """Calls that arrive with a shutdown are answered, refused as busy, or see the end; never half."""
    c = Client()
    c.raw(json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "shutdown"},
                      {"jsonrpc": "2.0", "id": 2, "method": "bdev_null_create", "params": {
                          "name": "late", "num_blocks": 8, "block_size": 512}}]).encode())
    a = c.answer()
    assert a[0]["result"] is True, a
    assert code(a[1]) == -32000, a
    del pid


if __name__ == "__main__":
    globals()[sys.argv[2]](*(int(a) for a in sys.argv[3:]))
