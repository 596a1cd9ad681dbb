/* SPDX-License-Identifier: Apache-2.0 */
/* What controllers and namespaces say of themselves, checked. Pure; nothing they say is trusted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec.h"

#define NOF_TRANSFER_MAX (1U << 20) // of one command, whatever a controller says

/* Of an I/O or discovery controller. */
struct nof_ident {
	uint16_t cntlid;
	char sn[21], mn[41], fr[9]; // printable ASCII
	uint32_t transfer_max; // bytes
	uint32_t
		capsule_max; // bytes of data in a capsule of an I/O queue; NOF_TRANSFER_MAX at most
	uint32_t maxcmd; // 0: not said
	uint32_t cqt_ms, kas_ms;
	uint32_t oaes, ctratt;
	uint32_t anagrpmax, nanagrpid;
	uint16_t oncs;
	uint32_t acwu_blocks; // that a compare and write is atomic for
	bool compare_write; // fused
	bool volatile_cache, ana, discovery;
};

/*
 * Check an Identify Controller of a controller with this minimum page size (CAP.MPSMIN). subnqn:
 * what it was asked for. 0, or -EPROTO: no sane controller says that. Base 5.17.2.1.
 */
int nof_ident_ctrl(const struct nof_id_ctrl *id, uint32_t page_shift, const char *subnqn,
	struct nof_ident *out);

struct nof_ns_ident {
	uint64_t blocks;
	uint8_t lba_shift; // 9 or 12
	bool read_only, reads_zero, deac_zero;
	uint32_t ana_grpid; // 0: none
	uint32_t opt_io_blocks; // 0: not said
	uint32_t acwu_blocks; // 0: as the controller says
	uint8_t uuid[16], nguid[16], eui64[8];
};

/*
 * Check an Identify Namespace. 0; -ENOENT: it is not there (NSZE and NCAP 0); -ENOTSUP: a format
 * that volumes cannot have (blocks that are not 512 or 4096 bytes, metadata); -EPROTO: nonsense.
 * NVM 4.1.5.1.
 */
int nof_ident_ns(const struct nof_id_ns *id, struct nof_ns_ident *out);
/* Take the UUID and others from an identification descriptor list; stops at nonsense. */
void nof_ident_desc(const uint8_t list[NOF_IDENTIFY_LEN], struct nof_ns_ident *out);

/*
 * Walk an ANA log of len bytes: fn for each group. Returns 0, or -EPROTO: it is shorter than it
 * says, or a group or state is out of range; those before it were told. What is no known state is
 * told as inaccessible. Base 5.16.1.13.
 */
int nof_ident_ana(const void *log, size_t len, uint32_t grp_max,
	void (*fn)(void *arg, uint32_t grpid, enum nof_ana state), void *arg);
