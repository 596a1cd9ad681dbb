// SPDX-License-Identifier: Apache-2.0
/*
 * The table as bytes, for a process that takes over from another. Frames of fixed records, little
 * endian, each with its number and a sum; the last one says so.
 *
 * Masters and mappings come before what refers to them, by going through the table twice. Nothing
 * of a frame is used before all of it has been checked: what could not have been written by this
 * file (states that do not exist, keys that do not belong together) is refused, so that the
 * machines need not doubt what they find in a connection.
 */
#include "ct_priv.h"

#include <errno.h>
#include <netinet/in.h>

#define MAGIC 0x4654434fu // "OCTF"
#define VERSION 3u // written; of version 2 records end before `line`
#define VERSION_MIN 2u
#define F_LAST 1u
#define F_STILL 2u // as the stamp says

struct frame_hdr {
	dpu_le32 magic;
	dpu_le16 version, flags;
	dpu_le32 seq, n;
	dpu_le64 sum; // over the frame, with this field zero
	dpu_le64 wall_ms; // of the stamp
};
static_assert(sizeof(struct frame_hdr) == ODP_CT_FRAME_HDR, "header of a frame");

struct wire_key {
	uint8_t src[16], dst[16];
	dpu_be16 sport, dport;
	dpu_le16 zone;
	uint8_t l3, proto;
};

struct record {
	struct wire_key key[2];
	struct wire_key refers; // master or mapping; all zero: none
	dpu_le32 st;
	dpu_le16 flags; // CT_F_*
	uint8_t policy, reserved;
	dpu_le32 mark, left_ms;
	dpu_le64 label[2], packets[2], bytes[2];
	dpu_le32 proto[8];
	dpu_le32 line[2]; // with a helper: where the next line of each side begins
};
static_assert(sizeof(struct record) == ODP_CT_RECORD_BYTES, "record of a connection");

#define RECORDS ((ODP_CT_FRAME_MAX - sizeof(struct frame_hdr)) / sizeof(struct record))

/* Bytes of a record in a frame of this version. */
static size_t record_bytes(unsigned version)
{
	return version < 3 ? offsetof(struct record, line) : sizeof(struct record);
}

static unsigned frame_version(const struct frame_hdr *h)
{
	return dpu_le16_get(h->version);
}

static bool version_ok(const struct frame_hdr *h)
{
	return frame_version(h) >= VERSION_MIN && frame_version(h) <= VERSION;
}

/* As many connections as a frame may have. */
static bool n_ok(const struct frame_hdr *h)
{
	return dpu_le32_get(h->n) <=
	       (ODP_CT_FRAME_MAX - sizeof(*h)) / record_bytes(frame_version(h));
}

/* Number i behind the header; what its version does not have is zero. */
static void record_at(const uint8_t *frame, uint32_t i, struct record *out)
{
	struct frame_hdr h;

	memcpy(&h, frame, sizeof(h));
	size_t bytes = record_bytes(frame_version(&h));

	memset(out, 0, sizeof(*out));
	memcpy(out, frame + sizeof(h) + i * bytes, bytes);
}

#define FLAGS                                                                             \
	(CT_F_SNAT | CT_F_DNAT | CT_F_RELATED | CT_F_EXPECT | CT_F_ANCHOR | CT_F_MAPPED | \
		CT_F_LABEL | CT_F_HELPER)

/* Position of an export: number of the frame, pass, place in the table. */
#define AT(seq, pass, idx) ((uint64_t)(seq) << 33 | (uint64_t)(pass) << 32 | (idx))
#define PASSES 2u
#define STEP_PLACES 16384u // looked at for one frame, so that a call is short
#define AT_END UINT64_MAX

static uint64_t sum_words(uint64_t h, const uint8_t *p, size_t len)
{
	uint64_t w;

	for (; len >= 8; p += 8, len -= 8) { // frames are whole words
		memcpy(&w, p, 8);
		w = DPU_LE(64, w);
		h = odp_mix(h ^ w ^ 0x9e3779b97f4a7c15ull, 0xd6e8feb86659fd93ull);
	}
	return h;
}

/* Over a header whose sum is zero, and what follows it. Against accidents, not against forgers. */
static uint64_t frame_sum(const struct frame_hdr *h, const uint8_t *body, size_t len)
{
	uint8_t head[sizeof(*h)];

	memcpy(head, h, sizeof(head));
	return sum_words(sum_words(len, head, sizeof(head)), body, len);
}

