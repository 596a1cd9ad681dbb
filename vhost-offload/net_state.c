// SPDX-License-Identifier: Apache-2.0
/*
 * The state of a NIC that came over its control queue. A front-end that keeps that queue to itself
 * (QEMU) repeats what it set; where we serve it nobody else knows.
 *
 * A state is loaded before the front-end has negotiated features and set up the rings, so it waits
 * until the control queue comes up.
 */
#include "net_state.h"

#include <errno.h>
#include <string.h>

#include "net_priv.h"
#include "state.h"

/* Tags. All integers little-endian. */
enum {
	PART_CONTROL = 1, // MAC (6), flags (2), pairs (2), offloads of the driver (8)
	PART_UNICAST = 2, // addresses of 6 bytes
	PART_MULTICAST = 3, // the same
	PART_VLANS = 4, // a bit for each VLAN
	/*
	 * Types (4), words of the key (10 of 4), 1 with a table or 0 (2), its entries less 1 (2),
	 * pair of what has no hash (2), the table's entries (2 each).
	 */
	PART_HASH = 5,
	PART_COAL = 6, // packets and microseconds (4 each) of each queue
	PART_LINK = 7, // MTU (2), link up (1), RARP due (1), for which MAC (6)
};
#define CONTROL_LEN 18u
#define TABLE_LEN_MAX (6u * VHO_NET_FILTER_MACS)
#define VLANS_LEN (VHO_NET_FILTER_VLANS / 8u)
#define HASH_LEN (10u + VHO_NET_HASH_KEY)
#define COAL_EACH 8u
#define LINK_LEN 10u

/* Flags of PART_CONTROL. */
#define PROMISC 1u
#define ALLMULTI 2u
#define ALLUNI 4u
#define NOMULTI 8u
#define NOUNI 0x10u
#define NOBCAST 0x20u
#define UNI_FULL 0x40u
#define MULTI_FULL 0x80u
#define ANNOUNCE 0x100u
#define IF_PAST 0x200u // kept over a reset: for a control queue with a past only
#define FLAGS 0x3ffu

const struct vho_state_part vho_net_state_parts[VHO_STATE_PARTS] = {
	[PART_CONTROL] = { CONTROL_LEN, CONTROL_LEN },
	[PART_UNICAST] = { 6, TABLE_LEN_MAX },
	[PART_MULTICAST] = { 6, TABLE_LEN_MAX },
	[PART_VLANS] = { VLANS_LEN, VLANS_LEN },
	[PART_HASH] = { HASH_LEN, HASH_LEN + 2 * VHO_NET_RSS_TABLE },
	[PART_COAL] = { 2 * COAL_EACH, 2 * VHO_NET_PAIRS_MAX *COAL_EACH },
	[PART_LINK] = { LINK_LEN, LINK_LEN, .hand_over = true },
};

static uint16_t flags_of(const struct vho_net_ctrl_saved *s, bool if_past)
{
	const struct vho_net_filter *f = &s->filter;

	return (uint16_t)((f->promisc ? PROMISC : 0) | (f->allmulti ? ALLMULTI : 0) |
			  (f->alluni ? ALLUNI : 0) | (f->nomulti ? NOMULTI : 0) |
			  (f->nouni ? NOUNI : 0) | (f->nobcast ? NOBCAST : 0) |
			  (f->uni_full ? UNI_FULL : 0) | (f->multi_full ? MULTI_FULL : 0) |
			  (s->announce ? ANNOUNCE : 0) | (if_past ? IF_PAST : 0));
}

static void set_flags(struct vho_net_ctrl_saved *s, uint16_t flags)
{
	struct vho_net_filter *f = &s->filter;

	f->promisc = flags & PROMISC;
	f->allmulti = flags & ALLMULTI;
	f->alluni = flags & ALLUNI;
	f->nomulti = flags & NOMULTI;
	f->nouni = flags & NOUNI;
	f->nobcast = flags & NOBCAST;
	f->uni_full = flags & UNI_FULL;
	f->multi_full = flags & MULTI_FULL;
	s->announce = flags & ANNOUNCE;
}

static void save_table(
	struct vho_state_out *out, uint16_t tag, const uint8_t (*table)[6], unsigned n)
{
	uint8_t *at = n ? vho_state_put(out, tag, 6 * n) : NULL;

	if (at)
		memcpy(at, table, 6 * (size_t)n);
}

static void save_vlans(struct vho_state_out *out, const uint64_t *vlans)
{
	uint8_t *at = vho_state_put(out, PART_VLANS, VLANS_LEN);

	for (unsigned i = 0; at && i < VLANS_LEN / 8; i++) {
		const dpu_le64 word = dpu_le64_put(vlans[i]);

		memcpy(at + 8 * (size_t)i, &word, sizeof(word));
	}
}

