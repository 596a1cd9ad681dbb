// SPDX-License-Identifier: Apache-2.0
/* The methods of the JSON-RPC socket, one row each; cardctl links this file too. */
#include "card_method.h"

#include <stdint.h>
#include <string.h>

// NOLINTBEGIN(bugprone-macro-parentheses): these make initialisers
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PARAMS(a) .params = (a), .n_params = COUNT(a)
#define NAME_MAX_LEN 63

/* Parameters that many methods share. */
#define P_NAME(param, text)                                                       \
	{                                                                         \
		.name = param, .type = CARD_P_STRING, .required = true, .min = 1, \
		.max = NAME_MAX_LEN, .help = text                                 \
	}
#define P_NAME_OPT(param, text)                                                                   \
	{                                                                                         \
		.name = param, .type = CARD_P_STRING, .min = 1, .max = NAME_MAX_LEN, .help = text \
	}
#define P_BLOCKS                                                                       \
	{                                                                              \
		.name = "num_blocks", .type = CARD_P_UINT, .required = true, .min = 1, \
		.max = UINT64_C(1) << 48, .help = "size in blocks"                     \
	}
#define P_BLOCK_SIZE(req)                                                                         \
	{                                                                                         \
		.name = "block_size", .type = CARD_P_UINT, .required = req, .min = 512,           \
		.max = 4096, .def = (req) ? NULL : "512", .help = "bytes of a block: 512 or 4096" \
	}
#define P_UUID                                                                        \
	{                                                                             \
		.name = "uuid", .type = CARD_P_STRING, .min = 36, .max = 36,          \
		.help = "UUID that tools are shown; made from the names of card and " \
			"volume when not given"                                       \
	}
/* What SPDK's tools send and we have no use for. */
#define P_COMPAT(param, kind, text)                          \
	{                                                    \
		.name = param, .type = kind, .compat = true, \
		.help = "accepted for SPDK's tools; " text   \
	}
#define P_NO_METADATA                                                              \
	P_COMPAT("physical_block_size", CARD_P_UINT, "no effect"),                 \
		P_COMPAT("md_size", CARD_P_UINT, "0 only: there is no metadata"),  \
		P_COMPAT("dif_type", CARD_P_UINT, "0 only: there is no metadata"), \
		P_COMPAT("dif_is_head_of_md", CARD_P_BOOL, "no effect: there is no metadata")
#define P_MTU(low, dflt)                                                                   \
	{                                                                                  \
		.name = "mtu", .type = CARD_P_UINT, .min = low, .max = 65535, .def = dflt, \
		.help = "largest layer-3 packet in bytes"                                  \
	}
#define P_CLIENT                                                                 \
	{                                                                        \
		.name = "client", .type = CARD_P_BOOL, .def = "false",           \
		.help = "connect to the front-end's socket instead of listening" \
	}

#define P_HOST_NOTIFIER                                                              \
	{                                                                            \
		.name = "host_notifier", .type = CARD_P_BOOL, .def = "false",        \
		.help = "offer pages that the guest kicks in; the workers poll then" \
	}

#define P_FLOW(req, text)                                                                      \
	{                                                                                      \
		.name = "flow", .type = CARD_P_STRING, .required = req, .min = 1, .max = 4096, \
		.help = text                                                                   \
	}
#define P_MAC(req, text)                                                                     \
	{                                                                                    \
		.name = "mac", .type = CARD_P_STRING, .required = req, .min = 17, .max = 17, \
		.help = text                                                                 \
	}
#define P_VLAN(dflt, text)                                                                  \
	{                                                                                   \
		.name = "vlan", .type = CARD_P_UINT, .max = 4095, .def = dflt, .help = text \
	}

// NOLINTEND(bugprone-macro-parentheses)

static const struct card_param one_name[] = { P_NAME("name", "name of the object") };
static const struct card_param opt_name[] = { P_NAME_OPT("name", "only this one") };

/* ---- volumes ---- */

#include "method_volume.h" // by the macros above

/* ---- functions ---- */

