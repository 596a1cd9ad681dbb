/* SPDX-License-Identifier: Apache-2.0 */
/* Subcommands of vdrv. Each gets its own argv, with argv[0] its name, and returns an exit code. */
#pragma once

int vdrv_blk_load(int argc, char **argv);
int vdrv_blk_verify(int argc, char **argv);
int vdrv_blk_crash(int argc, char **argv);
int vdrv_blk_shapes(int argc, char **argv);
int vdrv_blk_diff(int argc, char **argv);
int vdrv_net_ping(int argc, char **argv);
int vdrv_net_load(int argc, char **argv);
int vdrv_net_steer(int argc, char **argv);
int vdrv_net_coal(int argc, char **argv);
int vdrv_conformance(int argc, char **argv);
int vdrv_blk_wake(int argc, char **argv);
int vdrv_attach(int argc, char **argv);
int vdrv_blk_config(int argc, char **argv);