static uint8_t *put16(uint8_t *at, uint16_t v)
{
	const dpu_le16 w = dpu_le16_put(v);

	memcpy(at, &w, sizeof(w));
	return at + sizeof(w);
}

static uint8_t *put32(uint8_t *at, uint32_t v)
{
	const dpu_le32 w = dpu_le32_put(v);

	memcpy(at, &w, sizeof(w));
	return at + sizeof(w);
}

static void save_hash(struct vho_state_out *out, const struct vho_net_hash *h)
{
	unsigned entries = h->rss ? h->mask + 1u : 0;
	uint8_t *at = vho_state_put(out, PART_HASH, HASH_LEN + 2 * entries);

	if (!at)
		return;
	at = put32(at, h->types);
	for (unsigned i = 0; i < VHO_NET_HASH_KEY / 4; i++)
		at = put32(at, h->key[i]);
	at = put16(at, h->rss);
	at = put16(at, h->mask);
	at = put16(at, h->unclassified);
	for (unsigned i = 0; i < entries; i++)
		at = put16(at, h->table[i]);
}

/* Nothing to say where nothing is held back. */
static void save_coal(struct vho_state_out *out, const uint64_t *coal, unsigned n)
{
	uint64_t any = 0;
	uint8_t *at;

	for (unsigned i = 0; i < n; i++)
		any |= coal[i];
	at = any ? vho_state_put(out, PART_COAL, n * COAL_EACH) : NULL;
	for (unsigned i = 0; at && i < n; i++) {
		const dpu_le64 word = dpu_le64_put(coal[i]);

		memcpy(at + i * (size_t)COAL_EACH, &word, sizeof(word));
	}
}

/* That of another number of pairs is none of ours. */
static bool load_coal(struct dpu_cur *in, uint64_t *coal, unsigned n)
{
	if (!in->at)
		return true;
	if (in->left != n * (size_t)COAL_EACH)
		return false;
	for (unsigned i = 0; i < n; i++)
		coal[i] = dpu_cur_le64(in);
	return true;
}

/* What the front-end and the operator have said, and neither says to the next process. */
static void save_link(struct vho_state_out *out, const struct vho_net *net)
{
	uint8_t *at = vho_state_put(out, PART_LINK, LINK_LEN);

	if (!at)
		return;
	at = put16(at, atomic_load_explicit(&net->mtu, memory_order_relaxed));
	*at++ = atomic_load_explicit(&net->link_up, memory_order_relaxed);
	*at++ = atomic_load_explicit(&net->rarp_due, memory_order_relaxed);
	memcpy(at, net->rarp_mac, sizeof(net->rarp_mac));
}

struct link {
	uint16_t mtu;
	uint8_t up, rarp_due, mac[6];
};

static bool load_link(struct dpu_cur *in, struct link *l)
{
	l->mtu = dpu_cur_le16(in);
	l->up = dpu_cur_u8(in);
	l->rarp_due = dpu_cur_u8(in);
	dpu_cur_copy(in, l->mac, sizeof(l->mac));
	return l->mtu >= VHO_NET_MTU_MIN && l->up <= 1 && l->rarp_due <= 1;
}

static void apply_link(struct vho_net *net, const struct link *l)
{
	vho_net_mtu_set(net, l->mtu);
	atomic_store_explicit(&net->link_up, l->up, memory_order_relaxed);
	memcpy(net->rarp_mac, l->mac, sizeof(net->rarp_mac));
	// Pairs with the acquire of the worker that sends it
	atomic_store_explicit(&net->rarp_due, l->rarp_due, memory_order_release);
}

void vho_net_state_save(const struct vho_dev *dev, struct vho_state_out *out)
{
	const struct vho_net *net = dev->owner;
	struct vho_net_ctrl_saved s = net->kept;
	struct {
		uint8_t mac[6];
		dpu_le16 flags, pairs;
		dpu_le64 offloads;
	} control;
	uint8_t *at;

	static_assert(sizeof(control) == CONTROL_LEN, "PART_CONTROL");
	if (out->way == VHO_STATE_HAND_OVER)
		save_link(out, net);
	if (!net->has_kept && !net->ctrl_seen)
		return;
	if (!net->has_kept)
		vho_net_ctrl_save(&net->ctrl, &s);
	memcpy(control.mac, s.filter.mac, sizeof(control.mac));
	control.flags = dpu_le16_put(flags_of(&s, net->has_kept && net->kept_if_past));
	control.pairs = dpu_le16_put(s.pairs);
	control.offloads = dpu_le64_put(s.guest_offloads);
	at = vho_state_put(out, PART_CONTROL, CONTROL_LEN);
	if (at)
		memcpy(at, &control, sizeof(control));
	save_table(out, PART_UNICAST, s.filter.uni, s.filter.n_uni);
	save_table(out, PART_MULTICAST, s.filter.multi, s.filter.n_multi);
	save_vlans(out, s.filter.vlans);
	if (s.has_hash)
		save_hash(out, &s.hash);
	save_coal(out, s.coal, 2u * net->max_pairs);
}

