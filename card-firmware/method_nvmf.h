/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and rows of the card's target: part of method_table.c, which includes it once. */
#pragma once

#include "card_method.h"

// NOLINTBEGIN(bugprone-macro-parentheses): text and numbers in initializers

/* ---- the card's target ---- */

#define NQN_MAX 223
#define P_NQN(param, text)                                                                        \
	{                                                                                         \
		.name = param, .type = CARD_P_STRING, .required = true, .min = 5, .max = NQN_MAX, \
		.help = text                                                                      \
	}
#define P_TGT_NAME P_COMPAT("tgt_name", CARD_P_STRING, "no effect: there is one target")
#define P_OBJECT(param, text)                                         \
	{                                                             \
		.name = param, .type = CARD_P_OBJECT, .compat = true, \
		.help = "as SPDK has it: " text                       \
	}
#define P_LISTENER                                                 \
	{ .name = "listener",                                      \
		.type = CARD_P_STRING,                             \
		.min = 3,                                          \
		.max = 75,                                         \
		.help = "ADDRESS:PORT, [ADDRESS]:PORT for IPv6" }, \
		P_OBJECT("listen_address", "trtype, traddr and trsvcid of listener"), P_TGT_NAME

static const struct card_param nvmf_transport[] = {
	{ .name = "trtype",
		.type = CARD_P_STRING,
		.required = true,
		.min = 3,
		.max = 3,
		.help = "TCP" },
	{ .name = "max_queue_depth",
		.type = CARD_P_UINT,
		.min = 2,
		.max = 1024,
		.def = "128",
		.help = "entries of one queue" },
	{ .name = "max_io_qpairs_per_ctrlr",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 1024,
		.def = "127",
		.help = "I/O queues of one controller" },
	{ .name = "in_capsule_data_size",
		.type = CARD_P_UINT,
		.min = 16,
		.max = 16384,
		.def = "4096",
		.help = "bytes of data within a capsule" },
	{ .name = "max_io_size",
		.type = CARD_P_UINT,
		.min = 4096,
		.max = 1048576,
		.def = "131072",
		.help = "bytes of one command: a power of two" },
	P_COMPAT("io_unit_size", CARD_P_UINT, "no effect"),
	P_COMPAT("max_aq_depth", CARD_P_UINT, "no effect"),
	P_COMPAT("num_shared_buffers", CARD_P_UINT, "no effect"),
	P_COMPAT("buf_cache_size", CARD_P_UINT, "no effect"),
	P_COMPAT("dif_insert_or_strip", CARD_P_BOOL, "no effect: there is no metadata"),
	P_COMPAT("c2h_success", CARD_P_BOOL, "no effect: hosts that can have it get it"),
	P_COMPAT("sock_priority", CARD_P_UINT, "no effect"),
	P_COMPAT("abort_timeout_sec", CARD_P_UINT, "no effect"),
	P_COMPAT("zcopy", CARD_P_BOOL, "no effect"),
	P_TGT_NAME,
};

static const struct card_param nvmf_subsystem[] = {
	P_NQN("nqn", "name of the subsystem, nqn.* as NVMe has it"),
	{ .name = "serial_number",
		.type = CARD_P_STRING,
		.min = 1,
		.max = 20,
		.help = "serial number; made from the name when not given" },
	{ .name = "model_number",
		.type = CARD_P_STRING,
		.min = 1,
		.max = 40,
		.help = "model that hosts are shown" },
	{ .name = "max_namespaces",
		.type = CARD_P_UINT,
		.max = 1024,
		.def = "32",
		.help = "highest number of a namespace" },
	{ .name = "min_cntlid",
		.type = CARD_P_UINT,
		.max = 65519,
		.def = "1",
		.help = "lowest controller identifier" },
	{ .name = "max_cntlid",
		.type = CARD_P_UINT,
		.max = 65519,
		.def = "65519",
		.help = "highest controller identifier" },
	{ .name = "allow_any_host",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "whatever host comes is served" },
	{ .name = "ana_reporting",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "tell hosts which paths are good (asymmetric namespace access)" },
	P_TGT_NAME,
};

static const struct card_param nvmf_nqn[] = { P_NQN("nqn", "name of the subsystem"), P_TGT_NAME };
static const struct card_param nvmf_list[] = {
	{ .name = "nqn", .type = CARD_P_STRING, .min = 5, .max = NQN_MAX, .help = "only this one" },
	P_TGT_NAME,
};

static const struct card_param nvmf_ns[] = {
	P_NQN("nqn", "name of the subsystem"),
	P_NAME_OPT("bdev_name", "volume it shows"),
	{ .name = "nsid",
		.type = CARD_P_UINT,
		.max = 1024,
		.def = "0",
		.help = "its number; 0: the lowest that is free" },
	{ .name = "uuid",
		.type = CARD_P_STRING,
		.min = 36,
		.max = 36,
		.help = "UUID; the volume's when no identifier is given" },
	{ .name = "nguid",
		.type = CARD_P_STRING,
		.min = 32,
		.max = 36,
		.help = "NGUID: 32 hexadecimal digits" },
	{ .name = "eui64",
		.type = CARD_P_STRING,
		.min = 16,
		.max = 16,
		.help = "EUI64: 16 hexadecimal digits" },
	{ .name = "anagrpid", .type = CARD_P_UINT, .max = 32, .def = "1", .help = "ANA group" },
	{ .name = "no_auto_visible",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "hidden from every host" },
	P_OBJECT("namespace", "nsid, bdev_name and the other parameters of a namespace"),
	P_TGT_NAME,
};

