/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of volumes, keys and controllers: part of method_table.c, which includes it once.
 */
#pragma once

#include "card_method.h"

// NOLINTBEGIN(bugprone-macro-parentheses): text and numbers in initializers

static const struct card_param null_create[] = {
	P_NAME("name", "name of the volume"),
	P_BLOCKS,
	P_BLOCK_SIZE(true),
	P_UUID,
	P_NO_METADATA,
};

static const struct card_param malloc_create[] = {
	P_NAME_OPT("name", "name of the volume; Malloc0, Malloc1 and so on when not given"),
	P_BLOCKS,
	P_BLOCK_SIZE(true),
	{ .name = "prealloc",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "take all its memory now, in huge pages where there are some: faster" },
	P_UUID,
	P_NO_METADATA,
	P_COMPAT("optimal_io_boundary", CARD_P_UINT, "no effect"),
	P_COMPAT("md_interleave", CARD_P_BOOL, "no effect: there is no metadata"),
};

static const struct card_param null_resize[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "new_size",
		.type = CARD_P_UINT,
		.required = true,
		.min = 1,
		.max = UINT64_C(1) << 40,
		.help = "size in MiB" },
};

#define P_FILE_BLOCK_SIZE                                                                  \
	{                                                                                  \
		.name = "block_size", .type = CARD_P_UINT, .min = 512, .max = 4096,        \
		.help = "512 or 4096; a device's own, 512 of a plain file, when not given" \
	}

#define P_FILE                                                                                 \
	P_NAME("name", "name of the volume"),                                                  \
		{ .name = "filename",                                                          \
			.type = CARD_P_STRING,                                                 \
			.required = true,                                                      \
			.min = 1,                                                              \
			.max = 4095,                                                           \
			.help = "plain file or block device; never followed as a link" },      \
		P_FILE_BLOCK_SIZE,                                                             \
		{ .name = "readonly",                                                          \
			.type = CARD_P_BOOL,                                                   \
			.def = "false",                                                        \
			.help = "refuse writes" },                                             \
		{ .name = "direct",                                                            \
			.type = CARD_P_BOOL,                                                   \
			.def = "true",                                                         \
			.help = "bypass the page cache where the file system can" },           \
	{                                                                                      \
		.name = "num_blocks", .type = CARD_P_UINT, .min = 1, .max = UINT64_C(1) << 48, \
		.once = true,                                                                  \
		.help = "create a missing file with this many blocks; another keeps its size"  \
	}

static const struct card_param file_create[] = {
	P_FILE,
	P_UUID,
	{ .name = "shared",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "another card may have the file, too, as while a guest migrates; its alone "
			"as soon as nobody else has it" },
	P_COMPAT("fallocate", CARD_P_BOOL, "no effect: discards reach the file in any case"),
	P_COMPAT("nowait", CARD_P_BOOL, "no effect: nothing waits in any case"),
};

static const struct card_param bdevs[] = {
	P_NAME_OPT("name", "only this one"),
	P_COMPAT("timeout", CARD_P_UINT, "no effect: the answer comes at once"),
};

static const struct card_param lvstore_create[] = {
	P_NAME("lvs_name", "name of the store"),
	{ .name = "path",
		.type = CARD_P_STRING,
		.required = true,
		.min = 2,
		.max = 4000,
		.help = "the folder that its volumes are files of" },
};

static const struct card_param lvstore_delete[] = { P_NAME("lvs_name", "name of the store") };

static const struct card_param lvstore_list[] = { P_NAME_OPT("lvs_name", "only this one") };

#define P_LVOL_SIZE                                                                             \
	{ .name = "size", .type = CARD_P_UINT, .min = 1, .help = "bytes, made whole MiB" },     \
	{                                                                                       \
		.name = "size_in_mib", .type = CARD_P_UINT, .min = 1, .max = UINT64_C(1) << 40, \
		.help = "MiB"                                                                   \
	}

