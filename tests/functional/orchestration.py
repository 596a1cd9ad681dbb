# SPDX-License-Identifier: Apache-2.0
"""The calls of SPDK's orchestration, as it makes them: every member that its structures have, empty or not,
a connection per call whose sending half is closed at once, and answers taken apart by type.

Usage: orchestration.py SOCKET STEP ARGUMENT...

Facts: opiproject/gospdk (spdk/jsonrpc.go, spdk/models.go), opiproject/opi-spdk-bridge (pkg/backend,
pkg/middleend, pkg/frontend), spdk/spdk-csi (pkg/util/nvmf.go, pkg/util/jsonrpc.go).
"""
import json
import re
import socket
import sys

path, step, args = sys.argv[1], sys.argv[2], sys.argv[3:]
count = 0


class Refused(Exception):
    pass


def call(method, params=None, omit_params=False):
    global count
    count += 1
    request = {"jsonrpc": "2.0", "id": count, "method": method}
    if not omit_params:
        request["params"] = params  # null when there are none: Go's nil
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(path)
    s.sendall(json.dumps(request).encode())
    s.shutdown(socket.SHUT_WR)
    text = b""
    while True:
        part = s.recv(65536)
        if not part:
            break
        text += part
        try:
            answer = json.loads(text)
            break
        except ValueError:
            pass
    else:
        raise SystemExit(f"{method}: no answer: {text!r}")
    if not text:
        raise SystemExit(f"{method}: no answer")
    if answer["id"] != count:
        raise SystemExit(f"{method}: id {answer['id']}")
    if answer.get("error", {}).get("code"):
        raise Refused(f"{method}: {answer['error']['message']}")
    return answer["result"]


def check(what, yes):
    if not yes:
        raise SystemExit(f"{step}: {what}")


