// SPDX-License-Identifier: Apache-2.0
/*
 * Datagrams in pieces.
 *
 * A context is in four lists: of its hash bucket, of the free ones or by age in its family, and by
 * age in its source's account. Accounts lie in ranks by the part of all memory or contexts that
 * they hold, with a bit for each rank that has any, so that whoever holds most is found without
 * looking at all of them.
 *
 * Spec: RFC 791, section 3.2; RFC 8200, section 4.5; RFC 5722, 6946, 1858, 3128, 7112.
 */
#include "frag.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "dpu_alloc.h"
#include "dpu_cur.h"
#include "dpu_stats.h"
#include "inet.h"
#include "sw_offload.h"

#define RANKS 256u
#define EXT_MAX 8u // IPv6 extension headers in front of a fragment header, and behind it
#define PAYLOAD_MAX 65535u

struct frag_key {
	uint8_t src[16], dst[16];
	uint64_t source;
	uint32_t id, zone;
	uint8_t family, proto, pad[6];
};
static_assert(sizeof(struct frag_key) == 56, "hashed as words");

struct piece {
	struct rte_mbuf *m; // owned
	uint32_t off, len;
	uint32_t at; // of its bytes in the frame
};

struct account;

struct context {
	struct frag_key key;
	uint32_t bucket;
	bool dead; // an overlap: what comes is dropped until it times out
	uint32_t end; // of the datagram's payload; 0: not known yet
	uint32_t have; // bytes
	uint32_t cost;
	uint64_t expires_ns;
	struct account *account;
	unsigned n;
	struct piece pieces[ODP_FRAG_PIECES]; // by offset
	LIST_ENTRY(context) in_bucket;
	TAILQ_ENTRY(context) by_age; // or free
	TAILQ_ENTRY(context) of_source;
};

TAILQ_HEAD(context_list, context);

struct account {
	uint64_t source;
	uint32_t bucket, cost, rank;
	unsigned contexts;
	struct context_list oldest;
	LIST_ENTRY(account) in_bucket; // or free
	LIST_ENTRY(account) in_rank;
};

LIST_HEAD(account_list, account);
LIST_HEAD(bucket_list, context);

struct odp_frags {
	struct odp_frag_conf conf;
	uint32_t mask; // of buckets
	struct context *contexts; // owned
	struct account *accounts; // owned; as many
	struct bucket_list *buckets; // owned
	struct account_list *account_buckets; // owned
	struct context_list free, age4, age6;
	struct account_list free_accounts;
	struct account_list ranks[RANKS];
	uint64_t rank_bits[RANKS / 64];
	unsigned n_contexts;
	uint32_t bytes; // of memory held

	/* Read by any thread. */
#define X(name, text) dpu_counter name;
	ODP_FRAG_COUNTERS(X)
#undef X
	_Atomic uint32_t contexts_now, bytes_now;
};

/* One fragment as its headers say it. */
struct parsed {
	struct frag_key key;
	uint32_t l3; // offset of the IP header
	uint32_t at; // ... of the payload
	uint32_t unfrag; // bytes between the IP header's length field's base and the payload
	uint32_t off, len; // of the payload in the datagram
	bool more;
	uint8_t proto; // what the payload of the first begins with
};

int odp_frag_create(const struct odp_frag_conf *conf, struct odp_frags **out)
{
	struct odp_frags *f = dpu_calloc(1, sizeof(*f));
	unsigned n = conf->contexts ? conf->contexts : 1024;
	uint32_t buckets = 16;

	if (!f)
		return -ENOMEM;
	f->conf = *conf;
	f->conf.contexts = n;
	if (!f->conf.bytes)
		f->conf.bytes = 8u << 20;
	if (!f->conf.source_percent)
		f->conf.source_percent = 25;
	if (!f->conf.timeout4_ms)
		f->conf.timeout4_ms = 15000;
	if (!f->conf.timeout6_ms)
		f->conf.timeout6_ms = 60000;
	if (f->conf.source_percent > 100) {
		free(f);
		return -EINVAL;
	}
	while (buckets < n)
		buckets *= 2;
	f->mask = buckets - 1;
	f->contexts = dpu_calloc(n, sizeof(*f->contexts));
	f->accounts = dpu_calloc(n, sizeof(*f->accounts));
	f->buckets = dpu_calloc(buckets, sizeof(*f->buckets));
	f->account_buckets = dpu_calloc(buckets, sizeof(*f->account_buckets));
	TAILQ_INIT(&f->free);
	TAILQ_INIT(&f->age4);
	TAILQ_INIT(&f->age6);
	if (!f->contexts || !f->accounts || !f->buckets || !f->account_buckets) {
		odp_frag_destroy(f);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		TAILQ_INSERT_TAIL(&f->free, &f->contexts[i], by_age);
		LIST_INSERT_HEAD(&f->free_accounts, &f->accounts[i], in_bucket);
	}
	*out = f;
	return 0;
}