static const struct card_param blk_create[] = {
	P_NAME("ctrlr", "name of the function and of its socket"),
	P_NAME("dev_name", "volume it shows"),
	{ .name = "readonly", .type = CARD_P_BOOL, .def = "false", .help = "refuse writes" },
	{ .name = "packed_ring",
		.type = CARD_P_BOOL,
		.def = "true",
		.help = "offer packed rings as well as split ones" },
	{ .name = "num_queues",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 256,
		.def = "1",
		.help = "request queues" },
	{ .name = "seg_max",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 1022,
		.def = "126",
		.help = "data segments of one request" },
	{ .name = "size_max",
		.type = CARD_P_UINT,
		.max = 1u << 30,
		.def = "0",
		.help = "bytes of one data segment, in pages of 4096; 0: no such limit" },
	{ .name = "secure_erase",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "offer secure erase: zeros written over what is to go" },
	P_CLIENT,
	P_HOST_NOTIFIER,
	P_COMPAT("cpumask", CARD_P_STRING, "no effect: queues go to the workers in turn"),
	P_COMPAT("transport", CARD_P_STRING, "vhost_user_blk only"),
	P_COMPAT("packed_ring_recovery", CARD_P_BOOL,
		"no effect: requests in flight are recovered in any case"),
};

static const struct card_param ctrlr[] = { P_NAME("ctrlr", "name of the function") };
static const struct card_param ctrlr_opt[] = { P_NAME_OPT("name", "only this one") };

static const struct card_param net_create[] = {
	P_NAME("name", "name of the function, of its socket and of its port"),
	{ .name = "mac",
		.type = CARD_P_STRING,
		.min = 17,
		.max = 17,
		.help = "address shown to the guest; made from the names of card and function when "
			"not given" },
	{ .name = "queue_pairs",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 127,
		.def = "1",
		.help = "receive and transmit queue pairs" },
	P_MTU(68, "1500"),
	{ .name = "features_off",
		.type = CARD_P_UINT,
		.max = UINT64_MAX,
		.def = "0",
		.help = "virtio feature bits not to offer, as a mask" },
	{ .name = "speed_mbps",
		.type = CARD_P_UINT,
		.max = INT32_MAX,
		.def = "0",
		.help = "link speed shown to the guest in Mbit/s while the link is up; 0: "
			"unknown" },
	{ .name = "duplex",
		.type = CARD_P_STRING,
		.min = 4,
		.max = 4,
		.def = "full",
		.help = "full or half, shown with the speed" },
	{ .name = "standby",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "offer to stand in for another device with the same address" },
	{ .name = "gro",
		.type = CARD_P_BOOL,
		.def = "true",
		.help = "merge TCP segments of a connection that come for the guest together, "
			"where its driver takes such frames" },
	P_CLIENT,
	P_HOST_NOTIFIER,
};

static const struct card_param net_set[] = {
	P_NAME("name", "name of the NIC"),
	{ .name = "link",
		.type = CARD_P_STRING,
		.required = true,
		.min = 2,
		.max = 4,
		.help = "up, or down: then the guest is told, and no packet passes either way" },
};

/* ---- switch ---- */

// NOLINTBEGIN(bugprone-macro-parentheses): these make initialisers
#define P_SWITCHED(req)                                                                         \
	{                                                                                       \
		.name = "switched", .type = CARD_P_STRING, .required = req, .min = 2, .max = 4, \
		.def = (req) ? NULL : "auto",                                                   \
		.help = "part of the learning switch: yes, no, or auto, while it has no "       \
			"address of the underlay"                                               \
	}
// NOLINTEND(bugprone-macro-parentheses)

static const struct card_param uplink_create[] = {
	P_NAME("name", "name of the uplink and of its port"),
	{ .name = "devargs",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 1023,
		.help = "DPDK device: arguments of a virtual one, or a PCI address" },
	{ .name = "queues",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 128,
		.def = "1",
		.help = "receive and transmit queues" },
	{ .name = "mtu",
		.type = CARD_P_UINT,
		.min = 68,
		.max = 65535,
		.help = "largest layer-3 packet in bytes; the device's own when not given" },
	P_SWITCHED(false),
};
static const struct card_param uplink_set[] = { P_NAME("name", "name of the uplink"),
	P_SWITCHED(true) };

#define ADDRESS_LEN 45 // of an IPv6 address in text
// NOLINTBEGIN(bugprone-macro-parentheses): these make initialisers
#define P_ADDRESS(param, req, low, high, text)                                                  \
	{                                                                                       \
		.name = param, .type = CARD_P_STRING, .required = req, .min = low, .max = high, \
		.help = text                                                                    \
	}
// NOLINTEND(bugprone-macro-parentheses)