static const struct card_param nvmf_ns_remove[] = {
	P_NQN("nqn", "name of the subsystem"),
	{ .name = "nsid",
		.type = CARD_P_UINT,
		.required = true,
		.min = 1,
		.max = 1024,
		.help = "number of the namespace" },
	P_TGT_NAME,
};

static const struct card_param nvmf_listener[] = {
	P_NQN("nqn", "name of the subsystem"),
	P_LISTENER,
	P_COMPAT("secure_channel", CARD_P_BOOL, "no effect"),
};

static const struct card_param nvmf_ana[] = {
	P_NQN("nqn", "name of the subsystem"),
	{ .name = "ana_state",
		.type = CARD_P_STRING,
		.required = true,
		.min = 9,
		.max = 13,
		.help = "optimized, non_optimized or inaccessible" },
	{ .name = "anagrpid",
		.type = CARD_P_UINT,
		.max = 32,
		.def = "0",
		.help = "ANA group; 0: all" },
	P_LISTENER,
};

static const struct card_param nvmf_host[] = {
	P_NQN("nqn", "name of the subsystem"),
	P_NQN("host", "name of the host, byte for byte"),
	P_TGT_NAME,
};

static const struct card_param nvmf_any_host[] = {
	P_NQN("nqn", "name of the subsystem"),
	{ .name = "allow_any_host",
		.type = CARD_P_BOOL,
		.required = true,
		.help = "whatever host comes is served" },
	P_TGT_NAME,
};

static const struct card_param nvmf_referral[] = {
	{ .name = "referral",
		.type = CARD_P_STRING,
		.min = 3,
		.max = 75,
		.help = "ADDRESS:PORT of another discovery service" },
	P_OBJECT("address", "trtype, traddr and trsvcid of referral"),
	P_COMPAT("secure_channel", CARD_P_BOOL, "no effect"),
	P_TGT_NAME,
};

static const struct card_param nvmf_stats[] = { P_TGT_NAME };

/* clang-format off */
#define NVMF_ROWS \
	ROW(nvmf_create_transport), CREATES("nvmf_transport"), .key = "trtype", \
		PARAMS(nvmf_transport), \
		.help = "Make the card's NVMe/TCP target with limits of its own; without this " \
			"call the first subsystem makes one" }, \
	ROW(nvmf_create_subsystem), CREATES("subsystem"), .key = "nqn", PARAMS(nvmf_subsystem), \
		.help = "Make a subsystem: volumes for hosts that come over NVMe/TCP" }, \
	ROW(nvmf_delete_subsystem), DELETES("subsystem"), .key = "nqn", PARAMS(nvmf_nqn), \
		.queues = true, \
		.help = "End a subsystem's associations and delete it; its volumes stay" }, \
	ROW(nvmf_subsystem_add_ns), CREATES("subsystem"), .key = "nqn", .key2 = "nsid", \
		PARAMS(nvmf_ns), .help = "Show a volume as a namespace of a subsystem" }, \
	ROW(nvmf_subsystem_remove_ns), DELETES("subsystem"), .key = "nqn", .key2 = "nsid", \
		PARAMS(nvmf_ns_remove), .queues = true, \
		.help = "Take a namespace from its hosts; the volume stays" }, \
	ROW(nvmf_subsystem_add_listener), CREATES("subsystem"), .key = "nqn", .key2 = "listener", \
		PARAMS(nvmf_listener), .help = "Serve a subsystem at an address" }, \
	ROW(nvmf_subsystem_remove_listener), DELETES("subsystem"), .key = "nqn", \
		.key2 = "listener", PARAMS(nvmf_listener), \
		.help = "Stop that, and end the associations that came through it" }, \
	ROW(nvmf_subsystem_listener_set_ana_state), .key = "nqn", PARAMS(nvmf_ana), \
		.help = "Say how good the path through a listener is; not kept over a restart" }, \
	ROW(nvmf_subsystem_add_host), CREATES("subsystem"), .key = "nqn", .key2 = "host", \
		PARAMS(nvmf_host), .help = "Let a host use a subsystem" }, \
	ROW(nvmf_subsystem_remove_host), DELETES("subsystem"), .key = "nqn", .key2 = "host", \
		PARAMS(nvmf_host), .help = "Stop that, and end its associations" }, \
	ROW(nvmf_subsystem_allow_any_host), UPDATES("subsystem"), .key = "nqn", \
		PARAMS(nvmf_any_host), \
		.help = "Let any host use a subsystem, or only those named" }, \
	ROW(nvmf_discovery_add_referral), CREATES("referral"), .key = "referral", \
		PARAMS(nvmf_referral), .help = "Tell hosts of another discovery service" }, \
	ROW(nvmf_discovery_remove_referral), DELETES("referral"), .key = "referral", \
		PARAMS(nvmf_referral), .help = "Stop that" }, \
	ROW(nvmf_get_subsystems), .key = "nqn", PARAMS(nvmf_list), \
		.help = "List subsystems with what belongs to them" }, \
	ROW(nvmf_get_stats), PARAMS(nvmf_stats), .help = "Counters of the target" },
/* clang-format on */

// NOLINTEND(bugprone-macro-parentheses)