void odp_frag_stats_add(const struct odp_frags *f, struct odp_frag_stats *sum)
{
#define X(name, text) sum->name += dpu_counter_read(&f->name);
	ODP_FRAG_COUNTERS(X)
#undef X
	sum->contexts += atomic_load_explicit(&f->contexts_now, memory_order_relaxed);
	sum->bytes += atomic_load_explicit(&f->bytes_now, memory_order_relaxed);
}

unsigned odp_frag_waiting(const struct odp_frags *f)
{
	return f->n_contexts;
}

static void dropped(
	const struct odp_frags *f, const struct frag_key *key, enum odp_drop why, unsigned n)
{
	if (n > 0 && f->conf.dropped)
		f->conf.dropped(f->conf.arg, key->source, key->zone, why, n);
}

/* ---- accounts ---- */

static void rank_leave(struct odp_frags *f, struct account *a)
{
	LIST_REMOVE(a, in_rank);
	if (LIST_EMPTY(&f->ranks[a->rank]))
		f->rank_bits[a->rank / 64] &= ~(1ull << a->rank % 64);
}

static void rank_enter(struct odp_frags *f, struct account *a)
{
	uint64_t bytes = (uint64_t)a->cost * (RANKS - 1) / f->conf.bytes;
	uint64_t contexts = (uint64_t)a->contexts * (RANKS - 1) / f->conf.contexts;

	a->rank = (uint32_t)RTE_MIN(RTE_MAX(bytes, contexts), RANKS - 1);
	LIST_INSERT_HEAD(&f->ranks[a->rank], a, in_rank);
	f->rank_bits[a->rank / 64] |= 1ull << a->rank % 64;
}

static struct account *holds_most(struct odp_frags *f)
{
	for (unsigned i = RANKS / 64; i > 0; i--)
		if (f->rank_bits[i - 1])
			return LIST_FIRST(
				&f->ranks[i * 64 - 1 -
					  (unsigned)__builtin_clzll(f->rank_bits[i - 1])]);
	return NULL;
}

static void charge(struct odp_frags *f, struct context *c, int64_t bytes)
{
	rank_leave(f, c->account);
	c->cost = (uint32_t)(c->cost + bytes);
	c->account->cost = (uint32_t)(c->account->cost + bytes);
	f->bytes = (uint32_t)(f->bytes + bytes);
	atomic_store_explicit(&f->bytes_now, f->bytes, memory_order_relaxed);
	rank_enter(f, c->account);
}

static struct account *account_of(struct odp_frags *f, uint64_t source)
{
	uint32_t b = odp_words_hash(&f->conf.seed, &source, 1) & f->mask;
	struct account *a;

	LIST_FOREACH (a, &f->account_buckets[b], in_bucket) {
		if (a->source == source)
			return a;
	}
	// There are as many as contexts, and whoever asks has a free one.
	a = LIST_FIRST(&f->free_accounts);
	LIST_REMOVE(a, in_bucket);
	memset(a, 0, sizeof(*a));
	a->source = source;
	a->bucket = b;
	TAILQ_INIT(&a->oldest);
	LIST_INSERT_HEAD(&f->account_buckets[b], a, in_bucket);
	rank_enter(f, a);
	return a;
}

/* ---- contexts ---- */

static uint32_t cost_of(const struct rte_mbuf *m)
{
	return m->nb_segs * (uint32_t)(sizeof(*m) + m->buf_len);
}

static void drop_pieces(struct odp_frags *f, struct context *c, enum odp_drop why)
{
	dropped(f, &c->key, why, c->n);
	for (unsigned i = 0; i < c->n; i++)
		rte_pktmbuf_free(c->pieces[i].m);
	c->n = 0;
	charge(f, c, (int64_t)sizeof(*c) - c->cost);
}

static struct context_list *age_list(struct odp_frags *f, const struct context *c)
{
	return c->key.family == 4 ? &f->age4 : &f->age6;
}

