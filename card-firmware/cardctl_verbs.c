// SPDX-License-Identifier: Apache-2.0
/* cardctl's commands: which call each sends and which columns its table has. */
#include "card_method.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
// NOLINTBEGIN(bugprone-macro-parentheses): these make initialisers
#define SENDS(id) .method = CARD_M_##id
#define KEY(k) .key = k, .key_required = true
#define KEY_OPT(k) .key = k
#define STATS(class) SENDS(stats_get), .fixed_name = "object", .fixed_value = class
// NOLINTEND(bugprone-macro-parentheses)

#define DISK_COLUMNS "NAME=ctrlr VOLUME=volume STATE=state QUEUES=queues SOCKET=socket"
#define NET_COLUMNS \
	"NAME=name MAC=mac STATE=state LINK=link PORT=port PAIRS=queue_pairs MTU=mtu SOCKET=socket"
#define VOLUME_COLUMNS \
	"NAME=name KIND=kind BLOCKS=num_blocks BLOCK=block_size MIB=size_mib USERS=users " \
	"FILE=driver_specific.uring.filename"
#define VM_COLUMNS                                                                   \
	"name=name state=state mem_mib=mem_mib vcpus=vcpus end=end reboots=counters.reboots"
#define UPLINK_COLUMNS \
	"NAME=name PORT=port UP=up SWITCHED=switched QUEUES=queues MTU=mtu DEVICE=devargs"
#define PORT_COLUMNS \
	"NO=number NAME=name RX_PACKETS=rx_packets RX_BYTES=rx_bytes TX_PACKETS=tx_packets " \
	"TX_BYTES=tx_bytes DROPS=drops"

#define LATENCY_COLUMNS \
	"OP=op TIMED=timed MEAN_US=mean_us P50_US=p50_us P99_US=p99_us P99.9_US=p999_us " \
	"MAX_US=max_us"
#define TUNNEL_COLUMNS "NAME=name PORT=port TYPE=type LOCAL=local UDP=udp_port"
#define UNDERLAY_COLUMNS \
	"interfaces: INTERFACE=uplink VLAN=vlan MAC=mac MTU=mtu; " \
	"addresses: ADDRESS=address UPLINK=uplink VLAN=vlan; " \
	"routes: ROUTE=net GATEWAY=gateway UPLINK=uplink VLAN=vlan CONNECTED=connected; " \
	"neighbours: NEIGHBOUR=address MAC=mac UPLINK=uplink VLAN=vlan STATE=state STATIC=static"

#define CT_COLUMNS \
	"STATE=state TIMEOUT_MS=timeout_ms PACKETS=packets BYTES=bytes REPLIES=reply_packets " \
	"REPLY_BYTES=reply_bytes CONNECTION=connection"