static const struct card_param tunnel_create[] = {
	P_NAME("name", "name of the tunnel and of its port"),
	{ .name = "type",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 16,
		.help = "vxlan, vxlan-gbp, vxlan-gpe, geneve or gre" },
	P_ADDRESS("local", false, 2, ADDRESS_LEN,
		"only packets to this address of ours; to any when not given"),
	{ .name = "udp_port",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 65535,
		.help = "port that packets come to and go to; 4789, 4790 (vxlan-gpe) or 6081 "
			"(geneve) when not given; none with gre" },
	{ .name = "zero_csum6",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "take UDP over IPv6 without a checksum" },
	{ .name = "take_oam",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "take control packets of geneve" },
	{ .name = "known_options",
		.type = CARD_P_LIST,
		.max = 8,
		.help = "critical options of geneve that are taken, as 0xCLASS:0xTYPE" },
};

#define P_UPLINK P_NAME("uplink", "uplink it is on")
#define P_UNDERLAY_VLAN                                                       \
	{                                                                     \
		.name = "vlan", .type = CARD_P_UINT, .max = 4094, .def = "0", \
		.help = "VLAN on the uplink; 0: untagged"                     \
	}

static const struct card_param underlay_address_add[] = {
	P_UPLINK,
	P_ADDRESS("address", true, 4, ADDRESS_LEN + 4,
		"address of ours with the length of its network, as 192.0.2.1/24"),
	P_MAC(false,
		"our Ethernet address there; when not given the uplink's own, or one made from "
		"the names of card and uplink where it has none"),
	P_UNDERLAY_VLAN,
	{ .name = "mtu",
		.type = CARD_P_UINT,
		.min = 1280,
		.max = 65535,
		.help = "largest outer packet in bytes; the uplink's when not given" },
};
static const struct card_param underlay_address_delete[] = { P_ADDRESS(
	"address", true, 2, ADDRESS_LEN + 4, "address of ours, with or without a length") };
static const struct card_param underlay_route_add[] = {
	P_ADDRESS("net", true, 4, ADDRESS_LEN + 4, "network, as 198.51.100.0/24"),
	P_UPLINK,
	P_ADDRESS("gateway", false, 2, ADDRESS_LEN,
		"neighbour that takes the packets; none: they are all neighbours"),
	P_UNDERLAY_VLAN,
};
static const struct card_param underlay_route_delete[] = { P_ADDRESS(
	"net", true, 4, ADDRESS_LEN + 4, "network, as 198.51.100.0/24") };
static const struct card_param underlay_neighbour_set[] = {
	P_ADDRESS("address", true, 2, ADDRESS_LEN, "address of the neighbour"),
	P_MAC(true, "its Ethernet address"),
	P_UPLINK,
	P_UNDERLAY_VLAN,
};
static const struct card_param underlay_neighbour_delete[] = { P_ADDRESS(
	"address", true, 2, ADDRESS_LEN, "address of the neighbour") };

static const struct card_param port_set[] = {
	P_NAME("port", "name of the port"),
	{ .name = "storm_pps",
		.type = CARD_P_UINT,
		.required = true,
		.max = UINT32_MAX,
		.help = "packets a second that the learning switch floods for it, be they for "
			"all, for many or for nobody that it knows; 0: no limit" },
	{ .name = "storm_burst",
		.type = CARD_P_UINT,
		.max = UINT32_MAX,
		.def = "0",
		.help = "so many at once; 0: as many as in a second" },
};

#define FLOW_TEXT "key and mask, as ovs-appctl dpctl writes them"

static const struct card_param flow_add[] = {
	P_FLOW(true, FLOW_TEXT),
	{ .name = "actions",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 16384,
		.help = "actions, as ovs-appctl dpctl writes them; \"drop\" for none" },
};
static const struct card_param flow_del[] = { P_FLOW(true, FLOW_TEXT) };

static const struct card_param flow_list[] = {
	P_FLOW(false, "only the flow of this key and mask"),
	{ .name = "origin",
		.type = CARD_P_STRING,
		.min = 1,
		.max = NAME_MAX_LEN,
		.help = "only flows installed by: operator, bridge" },
	{ .name = "max",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 65536,
		.def = "4096",
		.help = "flows listed at most" },
};

static const struct card_param flow_trace[] = {
	P_FLOW(true, "in_port, metadata and, without a frame, the fields of the packet"),
	{ .name = "frame",
		.type = CARD_P_STRING,
		.min = 2,
		.max = 4600,
		.help = "the packet in hexadecimal; without it TCP's numbers are taken to fit" },
	{ .name = "ct_new",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "as if there were no connections" },
};