static void count_contexts(struct odp_frags *f, int more)
{
	f->n_contexts += (unsigned)more;
	atomic_store_explicit(&f->contexts_now, f->n_contexts, memory_order_relaxed);
}

/* Its pieces are no longer there. */
static void release(struct odp_frags *f, struct context *c)
{
	struct account *a = c->account;

	a->contexts--;
	charge(f, c, -(int64_t)c->cost);
	LIST_REMOVE(c, in_bucket);
	TAILQ_REMOVE(age_list(f, c), c, by_age);
	TAILQ_REMOVE(&a->oldest, c, of_source);
	TAILQ_INSERT_HEAD(&f->free, c, by_age);
	count_contexts(f, -1);
	if (a->contexts == 0) {
		rank_leave(f, a);
		LIST_REMOVE(a, in_bucket);
		LIST_INSERT_HEAD(&f->free_accounts, a, in_bucket);
	}
}

static void discard(struct odp_frags *f, struct context *c, enum odp_drop why)
{
	drop_pieces(f, c, why);
	release(f, c);
}

/* The context stays, so that what is still to come of the datagram is dropped as well. */
static void bury(struct odp_frags *f, struct context *c, enum odp_drop why)
{
	drop_pieces(f, c, why);
	c->dead = true;
}

void odp_frag_destroy(struct odp_frags *f)
{
	if (!f)
		return;
	if (f->contexts)
		for (unsigned i = 0; i < f->conf.contexts; i++)
			for (unsigned k = 0; k < f->contexts[i].n; k++)
				rte_pktmbuf_free(f->contexts[i].pieces[k].m);
	free(f->contexts);
	free(f->accounts);
	free(f->buckets);
	free(f->account_buckets);
	free(f);
}

static void expire_list(struct odp_frags *f, struct context_list *l, uint64_t now_ns, unsigned *max)
{
	struct context *c;

	while (*max > 0 && (c = TAILQ_FIRST(l)) && c->expires_ns <= now_ns) {
		dpu_counter_add(&f->timeouts, !c->dead);
		discard(f, c, ODP_DROP_FRAG_TIMEOUT);
		--*max;
	}
}

void odp_frag_expire(struct odp_frags *f, uint64_t now_ns, unsigned max)
{
	expire_list(f, &f->age4, now_ns, &max);
	expire_list(f, &f->age6, now_ns, &max);
}

static void forget_list(struct odp_frags *f, struct context_list *l, uint32_t port)
{
	struct context *c = TAILQ_FIRST(l);

	while (c) {
		struct context *next = TAILQ_NEXT(c, by_age);

		if (c->key.source >> 32 == port)
			discard(f, c, ODP_DROP_FRAG_TIMEOUT);
		c = next;
	}
}

void odp_frag_forget(struct odp_frags *f, uint32_t port)
{
	forget_list(f, &f->age4, port);
	forget_list(f, &f->age6, port);
}

/* The oldest of an account that is not `keep`; false: it has none. */
static bool evict(struct odp_frags *f, struct account *a, const struct context *keep)
{
	struct context *c = a ? TAILQ_FIRST(&a->oldest) : NULL;

	if (c && c == keep)
		c = TAILQ_NEXT(c, of_source);
	if (!c)
		return false;
	dpu_counter_add(&f->evicted, 1);
	discard(f, c, ODP_DROP_FRAG_LIMIT);
	return true;
}

static uint32_t share(const struct odp_frags *f, uint32_t of)
{
	return (uint32_t)((uint64_t)of * f->conf.source_percent / 100);
}

/* Room for `bytes` more in c. False: not without dropping c itself. */
static bool make_room(struct odp_frags *f, struct context *c, uint32_t bytes)
{
	while (c->account->cost + bytes > share(f, f->conf.bytes))
		if (!evict(f, c->account, c))
			return false;
	while (f->bytes + bytes > f->conf.bytes) {
		struct account *most = holds_most(f);

		if (!evict(f, most, c))
			return false;
	}
	return true;
}

/* A context of a source's own, at whose expense it may be. */
static struct context *take(
	struct odp_frags *f, const struct frag_key *key, uint32_t bucket, uint64_t now_ns)
{
	struct account *a = NULL, *it;
	uint32_t b = odp_words_hash(&f->conf.seed, &key->source, 1) & f->mask;
	unsigned limit = RTE_MAX(1u, share(f, f->conf.contexts));
	struct context *c;

