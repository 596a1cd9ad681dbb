// SPDX-License-Identifier: Apache-2.0
/* vdrv: the driver half of virtio as a command: load, verification and conformance of back-ends. */
#include "vdrv.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "blk-load", "load a disk and measure it", vdrv_blk_load },
	{ "blk-verify", "write and read a disk at random and verify every byte", vdrv_blk_verify },
	{ "blk-crash", "kill the back-end over and over in verified I/O", vdrv_blk_crash },
	{ "blk-shapes", "cut requests into segments of any kind and verify them", vdrv_blk_shapes },
	{ "net-ping", "send frames between two functions and verify them", vdrv_net_ping },
	{ "net-load", "send TSO frames and measure what arrives", vdrv_net_load },
	{ "net-steer", "see on which receive queue each flow arrives", vdrv_net_steer },
	{ "net-coal", "have calls coalesced", vdrv_net_coal },
	{ "blk-diff", "compare two disks' answers to odd requests", vdrv_blk_diff },
	{ "blk-wake", "measure single requests after pauses", vdrv_blk_wake },
	{ "attach", "hold a front-end that does nothing", vdrv_attach },
	{ "blk-config", "wait until a disk has another size", vdrv_blk_config },
	{ "conformance", "try each ring layout with each feature", vdrv_conformance },
};

static void usage(FILE *to)
{
	fputs("Usage: vdrv COMMAND [OPTION]...\n\nCommands (each has --help):\n", to);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	usage(stderr);
	return 2;
}