static const struct card_param lvol_create[] = {
	P_NAME("lvol_name", "name of the volume in its store"),
	P_NAME_OPT("lvs_name", "the store"),
	{ .name = "uuid", .type = CARD_P_STRING, .max = 36, .help = "the store, by its UUID" },
	P_LVOL_SIZE,
	{ .name = "thin_provision",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "take blocks of the file system when they are written" },
	P_COMPAT("clear_method", CARD_P_STRING, "no effect: a new volume reads as zeros"),
	P_NAME_OPT("name", "UUID of one that is there: for the store"),
};

static const struct card_param lvol_resize[] = { P_NAME("name", "UUID or STORE/NAME"),
	P_LVOL_SIZE };

static const struct card_param iostat[] = {
	P_NAME_OPT("name", "only this one"),
	P_COMPAT("per_channel", CARD_P_BOOL, "no effect: counters are those of the volume"),
	P_COMPAT("reset_mode", CARD_P_STRING, "none only: counters never go back"),
};

static const struct card_param crypto_create[] = {
	P_NAME("name", "name of the volume"),
	P_NAME("base_bdev_name", "the volume below, which nobody else may use"),
	P_NAME("key_name", "the key"),
	{ .name = "block_size",
		.type = CARD_P_UINT,
		.min = 512,
		.max = 4096,
		.help = "512 or 4096; that of the volume below when not given" },
	P_UUID,
};

static const struct card_param integrity_create[] = {
	P_NAME("name", "name of the volume"),
	P_NAME("base_bdev_name", "the volume below, which nobody else may use"),
	{ .name = "format",
		.type = CARD_P_BOOL,
		.def = "false",
		.once = true,
		.help = "make it ready if there is none: what is below is lost; zeros only" },
	{ .name = "overwrite",
		.type = CARD_P_BOOL,
		.def = "false",
		.once = true,
		.help = "with format: whatever is below, a volume with checksums too" },
	{ .name = "header",
		.type = CARD_P_STRING,
		.min = 36,
		.max = 36,
		.help = "UUID of the header that has to be below, as config_get shows it: the "
			"answer "
			"does not wait for it" },
	P_UUID,
};

static const struct card_param rekey[] = {
	P_NAME("name", "name of the volume"),
	P_NAME("key_name", "the new key"),
	P_NAME("journal_bdev_name",
		"a volume of 2.1 MiB or more, as durable as that one, free when it is over"),
	{ .name = "mbytes_per_sec",
		.type = CARD_P_UINT,
		.max = 1000000,
		.def = "0",
		.help = "MiB per second, 0: as fast as it goes" },
	{ .name = "id",
		.type = CARD_P_STRING,
		.min = 36,
		.max = 36,
		.help = "of the store: the change that is resumed, for which the following are" },
	P_NAME_OPT("base_bdev_name", "of the store"),
	P_NAME_OPT("old_key_name", "of the store"),
	{ .name = "block_size", .type = CARD_P_UINT, .max = 4096, .help = "of the store" },
	P_UUID,
};

static const struct card_param raid_create[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "base_bdevs",
		.type = CARD_P_LIST,
		.required = true,
		.min = 1,
		.max = 16,
		.help = "the volumes below in their order, which nobody else may use" },
	{ .name = "strip_size_kb",
		.type = CARD_P_UINT,
		.min = 4,
		.max = 16384,
		.def = "64",
		.help = "KiB of one volume before the next one's turn; a power of two" },
	{ .name = "raid_level", .type = CARD_P_STRING, .max = 8, .def = "raid0", .help = "raid0" },
	{ .name = "superblock",
		.type = CARD_P_BOOL,
		.compat = true,
		.help = "accepted for SPDK's tools; false only: the store has the order" },
	P_UUID,
};

#define P_RATE(param, text)                                                   \
	{                                                                     \
		.name = param, .type = CARD_P_UINT, .max = UINT64_C(1) << 40, \
		.help = text ", 0: no limit; as it is when not given"         \
	}

static const struct card_param qos_limit[] = {
	P_NAME("name", "name of the volume"),
	P_RATE("rw_ios_per_sec", "operations per second"),
	P_RATE("r_ios_per_sec", "reads per second"),
	P_RATE("w_ios_per_sec", "writes per second"),
	P_RATE("rw_mbytes_per_sec", "MiB per second"),
	P_RATE("r_mbytes_per_sec", "MiB read per second"),
	P_RATE("w_mbytes_per_sec", "MiB written per second"),
	{ .name = "burst_ms",
		.type = CARD_P_UINT,
		.max = 60000,
		.help = "what the rates give in this time may be taken at once, 0 at first" },
};