	LIST_FOREACH (it, &f->account_buckets[b], in_bucket) {
		if (it->source == key->source)
			a = it;
	}
	if (a && a->contexts >= limit)
		(void)evict(f, a, NULL);
	else if (TAILQ_EMPTY(&f->free))
		(void)evict(f, holds_most(f), NULL);
	c = TAILQ_FIRST(&f->free);
	TAILQ_REMOVE(&f->free, c, by_age);
	a = account_of(f, key->source);
	c->key = *key;
	c->bucket = bucket;
	c->dead = false;
	c->end = c->have = c->cost = 0;
	c->n = 0;
	c->account = a;
	c->expires_ns = now_ns +
			1000000ull * (key->family == 4 ? f->conf.timeout4_ms : f->conf.timeout6_ms);
	a->contexts++;
	count_contexts(f, 1);
	TAILQ_INSERT_TAIL(&a->oldest, c, of_source);
	TAILQ_INSERT_TAIL(age_list(f, c), c, by_age);
	LIST_INSERT_HEAD(&f->buckets[bucket], c, in_bucket);
	charge(f, c, sizeof(*c));
	return c;
}

static struct context *find_or_take(
	struct odp_frags *f, const struct frag_key *key, uint64_t now_ns)
{
	uint64_t w[sizeof(*key) / 8];
	struct context *c;
	uint32_t bucket;

	memcpy(w, key, sizeof(w));
	bucket = odp_words_hash(&f->conf.seed, w, sizeof(w) / sizeof(w[0])) & f->mask;
	LIST_FOREACH (c, &f->buckets[bucket], in_bucket) {
		if (memcmp(&c->key, key, sizeof(*key)) == 0)
			return c;
	}
	return take(f, key, bucket, now_ns);
}

/* ---- what a packet says ---- */

static int parse_ipv4(const uint8_t *ip, size_t n, size_t left, struct parsed *p)
{
	uint32_t ihl, total, frag;

	if (n < ODP_IPV4_LEN || ip[0] >> 4 != 4)
		return ODP_FRAG_PASS;
	frag = odp_get16(ip + 6);
	if ((frag & 0x3fff) == 0)
		return ODP_FRAG_PASS;
	ihl = (uint32_t)(ip[0] & 15) * 4;
	total = odp_get16(ip + 2);
	if (ihl < ODP_IPV4_LEN || ihl > n || total < ihl || total > left)
		return -EBADMSG;
	p->key.family = 4;
	memcpy(p->key.src, ip + 12, 4);
	memcpy(p->key.dst, ip + 16, 4);
	p->key.id = odp_get16(ip + 4);
	p->key.proto = p->proto = ip[9];
	p->more = frag & 0x2000;
	p->off = (frag & 0x1fff) * 8;
	p->at = p->unfrag = ihl;
	p->len = total - ihl;
	return ODP_FRAG_HELD;
}

/* Headers that a node on the way may read, up to a fragment header; then that. */
static int parse_ipv6(const uint8_t *ip, size_t n, size_t left, struct parsed *p)
{
	struct dpu_cur in = dpu_cur_init(ip, n);
	uint32_t total;
	uint8_t next;

	dpu_cur_skip(&in, ODP_IPV6_LEN);
	if (in.bad || ip[0] >> 4 != 6)
		return ODP_FRAG_PASS;
	next = ip[6];
	for (unsigned i = 0; next != IPPROTO_FRAGMENT; i++) {
		if (i == EXT_MAX || (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
					    next != IPPROTO_DSTOPTS))
			return ODP_FRAG_PASS;
		next = dpu_cur_u8(&in);
		dpu_cur_skip(&in, dpu_cur_u8(&in) * 8u + 6);
	}
	p->proto = dpu_cur_u8(&in);
	dpu_cur_skip(&in, 1);
	uint16_t frag = dpu_cur_be16(&in);

	p->key.id = dpu_cur_be32(&in);
	if (in.bad)
		return -EBADMSG;
	if ((frag & 0xfff9) == 0)
		return ODP_FRAG_PASS; // RFC 6946
	p->key.family = 6;
	memcpy(p->key.src, ip + 8, 16);
	memcpy(p->key.dst, ip + 24, 16);
	p->more = frag & 1;
	p->off = frag & 0xfff8;
	p->at = (uint32_t)(in.at - ip);
	p->unfrag = p->at - ODP_IPV6_LEN;
	total = ODP_IPV6_LEN + odp_get16(ip + 4);
	if (total < p->at || total > left)
		return -EBADMSG;
	p->len = total - p->at;
	return ODP_FRAG_HELD;
}