def shaped(value, shape, where="result"):
    """Go's decoder: a member that is there must be of the type; one that is not is zero."""
    if isinstance(shape, dict):
        check(f"{where} is {value!r}, not an object", isinstance(value, dict))
        for key, inner in shape.items():
            if key in value and value[key] is not None:
                shaped(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        check(f"{where} is {value!r}, not a list", isinstance(value, list))
        for n, one in enumerate(value):
            shaped(one, shape[0], f"{where}[{n}]")
    else:
        same = type(value) is shape
        check(f"{where} is {value!r}, not {shape.__name__}", same)
    return value


BDEV = {"name": str, "block_size": int, "num_blocks": int, "uuid": str}
IOSTAT = {"tick_rate": int, "ticks": int, "bdevs": [
    {"name": str} | dict.fromkeys(
        ["bytes_read", "num_read_ops", "bytes_written", "num_write_ops", "bytes_unmapped", "num_unmap_ops",
         "read_latency_ticks", "write_latency_ticks", "unmap_latency_ticks"], int)]}
CONTROLLER = {"name": str, "ctrlrs": [{
    "state": str, "trid": dict.fromkeys(["trtype", "adrfam", "traddr", "trsvcid", "subnqn"], str),
    "cntlid": int, "host": {"nqn": str, "addr": str, "svcid": str}}]}
VHOST = {"ctrlr": str, "cpumask": str, "delay_base_us": int, "iops_threshold": int, "socket": str,
         "backend_specific": {"block": {"readonly": bool, "bdev": str}}}
SUBSYSTEM = {"nqn": str, "subtype": str, "allow_any_host": bool, "serial_number": str, "model_number": str,
             "max_namespaces": int, "min_cntlid": int, "max_cntlid": int,
             "namespaces": [{"nsid": int, "name": str}]}
STATS = {"tick_rate": int, "poll_groups": [
    {"name": str, "transports": [{"trtype": str}]} | dict.fromkeys(
        ["admin_qpairs", "io_qpairs", "current_admin_qpairs", "current_io_qpairs", "pending_bdev_io"], int)]}


def one(method, params, shape):
    """What a bridge asks for by name: a list of exactly one."""
    value = shaped(call(method, params), [shape])
    check(f"{method}: {len(value)} results, not 1", len(value) == 1)
    return value[0]


def volumes():
    """Volumes of all kinds that a bridge makes, their statistics and limits."""
    image = args[0]
    version = shaped(call("spdk_get_version"), {"version": str, "fields": {
        "major": int, "minor": int, "patch": int, "suffix": str}})
    check("version", version["version"])
    made = {
        "opi-malloc": ("bdev_malloc_create", {"num_blocks": 64, "block_size": 512, "uuid": ""}),
        "opi-null": ("bdev_null_create", {"block_size": 512, "num_blocks": 64}),
        "opi-aio": ("bdev_aio_create", {"filename": image, "block_size": 512}),
    }
    for name, (method, params) in made.items():
        check(method, shaped(call(method, {"name": name} | params), str) == name)
        check("its name", one("bdev_get_bdevs", {"name": name}, BDEV)["name"] == name)
        stat = shaped(call("bdev_get_iostat", {"name": name}), IOSTAT)
        check("statistics of one", len(stat["bdevs"]) == 1 and stat["tick_rate"] > 0)
    for members in ({"rw_ios_per_sec": 10000, "rw_mbytes_per_sec": 10, "r_mbytes_per_sec": 5,
                     "w_mbytes_per_sec": 5}, dict.fromkeys(
                         ["rw_ios_per_sec", "rw_mbytes_per_sec", "r_mbytes_per_sec", "w_mbytes_per_sec"], 0)):
        check("limits", call("bdev_set_qos_limit", {"name": "opi-malloc"} | members) is True)
    key = {"cipher": "AES_XTS", "key": "01" * 32, "key2": "23" * 32, "name": "opi-encrypted"}
    for _ in range(2):  # made, and changed: deleted and made anew
        check("key", call("accel_crypto_key_create", key) is True)
        check("volume", call("bdev_crypto_create", {
            "base_bdev_name": "opi-aio", "name": "opi-encrypted", "key_name": "opi-encrypted"}) == "opi-encrypted")
        one("bdev_get_bdevs", {"name": "opi-encrypted"}, BDEV)
        if _ == 0:
            check("delete", call("bdev_crypto_delete", {"name": "opi-encrypted"}) is True)
            check("key", call("accel_crypto_key_destroy", {"key_name": "opi-encrypted"}) is True)
    names = [b["name"] for b in shaped(call("bdev_get_bdevs"), [BDEV])]
    check(f"list: {names}", set(made) | {"opi-encrypted"} <= set(names))


def disks():
    params = {"ctrlr": "opi-disk", "dev_name": "opi-encrypted"}
    check("disk", call("vhost_create_blk_controller", params) is True)
    check("its name", one("vhost_get_controllers", {"name": "opi-disk"}, VHOST)["ctrlr"] == "opi-disk")
    check("list", len(shaped(call("vhost_get_controllers"), [VHOST])) == 1)


def export():
    """A subsystem of a bridge (with a limit of namespaces), and one of Kubernetes' driver."""
    port = args[0]
    csi = "nqn.2020-04.io.spdk.csi:uuid:opi-malloc"
    for _ in range(2):
        try:
            call("nvmf_create_transport", {"trtype": "TCP"})
        except Refused as e:
            check(str(e), "already exists" in str(e))
    call("nvmf_create_subsystem", {"nqn": csi, "allow_any_host": True, "serial_number": "spdkcsi-sn",
                                   "model_number": "opi-malloc"})
    nsid = call("nvmf_subsystem_add_ns", {"nqn": csi, "namespace": {"bdev_name": "opi-malloc"}})
    check("number", type(nsid) is int and nsid > 0)
    call("nvmf_subsystem_add_listener", {"nqn": csi, "listen_address": {
        "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port}})
    opi = "nqn.2022-09.io.spdk:opi3"
    check("subsystem", call("nvmf_create_subsystem", {
        "nqn": opi, "serial_number": "OpiSerialNumber", "model_number": "OPI Model", "allow_any_host": True,
        "max_namespaces": 10}) is True)
    check("namespace", call("nvmf_subsystem_add_ns", {
        "nqn": opi, "namespace": {"nsid": 7, "bdev_name": "opi-null"}}) == 7)
    check("listener", call("nvmf_subsystem_add_listener", {"nqn": opi, "listen_address": {
        "trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": port, "adrfam": "IPV4"}}) is True)
    shaped(call("nvmf_get_stats"), STATS)
    nqns = [s["nqn"] for s in shaped(call("nvmf_get_subsystems"), [SUBSYSTEM])]
    check(f"subsystems: {nqns}", csi in nqns and opi in nqns)


def attach():
    """A controller with two paths, as the bridge of another card makes it."""
    host = args[0]
    check("options", call("bdev_nvme_set_options", {
        "action_on_timeout": "none", "timeout_us": 20000000, "keep_alive_timeout_ms": 7000,
        "bdev_retry_count": 3, "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1,
        "fast_io_fail_timeout_sec": 0, "io_queue_requests": 512, "delay_cmd_submit": True}) is True)
    params = {"name": "opi-nvme", "trtype": "TCP", "traddr": "127.0.0.1", "hostnqn": host, "adrfam": "IPV4",
              "subnqn": "nqn.2022-09.io.spdk:opi3", "hdgst": False, "ddgst": False}
    for n, port in enumerate(args[1:]):
        more = {"trsvcid": port} | ({"multipath": "multipath"} if n else {})
        names = shaped(call("bdev_nvme_attach_controller", params | more), [str])
        check(f"volumes: {names}", names == ["opi-nvmen7"])
    ctrl = one("bdev_nvme_get_controllers", {"name": "opi-nvme"}, CONTROLLER)
    check("paths", len(ctrl["ctrlrs"]) == len(args) - 1)
    shaped(call("bdev_nvme_get_controllers"), [CONTROLLER])
    check("detach", call("bdev_nvme_detach_controller", {
        "name": "opi-nvme", "trtype": "TCP", "traddr": "127.0.0.1", "adrfam": "IPV4", "trsvcid": args[-1],
        "subnqn": "nqn.2022-09.io.spdk:opi3"}) is True)
    check("detach", call("bdev_nvme_detach_controller", {"name": "opi-nvme"}) is True)


def delete():
    check("disk", call("vhost_delete_controller", {"ctrlr": "opi-disk"}) is True)
    check("namespace", call("nvmf_subsystem_remove_ns", {"nqn": "nqn.2022-09.io.spdk:opi3", "nsid": 7}) is True)
    for nqn in "nqn.2022-09.io.spdk:opi3", "nqn.2020-04.io.spdk.csi:uuid:opi-malloc":
        check("subsystem", call("nvmf_delete_subsystem", {"nqn": nqn}) is True)
    check("volume", call("bdev_crypto_delete", {"name": "opi-encrypted"}) is True)
    check("key", call("accel_crypto_key_destroy", {"key_name": "opi-encrypted"}) is True)
    for kind in "malloc", "null", "aio":
        check("volume", call(f"bdev_{kind}_delete", {"name": f"opi-{kind}"}) is True)
    check("nothing left", call("bdev_get_bdevs") == [])


def lvols():
    """Kubernetes' driver: what there is room for, a volume, its export, both gone; errors that it knows."""
    store, port = args
    stores = shaped(call("bdev_lvol_get_lvstores", omit_params=True), [{
        "free_clusters": int, "cluster_size": int, "total_data_clusters": int, "name": str}])
    mine = [s for s in stores if s["name"] == store]
    check(f"stores: {stores}", len(mine) == 1 and mine[0]["free_clusters"] * mine[0]["cluster_size"] > 1 << 20)
    params = {"lvol_name": "csi-0b0e4f7c", "size": 8 << 20, "lvs_name": store, "clear_method": "unmap",
              "thin_provision": True}
    name = shaped(call("bdev_lvol_create", params), str)
    check(f"a UUID: {name}", re.fullmatch("[0-9a-f-]{36}", name))
    check("size", one("bdev_get_bdevs", {"name": name}, BDEV)["num_blocks"] == (8 << 20) // 512)
    nqn = f"nqn.2020-04.io.spdk.csi:uuid:{name}"
    call("nvmf_create_subsystem", {"nqn": nqn, "allow_any_host": True, "serial_number": "spdkcsi-sn",
                                   "model_number": name})
    nsid = call("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": name}})
    call("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": {
        "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port}})
    call("nvmf_subsystem_remove_ns", {"nqn": nqn, "nsid": nsid})
    call("nvmf_delete_subsystem", {"nqn": nqn})
    call("bdev_lvol_delete", {"name": name})
    for method, bad, word in (("bdev_lvol_delete", {"name": name}, "no such device"),
                              ("bdev_lvol_create", params | {"size": 1 << 60}, "no space left")):
        try:
            call(method, bad)
            check(f"{method}: not refused", False)
        except Refused as e:
            check(str(e), word in str(e).lower())


{f.__name__: f for f in (volumes, disks, export, attach, delete, lvols)}[step]()