static const struct card_param enable_histogram[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "enable",
		.type = CARD_P_BOOL,
		.required = true,
		.help = "no: none is timed; what was counted stays" },
	{ .name = "every",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 1000000,
		.def = "1",
		.help = "one of so many is timed: 1 all of them, which costs the clock twice for "
			"each; better a prime" },
	P_COMPAT("opc", CARD_P_STRING, "no effect: all operations are counted"),
	P_COMPAT("granularity", CARD_P_UINT, "no effect"),
	P_COMPAT("min_nsec", CARD_P_UINT, "no effect"),
	P_COMPAT("max_nsec", CARD_P_UINT, "no effect"),
};

static const struct card_param get_histogram[] = { P_NAME("name", "name of the volume") };

#define P_TRADDR(req, text)                                                                    \
	{                                                                                      \
		.name = "traddr", .type = CARD_P_STRING, .required = req, .min = 2, .max = 45, \
		.help = text                                                                   \
	}
#define P_TRSVCID                                                                            \
	{                                                                                    \
		.name = "trsvcid", .type = CARD_P_STRING, .min = 1, .max = 5, .def = "4420", \
		.help = "TCP port"                                                           \
	}
#define P_SECONDS(param, dflt, text)                                                        \
	{                                                                                   \
		.name = param, .type = CARD_P_UINT, .max = 86400, .def = dflt, .help = text \
	}

#define P_LOSS                                                                         \
	{                                                                              \
		.name = "ctrlr_loss_timeout_sec", .type = CARD_P_UINT, .max = 86400,   \
		.minus = true, .def = "-1", .help = "give up after so long; -1: never" \
	}

static const struct card_param nvme_options[] = {
	P_LOSS,
	P_SECONDS("fast_io_fail_timeout_sec", "0",
		"without a path requests fail after so long; 0: they wait"),
	P_SECONDS("reconnect_delay_sec", "0", "first pause between attempts; 0: half a second"),
	{ .name = "keep_alive_timeout_ms",
		.type = CARD_P_UINT,
		.max = 3600000,
		.def = "10000",
		.help = "the target ends an association that is silent for so long" },
	{ .name = "timeout_us",
		.type = CARD_P_UINT,
		.max = UINT64_C(3600000000),
		.def = "30000000",
		.help = "a connection whose answer does not come for so long is given up" },
	P_COMPAT("action_on_timeout", CARD_P_STRING, "no effect: its connection is given up"),
	P_COMPAT("timeout_admin_us", CARD_P_UINT, "no effect"),
	P_COMPAT("retry_count", CARD_P_UINT, "no effect"),
	P_COMPAT("transport_retry_count", CARD_P_UINT, "no effect"),
	P_COMPAT("bdev_retry_count", CARD_P_UINT, "no effect: retries end with the timeouts"),
	P_COMPAT("transport_ack_timeout", CARD_P_UINT, "no effect"),
	P_COMPAT("transport_tos", CARD_P_UINT, "no effect"),
	P_COMPAT("arbitration_burst", CARD_P_UINT, "no effect"),
	P_COMPAT("low_priority_weight", CARD_P_UINT, "no effect"),
	P_COMPAT("medium_priority_weight", CARD_P_UINT, "no effect"),
	P_COMPAT("high_priority_weight", CARD_P_UINT, "no effect"),
	P_COMPAT("nvme_adminq_poll_period_us", CARD_P_UINT, "no effect: nothing is polled"),
	P_COMPAT("nvme_ioq_poll_period_us", CARD_P_UINT, "no effect"),
	P_COMPAT("io_queue_requests", CARD_P_UINT, "no effect: io_queue_size of a controller"),
	P_COMPAT("delay_cmd_submit", CARD_P_BOOL, "no effect: what comes together goes together"),
	P_COMPAT("disable_auto_failback", CARD_P_BOOL, "no effect: the policy of a volume says it"),
};