/* The first fragment holds every header up to ports and flags (RFC 7112, 3128). */
static bool headers_whole(const uint8_t *l4, size_t n, uint8_t proto, bool v6)
{
	struct dpu_cur in = dpu_cur_init(l4, n);

	for (unsigned i = 0; v6 && (proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING ||
					   proto == IPPROTO_DSTOPTS);
		i++) {
		if (i == EXT_MAX)
			return false;
		proto = dpu_cur_u8(&in);
		dpu_cur_skip(&in, dpu_cur_u8(&in) * 8u + 6);
		if (in.bad)
			return false;
	}
	switch (proto) {
	case IPPROTO_TCP:
		return in.left >= 20 && in.left >= (size_t)(in.at[12] >> 4) * 4;
	case IPPROTO_SCTP:
		return in.left >= 12;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return in.left >= 8;
	case IPPROTO_FRAGMENT:
		return false; // a fragment of a fragment
	default:
		return true;
	}
}

static int parse(const struct rte_mbuf *m, struct parsed *p)
{
	uint8_t copy[ODP_FRAG_HDR];
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)sizeof(copy));
	const uint8_t *b = rte_pktmbuf_read(m, 0, n, copy);
	uint16_t type;
	size_t l3;
	int ret;

	memset(p, 0, sizeof(*p));
	if (!b || !odp_eth_l3(b, n, &l3, &type))
		return ODP_FRAG_PASS;
	if (type == ODP_ETH_IPV4)
		ret = parse_ipv4(b + l3, n - l3, m->pkt_len - l3, p);
	else if (type == ODP_ETH_IPV6)
		ret = parse_ipv6(b + l3, n - l3, m->pkt_len - l3, p);
	else
		return ODP_FRAG_PASS;
	if (ret != ODP_FRAG_HELD)
		return ret;
	p->l3 = (uint32_t)l3;
	p->at += p->l3;
	if ((m->ol_flags & (ODP_F_GSO | ODP_F_L4_CSUM)) || p->len == 0 ||
		(p->more && p->len % 8 != 0) || p->off + p->len + p->unfrag > PAYLOAD_MAX)
		return -EBADMSG;
	// One that overwrites the flags of what a tiny first fragment held back (RFC 1858).
	if (p->key.family == 4 && p->proto == IPPROTO_TCP && p->off == 8)
		return -EBADMSG;
	if (p->off == 0 &&
		!headers_whole(b + p->at, RTE_MIN(n - p->at, p->len), p->proto, p->key.family == 6))
		return -EBADMSG;
	return ODP_FRAG_HELD;
}

static bool same_bytes(const struct piece *a, const struct piece *b)
{
	uint8_t ca[256], cb[256];

	for (uint32_t off = 0; off < a->len; off += sizeof(ca)) {
		uint32_t n = RTE_MIN(a->len - off, (uint32_t)sizeof(ca));
		const uint8_t *pa = rte_pktmbuf_read(a->m, a->at + off, n, ca);
		const uint8_t *pb = rte_pktmbuf_read(b->m, b->at + off, n, cb);

		if (!pa || !pb || memcmp(pa, pb, n) != 0)
			return false;
	}
	return true;
}

/* ---- putting together ---- */

/* Where in c this piece goes; -EEXIST: it is there; -EPROTO: it cannot be. */
static int place(const struct context *c, const struct piece *p, bool more)
{
	uint32_t end = p->off + p->len;
	unsigned i = c->n;

	while (i > 0 && c->pieces[i - 1].off >= p->off)
		i--;
	if (i < c->n && c->pieces[i].off == p->off && c->pieces[i].len == p->len &&
		more == !(c->end == end) && same_bytes(&c->pieces[i], p))
		return -EEXIST;
	if ((i > 0 && c->pieces[i - 1].off + c->pieces[i - 1].len > p->off) ||
		(i < c->n && c->pieces[i].off < end))
		return -EPROTO;
	if (c->end && (more ? end >= c->end : end != c->end))
		return -EPROTO;
	if (!more && i < c->n)
		return -EPROTO; // something lies behind the last
	return (int)i;
}