void odp_ct_frame_seal(uint8_t *buf, size_t len)
{
	static const dpu_le64 zero;
	struct frame_hdr h;

	if (len < sizeof(h))
		return;
	memcpy(&h, buf, sizeof(h));
	h.sum = zero;
	h.sum = dpu_le64_put(frame_sum(&h, buf + sizeof(h), len - sizeof(h)));
	memcpy(buf, &h, sizeof(h));
}

/* ---- out ---- */

static void key_put(const struct odp_ct_key *k, struct wire_key *out)
{
	memcpy(out->src, k->src, 16);
	memcpy(out->dst, k->dst, 16);
	out->sport = k->sport;
	out->dport = k->dport;
	out->zone = dpu_le16_put(k->zone);
	out->l3 = k->l3;
	out->proto = k->proto;
}

static void record_put(
	const struct odp_ct *ct, const struct odp_conn *c, uint64_t now_ms, struct record *r)
{
	uint32_t flags = CT_GET(c->flags);
	int32_t left = (int32_t)(CT_GET(c->expires) - (uint32_t)now_ms);
	const struct odp_conn *m = flags & (CT_F_RELATED | CT_F_MAPPED) ? ct_linked(ct, c) : NULL;

	memset(r, 0, sizeof(*r));
	key_put(&c->key0, &r->key[0]);
	key_put(&c->key1, &r->key[1]);
	if (m)
		key_put(&m->key0, &r->refers);
	r->st = dpu_le32_put(CT_GET(c->st));
	r->flags = dpu_le16_put((uint16_t)(flags & FLAGS));
	r->policy = (uint8_t)(flags >> CT_F_POLICY_SHIFT);
	r->mark = dpu_le32_put(CT_GET(c->mark));
	r->left_ms = dpu_le32_put(left > 0 ? (uint32_t)left : 0);
	for (unsigned i = 0; i < 2; i++) {
		r->label[i] = dpu_le64_put(CT_GET(c->label[i]));
		r->packets[i] = dpu_le64_put(CT_GET(c->packets[i]));
		r->bytes[i] = dpu_le64_put(CT_GET(c->bytes[i]));
	}
	if (c->key0.proto == IPPROTO_TCP && !(flags & (CT_F_EXPECT | CT_F_ANCHOR)))
		for (unsigned i = 0; i < 2; i++) {
			r->proto[4 * i] = dpu_le32_put(CT_GET(c->tcp[i].end));
			r->proto[4 * i + 1] = dpu_le32_put(CT_GET(c->tcp[i].max_end));
			r->proto[4 * i + 2] = dpu_le32_put(CT_GET(c->tcp[i].max_win));
			r->proto[4 * i + 3] = dpu_le32_put(CT_GET(c->tcp[i].ack));
		}
	if (flags & CT_F_HELPER)
		for (unsigned i = 0; i < 2; i++)
			r->line[i] = dpu_le32_put(CT_GET(ct->line[ct_idx(ct, c)][i]));
	if (c->key0.proto == IPPROTO_SCTP)
		for (unsigned i = 0; i < 2; i++)
			r->proto[i] = dpu_le32_put(CT_GET(c->vtag[i]));
}

static bool wanted(const struct odp_conn *c, unsigned pass, uint64_t now_ms)
{
	uint32_t f = atomic_load_explicit(&c->flags, memory_order_acquire);

	return (f & CT_LIFE) == CT_LIVE && !ct_due(c, now_ms) &&
	       !(f & (CT_F_RELATED | CT_F_MAPPED)) == (pass == 0);
}