static const struct card_param nvme_attach[] = {
	P_NAME("name", "name of the controller; volumes are called NAMEnNSID"),
	P_TRADDR(true, "IP address of the target"),
	P_TRSVCID,
	{ .name = "subnqn",
		.type = CARD_P_STRING,
		.required = true,
		.min = 5,
		.max = 223,
		.help = "NQN of the subsystem" },
	{ .name = "trtype", .type = CARD_P_STRING, .max = 8, .def = "TCP", .help = "TCP" },
	P_COMPAT("adrfam", CARD_P_STRING, "no effect: the address says it"),
	P_COMPAT("path", CARD_P_STRING, "no effect: address and port, for the store"),
	{ .name = "hostnqn",
		.type = CARD_P_STRING,
		.min = 5,
		.max = 223,
		.help = "who we are to the target; the card's own name when not given" },
	{ .name = "hostaddr",
		.type = CARD_P_STRING,
		.max = 45,
		.help = "IP address to come from; any when not given" },
	{ .name = "hdgst", .type = CARD_P_BOOL, .def = "false", .help = "digests of headers" },
	{ .name = "ddgst", .type = CARD_P_BOOL, .def = "false", .help = "digests of data" },
	P_COMPAT("multipath", CARD_P_STRING,
		"no effect: a second path of the same name and subsystem is always one"),
	{ .name = "selector",
		.type = CARD_P_STRING,
		.max = 16,
		.def = "round_robin",
		.help = "path of a command: round_robin, queue_depth or numa (those at the "
			"worker's node); of new volumes" },
	P_LOSS,
	P_SECONDS("fast_io_fail_timeout_sec", "0",
		"without a path requests fail after so long; "
		"0: they wait"),
	P_SECONDS("reconnect_delay_sec", "0", "first pause between attempts; 0: half a second"),
	{ .name = "keep_alive_timeout_ms",
		.type = CARD_P_UINT,
		.max = 3600000,
		.def = "10000",
		.help = "the target ends an association that is silent for so long" },
	{ .name = "io_timeout_ms",
		.type = CARD_P_UINT,
		.max = 3600000,
		.def = "30000",
		.help = "a connection whose answer does not come for so long is given up" },
	{ .name = "io_queue_size",
		.type = CARD_P_UINT,
		.min = 3,
		.max = 1024,
		.def = "128",
		.help = "commands in flight of one worker" },
	P_NAME_OPT("discovery", "the discovery that it came of, which detaches it again"),
	{ .name = "namespaces",
		.type = CARD_P_LIST,
		.max = 1024,
		.help = "NSID:BLOCKS:BLOCK_SIZE:UUID:WHAT of each volume that is known, WHAT of d "
			"(discards), z (writes zeros), c (has a cache) and r (read only): shown "
			"before there is a connection, and the answer does not wait for one" },
};

static const struct card_param nvme_policy[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "policy",
		.type = CARD_P_STRING,
		.required = true,
		.max = 16,
		.help = "active_active, or active_passive: one path for as long as it lasts" },
	{ .name = "selector",
		.type = CARD_P_STRING,
		.max = 16,
		.def = "round_robin",
		.help = "of active_active: round_robin, queue_depth or numa" },
	P_COMPAT("rr_min_io", CARD_P_UINT, "no effect: each command is another one's turn"),
};

static const struct card_param nvme_prefer[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "cntlid",
		.type = CARD_P_UINT,
		.required = true,
		.max = 65535,
		.help = "controller at the end of the path" },
};

