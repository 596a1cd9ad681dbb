/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the fused path, as their maker (fused_make.c) and their user (fused.c) see them. */
#pragma once

#include "action.h"
#include "fused.h"
#include "odp_ct.h"
#include "rewrite.h"

#define FUSED_WORDS (ODP_KEY_L4_WORD + 1) // of a key: addresses, protocol, ports
#define FUSED_MAP ((1ull << FUSED_WORDS) - 1)
#define FUSED_STEPS 6u
#define FUSED_CTS 3u
#define FUSED_METERS 2u

#define FUSED_F_V6 1u
#define FUSED_F_UDP 2u
#define FUSED_F_EDITS 4u
#define FUSED_F_GROWS 8u // flows or connections see another length than what came in
#define FUSED_F_TNL 16u // `out` is a tunnel port

#define FUSED_LINE 64u // bytes of a cache line; where lines have 128, two come at once

/* Where in a tunnel: a destination (tnl_dest.h), and what its source port comes from. */
struct fused_tnl {
	uint64_t serial;
	uint32_t hash; // odp_tnl_inner_hash() of what goes in
	uint16_t slot;
	uint16_t l3; // offset of its network header
};

/* Cache lines in the order in which packets need them; the last two seldom. */
struct fused_entry {
	uint64_t key[6]; // words 0 to 4 and 8, masked by odp_fused.any
	uint64_t epoch; // odp.epoch when everything was compared last
	uint32_t view_gen;
	uint32_t out; // port; of a free entry, the next one

	uint8_t n_steps, n_cts, n_meters;
	uint8_t flags;
	uint8_t dirs; // bit i: of ct[i]
	uint8_t l3; // offset of the network header
	uint8_t l3_len;
	uint8_t n_dec; // of the time to live, which has to be more
	uint32_t flow[FUSED_STEPS]; // numbers of the flows that were hit
	struct odp_ct_ref ct[FUSED_CTS];
	struct odp_rewrite rw;
	struct fused_tnl tnl;

	uint64_t more[3]; // words 5 to 7, of IPv6
	uint64_t serial[FUSED_STEPS]; // of the flows' action lists
	uint32_t gen[FUSED_STEPS]; // of the flows
	uint32_t meter[FUSED_METERS];
	uint8_t meter_step[FUSED_METERS]; // of the flow that has it
	int8_t step_grows[FUSED_STEPS], ct_grows[FUSED_CTS]; // bytes more than what came in
} __rte_cache_aligned;
static_assert(offsetof(struct fused_entry, n_steps) == FUSED_LINE, "the key is a line");
static_assert(offsetof(struct fused_entry, ct) + 2 * sizeof(struct odp_ct_ref) == 2 * FUSED_LINE,
	"two connections are in the second line");

/*
 * What packets came through: a tunnel port with the tunnel's fields, as far as flows look at them.
 * Its id stands in a key where others have port and recirculation. No id comes twice, so entries of
 * one that had to go are found by nobody.
 */
#define FUSED_OUTER_WORDS (1 + ODP_KEY_WORDS - ODP_KEY_TNL_WORD)
struct fused_outer {
	uint64_t id; // 0: none
	uint32_t view_gen; // of the masks
	uint32_t hash;
	uint64_t w[FUSED_OUTER_WORDS]; // the port, and words of the tunnel that the view names
};
#define FUSED_OUTERS 1024u
#define FUSED_OUTER_WAYS 4u
#define FUSED_OUTER_ID (1ull << 63) // no port and no recirculation is that

/*
 * Packets of a port that tunnels end here for, by the last one: they have outer headers around them
 * that no entry is found by.
 */
struct fused_end {
	uint32_t in_port;
	uint8_t dst[4]; // IPv4
	uint8_t udp_port[2];
};

#define FUSED_WAYS 8u
#define FUSED_NOTES 16u // in one turn
#define FUSED_SLOW 64u
#define FUSED_NONE UINT32_MAX

struct fused_bucket {
	uint32_t hash[FUSED_WAYS]; // 0: empty
	uint32_t idx[FUSED_WAYS]; // of the entry
} __rte_cache_aligned;