int odp_ct_export(struct odp_ct *ct, uint64_t *at, const struct odp_ct_stamp *stamp,
	uint64_t now_ms, uint8_t *buf, size_t size)
{
	uint32_t idx = (uint32_t)*at, seq = (uint32_t)(*at >> 33);
	unsigned pass = *at >> 32 & 1;
	uint32_t left = STEP_PLACES;
	size_t n = 0;

	if (size < ODP_CT_FRAME_MAX)
		return -ENOSPC;
	if (*at == AT_END)
		return 0;
	(void)odp_ct_control_begin(ct);
	for (; pass < PASSES; pass++, idx = 0) {
		for (; idx < CT_GET(ct->n_fresh) && n < RECORDS && left; idx++, left--) {
			struct record r;

			if (!wanted(&ct->conns[idx], pass, now_ms))
				continue;
			record_put(ct, &ct->conns[idx], now_ms, &r);
			if ((dpu_le32_get(r.st) & 0xff) == 0)
				continue; // removed meanwhile
			memcpy(buf + sizeof(struct frame_hdr) + n++ * sizeof(r), &r, sizeof(r));
		}
		if (n == RECORDS || !left)
			break;
	}
	odp_ct_control_end(ct);
	size_t len = sizeof(struct frame_hdr) + n * sizeof(struct record);
	struct frame_hdr h = { .magic = dpu_le32_put(MAGIC),
		.version = dpu_le16_put(VERSION),
		.flags = dpu_le16_put((pass == PASSES ? F_LAST : 0) | (stamp->still ? F_STILL : 0)),
		.wall_ms = dpu_le64_put(stamp->wall_ms),
		.seq = dpu_le32_put(seq),
		.n = dpu_le32_put((uint32_t)n) };

	memcpy(buf, &h, sizeof(h));
	odp_ct_frame_seal(buf, len);
	*at = pass == PASSES ? AT_END : AT(seq + 1, pass, idx);
	return (int)len;
}

/* ---- in ---- */

static void key_get(const struct wire_key *w, struct odp_ct_key *k)
{
	memset(k, 0, sizeof(*k));
	memcpy(k->src, w->src, 16);
	memcpy(k->dst, w->dst, 16);
	k->sport = w->sport;
	k->dport = w->dport;
	k->zone = dpu_le16_get(w->zone);
	k->l3 = w->l3;
	k->proto = w->proto;
}

static bool family_ok(const struct odp_ct_key *k)
{
	static const uint8_t zero[12];

	if ((k->l3 & 0xf) == 4)
		return !memcmp(k->src + 4, zero, 12) && !memcmp(k->dst + 4, zero, 12);
	return (k->l3 & 0xf) == 6;
}

static const char *proto_name(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return "udp";
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return "icmp";
	case IPPROTO_SCTP:
		return "sctp";
	default:
		return "other";
	}
}

static bool word_ok(uint32_t st, uint8_t proto, uint32_t flags)
{
	if (CT_ST(st) == ODP_CT_NONE || CT_ST(st) >= ODP_CT_STATE_COUNT)
		return false;
	if (flags & (CT_F_EXPECT | CT_F_ANCHOR))
		return st == ODP_CT_EXPECTED;
	if (strcmp(odp_ct_state_proto((enum odp_ct_state)CT_ST(st)), proto_name(proto)) != 0)
		return false;
	if (proto == IPPROTO_TCP)
		return odp_ct_tcp_word_ok(st);
	return (st & ~(0xffu | CT_ST_REPLIED | CT_ST_ASSURED)) == 0;
}

/* Both directions are of one connection, translated where the flags say so. */
static bool pair_ok(const struct odp_ct_key *a, const struct odp_ct_key *b, uint32_t flags)
{
	struct odp_ct_key r;

	if (a->zone != b->zone || a->l3 != b->l3 || a->proto != b->proto || !family_ok(a) ||
		!family_ok(b))
		return false;
	if (flags & CT_F_EXPECT)
		return memcmp(a, b, sizeof(*a)) == 0;
	if (flags & CT_F_ANCHOR)
		return true;
	odp_ct_key_reverse(a, &r);
	bool icmp = a->proto == IPPROTO_ICMP || a->proto == IPPROTO_ICMPV6;

	if (icmp && memcmp(&b->dport, &r.dport, 2) != 0)
		return false;
	if (icmp && !(flags & (CT_F_SNAT | CT_F_DNAT)) && memcmp(&b->sport, &r.sport, 2) != 0)
		return false;
	if (!(flags & CT_F_SNAT) &&
		(memcmp(b->dst, r.dst, 16) != 0 || memcmp(&b->dport, &r.dport, 2) != 0))
		return false;
	return flags & CT_F_DNAT ||
	       (memcmp(b->src, r.src, 16) == 0 && (icmp || memcmp(&b->sport, &r.sport, 2) == 0));
}

/* One of those that there are, for a connection that neither has a master nor is translated. */
static bool helper_ok(const struct record *r, uint32_t flags, uint8_t proto)
{
	unsigned helper = (flags & CT_F_HELPER) >> CT_F_HELPER_SHIFT;

	if (helper == 0)
		return dpu_le32_get(r->line[0]) == 0 && dpu_le32_get(r->line[1]) == 0;
	return (odp_ct_helper_fits(helper, proto) &&
		!(flags & FLAGS & ~(CT_F_HELPER | CT_F_LABEL)));
}