static const struct card_param nvme_discovery[] = {
	P_NAME("name", "name of the discovery; controllers are called NAME0, NAME1 and so on"),
	P_TRADDR(true, "IP address of the service"),
	{ .name = "trsvcid",
		.type = CARD_P_STRING,
		.min = 1,
		.max = 5,
		.def = "8009",
		.help = "TCP port" },
	{ .name = "trtype", .type = CARD_P_STRING, .max = 8, .def = "TCP", .help = "TCP" },
	P_COMPAT("adrfam", CARD_P_STRING, "no effect: the address says it"),
	P_COMPAT("hostnqn", CARD_P_STRING, "no effect: the card has one"),
	P_COMPAT("wait_for_attach", CARD_P_BOOL, "no effect: controllers come as they connect"),
	P_COMPAT("attach_timeout_ms", CARD_P_UINT, "no effect"),
	{ .name = "hdgst", .type = CARD_P_BOOL, .def = "false", .help = "digests of headers" },
	{ .name = "ddgst", .type = CARD_P_BOOL, .def = "false", .help = "digests of data" },
	P_LOSS,
	P_SECONDS("fast_io_fail_timeout_sec", "0", "without a path requests fail after so long"),
	P_SECONDS("reconnect_delay_sec", "0", "first pause between attempts; 0: half a second"),
};

static const struct card_param nvme_detach[] = {
	P_NAME("name", "name of the controller"),
	P_TRADDR(false, "of one path; all of them and the volumes when not given"),
	P_TRSVCID,
	P_COMPAT("trtype", CARD_P_STRING, "no effect"),
	P_COMPAT("adrfam", CARD_P_STRING, "no effect"),
	P_COMPAT("subnqn", CARD_P_STRING, "no effect: the name says it"),
	P_COMPAT("path", CARD_P_STRING, "no effect: address and port, for the store"),
};

static const struct card_param key_create[] = {
	P_NAME("name", "name of the key"),
	{ .name = "cipher",
		.type = CARD_P_STRING,
		.max = 16,
		.def = "AES_XTS",
		.help = "AES_XTS, with keys of 256 bits" },
	{ .name = "key",
		.type = CARD_P_STRING,
		.min = 64,
		.max = 64,
		.help = "first half in hexadecimal digits; better none: a new one is made" },
	{ .name = "key2", .type = CARD_P_STRING, .min = 64, .max = 64, .help = "second half" },
	{ .name = "wrapped",
		.type = CARD_P_STRING,
		.min = 186,
		.max = 186,
		.help = "the key as config_get shows it, wrapped by the same key file" },
	{ .name = "ephemeral",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "a new key that only this machine's kernel keeps, until it is deleted or "
			"the machine is started anew; needs no key file" },
	{ .name = "kept",
		.type = CARD_P_STRING,
		.min = 32,
		.max = 32,
		.help = "the name under which it is kept, as config_get shows it" },
	P_COMPAT("tweak_mode", CARD_P_STRING, "SIMPLE_LBA only: the tweak is the block's number"),
};

static const struct card_param key_destroy[] = { P_NAME("key_name", "name of the key") };
static const struct card_param keys_get[] = { P_NAME_OPT("key_name", "only this one") };

static const struct card_param create_instance[] = {
	{ .name = "name",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 57,
		.help = "name of the volume; its media and key are NAME.media and NAME.key" },
	{ .name = "filename",
		.type = CARD_P_STRING,
		.required = true,
		.min = 1,
		.max = 4095,
		.help = "block device or plain file, whose content is given up" },
	P_FILE_BLOCK_SIZE,
	{ .name = "num_blocks",
		.type = CARD_P_UINT,
		.min = 1,
		.max = UINT64_C(1) << 48,
		.help = "create a missing file with this many blocks" },
	{ .name = "direct",
		.type = CARD_P_BOOL,
		.def = "true",
		.help = "bypass the page cache where the file system can" },
	P_UUID,
};

static const struct card_param volume_resize[] = { P_NAME("name", "name of the volume"), P_BLOCKS };

static const struct card_param set_wear[] = {
	P_NAME("name", "name of the volume"),
	{ .name = "pre_eol_info",
		.type = CARD_P_UINT,
		.max = 3,
		.def = "0",
		.help = "spare blocks: 1 normal, 2 80 % used, 3 90 % used; 0: not known" },
	{ .name = "life_time_a",
		.type = CARD_P_UINT,
		.max = 11,
		.def = "0",
		.help = "wear of SLC cells: n is up to 10 * n % used, 11 beyond; 0: not known" },
	{ .name = "life_time_b",
		.type = CARD_P_UINT,
		.max = 11,
		.def = "0",
		.help = "wear of MLC cells, in the same way" },
};

// NOLINTEND(bugprone-macro-parentheses)
