/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods on virtual machines and their parameters: part of method_table.c, which includes it once.
 */
#pragma once

#include "card_method.h"

// NOLINTBEGIN(bugprone-macro-parentheses): text and numbers in initializers

static const struct card_param vm_create[] = {
	P_NAME("name", "name of the VM"),
	{ .name = "mem_mib",
		.type = CARD_P_UINT,
		.required = true,
		.min = 1,
		.max = 1u << 20,
		.help = "memory in MiB" },
	{ .name = "mem_max_mib",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 1u << 20,
		.help = "what vm_resize may make of it, also while it runs: mem_mib when not "
			"given" },
	{ .name = "vcpus",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 64,
		.def = "1",
		.help = "virtual CPUs" },
	{ .name = "cpu_template",
		.type = CARD_P_STRING,
		.max = 15,
		.def = "host",
		.help = "which CPU features it sees: host, all that there are; baseline, "
			"x86-64-v2 with AES; or v3, x86-64-v3" },
	{ .name = "kernel",
		.type = CARD_P_STRING,
		.required = true,
		.min = 2,
		.max = 4095,
		.help = "path on the card: a bzImage, or an ELF file with a PVH note" },
	{ .name = "initrd",
		.type = CARD_P_STRING,
		.min = 2,
		.max = 4095,
		.help = "path on the card" },
	{ .name = "cmdline",
		.type = CARD_P_STRING,
		.max = 2047,
		.def = "",
		.help = "command line of the kernel" },
	{ .name = "default_cmdline",
		.type = CARD_P_BOOL,
		.help = "whether the card's own words go before these, so that these win: "
			"true where both fit and the program is not flat" },
	{ .name = "flat",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "the kernel is a flat 64-bit program, loaded and entered at 1 MiB" },
	{ .name = "hugepages",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "memory of 2 MiB pages of the host, or none" },
	{ .name = "pins",
		.type = CARD_P_LIST,
		.max = 64,
		.help = "CPU of the host for each virtual one, from the first on" },
	{ .name = "functions",
		.type = CARD_P_LIST,
		.max = 31,
		.help = "NICs and disks of this card, in the order of their slots, from 1 on" },
	{ .name = "on_reboot",
		.type = CARD_P_STRING,
		.max = 15,
		.def = "restart",
		.help = "restart or stop: when the guest asks for a reset, as after a panic" },
	{ .name = "on_crash",
		.type = CARD_P_STRING,
		.max = 15,
		.def = "stop",
		.help = "restart or stop: after a triple fault, an error of KVM, or a signal that "
			"ended its process" },
};

#define P_SAMPLE                                                             \
	{                                                                    \
		.name = "sample", .type = CARD_P_UINT, .max = INT64_MAX,     \
		.help = "from an answer that was not ready: ask for its end" \
	}

static const struct card_param vm_operation[] = {
	P_NAME("name", "name of the VM"),
	P_SAMPLE,
};

static const struct card_param vm_stop[] = {
	P_NAME("name", "name of the VM"),
	{ .name = "force",
		.type = CARD_P_BOOL,
		.def = "false",
		.help = "have the agent kill its process, whatever that does" },
	P_SAMPLE,
};

static const struct card_param vm_resize[] = {
	P_NAME("name", "name of the VM"),
	{ .name = "mem_mib",
		.type = CARD_P_UINT,
		.required = true,
		.min = 1,
		.max = 1u << 20,
		.help = "all the memory that it is to have, in MiB; while it runs more than before "
			"by a multiple of 128, with 63 GiB and more of 2048" },
};

static const struct card_param vm_add_function[] = {
	P_NAME("name", "name of the VM"),
	P_NAME("function", "a NIC or disk of this card"),
	{ .name = "slot",
		.type = CARD_P_UINT,
		.min = 1,
		.max = 31,
		.help = "its place on the bus; the first that is free when not given" },
};

static const struct card_param vm_remove_function[] = {
	P_NAME("name", "name of the VM"),
	P_NAME("function", "a function of the VM"),
};

static const struct card_param vm_console[] = {
	P_NAME("name", "name of the VM"),
	{ .name = "offset",
		.type = CARD_P_UINT,
		.max = INT64_MAX,
		.def = "0",
		.help = "where to begin in all that was ever written: next_offset of the last "
			"answer" },
	{ .name = "input",
		.type = CARD_P_STRING,
		.max = 8192,
		.def = "",
		.help = "bytes to type first, in hexadecimal" },
};

/* clang-format off */
#define VM_ROWS \
	ROW(vm_create), CREATES("vm"), .key = "name", PARAMS(vm_create), \
		.help = "Define a virtual machine of the card's host; vm_start starts it" }, \
	ROW(vm_delete), DELETES("vm"), .key = "name", PARAMS(one_name), \
		.help = "Forget a virtual machine that is stopped" }, \
	ROW(vm_start), .key = "name", PARAMS(vm_operation), \
		.help = "Start a virtual machine" }, \
	ROW(vm_pause), .key = "name", PARAMS(vm_operation), \
		.help = "Halt the CPUs of a virtual machine" }, \
	ROW(vm_resume), .key = "name", PARAMS(vm_operation), \
		.help = "Let the CPUs of a virtual machine go on" }, \
	ROW(vm_stop), .key = "name", PARAMS(vm_stop), \
		.help = "End a virtual machine at once, without asking the guest" }, \
	ROW(vm_power_button), .key = "name", PARAMS(vm_operation), \
		.help = "Press the power button: ask the guest to shut down" }, \
	ROW(vm_resize), UPDATES("vm"), .key = "name", PARAMS(vm_resize), \
		.help = "Change the memory of a virtual machine; one that runs is given more, " \
			"six times at least, which is pending while it has not said whether it " \
			"takes it" }, \
	ROW(vm_add_function), UPDATES("vm"), .key = "name", .key2 = "function", \
		.canonical = true, PARAMS(vm_add_function), \
		.help = "Give a virtual machine one more NIC or disk, also while it runs; it is " \
			"pending while the guest has not said whether it takes it" }, \
	ROW(vm_remove_function), DELETES("vm"), .key = "name", .key2 = "function", \
		PARAMS(vm_remove_function), \
		.help = "Take a NIC or disk out of a virtual machine, also while it runs" }, \
	ROW(vm_list), .key = "name", PARAMS(opt_name), .help = "List virtual machines" }, \
	ROW(vm_agent), .help = "Is the host's agent connected, and how connections ended" }, \
	ROW(vm_console), .key = "name", PARAMS(vm_console), \
		.help = "Output of the console of a virtual machine, and input for it" },
/* clang-format on */
// NOLINTEND(bugprone-macro-parentheses)