static const struct card_param flow_top[] = {
	{ .name = "n",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 256,
		.def = "10",
		.help = "flows told at most" },
	{ .name = "by",
		.type = CARD_P_STRING,
		.min = 1,
		.max = NAME_MAX_LEN,
		.def = "packets",
		.help = "in which order: packets, bytes" },
	{ .name = "interval_ms",
		.type = CARD_P_UINT,
		.min = 10,
		.max = 60000,
		.def = "1000",
		.help = "time over which rates are taken; that of the measurement that runs, when "
			"one does" },
	{ .name = "sample",
		.type = CARD_P_UINT,
		.min = 1,
		.max = INT64_MAX,
		.help = "the measurement of this number, instead of beginning one" },
};

#define P_MAC_VLAN P_MAC(true, "Ethernet address"), P_VLAN("0", "VLAN; 0: untagged")

static const struct card_param mac_set[] = { P_MAC_VLAN, P_NAME("port", "port it lives on") };
static const struct card_param mac_list[] = { P_MAC(false, "only this Ethernet address"),
	P_VLAN(NULL, "only in this VLAN; 0: untagged") };
static const struct card_param mac_del[] = { P_MAC_VLAN };
static const struct card_param mac_flush[] = { P_NAME_OPT("port", "only what this port taught") };

/* ---- connection tracking ---- */

// NOLINTBEGIN(bugprone-macro-parentheses): these make initialisers
#define P_ZONE(req, text)                                                                        \
	{                                                                                        \
		.name = "zone", .type = CARD_P_UINT, .required = req, .max = 65535, .help = text \
	}
#define P_POLICY(req, dflt, text)                                                                \
	{                                                                                        \
		.name = "policy", .type = CARD_P_UINT, .required = req, .max = 255, .def = dflt, \
		.help = text                                                                     \
	}
#define P_LIMIT(req, text)                                                                \
	{                                                                                 \
		.name = "limit", .type = CARD_P_UINT, .required = req, .max = 4294967294, \
		.help = text                                                              \
	}
#define P_TUPLE                                                                               \
	{                                                                                     \
		.name = "tuple", .type = CARD_P_STRING, .min = 1, .max = 512,                 \
		.help = "only those with this original tuple, or part of one, as ovs-appctl " \
			"dpctl/flush-conntrack takes it"                                      \
	}
#define P_FROM                                                                                   \
	{                                                                                        \
		.name = "from", .type = CARD_P_UINT, .max = UINT32_MAX,                          \
		.help = "do about a millisecond's work only, beginning here (0: at the start); " \
			"the result has \"next\" where there is more"                            \
	}
// NOLINTEND(bugprone-macro-parentheses)

static const struct card_param ct_list[] = {
	P_ZONE(false, "only this zone"),
	P_TUPLE,
	{ .name = "max",
		.type = CARD_P_UINT,
		.max = 65536,
		.def = "4096",
		.help = "connections listed at most" },
	P_FROM,
};
static const struct card_param ct_flush[] = { P_ZONE(false, "only this zone"), P_TUPLE, P_FROM };
static const struct card_param ct_zone_set[] = {
	P_ZONE(true, "zone"),
	P_LIMIT(false, "connections at most; 0: no limit"),
	P_POLICY(false, NULL, "timeout policy of connections made from now on"),
};
static const struct card_param ct_zone[] = { P_ZONE(true, "zone") };
static const struct card_param ct_zone_list[] = { P_ZONE(false, "only this zone") };
static const struct card_param ct_default_limit[] = {
	P_LIMIT(true, "connections at most in a zone without a limit of its own; 0: no limit"),
};
#define POLICY_TEXT "timeout policy; 0 is that of zones that have none"
static const struct card_param ct_timeout_set[] = {
	P_POLICY(true, NULL, POLICY_TEXT),
	{ .name = "state",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 39,
		.help = "protocol and state, as tcp_established" },
	{ .name = "timeout_ms",
		.type = CARD_P_UINT,
		.required = true,
		.min = 1,
		.max = 2000000000,
		.help = "time without packets after which a connection is forgotten" },
};
static const struct card_param ct_policy[] = { P_POLICY(true, NULL, POLICY_TEXT) };
static const struct card_param ct_export[] = {
	{ .name = "path",
		.type = CARD_P_STRING,
		.required = true,
		.min = 2,
		.max = 4095,
		.help = "absolute path of the file, which must not be there yet" },
};
static const struct card_param ct_import[] = {
	{ .name = "path",
		.type = CARD_P_STRING,
		.required = true,
		.min = 2,
		.max = 4095,
		.help = "absolute path of a file that only cardd's user or root can write to" },
};
static const struct card_param ct_timeout_list[] = { P_POLICY(false, "0", POLICY_TEXT) };

#include "method_nvmf.h" // by the macros above
#include "method_vm.h"

/* ---- system ---- */

