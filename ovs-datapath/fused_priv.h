/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the fused path, as their maker (fused_make.c) and their user (fused.c) see them. */
#pragma once

#include "action.h"
#include "fused.h"
#include "odp_ct.h"

#define FUSED_WORDS (ODP_KEY_L4_WORD + 1) // of a key: addresses, protocol, ports
#define FUSED_MAP ((1ull << FUSED_WORDS) - 1)
#define FUSED_STEPS 6u
#define FUSED_CTS 3u
#define FUSED_OPS 8u
#define FUSED_NATS 2u

/* One lookup of the way: the flow that was hit. */
struct fused_step {
	struct odp_flow *flow; // lives as long as the datapath; `gen` tells whether it is the same
	uint64_t serial; // of its action list
	uint32_t gen;
};

struct fused_ct {
	struct odp_ct_ref ref;
	uint8_t dir;
};

/* Actions of a flow's list are not copied: they are there while the list is. */
struct fused_op {
	const struct odp_act *act; // NULL: translation
	unsigned nat; // which
};

struct fused_entry {
	uint64_t key[FUSED_WORDS]; // masked by odp_fused.any
	uint64_t epoch; // odp.epoch when everything was compared last
	uint32_t view_gen;
	uint32_t out; // port
	uint8_t n_steps, n_cts, n_ops, n_nats;
	uint8_t n_dec_ttl;
	uint8_t proto;
	bool v6;
	struct fused_step step[FUSED_STEPS];
	struct fused_ct ct[FUSED_CTS];
	struct fused_op op[FUSED_OPS];
	struct odp_ct_nat nat[FUSED_NATS];
} __rte_cache_aligned;

#define FUSED_BUCKETS 32768u
#define FUSED_WAYS 8u
#define FUSED_NOTES 8u // in one turn

/* Hashes of the entries at bucket * FUSED_WAYS and behind; 0: none. */
struct fused_bucket {
	uint32_t hash[FUSED_WAYS];
};

struct fused_note {
	uint32_t hash; // of the masked key
	uint64_t w[FUSED_WORDS]; // of the packet, not masked
};

/* A key for which no entry could be made: it is tried again, but less and less often. */
struct fused_vain {
	uint32_t hash;
	uint16_t left; // notes to ignore
	uint16_t times; // tried in vain
};
#define FUSED_VAIN 4096u
#define FUSED_VAIN_MAX 10u // it is tried once in 2^that at least

struct odp_fused {
	struct fused_bucket *bucket; // owned
	struct fused_entry *entry; // in mem
	void *mem; // owned; pages that nobody wrote to are not there
	struct odp_kw any; // what tells packets apart: addresses and ports, and what flows look at
	uint32_t view_gen; // of `any`
	unsigned n_entries;
	uint32_t victim; // way that makes room next
	unsigned n_notes;
	struct fused_note note[FUSED_NOTES];
	struct fused_vain vain[FUSED_VAIN]; // by hash
	struct odp_kw kw[ODP_BURST];
};

static inline uint32_t fused_hash(const struct odp_seed *seed, const uint64_t *w)
{
	uint32_t h = odp_words_hash(seed, w, FUSED_WORDS);

	return h ? h : 1;
}

/* Make keys as this view wants them. */
void odp_fused_view(struct odp_fused *t, const struct odp_view *v);
/* The entry of a masked key; NULL: none. */
struct fused_entry *odp_fused_find(struct odp_fused *t, const uint64_t *w, uint32_t hash);
/* Keep an entry, whose key has none. Another one may have to go. */
void odp_fused_put(struct odp_fused *t, const struct fused_entry *e, uint32_t hash);
void odp_fused_kill(struct odp_fused *t, const struct fused_entry *e);
