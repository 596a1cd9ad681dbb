/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a volume over NVMe over Fabrics: vol_nvmf.c has its requests, on workers,
 * vol_nvmf_pair.c those of them that are compare-and-writes (ADR-0019), vol_nvmf_view.c what its
 * controllers say of it, on the control thread.
 */
#pragma once

#include <assert.h>

#include "path.h"
#include "vol_layer.h"

#define NVMF_SEGS_MAX 1100U // of one command: a block in the smallest pieces that a guest may give

struct nvmf {
	struct vol v;
	struct nof_host *host; // borrowed
	struct nof_view view;
	uint8_t want[16]; // UUID or NGUID, 0: any
	uint8_t shift; // of a block
	bool known; // a controller has told of it

	/* Written by the control thread. */
	_Atomic bool can_deac; // zeroes by deallocation
	_Atomic uint32_t compare_max; // bytes of a pair, 0: it cannot

	/* Written by workers. */
	_Atomic bool no_zeroes; // Write Zeroes came back unsupported: zeros are written
};

extern const struct vol_ops vol_nvmf_ops;

/* Of struct nof_view. */
bool vol_nvmf_accepts(struct nof_view *v, const struct nof_ctrl *c, const struct nof_ns *ns);
void vol_nvmf_changed(struct nof_view *v);

/* What became of the halves of a fused pair. */
struct nvmf_pair {
	uint16_t status[2]; // of those that were answered
	bool lost[2]; // the others
	bool unsent; // the second one never went to the connection
};

/* In vol_io.priv. */
struct nvmf_io {
	struct vol_io *next;
	struct nvmf_chan *chan;
	uint64_t pos; // bytes that are sent, or were
	uint64_t until_ns; // late: not before that
	uint64_t assoc; // late: or when this association has ended
	uint32_t iov_at, iov_skip;
	uint16_t pending; // commands in flight
	uint8_t retries, path; // path: of assoc
	bool listed; // in one of the channel's lists
	int8_t redo; // enum redo
	int16_t err;
	union {
		struct {
			struct nof_dsm_range range;
			struct iovec range_iov;
		};
		struct nvmf_pair pair;
	};
};
static_assert(sizeof(struct nvmf_io) <= VOL_IO_PRIV, "fits the request");
static_assert(offsetof(struct nvmf_io, next) == 0, "where vol_fifo has it");

/* What becomes of a request once its last command is back, if any of them failed to end well. */
enum redo { DONE, AT_ONCE, LATER, FENCED };

struct nvmf_chan {
	struct vol_chan c; // first
	struct nvmf *n;
	struct nof_group *group; // borrowed
	unsigned worker;
	struct nof_path_pick pick;
	struct vol_fifo ready, late;
	struct nof_waiter slot; // waits for one
	struct nof_qpair *slot_q; // of this pair
	struct nof_waiting path; // waits for one
	struct nof_timer timer; // of the late
	bool pumping;
};

enum nvmf_issued { NVMF_ISSUED, NVMF_NO_PATH, NVMF_NO_SLOT, NVMF_BAD };

static inline struct nvmf_io *nvmf_state(struct vol_io *io)
{
	return (struct nvmf_io *)(void *)io->priv;
}

static inline void nvmf_set_range(
	struct nof_slot *slot, uint64_t lba, uint32_t blocks, uint32_t flags)
{
	slot->sqe.cdw10 = dpu_le32_put((uint32_t)lba);
	slot->sqe.cdw11 = dpu_le32_put((uint32_t)(lba >> 32));
	slot->sqe.cdw12 = dpu_le32_put((blocks - 1) | flags);
}

/* ---- vol_nvmf.c ---- */

/* It is to be done again: `r`, not before at_ns. What asks for more wins. */
void nvmf_redo(struct nvmf_io *s, enum redo r, uint64_t at_ns);
/* A connection is gone, and with it an answer. */
void nvmf_lost(struct vol_io *io, const struct nof_io *nio, unsigned path, uint64_t assoc);
/* A command failed: it is to be done again, or the request has an error. */
void nvmf_failed(
	struct nvmf_chan *nc, struct vol_io *io, uint8_t opc, uint16_t status, unsigned path);
/* A command came back, and what becomes of it is set. */
void nvmf_answered(struct nvmf_chan *nc, struct vol_io *io);
/* Wait for a slot of this pair of queues, or for two. */
enum nvmf_issued nvmf_wait_slot(struct nvmf_chan *nc, struct nof_qpair *q, bool two);

/* ---- vol_nvmf_pair.c ---- */

/* Send one that has nothing out, by this path. NVMF_BAD: its err is set. */
enum nvmf_issued nvmf_pair_issue(
	struct nvmf_chan *nc, struct vol_io *io, struct nof_io *nio, unsigned path);
/* Bytes of one that the namespace takes on this controller, 0: it cannot. */
uint32_t nvmf_pair_max(const struct nof_ctrl *c, const struct nof_ns *ns);