static const struct card_param get_methods[] = {
	{ .name = "schema",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "parameters and help of each method, instead of names alone" },
	P_COMPAT("current", CARD_P_BOOL, "no effect: every method is current"),
	P_COMPAT("include_aliases", CARD_P_BOOL, "no effect: there are no aliases"),
};

static const struct card_param stats_get[] = {
	{ .name = "object",
		.type = CARD_P_STRING,
		.min = 1,
		.max = NAME_MAX_LEN,
		.help = "only one class: volume, disk, net, uplink, tunnel, port, mac, "
			"underlay, datapath, conntrack, vm, vm_agent, worker, rpc, metrics" },
	P_NAME_OPT("name", "only the object of this name"),
};

static const struct card_param worker_list[] = {
	{ .name = "worker", .type = CARD_P_UINT, .max = 1023, .help = "only this one" },
};

static const struct card_param log_level[] = {
	{ .name = "level",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 8,
		.help = "err, warn, info or debug" },
};

/* ---- the table ---- */

#define ROW(id) [CARD_M_##id] = { .name = #id
#define CREATES(class) .keep = CARD_KEEP_CREATE, .kind = class
#define SETS(class) .keep = CARD_KEEP_SET, .kind = class
#define UPDATES(class) .keep = CARD_KEEP_UPDATE, .kind = class
#define DELETES(class) .keep = CARD_KEEP_DELETE, .kind = class