static const struct card_verb verbs[] = {
	{ "volume", "create-null", SENDS(bdev_null_create), KEY("name") },
	{ "volume", "create-ram", SENDS(bdev_malloc_create), KEY("name") },
	{ "volume", "create-file", SENDS(bdev_uring_create), KEY("name") },
	{ "volume", "create-crypt", SENDS(bdev_crypto_create), KEY("name") },
	{ "volume", "create-integrity", SENDS(volume_integrity_create), KEY("name") },
	{ "volume", "create-stripe", SENDS(bdev_raid_create), KEY("name") },
	{ "volume", "rekey", SENDS(volume_rekey), KEY("name") },
	{ "volume", "create-instance", SENDS(volume_create_instance), KEY("name") },
	{ "volume", "end-instance", SENDS(volume_end_instance), KEY("name") },
	{ "volume", "limit", SENDS(bdev_set_qos_limit), KEY("name") },
	{ "volume", "histogram", SENDS(bdev_enable_histogram), KEY("name"), .more = "enable" },
	{ "volume", "latency", SENDS(volume_latency), KEY_OPT("name"),
		.columns = "VOLUME=name " LATENCY_COLUMNS },
	{ "volume", "delete", SENDS(volume_delete), KEY("name") },
	{ "volume", "resize", SENDS(volume_resize), KEY("name") },
	{ "volume", "set-paths", SENDS(bdev_nvme_set_multipath_policy), KEY("name") },
	{ "volume", "prefer-path", SENDS(bdev_nvme_set_preferred_path), KEY("name") },
	{ "volume", "paths", SENDS(bdev_nvme_get_io_paths), KEY_OPT("name") },
	{ "volume", "set-wear", SENDS(volume_set_wear), KEY("name") },
	{ "volume", "unshare", SENDS(volume_unshare), KEY("name") },
	{ "volume", "list", SENDS(bdev_get_bdevs), .columns = VOLUME_COLUMNS },
	{ "volume", "show", SENDS(bdev_get_bdevs), KEY("name"), .help = "Show one volume" },
	{ "volume", "stats", STATS("volume"), KEY_OPT("name"), .help = "Counters of volumes" },

	{ "lvstore", "create", SENDS(bdev_lvol_create_lvstore), KEY("lvs_name"), .more = "path" },
	{ "lvstore", "delete", SENDS(bdev_lvol_delete_lvstore), KEY("lvs_name") },
	{ "lvstore", "list", SENDS(bdev_lvol_get_lvstores),
		.columns = "NAME=name FOLDER=base_bdev FREE_MIB=free_mib UUID=uuid" },
	{ "lvol", "create", SENDS(bdev_lvol_create), KEY("lvol_name"), .more = "lvs_name" },
	{ "lvol", "delete", SENDS(bdev_lvol_delete), KEY("name") },
	{ "lvol", "resize", SENDS(bdev_lvol_resize), KEY("name") },

	{ "controller", "options", SENDS(bdev_nvme_set_options) },
	{ "controller", "attach", SENDS(bdev_nvme_attach_controller), KEY("name") },
	{ "controller", "detach", SENDS(bdev_nvme_detach_controller), KEY("name") },
	{ "controller", "reset", SENDS(bdev_nvme_reset_controller), KEY("name") },
	{ "controller", "latency", SENDS(controller_latency), KEY_OPT("name"),
		.columns = "CONTROLLER=name PATH=path " LATENCY_COLUMNS },
	{ "controller", "stats", STATS("controller"), KEY_OPT("name"),
		.help = "Counters of paths" },
	{ "controller", "list", SENDS(bdev_nvme_get_controllers), .columns = "NAME=name" },
	{ "controller", "show", SENDS(bdev_nvme_get_controllers), KEY("name"),
		.help = "Show one controller and its paths" },

	{ "discovery", "start", SENDS(bdev_nvme_start_discovery), KEY("name") },
	{ "discovery", "stop", SENDS(bdev_nvme_stop_discovery), KEY("name") },
	{ "discovery", "list", SENDS(bdev_nvme_get_discovery_info),
		.columns = "NAME=name STATE=state PATHS=paths LAST_ERROR=last_error" },
	{ "discovery", "show", SENDS(bdev_nvme_get_discovery_info), KEY("name"),
		.help = "Show one discovery and its services" },

	{ "key", "create", SENDS(accel_crypto_key_create), KEY("name") },
	{ "key", "delete", SENDS(accel_crypto_key_destroy), KEY("key_name") },
	{ "key", "list", SENDS(accel_crypto_keys_get),
		.columns = "NAME=name CIPHER=cipher USERS=users EPHEMERAL=ephemeral" },

	{ "disk", "create", SENDS(vhost_create_blk_controller), KEY("ctrlr") },
	{ "disk", "delete", SENDS(vhost_delete_controller), KEY("ctrlr") },
	{ "disk", "list", SENDS(vhost_get_controllers), .columns = DISK_COLUMNS },
	{ "disk", "show", SENDS(vhost_get_controllers), KEY("name"), .help = "Show one disk" },
	{ "disk", "stats", STATS("disk"), KEY_OPT("name"),
		.help = "Counters of disks and their queues" },

	{ "net", "create", SENDS(net_create), KEY("name") },
	{ "net", "delete", SENDS(net_delete), KEY("name") },
	{ "net", "set", SENDS(net_set), KEY("name") },
	{ "net", "list", SENDS(net_list), .columns = NET_COLUMNS },
	{ "net", "show", SENDS(net_list), KEY("name"), .help = "Show one NIC" },
	{ "net", "stats", STATS("net"), KEY_OPT("name"),
		.help = "Counters of NICs and their queues" },

	{ "vm", "create", SENDS(vm_create), KEY("name") },
	{ "vm", "start", SENDS(vm_start), KEY("name") },
	{ "vm", "pause", SENDS(vm_pause), KEY("name") },
	{ "vm", "resume", SENDS(vm_resume), KEY("name") },
	{ "vm", "power-button", SENDS(vm_power_button), KEY("name") },
	{ "vm", "stop", SENDS(vm_stop), KEY("name") },
	{ "vm", "delete", SENDS(vm_delete), KEY("name") },
	{ "vm", "resize", SENDS(vm_resize), KEY("name") },
	{ "vm", "add-function", SENDS(vm_add_function), KEY("name"), .more = "function" },
	{ "vm", "remove-function", SENDS(vm_remove_function), KEY("name"), .more = "function" },
	{ "vm", "list", SENDS(vm_list), .columns = VM_COLUMNS },
	{ "vm", "show", SENDS(vm_list), KEY("name"), .help = "Show one virtual machine" },
	{ "vm", "stats", STATS("vm"), KEY_OPT("name"), .help = "Counters of virtual machines" },
	{ "vm", "console", SENDS(vm_console), KEY("name"),
		.help = "Attach to the console of a virtual machine; Ctrl-] leaves" },
	{ "vm", "agent", SENDS(vm_agent) },

	{ "uplink", "create", SENDS(uplink_create), KEY("name") },
	{ "uplink", "delete", SENDS(uplink_delete), KEY("name") },
	{ "uplink", "set", SENDS(uplink_set), KEY("name") },
	{ "uplink", "list", SENDS(uplink_list), .columns = UPLINK_COLUMNS },
	{ "uplink", "show", SENDS(uplink_list), KEY("name"), .help = "Show one uplink" },
	{ "uplink", "stats", STATS("uplink"), KEY_OPT("name"),
		.help = "Counters of uplinks with the reasons of their drops" },

	{ "tunnel", "create", SENDS(tunnel_create), KEY("name"), .more = "type" },
	{ "tunnel", "delete", SENDS(tunnel_delete), KEY("name") },
	{ "tunnel", "list", SENDS(tunnel_list), .columns = TUNNEL_COLUMNS },
	{ "tunnel", "show", SENDS(tunnel_list), KEY("name"), .help = "Show one tunnel" },
	{ "tunnel", "stats", STATS("tunnel"), KEY_OPT("name"),
		.help = "Counters of tunnels with the reasons of their drops" },

	{ "underlay", "address add", SENDS(underlay_address_add), KEY("uplink"),
		.more = "address" },
	{ "underlay", "address delete", SENDS(underlay_address_delete), KEY("address") },
	{ "underlay", "route add", SENDS(underlay_route_add), KEY("net"),
		.more = "uplink gateway" },
	{ "underlay", "route delete", SENDS(underlay_route_delete), KEY("net") },
	{ "underlay", "neighbour set", SENDS(underlay_neighbour_set), KEY("address"),
		.more = "mac uplink" },
	{ "underlay", "neighbour delete", SENDS(underlay_neighbour_delete), KEY("address") },
	{ "underlay", "show", SENDS(underlay_show), .columns = UNDERLAY_COLUMNS },
	{ "underlay", "stats", STATS("underlay"), .help = "Counters of the underlay" },

	{ "subsystem", "create", SENDS(nvmf_create_subsystem), KEY("nqn") },
	{ "subsystem", "delete", SENDS(nvmf_delete_subsystem), KEY("nqn") },
	{ "subsystem", "add-ns", SENDS(nvmf_subsystem_add_ns), KEY("nqn"), .more = "bdev_name" },
	{ "subsystem", "remove-ns", SENDS(nvmf_subsystem_remove_ns), KEY("nqn"), .more = "nsid" },
	{ "subsystem", "listen", SENDS(nvmf_subsystem_add_listener), KEY("nqn"),
		.more = "listener" },
	{ "subsystem", "unlisten", SENDS(nvmf_subsystem_remove_listener), KEY("nqn"),
		.more = "listener" },
	{ "subsystem", "set-ana", SENDS(nvmf_subsystem_listener_set_ana_state), KEY("nqn"),
		.more = "ana_state listener" },
	{ "subsystem", "add-host", SENDS(nvmf_subsystem_add_host), KEY("nqn"), .more = "host" },
	{ "subsystem", "remove-host", SENDS(nvmf_subsystem_remove_host), KEY("nqn"),
		.more = "host" },
	{ "subsystem", "allow-any-host", SENDS(nvmf_subsystem_allow_any_host), KEY("nqn"),
		.more = "allow_any_host" },
	{ "subsystem", "list", SENDS(nvmf_get_subsystems),
		.columns = "NQN=nqn TYPE=subtype SERIAL=serial_number ANY_HOST=allow_any_host "
			"NAMESPACES=max_namespaces" },
	{ "subsystem", "show", SENDS(nvmf_get_subsystems), KEY("nqn"),
		.help = "Show one subsystem" },
	{ "subsystem", "stats", STATS("subsystem"), KEY_OPT("name"),
		.help = "Counters of subsystems, their addresses and hosts" },
	{ "target", "create", SENDS(nvmf_create_transport), .fixed_name = "trtype",
		.fixed_value = "TCP" },
	{ "target", "stats", SENDS(nvmf_get_stats) },
	{ "target", "add-referral", SENDS(nvmf_discovery_add_referral), KEY("referral") },
	{ "target", "remove-referral", SENDS(nvmf_discovery_remove_referral), KEY("referral") },

	{ "port", "set", SENDS(port_set), KEY("port") },
	{ "port", "list", SENDS(port_list), .columns = PORT_COLUMNS },
	{ "port", "show", SENDS(port_list), KEY("name"), .help = "Show one port" },
	{ "port", "stats", STATS("port"), KEY_OPT("name"),
		.help = "Counters of ports with the reasons of their drops" },

	{ "flow", "add", SENDS(flow_add), KEY("flow") },
	{ "flow", "delete", SENDS(flow_del), KEY("flow") },
	{ "flow", "list", SENDS(flow_list),
		.columns = "ID=id PACKETS=packets BYTES=bytes IDLE_MS=idle_ms ORIGIN=origin "
			"FLOW=flow ACTIONS=actions" },
	{ "flow", "show", SENDS(flow_list), KEY("flow"), .help = "Show one flow" },
	{ "flow", "top", SENDS(flow_top),
		.columns = "PACKETS/S=packets_per_s BYTES/S=bytes_per_s ID=id ORIGIN=origin "
			"FLOW=flow ACTIONS=actions",
		.help = "Flows that carry most now" },
	{ "flow", "flush", SENDS(flow_flush) },
	{ "flow", "stats", STATS("datapath"), .help = "Counters of the flow table" },

	{ "mac", "set", SENDS(mac_set), KEY("mac") },
	{ "mac", "delete", SENDS(mac_del), KEY("mac") },
	{ "mac", "list", SENDS(mac_list),
		.columns = "MAC=mac VLAN=vlan PORT=port AGE_S=age_s STATIC=static" },
	{ "mac", "show", SENDS(mac_list), KEY("mac"),
		.help = "Show one address, in every VLAN that has it" },
	{ "mac", "stats", STATS("mac"), KEY_OPT("name"),
		.help = "How many addresses live on each port" },
	{ "mac", "flush", SENDS(mac_flush) },

	{ "ct", "list", SENDS(ct_list), KEY_OPT("zone"), .columns = CT_COLUMNS },
	{ "ct", "flush", SENDS(ct_flush), KEY_OPT("tuple") },
	{ "ct", "stats", STATS("conntrack"), .help = "Counters of connection tracking" },
	{ "ct", "zone-set", SENDS(ct_zone_set), KEY("zone") },
	{ "ct", "zone-reset", SENDS(ct_zone_reset), KEY("zone") },
	{ "ct", "zone-list", SENDS(ct_zone_list), KEY_OPT("zone"),
		.columns = "ZONE=zone CONNECTIONS=connections LIMIT=limit OWN_LIMIT=own_limit "
			"POLICY=policy" },
	{ "ct", "default-limit", SENDS(ct_default_limit), KEY("limit") },
	{ "ct", "timeout-set", SENDS(ct_timeout_set), KEY("policy") },
	{ "ct", "timeout-reset", SENDS(ct_timeout_reset), KEY("policy") },
	{ "ct", "timeout-list", SENDS(ct_timeout_list), KEY_OPT("policy"),
		.columns = "STATE=state TIMEOUT_MS=timeout_ms DEFAULT_MS=default_ms" },
	{ "ct", "export", SENDS(ct_export), KEY("path") },
	{ "ct", "import", SENDS(ct_import), KEY("path") },

	{ "worker", "list", SENDS(worker_list),
		.columns = "WORKER=worker CPU=cpu BUSY%=busy_percent TURNS=turns SLEEPS=sleeps "
			"WAKES=wakes" },
	{ "worker", "show", SENDS(worker_list), KEY("worker"), .help = "Show one worker" },
	{ "worker", "perf", SENDS(worker_perf), KEY_OPT("worker"),
		.columns = "WORKER=worker BUSY%=busy_percent CYCLES/PACKET=cycles_per_packet "
			"RX=cycles.rx EXTRACT=cycles.extract LOOKUP=cycles.lookup "
			"ACTIONS=cycles.actions TX=cycles.tx FUSED%=hits_percent.fused "
			"EMC%=hits_percent.emc MEGA%=hits_percent.mega MISS%=hits_percent.none",
		.help = "Cycles of a packet in each stage, and what told packets what to do" },
	{ "worker", "stats", STATS("worker"), KEY_OPT("name"), .help = "Counters of workers" },

	{ "card", "info", SENDS(card_info) },
	{ "card", "ready", SENDS(card_ready) },
	{ "card", "stats", SENDS(stats_get) },
	{ "card", "config", SENDS(config_get) },
	{ "card", "methods", SENDS(rpc_get_methods) },
	{ "card", "version", SENDS(spdk_get_version) },
	{ "card", "log-level", SENDS(log_level_set), KEY("level") },
	{ "card", "shutdown", SENDS(shutdown) },

	{ "stats", NULL, SENDS(stats_get) },
	{ "trace", NULL, SENDS(flow_trace), KEY("flow"),
		.columns = "LOOKUP=lookup STEP=step TEXT=text" },
};
/* clang-format on */

const struct card_verb *card_verb_at(unsigned idx)
{
	return idx < sizeof(verbs) / sizeof(verbs[0]) ? &verbs[idx] : NULL;
}

const struct card_param *card_verb_operand(const struct card_verb *v, unsigned n)
{
	const struct card_method *m = card_method_at(v->method);
	const char *at = n == 0 ? v->key : v->more;
	char name[64];

	while (at && n > 1) {
		at += strcspn(at, " ");
		at = *at ? at + 1 : NULL;
		n--;
	}
	if (!at)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, " "), at);
	return card_method_param(m, name);
}

const struct card_verb *card_verb_find(const char *object, const char *verb)
{
	const struct card_verb *v;

	for (unsigned i = 0; (v = card_verb_at(i)); i++) {
		if (strcmp(v->object, object) != 0)
			continue;
		if (!v->verb || (verb && !strcmp(v->verb, verb)))
			return v;
	}
	return NULL;
}