static bool record_ok(const struct record *r)
{
	uint32_t flags = dpu_le16_get(r->flags), kind = flags & (CT_F_EXPECT | CT_F_ANCHOR);
	uint32_t mark = kind == CT_F_EXPECT ? 0x40 : kind == CT_F_ANCHOR ? 0x80 : 0;
	struct odp_ct_key a, b;

	key_get(&r->key[0], &a);
	key_get(&r->key[1], &b);
	return r->reserved == 0 && !(flags & ~FLAGS) && kind != (CT_F_EXPECT | CT_F_ANCHOR) &&
	       (a.l3 & 0xf0u) == mark && !(kind && flags & CT_F_MAPPED) &&
	       !(flags & CT_F_RELATED && flags & CT_F_MAPPED) &&
	       (kind != CT_F_EXPECT || flags & CT_F_RELATED) && helper_ok(r, flags, a.proto) &&
	       pair_ok(&a, &b, flags) && word_ok(dpu_le32_get(r->st), a.proto, flags) &&
	       dpu_le32_get(r->left_ms) <= ODP_CT_TIMEOUT_MAX_MS;
}

static void record_get(const struct odp_ct *ct, const struct record *r, uint64_t now_ms,
	struct odp_conn *c, uint32_t *flags)
{
	struct odp_ct_key k;

	*flags = dpu_le16_get(r->flags) | (uint32_t)r->policy << CT_F_POLICY_SHIFT;
	key_get(&r->key[0], &c->key0);
	key_get(&r->key[1], &c->key1);
	CT_SET(c->st, dpu_le32_get(r->st));
	CT_SET(c->mark, dpu_le32_get(r->mark));
	CT_SET(c->expires, (uint32_t)now_ms + dpu_le32_get(r->left_ms));
	for (unsigned i = 0; i < 2; i++) {
		CT_SET(c->label[i], dpu_le64_get(r->label[i]));
		CT_SET(c->packets[i], dpu_le64_get(r->packets[i]));
		CT_SET(c->bytes[i], dpu_le64_get(r->bytes[i]));
		CT_SET(c->tcp[i].end, dpu_le32_get(r->proto[4 * i]));
		CT_SET(c->tcp[i].max_end, dpu_le32_get(r->proto[4 * i + 1]));
		CT_SET(c->tcp[i].max_win, dpu_le32_get(r->proto[4 * i + 2]));
		CT_SET(c->tcp[i].ack, dpu_le32_get(r->proto[4 * i + 3]));
	}
	if (*flags & CT_F_ANCHOR)
		CT_SET(c->refs, 0);
	else if (c->key0.proto == IPPROTO_SCTP)
		for (unsigned i = 0; i < 2; i++)
			CT_SET(c->vtag[i], dpu_le32_get(r->proto[i]));
	if (!(*flags & (CT_F_RELATED | CT_F_MAPPED)))
		return;
	key_get(&r->refers, &k);
	struct odp_conn *m = odp_ct_lookup(ct, &k);
	bool anchor = m && CT_GET(m->flags) & CT_F_ANCHOR;

	// A master that is gone leaves its connection related; a mapping that is gone is none.
	if (m && anchor == !!(*flags & CT_F_MAPPED)) {
		CT_SET(c->link, ct_idx(ct, m));
		CT_SET(c->link_life, ct_life_no(m));
	} else {
		*flags &= ~CT_F_MAPPED;
	}
}

/*
 * One checked record into the table; false: it is there already, over, there is no room, or it is
 * an expectation beyond those that there may be.
 */