struct fused_note {
	uint32_t hash; // of the masked key, for fused_vain
	uint64_t w[FUSED_WORDS]; // of the packet, not masked
	uint16_t vlan_tpid; // 0: no tag
	struct odp_key_tnl tnl; // what it came through; family 0: no tunnel
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
	/* Fixed. */
	struct fused_bucket *bucket; // owned
	struct fused_entry *entry; // in mem
	struct fused_outer *outer; // owned; FUSED_OUTERS
	void *mem; // owned
	uint32_t n_buckets, size; // size: of entries

	/* Only the worker. */
	struct odp_kw any; // what tells packets apart: addresses and ports, and what flows look at
	uint32_t view_gen; // of `any`
	const struct odp_view *v; // of this turn; NULL: none yet
	uint64_t outer_id; // of the last one
	struct fused_end end;
	unsigned n_slow; // in this turn, of what came out of tunnels and is looked up again
	uint64_t slow[FUSED_SLOW];
	uint32_t n_entries;
	uint32_t free; // first of those that were used once; FUSED_NONE
	uint32_t victim; // way that makes room next
	unsigned n_notes;
	struct fused_note note[FUSED_NOTES];
	struct fused_vain vain[FUSED_VAIN]; // by hash
	struct odp_kw kw[ODP_BURST]; // scratch; words behind layer 4 are zero

	/* Written by the worker, read by control; and the other way round. */
	_Atomic uint32_t n_used; // entries that were ever used: the first ones
	_Atomic uint32_t n_ready; // entries whose memory is there
};

/* Of FUSED_WORDS masked words. */
static inline uint32_t fused_hash(const struct odp_seed *seed, const uint64_t *w)
{
	uint64_t h = odp_mix(seed->start ^ w[0], seed->mul ^ w[1]);

	h = odp_mix(h ^ w[2], seed->mul ^ w[3]);
	h = odp_mix(h ^ w[4], seed->mul ^ w[ODP_KEY_L4_WORD]);
	if (unlikely((w[5] | w[6] | w[7]) != 0)) {
		h = odp_mix(h ^ w[5], seed->mul ^ w[6]);
		h = odp_mix(h ^ w[7], seed->mul);
	}
	h = odp_mix(h, seed->mul);
	return (uint32_t)h ? (uint32_t)h : 1;
}

static inline bool fused_same(const struct fused_entry *e, const uint64_t *w)
{
	uint64_t diff = e->key[5] ^ w[ODP_KEY_L4_WORD];

	for (unsigned i = 0; i < 5; i++)
		diff |= e->key[i] ^ w[i];
	for (unsigned i = 0; unlikely(e->flags & FUSED_F_V6) && i < 3; i++)
		diff |= e->more[i] ^ w[5 + i];
	return diff == 0;
}

/* The first entry of that hash, nearly always the one. */
static inline struct fused_entry *odp_fused_guess(const struct odp_fused *t, uint32_t hash)
{
	const struct fused_bucket *b = &t->bucket[hash & (t->n_buckets - 1)];

	for (unsigned i = 0; i < FUSED_WAYS; i++)
		if (b->hash[i] == hash && hash)
			return &t->entry[b->idx[i]];
	return NULL;
}

/*
 * The id of what a packet came through, under the view that odp_fused_view() saw last; 0: it has
 * none, and gets none unless `make`. in_port: the tunnel's.
 */
uint64_t odp_fused_outer(struct odp_fused *t, const struct odp_view *v, uint32_t in_port,
	const struct odp_key_tnl *tnl, bool make);
/* Make keys as this view wants them. */
void odp_fused_view(struct odp_fused *t, const struct odp_view *v);
/* The entry of a masked key; NULL: none. */
struct fused_entry *odp_fused_find(struct odp_fused *t, const uint64_t *w, uint32_t hash);
/* Keep an entry, whose key has none. Another one may have to go. */
void odp_fused_put(struct odp_fused *t, const struct fused_entry *e, uint32_t hash);
void odp_fused_kill(struct odp_fused *t, const struct fused_entry *e, uint32_t hash);