/* The first fragment's headers, as they would stand on the whole. */
static int view(const struct context *c, struct odp_frag_out *out)
{
	struct rte_mbuf *m = c->pieces[0].m;
	uint32_t n = RTE_MIN(c->pieces[0].at + c->pieces[0].len, ODP_FRAG_HDR);
	const uint8_t *b = rte_pktmbuf_read(m, 0, n, out->hdr);
	struct parsed p;

	if (!b || parse(m, &p) != ODP_FRAG_HELD || p.unfrag + c->end > PAYLOAD_MAX)
		return -EBADMSG;
	if (b != out->hdr)
		memcpy(out->hdr, b, n);

	uint8_t *ip = out->hdr + p.l3;

	if (c->key.family == 4) {
		uint16_t len = odp_get16(ip + 2), frag = odp_get16(ip + 6);

		odp_put16(ip + 2, p.unfrag + c->end);
		odp_put16(ip + 6, frag & 0xc000u);
		odp_csum_adjust(ip + 10, len, odp_get16(ip + 2));
		odp_csum_adjust(ip + 10, frag, frag & 0xc000u);
	} else {
		odp_put16(ip + 4, p.unfrag + c->end);
		odp_put16(out->hdr + p.at - 6, 0); // an atomic fragment
	}
	out->hdr_len = (uint16_t)n;
	out->len = p.at + c->end;
	return 0;
}

static int finish(struct odp_frags *f, struct context *c, struct odp_frag_out *out)
{
	if (view(c, out) < 0) {
		discard(f, c, ODP_DROP_FRAG_MALFORMED);
		dpu_counter_add(&f->malformed, 1);
		return -EBADMSG;
	}
	out->n = c->n;
	for (unsigned i = 0; i < c->n; i++)
		out->frags[i] = c->pieces[i].m;
	c->n = 0;
	release(f, c);
	dpu_counter_add(&f->datagrams, 1);
	return ODP_FRAG_DONE;
}

static int add(struct odp_frags *f, struct context *c, const struct piece *p, bool more)
{
	int at = c->dead ? -EPROTO : place(c, p, more);

	if (at == -EEXIST) {
		dpu_counter_add(&f->duplicates, 1);
		return at;
	}
	if (at < 0) {
		dpu_counter_add(&f->overlaps, !c->dead);
		bury(f, c, ODP_DROP_FRAG_OVERLAP);
		return at;
	}
	if (c->n == ODP_FRAG_PIECES || !make_room(f, c, cost_of(p->m))) {
		dpu_counter_add(&f->too_many, 1);
		bury(f, c, ODP_DROP_FRAG_LIMIT);
		return -ENOBUFS;
	}
	memmove(&c->pieces[at + 1], &c->pieces[at], (c->n - (unsigned)at) * sizeof(c->pieces[0]));
	c->pieces[at] = *p;
	c->n++;
	c->have += p->len;
	if (!more)
		c->end = p->off + p->len;
	charge(f, c, cost_of(p->m));
	return ODP_FRAG_HELD;
}

static enum odp_drop reason(int err)
{
	switch (err) {
	case -EBADMSG:
		return ODP_DROP_FRAG_MALFORMED;
	case -EEXIST:
		return ODP_DROP_FRAG_DUPLICATE;
	case -ENOBUFS:
		return ODP_DROP_FRAG_LIMIT;
	default:
		return ODP_DROP_FRAG_OVERLAP;
	}
}

static int reject(struct odp_frags *f, const struct frag_key *key, struct rte_mbuf *m, int err)
{
	rte_pktmbuf_free(m);
	dropped(f, key, reason(err), 1);
	return err;
}

int odp_frag_in(struct odp_frags *f, struct rte_mbuf *m, uint64_t source, uint32_t zone,
	uint64_t now_ns, struct odp_frag_out *out)
{
	struct parsed p;
	struct context *c;
	int ret = parse(m, &p);

	if (ret == ODP_FRAG_PASS)
		return ret;
	odp_frag_expire(f, now_ns, 2);
	p.key.source = source;
	p.key.zone = zone;
	if (ret < 0) {
		dpu_counter_add(&f->malformed, 1);
		return reject(f, &p.key, m, ret);
	}
	m = odp_own(m, f->conf.pool);
	if (!m) {
		dropped(f, &p.key, ODP_DROP_NO_MBUF, 1);
		return -ENOMEM;
	}
	c = find_or_take(f, &p.key, now_ns);
	ret = add(f, c, &(struct piece){ m, p.off, p.len, p.at }, p.more);
	if (ret < 0)
		return reject(f, &p.key, m, ret);
	return c->end && c->have == c->end ? finish(f, c, out) : ODP_FRAG_HELD;
}