static bool take(struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_import *im,
	const struct record *r, unsigned version, uint64_t now_ms)
{
	struct odp_conn *c = im->age_ms < dpu_le32_get(r->left_ms) ? odp_ct_alloc(ct, w) : NULL;
	uint32_t flags;

	if (!c)
		return false;
	record_get(ct, r, now_ms - im->age_ms, c, &flags);
	if (im->loose && c->key0.proto == IPPROTO_TCP && !(flags & (CT_F_EXPECT | CT_F_ANCHOR)))
		CT_SET(c->st, odp_ct_tcp_loosen(CT_GET(c->st)));
	if (flags & CT_F_HELPER && version < 3)
		odp_ct_helper_begin(ct, c);
	else if (flags & CT_F_HELPER)
		for (unsigned i = 0; i < 2; i++)
			CT_SET(ct->line[ct_idx(ct, c)][i], dpu_le32_get(r->line[i]));
	if (flags & CT_F_EXPECT && !odp_ct_expect_count(ct, c))
		goto err_conn;
	if (odp_ct_insert(ct, c, ODP_CT_ORIG) < 0)
		goto err_counted;
	if (!(flags & CT_F_EXPECT) && odp_ct_insert(ct, c, ODP_CT_REPLY) < 0)
		goto err_orig;
	if (flags & CT_F_ANCHOR)
		atomic_fetch_add_explicit(&ct->n_anchors, 1, memory_order_relaxed);
	else if (!(flags & CT_F_EXPECT))
		atomic_fetch_add_explicit(&ct->zones[c->key0.zone].count, 1, memory_order_relaxed);
	if (flags & CT_F_MAPPED)
		atomic_fetch_add_explicit(
			&ct->conns[CT_GET(c->link)].refs, 1, memory_order_relaxed);
	odp_ct_publish(w, c, flags);
	if (!(flags & (CT_F_EXPECT | CT_F_ANCHOR)))
		odp_ct_sample(ct, w, c);
	return true;

err_orig:
	odp_ct_withdraw(ct, c, ODP_CT_ORIG);
err_counted:
	if (flags & CT_F_EXPECT)
		odp_ct_expect_uncount(ct, c);
err_conn:
	odp_ct_unalloc(ct, w, c);
	return false;
}

/* The frame of an import that is to come next; *n: its records. */
static int frame_ok(const struct odp_ct_import *im, const uint8_t *buf, size_t len, uint32_t *n)
{
	static const dpu_le64 zero;
	struct frame_hdr h;
	struct record r;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (dpu_le32_get(h.magic) != MAGIC)
		return -EBADMSG;
	if (!version_ok(&h))
		return -EPROTONOSUPPORT;
	uint64_t sum = dpu_le64_get(h.sum);
	size_t body = len - sizeof(h);

	*n = dpu_le32_get(h.n);
	if (im->complete || dpu_le32_get(h.seq) != im->seq ||
		dpu_le16_get(h.flags) & ~(F_LAST | F_STILL) || !n_ok(&h) ||
		body != *n * record_bytes(frame_version(&h)))
		return -EBADMSG;
	h.sum = zero;
	if (frame_sum(&h, buf + sizeof(h), body) != sum)
		return -EBADMSG;
	for (uint32_t i = 0; i < *n; i++) {
		record_at(buf, i, &r);
		if (!record_ok(&r))
			return -EBADMSG;
	}
	return 0;
}

static void frame_done(struct odp_ct_import *im, const uint8_t *buf, uint64_t n)
{
	struct frame_hdr h;

	memcpy(&h, buf, sizeof(h));
	im->seq++;
	im->n += n;
	im->complete = dpu_le16_get(h.flags) & F_LAST;
	im->stamp.wall_ms = dpu_le64_get(h.wall_ms);
	im->stamp.still = dpu_le16_get(h.flags) & F_STILL;
}

int odp_ct_frame_len(const uint8_t hdr[ODP_CT_FRAME_HDR])
{
	struct frame_hdr h;

	memcpy(&h, hdr, sizeof(h));
	if (dpu_le32_get(h.magic) != MAGIC)
		return -EBADMSG;
	if (!version_ok(&h))
		return -EPROTONOSUPPORT;
	if (!n_ok(&h))
		return -EBADMSG;
	return (int)(sizeof(h) + dpu_le32_get(h.n) * record_bytes(frame_version(&h)));
}

int odp_ct_import_check(struct odp_ct_import *im, const uint8_t *buf, size_t len)
{
	uint32_t n;
	int ret = frame_ok(im, buf, len, &n);

	if (ret < 0)
		return ret;
	frame_done(im, buf, n);
	return (int)n;
}

int odp_ct_import(struct odp_ct *ct, struct odp_ct_import *im, const uint8_t *buf, size_t len,
	uint64_t now_ms)
{
	struct frame_hdr h;
	struct record r;
	uint32_t n;
	int ret = frame_ok(im, buf, len, &n), taken = 0;

	if (ret < 0)
		return ret;
	memcpy(&h, buf, sizeof(h));
	struct ct_worker *w = odp_ct_control_begin(ct);

	for (uint32_t i = 0; i < n; i++) {
		record_at(buf, i, &r);
		taken += take(ct, w, im, &r, frame_version(&h), now_ms);
	}
	dpu_counter_add(&w->n.imported, (uint64_t)taken);
	odp_ct_control_end(ct);
	frame_done(im, buf, (uint64_t)taken);
	return taken;
}