/* A table of whole addresses; one that was too long for us to keep has none. */
static bool load_table(struct dpu_cur *in, uint8_t (*table)[6], uint16_t *n, bool full)
{
	*n = in->at ? (uint16_t)(in->left / 6) : 0;
	if (in->left % 6 || (full && *n))
		return false;
	dpu_cur_copy(in, table, 6 * (size_t)*n);
	return true;
}

/* As a driver may configure it: types that exist, a table of 2^n entries, pairs that exist. */
static bool load_hash(struct dpu_cur *in, uint16_t max_pairs, struct vho_net_hash *h)
{
	uint16_t rss;

	h->types = dpu_cur_le32(in);
	for (unsigned i = 0; i < VHO_NET_HASH_KEY / 4; i++)
		h->key[i] = dpu_cur_le32(in);
	rss = dpu_cur_le16(in);
	h->rss = rss;
	h->mask = dpu_cur_le16(in);
	h->unclassified = dpu_cur_le16(in);
	if ((h->types & ~VHO_NET_HASH_TYPES) || rss > 1 || h->mask >= VHO_NET_RSS_TABLE ||
		(h->mask & (h->mask + 1)) || h->unclassified >= max_pairs ||
		in->left != (rss ? 2 * (h->mask + 1u) : 0))
		return false;
	for (unsigned i = 0; rss && i <= h->mask; i++) {
		h->table[i] = dpu_cur_le16(in);
		if (h->table[i] >= max_pairs)
			return false;
	}
	return true;
}

/* What the control queue set. False: a value that a driver could not have set here. */
static bool load_control(struct vho_net *net, struct dpu_cur *parts, struct vho_net_ctrl_saved *s)
{
	struct dpu_cur *control = &parts[PART_CONTROL];
	uint16_t flags;

	dpu_cur_copy(control, s->filter.mac, 6);
	flags = dpu_cur_le16(control);
	s->pairs = dpu_cur_le16(control);
	s->guest_offloads = dpu_cur_le64(control);
	if ((flags & ~FLAGS) || (s->filter.mac[0] & 1) || s->pairs > net->max_pairs ||
		(s->guest_offloads & ~net->dev.features_offered))
		return false;
	set_flags(s, flags);
	if (!load_table(&parts[PART_UNICAST], s->filter.uni, &s->filter.n_uni, flags & UNI_FULL) ||
		!load_table(&parts[PART_MULTICAST], s->filter.multi, &s->filter.n_multi,
			flags & MULTI_FULL))
		return false;
	s->has_hash = parts[PART_HASH].at != NULL;
	if (s->has_hash && !load_hash(&parts[PART_HASH], net->max_pairs, &s->hash))
		return false;
	if (!load_coal(&parts[PART_COAL], s->coal, 2u * net->max_pairs))
		return false;
	for (unsigned i = 0; parts[PART_VLANS].at && i < VLANS_LEN / 8; i++)
		s->filter.vlans[i] = dpu_cur_le64(&parts[PART_VLANS]);
	return true;
}

int vho_net_state_load(struct vho_dev *dev, struct dpu_cur *parts)
{
	struct vho_net_ctrl_saved s = { .pairs = 0 };
	struct vho_net *net = dev->owner;
	struct dpu_cur control = parts[PART_CONTROL];
	struct link l;

	if (control.at && !load_control(net, parts, &s))
		return -EINVAL;
	if (parts[PART_LINK].at && !load_link(&parts[PART_LINK], &l))
		return -EINVAL;
	if (parts[PART_LINK].at)
		apply_link(net, &l);
	net->has_kept = control.at != NULL; // else the control queue was not ours
	if (!control.at)
		return 0;
	net->kept = s;
	dpu_cur_skip(&control, 6);
	net->kept_if_past = dpu_cur_le16(&control) & IF_PAST;
	return 0;
}

void vho_net_state_keep(struct vho_dev *dev)
{
	struct vho_net *net = dev->owner;

	net->keep_over_reset = true;
	if (net->has_kept || !net->ctrl_seen)
		return; // of a device that was stopped before, or nothing yet
	vho_net_ctrl_save(&net->ctrl, &net->kept);
	net->has_kept = true;
	net->kept_if_past = true;
}

void vho_net_state_reset(struct vho_net *net)
{
	if (!net->keep_over_reset)
		net->has_kept = false;
	else
		net->kept_if_past = true;
	net->keep_over_reset = false;
}

bool vho_net_state_apply(struct vho_net *net, bool fresh)
{
	bool use = net->has_kept && !(net->kept_if_past && fresh);

	net->has_kept = false;
	if (use)
		vho_net_ctrl_restore(&net->ctrl, net->dev.features, &net->kept);
	return use;
}