/* clang-format off */
static const struct card_method methods[] = {
	ROW(bdev_null_create), CREATES("volume"), .key = "name", PARAMS(null_create),
		.help = "Make a volume without blocks: reads answer at once, writes vanish" },
	ROW(bdev_null_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete a null volume" },
	ROW(bdev_null_resize), .key = "name", PARAMS(null_resize),
		.help = "Give a null volume a new size in MiB" },
	ROW(bdev_malloc_create), CREATES("volume"), .key = "name", PARAMS(malloc_create),
		.help = "Make a volume in memory; its content does not outlive the daemon" },
	ROW(bdev_malloc_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete a memory volume" },
	ROW(bdev_uring_create), CREATES("volume"), .key = "name", PARAMS(file_create),
		.help = "Make a volume from a file or block device, through io_uring" },
	ROW(bdev_uring_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete a file volume; the file stays" },
	ROW(bdev_aio_create), CREATES("volume"), .key = "name", PARAMS(file_create),
		.help = "The same as bdev_uring_create, under SPDK's other name for it" },
	ROW(bdev_aio_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "The same as bdev_uring_delete" },
	ROW(bdev_crypto_create), CREATES("volume"), .key = "name", PARAMS(crypto_create),
		.help = "Make a volume that encrypts another one" },
	ROW(bdev_crypto_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete an encrypted volume; the one below stays" },
	ROW(bdev_lvol_create_lvstore), CREATES("lvstore"), .key = "lvs_name",
		PARAMS(lvstore_create),
		.help = "Make a store of logical volumes from a folder" },
	ROW(bdev_lvol_delete_lvstore), DELETES("lvstore"), .key = "lvs_name",
		PARAMS(lvstore_delete), .help = "Forget an empty store; its folder stays" },
	ROW(bdev_lvol_get_lvstores), .key = "lvs_name", PARAMS(lvstore_list),
		.help = "List stores of logical volumes, and how much room they have" },
	ROW(bdev_lvol_create), CREATES("volume"), .key = "name", PARAMS(lvol_create),
		.canonical = true, .queues = true,
		.help = "Make a volume in a store; its UUID is its name" },
	ROW(bdev_lvol_delete), DELETES("volume"), .key = "name", .queues = true, PARAMS(one_name),
		.help = "Delete a logical volume and its data" },
	ROW(bdev_lvol_resize), .key = "name", .queues = true, PARAMS(lvol_resize),
		.help = "Give a logical volume a new size" },
	ROW(volume_integrity_create), CREATES("volume"), .key = "name", .queues = true,
		PARAMS(integrity_create),
		.help = "Make a volume that keeps a checksum of each block of another one" },
	ROW(volume_crypto_set), SETS("volume"), .key = "name", PARAMS(crypto_create),
		.help = "As bdev_crypto_create: what is kept of a volume whose key was changed" },
	ROW(volume_rekey), SETS("volume"), .key = "name", .queues = true, PARAMS(rekey),
		.help = "Give an encrypted volume another key while it is in use" },
	ROW(bdev_raid_create), CREATES("volume"), .key = "name", PARAMS(raid_create),
		.help = "Make one volume of several, strip by strip in turn" },
	ROW(bdev_raid_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete a striped volume; those below stay" },
	ROW(bdev_set_qos_limit), UPDATES("volume"), .key = "name", PARAMS(qos_limit),
		.canonical = true,
		.help = "Limit what a volume does in a second, for reads, writes and both" },
	ROW(bdev_enable_histogram), UPDATES("volume"), .key = "name", PARAMS(enable_histogram),
		.help = "Say how many of a volume's requests are timed: all, one of so many, or "
			"none; one of 31 are from the start" },
	ROW(bdev_get_histogram), .key = "name", PARAMS(get_histogram),
		.help = "How long the timed requests of a volume took, as SPDK's tools read it" },
	ROW(volume_latency), .key = "name", PARAMS(opt_name),
		.help = "How long the timed requests of volumes took, in microseconds" },
	ROW(controller_latency), .key = "name", PARAMS(opt_name),
		.help = "How long the timed commands of each path took, in microseconds" },
	ROW(bdev_nvme_set_options), SETS("nvme_options"), PARAMS(nvme_options), .canonical = true,
		.help = "Say what controllers have that are attached from now on and do not say" },
	ROW(bdev_nvme_attach_controller), SETS("controller"), .key = "name", .key2 = "path",
		PARAMS(nvme_attach), .queues = true, .canonical = true,
		.help = "Connect to a subsystem of an NVMe/TCP target, or add a path to one; "
			"makes a volume of each namespace, and waits for the connection" },
	ROW(bdev_nvme_detach_controller), DELETES("controller"), .key = "name", .key2 = "path",
		.key2_opt = true, PARAMS(nvme_detach),
		.help = "Remove a path, or a controller with all its paths and volumes" },
	ROW(bdev_nvme_reset_controller), .key = "name", PARAMS(one_name),
		.help = "Disconnect all paths of a controller and connect again" },
	ROW(bdev_nvme_get_controllers), .key = "name", PARAMS(opt_name),
		.help = "List controllers and their paths" },
	ROW(bdev_nvme_set_multipath_policy), UPDATES("volume"), .key = "name",
		PARAMS(nvme_policy),
		.help = "Say which paths a remote volume uses of those in the best ANA state" },
	ROW(bdev_nvme_set_preferred_path), .key = "name", PARAMS(nvme_prefer),
		.help = "Say which path active_passive takes while it can; not kept" },
	ROW(bdev_nvme_get_io_paths), .key = "name", PARAMS(opt_name),
		.help = "List paths of remote volumes" },
	ROW(bdev_nvme_start_discovery), CREATES("discovery"), .key = "name",
		PARAMS(nvme_discovery), .canonical = true,
		.help = "Attach what a discovery service tells of, now and whenever it changes" },
	ROW(bdev_nvme_stop_discovery), DELETES("discovery"), .key = "name", PARAMS(one_name),
		.help = "End that; its controllers are detached, but for those in use" },
	ROW(bdev_nvme_get_discovery_info), .key = "name", PARAMS(opt_name),
		.help = "List discoveries and the services that they are connected to" },
	ROW(accel_crypto_key_create), CREATES("key"), .key = "name", PARAMS(key_create),
		.canonical = true,
		.help = "Make a key for encrypted volumes; only its wrapped form is kept" },
	ROW(accel_crypto_key_destroy), DELETES("key"), .key = "key_name", PARAMS(key_destroy),
		.help = "Forget a key for good: what it encrypted cannot be read any more" },
	ROW(accel_crypto_keys_get), .key = "key_name", PARAMS(keys_get), .help = "List keys" },
	ROW(volume_create_instance), .key = "name", PARAMS(create_instance),
		.help = "Make a volume for an instance's time: on a device or file, encrypted by a "
			"new ephemeral key" },
	ROW(volume_end_instance), .key = "name", PARAMS(one_name),
		.help = "End an instance's volume: its key is wiped, what it wrote cannot be read "
			"any more" },
	ROW(volume_delete), DELETES("volume"), .key = "name", PARAMS(one_name),
		.help = "Delete a volume of any kind" },
	ROW(volume_resize), UPDATES("volume"), .key = "name", PARAMS(volume_resize),
		.help = "Give a volume a new size; guests see it at once" },
	ROW(volume_set_wear), UPDATES("volume"), .key = "name", PARAMS(set_wear),
		.help = "Say how far the media is worn, as a fault to inject; nothing given takes "
			"that back. Disks made while a volume's wear is known show it to guests" },
	ROW(volume_unshare), UPDATES("volume"), .key = "name", PARAMS(one_name),
		.help = "A file volume made with shared=yes has its file for itself, from now on "
			"and after restarts; refused while another card has it" },
	ROW(bdev_get_bdevs), .key = "name", PARAMS(bdevs), .help = "List volumes" },
	ROW(bdev_get_iostat), .key = "name", PARAMS(iostat),
		.help = "Counters of volumes" },
	ROW(vhost_create_blk_controller), CREATES("function"), .key = "ctrlr", PARAMS(blk_create),
		.help = "Show a volume to a guest as a virtio-blk function, over vhost-user" },
	ROW(vhost_delete_controller), DELETES("function"), .key = "ctrlr", PARAMS(ctrlr),
		.help = "Delete a function" },
	ROW(vhost_get_controllers), .key = "name", PARAMS(ctrlr_opt),
		.help = "List virtio-blk functions" },
	ROW(net_create), CREATES("function"), .key = "name", PARAMS(net_create),
		.help = "Show a NIC on a port of the switch to a guest, on a vhost-user socket" },
	ROW(net_delete), DELETES("function"), .key = "name", PARAMS(one_name),
		.help = "Delete a NIC and its port" },
	ROW(net_set), UPDATES("function"), .key = "name", PARAMS(net_set),
		.help = "Take the link of a NIC down, or up again" },
	ROW(net_list), .key = "name", PARAMS(opt_name), .help = "List NICs" },
	ROW(uplink_create), CREATES("uplink"), .key = "name", PARAMS(uplink_create),
		.help = "Make a DPDK network device a port of the switch" },
	ROW(uplink_delete), DELETES("uplink"), .key = "name", PARAMS(one_name),
		.help = "Delete an uplink and its port" },
	ROW(uplink_set), UPDATES("uplink"), .key = "name", PARAMS(uplink_set),
		.help = "Say whether the learning switch floods to an uplink and learns there" },
	ROW(uplink_list), .key = "name", PARAMS(opt_name), .help = "List uplinks" },
	ROW(tunnel_create), CREATES("tunnel"), .key = "name", PARAMS(tunnel_create),
		.help = "Make the end of tunnels a port of the switch: flows say where to, and in "
			"which network" },
	ROW(tunnel_delete), DELETES("tunnel"), .key = "name", PARAMS(one_name),
		.help = "Delete a tunnel and its port, with the flows that name it" },
	ROW(tunnel_list), .key = "name", PARAMS(opt_name), .help = "List tunnels" },
	ROW(underlay_address_add), CREATES("underlay_address"), .key = "address", .key_end = '/',
		PARAMS(underlay_address_add),
		.help = "Give the card an address on an uplink, for tunnels, and a route to its "
			"network" },
	ROW(underlay_address_delete), DELETES("underlay_address"), .key = "address",
		.key_end = '/', PARAMS(underlay_address_delete),
		.help = "Take an address of the card away" },
	ROW(underlay_route_add), CREATES("underlay_route"), .key = "net",
		PARAMS(underlay_route_add),
		.help = "Add a route for the outer packets of tunnels" },
	ROW(underlay_route_delete), DELETES("underlay_route"), .key = "net",
		PARAMS(underlay_route_delete), .help = "Delete a route" },
	ROW(underlay_neighbour_set), SETS("underlay_neighbour"), .key = "address",
		PARAMS(underlay_neighbour_set),
		.help = "Say what Ethernet address a neighbour has; it is never asked" },
	ROW(underlay_neighbour_delete), DELETES("underlay_neighbour"), .key = "address",
		PARAMS(underlay_neighbour_delete), .help = "Forget a neighbour" },
	ROW(underlay_show),
		.help = "Interfaces, addresses, routes and neighbours that tunnels go by" },
	ROW(port_list), .key = "name", PARAMS(opt_name),
		.help = "List ports of the switch" },
	ROW(port_set), SETS("port"), .key = "port", PARAMS(port_set),
		.help = "Limit what is flooded for a port. Without it 100000 packets a second are, "
			"where there is more than one port to flood to" },
	ROW(flow_add), SETS("flow"), .key = "flow", PARAMS(flow_add),
		.help = "Install a flow, or replace the actions of an operator's flow" },
	ROW(flow_del), DELETES("flow"), .key = "flow", PARAMS(flow_del),
		.help = "Delete a flow" },
	ROW(flow_list), PARAMS(flow_list), .help = "List flows with their counters" },
	ROW(flow_flush), DELETES("flow"), .help = "Delete every flow that an operator installed" },
	ROW(flow_trace), PARAMS(flow_trace),
		.help = "Tell step by step what would happen to a packet; nothing changes by it" },
	ROW(flow_top), PARAMS(flow_top),
		.help = "Measure which flows carry most. The answer names a sample to ask for "
			"after wait_ms; with ready true it has the flows" },
	ROW(mac_list), PARAMS(mac_list), .help = "List learned and static addresses" },
	ROW(mac_set), SETS("mac"), .key = "mac", .key2 = "vlan", PARAMS(mac_set),
		.help = "Pin an address to a port; a pinned address is not learned elsewhere" },
	ROW(mac_del), DELETES("mac"), .key = "mac", .key2 = "vlan", PARAMS(mac_del),
		.help = "Forget an address" },
	ROW(mac_flush), PARAMS(mac_flush), .help = "Forget learned addresses; pinned ones stay" },
	ROW(ct_list), PARAMS(ct_list),
		.help = "List connections, as ovs-appctl dpctl/dump-conntrack writes them" },
	ROW(ct_flush), PARAMS(ct_flush),
		.help = "Forget connections: all, those of a zone, those of a tuple" },
	ROW(ct_zone_set), UPDATES("ct_zone"), .key = "zone", PARAMS(ct_zone_set),
		.help = "Limit the connections of a zone, or give it a timeout policy; what is not "
			"given stays" },
	ROW(ct_zone_reset), DELETES("ct_zone"), .key = "zone", PARAMS(ct_zone),
		.help = "Take limit and timeout policy of a zone back: the defaults hold" },
	ROW(ct_zone_list), .key = "zone", PARAMS(ct_zone_list),
		.help = "List zones that have connections or settings of their own" },
	ROW(ct_default_limit), SETS("ct_default"), PARAMS(ct_default_limit),
		.help = "Limit the connections of every zone without a limit of its own" },
	ROW(ct_timeout_set), SETS("ct_timeout"), .key = "policy", .key2 = "state",
		PARAMS(ct_timeout_set), .help = "Set the timeout of a state in a timeout policy" },
	ROW(ct_timeout_reset), DELETES("ct_timeout"), .key = "policy", PARAMS(ct_policy),
		.help = "Give all timeouts of a policy their defaults again" },
	ROW(ct_timeout_list), .key = "policy", PARAMS(ct_timeout_list),
		.help = "List states and their timeouts in a policy" },
	ROW(ct_export), .key = "path", PARAMS(ct_export),
		.help = "Write all connections to a file, for ct_import of this card or another" },
	ROW(ct_import), .key = "path", PARAMS(ct_import),
		.help = "Take the connections of a file besides those that are there" },
	NVMF_ROWS
	VM_ROWS
	ROW(rpc_get_methods), PARAMS(get_methods), .help = "List methods" },
	ROW(spdk_get_version), .help = "Name and version, in the shape that SPDK's tools expect" },
	ROW(stats_get), PARAMS(stats_get),
		.help = "Every counter: queues, ports, volumes, drop reasons, workers" },
	ROW(worker_list), .key = "worker", PARAMS(worker_list),
		.help = "List workers and how busy they are" },
	ROW(worker_perf), .key = "worker", PARAMS(worker_list),
		.help = "Cycles of workers, those of a packet in each stage, and what told packets "
			"what to do, since the daemon started" },
	ROW(card_info), .help = "Name, paths, is a spare warm, what could not be restored" },
	ROW(card_ready), .help = "Answer once the card is up" },
	ROW(log_level_set), .key = "level", PARAMS(log_level), .help = "Log more or less" },
	ROW(config_get), .help = "The calls that the store keeps, as a configuration file" },
	ROW(shutdown), .help = "End the daemon; what was created comes back at the next start" },
};
/* clang-format on */

const struct card_method *card_method_at(unsigned idx)
{
	return idx < COUNT(methods) ? &methods[idx] : NULL;
}

const struct card_method *card_method_find(const char *name)
{
	for (size_t i = 0; i < COUNT(methods); i++)
		if (methods[i].name && !strcmp(methods[i].name, name))
			return &methods[i];
	return NULL;
}

const struct card_param *card_method_param(const struct card_method *m, const char *name)
{
	for (unsigned i = 0; i < m->n_params; i++)
		if (!strcmp(m->params[i].name, name))
			return &m->params[i];
	return NULL;
}

const char *card_param_type_name(enum card_param_type t)
{
	switch (t) {
	case CARD_P_STRING:
		return "string";
	case CARD_P_UINT:
		return "number";
	case CARD_P_BOOL:
		return "bool";
	case CARD_P_LIST:
		return "list";
	case CARD_P_OBJECT:
		return "object";
	}
	return "?";
}
