/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections, the table they are in, and what the protocol machines share.
 *
 * A connection is three cache lines that are never unmapped. Its keys and most flags are written
 * before it can be found and stay; everything else is a relaxed atomic, because the two directions
 * may be seen by two workers at once. Where one value must follow from another (the state of the
 * protocol) both are in one word that changes by compare-and-swap.
 *
 * The table is an array of buckets of eight words, each word the number of a connection, a
 * direction and 32 bits of hash. A key is in one of two buckets. Readers look at both; a writer
 * claims an empty word by compare-and-swap and then looks whether somebody else claimed one for the
 * same key: then it takes back its own.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "dpu_stats.h"
#include "key.h"
#include "odp_ct.h"

/* Vector loads of what another thread writes are more than ThreadSanitizer can follow. */
#if defined(__SANITIZE_THREAD__)
#define CT_SSE2 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CT_SSE2 0
#endif
#endif
#if !defined(CT_SSE2) && defined(__SSE2__)
#define CT_SSE2 1
#include <emmintrin.h>
#elif !defined(CT_SSE2)
#define CT_SSE2 0
#endif

#define CT_LINE 64
#define CT_SLOTS 8u
#define CT_BATCH 64u // connections that change hands at once
#define CT_NONE UINT32_MAX
#define CT_TICK_MS 16u // an expiry moves by no less
#define CT_ZONES 65536u

/* Life of a connection: low bits of `flags`. */
enum { CT_FREE, CT_TENTATIVE, CT_LIVE, CT_DEAD };
#define CT_LIFE 3u
#define CT_F_SNAT 0x10u
#define CT_F_DNAT 0x20u
#define CT_F_RELATED 0x40u // `link` and `link_life` name its master
#define CT_F_EXPECT 0x80u // an expectation, not a connection
#define CT_F_ANCHOR 0x100u // an endpoint-independent mapping
#define CT_F_MAPPED 0x200u // has an anchor: `link` and `link_life` name it
#define CT_F_LABEL 0x400u // the label may be other than zero
#define CT_F_HELPER 0x3800u // number of its helper; 0: none
#define CT_F_HELPER_SHIFT 11
#define CT_F_EXPECTS_SHIFT 16 // expectations of it: eight bits
#define CT_F_POLICY_SHIFT 24
#define CT_MASTER_EXPECTS 8u // at most, of one master

/* Word of the protocol's state. */
#define CT_ST(st) ((st)&0xffu) // enum odp_ct_state
#define CT_ST_REPLIED 0x10000000u
#define CT_ST_ASSURED 0x20000000u // not removed to make room

struct ct_peer {
	_Atomic uint32_t end; // one behind the last byte it sent
	_Atomic uint32_t max_end; // what the other one lets it send up to
	_Atomic uint32_t max_win; // largest window it offered; 0: not seen yet
	_Atomic uint32_t ack; // the last it acknowledged; before that, the least it may: SYN + 1
};

struct odp_conn {
	/* Line 0 */
	struct odp_ct_key key0; // fixed while live
	_Atomic uint64_t gen; // high half: lives; low half: changes
	_Atomic uint32_t flags;
	_Atomic uint32_t st;
	_Atomic uint32_t mark;
	_Atomic uint32_t expires; // low half of the time in ms
	/* Line 1 */
	struct odp_ct_key key1;
	_Atomic uint64_t label[2];
	_Atomic uint32_t link; // master or anchor; next one while free
	_Atomic uint32_t link_life; // the master's; next batch while free
	/* Line 2 */
	_Atomic uint64_t packets[2], bytes[2];
	union {
		struct ct_peer tcp[2];
		_Atomic uint32_t vtag[2]; // SCTP: tag that packets of this direction carry
		_Atomic uint32_t refs; // anchor: connections that use it
	};
};
static_assert(sizeof(struct odp_conn) == 3 * CT_LINE, "three cache lines");

struct ct_bucket {
	_Atomic uint64_t slot[CT_SLOTS]; // hash << 32 | (number << 1 | direction) + 1; 0: empty
};
static_assert(sizeof(struct ct_bucket) == CT_LINE, "one cache line");

struct ct_zone {
	_Atomic uint32_t count;
	_Atomic uint32_t limit; // CT_ZONE_DEFAULT: the default
	_Atomic(struct ct_sample *) sample; // owned; NULL without a limit
	_Atomic uint8_t policy;
};
#define CT_ZONE_DEFAULT UINT32_MAX

/* Half-open connections of a zone that has a limit, or of all others: which one to give up. */
struct ct_sample {
	struct ct_sample *older; // owned: smaller, and workers may still be looking at it
	uint32_t mask;
	struct {
		_Atomic uint32_t idx;
		_Atomic uint32_t life;
	} at[];
};

struct ct_counters {
#define X(name, text) dpu_counter name;
	ODP_CT_COUNTERS(X)
#undef X
	dpu_counter by_state[ODP_CT_STATE_COUNT]; // differences; only the sum over workers counts
};

struct ct_worker {
	/* Only this worker. */
	uint32_t free_head, n_free;
	uint32_t limbo_head[3]; // removed in the epoch beside
	uint64_t limbo_epoch[3];
	uint64_t rng;
	uint64_t sweep_from_ms, sweep_quota;
	/* Written by it, read by all. */
	_Alignas(CT_LINE) _Atomic uint64_t seen; // epoch; CT_OFFLINE
	struct ct_counters n;
} __attribute__((aligned(CT_LINE)));
#define CT_OFFLINE UINT64_MAX

struct ct_mem {
	void *mem; // owned
	uintptr_t at; // in it: where what is used begins
	size_t size; // of that
};

struct odp_ct {
	/* Fixed. */
	struct odp_conn *conns; // in conn_mem
	struct ct_bucket *buckets; // in bucket_mem
	struct ct_mem conn_mem, bucket_mem;
	pthread_t filler; // while `fills`
	bool fills;
	struct ct_zone *zones; // owned
	_Atomic uint32_t (*line)[2]; // owned; by connection and direction: ct_helper.c
	_Atomic uint32_t (*timeout_ms)[ODP_CT_STATE_COUNT]; // owned, ODP_CT_POLICIES
	struct ct_worker *workers; // owned; the last is control's
	uint64_t mask; // of buckets
	uint32_t max, reserve;
	unsigned n_workers; // control included
	struct odp_seed seed;
	bool tcp_strict, tcp_liberal;
	uint32_t max_expects;
	/* Shared. */
	_Alignas(CT_LINE) _Atomic uint64_t epoch;
	_Alignas(CT_LINE) _Atomic uint64_t stack; // tag << 32 | number + 1 of the first batch
	_Alignas(CT_LINE) _Atomic uint32_t n_fresh; // connections below were used once
	_Atomic uint32_t n_stacked;
	_Alignas(CT_LINE) _Atomic uint32_t sweep_at;
	_Atomic uint32_t n_expects, n_anchors;
	_Atomic uint32_t default_limit;
	_Atomic uint32_t default_mask; // of places in `shared` that are one zone's
	_Atomic(struct ct_sample *) shared; // owned; of zones without a limit of their own; or NULL
	_Atomic bool fill_stop;
	_Atomic bool hurry; // control waits for epochs, and has no turns of its own
};

#define CT_GET(a) atomic_load_explicit(&(a), memory_order_relaxed)
#define CT_SET(a, v) atomic_store_explicit(&(a), (v), memory_order_relaxed)

/* ---- inline pieces ---- */

static inline uint64_t ct_hash(const struct odp_ct *ct, const struct odp_ct_key *k)
{
	uint64_t w[5], h;

	memcpy(w, k, sizeof(w));
	h = odp_mix(ct->seed.start ^ w[0], ct->seed.mul ^ w[1]);
	h = odp_mix(h ^ w[2], ct->seed.mul ^ w[3]);
	return odp_mix(h ^ w[4], ct->seed.mul);
}

static inline uint64_t ct_bucket1(const struct odp_ct *ct, uint64_t h)
{
	return h & ct->mask;
}

static inline uint64_t ct_bucket2(const struct odp_ct *ct, uint64_t h)
{
	return (h ^ ((h >> 32) * 0x9e3779b1u + 1)) & ct->mask;
}

/*
 * The words of both buckets of a hash that may be its: bit i is word i of the first, bit
 * CT_SLOTS + i of the second. What is found is loaded again by whoever needs an order.
 */
static inline unsigned ct_ways(const struct ct_bucket *b, uint64_t h)
{
#if CT_SSE2
	const __m128i *at = (const __m128i *)(const void *)b;
	const __m128i want = _mm_set1_epi32((int)(h >> 32));
	unsigned ways = 0;

	for (unsigned i = 0; i < 2; i++) {
		__m128 low = _mm_castsi128_ps(_mm_load_si128(&at[2 * i]));
		__m128 high = _mm_castsi128_ps(_mm_load_si128(&at[2 * i + 1]));
		__m128i hash = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));

		ways |= (unsigned)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(hash, want)))
			<< 4 * i;
	}
	return ways;
#else
	unsigned ways = 0;

	for (unsigned i = 0; i < CT_SLOTS; i++)
		ways |= (unsigned)(atomic_load_explicit(&b->slot[i], memory_order_seq_cst) >> 32 ==
				   h >> 32)
			<< i;
	return ways;
#endif
}

/* The two buckets of a hash, and the words in them that may be its, as above. */
struct ct_probe {
	struct ct_bucket *b[2];
	unsigned left;
};

static inline struct ct_probe ct_probe(const struct odp_ct *ct, uint64_t h)
{
	struct ct_probe p = { { &ct->buckets[ct_bucket1(ct, h)], &ct->buckets[ct_bucket2(ct, h)] },
		0 };

	p.left = ct_ways(p.b[0], h) | ct_ways(p.b[1], h) << CT_SLOTS;
	return p;
}

/* The first of the words that are left. */
static inline _Atomic uint64_t *ct_probe_slot(const struct ct_probe *p)
{
	unsigned i = (unsigned)__builtin_ctz(p->left);

	return &p->b[i / CT_SLOTS]->slot[i % CT_SLOTS];
}

static inline bool ct_key_eq(const struct odp_ct_key *a, const struct odp_ct_key *b)
{
	uint64_t x[5], y[5];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

static inline const struct odp_ct_key *ct_conn_key(const struct odp_conn *c, unsigned dir)
{
	return dir == ODP_CT_ORIG ? &c->key0 : &c->key1;
}

static inline unsigned ct_life(const struct odp_conn *c)
{
	// Acquire: pairs with the release in odp_ct_publish(), after all other members.
	return atomic_load_explicit(&c->flags, memory_order_acquire) & CT_LIFE;
}

static inline uint32_t ct_idx(const struct odp_ct *ct, const struct odp_conn *c)
{
	return (uint32_t)(c - ct->conns);
}

static inline bool ct_expired(const struct odp_conn *c, uint64_t now_ms)
{
	return (int32_t)(CT_GET(c->expires) - (uint32_t)now_ms) <= 0;
}

/* Time is over, and nothing holds it. */
static inline bool ct_due(const struct odp_conn *c, uint64_t now_ms)
{
	return ct_expired(c, now_ms) &&
	       !(CT_GET(c->flags) & CT_F_ANCHOR &&
		       atomic_load_explicit(&c->refs, memory_order_seq_cst) != 0);
}

static inline uint32_t ct_life_no(const struct odp_conn *c)
{
	return (uint32_t)(atomic_load_explicit(&c->gen, memory_order_acquire) >> 32);
}

/* What `link` names, as the flags say, while that lives; NULL. */
static inline struct odp_conn *ct_linked(const struct odp_ct *ct, const struct odp_conn *c)
{
	uint32_t idx = CT_GET(c->link);

	if (idx >= ct->max)
		return NULL;
	struct odp_conn *to = &ct->conns[idx];

	return ct_life(to) == CT_LIVE && ct_life_no(to) == CT_GET(c->link_life) ? to : NULL;
}

static inline unsigned ct_policy(const struct odp_conn *c)
{
	return CT_GET(c->flags) >> CT_F_POLICY_SHIFT;
}

/* Something changed that outputs depend on. */
static inline void ct_touch(struct odp_conn *c)
{
	atomic_fetch_add_explicit(&c->gen, 1, memory_order_release);
}

static inline void ct_refresh(
	const struct odp_ct *ct, struct odp_conn *c, unsigned state, uint64_t now_ms)
{
	uint32_t until = (uint32_t)now_ms + CT_GET(ct->timeout_ms[ct_policy(c)][state]);

	if (until - CT_GET(c->expires) + CT_TICK_MS - 1 >= 2 * CT_TICK_MS - 1)
		CT_SET(c->expires, until);
}

static inline void ct_count(struct odp_conn *c, unsigned dir, uint32_t bytes)
{
	CT_SET(c->packets[dir], CT_GET(c->packets[dir]) + 1);
	CT_SET(c->bytes[dir], CT_GET(c->bytes[dir]) + bytes);
}

static inline uint64_t ct_random(struct ct_worker *w)
{
	w->rng += 0x9e3779b97f4a7c15ull;
	return odp_mix(w->rng, w->rng ^ 0xd1b54a32d192ed03ull);
}

/* ---- protocol machines ---- */

enum ct_verdict {
	CT_OK,
	CT_INVALID,
	CT_IGNORED, // passes without effect, for the peer to answer
	CT_REOPENS, // the connection was over; this packet begins another
};

/*
 * May this packet begin a connection? Returns the first state's word, 0 for no, and fills what of
 * `c` belongs to the protocol when it is not NULL (not published yet).
 */
uint32_t odp_ct_proto_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c);
/* A packet of an existing connection. Changes the state's word and refreshes. */
enum ct_verdict odp_ct_proto_update(const struct odp_ct *ct, struct ct_worker *w,
	struct odp_conn *c, const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms);

uint32_t odp_ct_tcp_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c);
enum ct_verdict odp_ct_tcp_update(const struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms);
/* A segment that only moves windows of an established connection was taken. */
bool odp_ct_tcp_fast(struct odp_ct *ct, struct odp_conn *c, uint32_t st, const struct odp_ct_pkt *p,
	unsigned dir, uint64_t now_ms);
/* A packet of a protocol without windows that changes nothing. */
bool odp_ct_steady(uint32_t st, const struct odp_ct_pkt *p, unsigned dir);
uint32_t odp_ct_sctp_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c);
enum ct_verdict odp_ct_sctp_update(const struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms);
/* Which of the words may stand in a connection of this protocol: for what comes from outside. */
bool odp_ct_tcp_word_ok(uint32_t st);
/*
 * The word of a connection that went on after its state was written down: until a segment of each
 * side was seen its windows are learned from what comes. Handshakes stay as they are.
 */
uint32_t odp_ct_tcp_loosen(uint32_t st);
/* It is still so: windows hold nobody back. */
bool odp_ct_tcp_loose(uint32_t st);
/* Of what this side sends no byte was acknowledged but its SYN, if that. */
bool odp_ct_tcp_unspoken(uint32_t st, unsigned dir);

/*
 * Change the word of a state from `old` to `new`, count states, tell caches of a first reply.
 * False: another worker changed it meanwhile.
 */
bool odp_ct_move(struct ct_worker *w, struct odp_conn *c, uint32_t old, uint32_t new);

/* ICMP errors (ct_icmp.c). */
bool odp_ct_icmp_is_error(const struct odp_ct_key *key);
/* Tuple of the embedded packet; its layer 4 is at l4 + *l4_off. False: cut, or none. Pure. */
bool odp_ct_icmp_inner(const struct odp_ct_pkt *p, struct odp_ct_key *inner, size_t *l4_off);
/* Tuple that answers to `key` carry. */
void odp_ct_key_reverse(const struct odp_ct_key *key, struct odp_ct_key *out);

/* ---- table (ct_table.c) ---- */

/* A connection whose key in one direction is `key`, live and not expired; NULL. */
struct odp_conn *odp_ct_find(struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_key *key,
	uint64_t h, uint64_t now_ms, unsigned *dir);
/* A live connection with that key, its time over or not; NULL. */
struct odp_conn *odp_ct_lookup(const struct odp_ct *ct, const struct odp_ct_key *key);
/*
 * Put one direction in. 0, -EEXIST (another one has the key), -ENOSPC, or -EAGAIN: another one came
 * meanwhile, and readers may have seen this connection, so that its key stays as it is until all
 * workers have been quiescent.
 */
int odp_ct_insert(struct odp_ct *ct, struct odp_conn *c, unsigned dir);
/* The same where nobody is expected to have the key: then that is -EAGAIN, too. */
int odp_ct_insert_new(struct odp_ct *ct, struct odp_conn *c, unsigned dir);
/* As odp_ct_find(), but what is over stays where it is. */
struct odp_conn *odp_ct_seek(
	const struct odp_ct *ct, const struct odp_ct_key *key, uint64_t now_ms, unsigned *dir);
/*
 * Of a packet that was translated before, p->was: the connection that did it, and which way the
 * packet goes; NULL: it is gone, or the packet is no longer as it was.
 */
struct odp_conn *odp_ct_seek_was(
	const struct odp_ct *ct, const struct odp_ct_pkt *p, uint64_t now_ms, unsigned *dir);
void odp_ct_withdraw(struct odp_ct *ct, struct odp_conn *c, unsigned dir);
/* A connection to fill, CT_TENTATIVE. NULL: none left. */
struct odp_conn *odp_ct_alloc(struct odp_ct *ct, struct ct_worker *w);
/* Give back what was not published. */
void odp_ct_unalloc(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c);
void odp_ct_publish(struct ct_worker *w, struct odp_conn *c, uint32_t flags);
/* Remove. False: somebody else does. */
bool odp_ct_kill(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c);
/* Make room if there is little, in the zone or in all. 0, -EDQUOT, -ENOSPC. */
int odp_ct_admit(struct odp_ct *ct, struct ct_worker *w, uint16_t zone);
/* A half-open connection joins those that may go for its zone. */
void odp_ct_sample(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c);
void odp_ct_samples_free(struct ct_sample *s);
struct ct_worker *odp_ct_control_begin(struct odp_ct *ct);
void odp_ct_control_end(struct odp_ct *ct);

/* ---- memory (ct_mem.c): control thread ---- */

/* Zeroed memory, aligned to a line, whose pages are not there yet. 0, -ENOMEM. */
int odp_ct_mem_get(struct ct_mem *m, size_t n, size_t size, void **out);
void odp_ct_mem_put(struct ct_mem *m);
/* Have the pages of both come, at once or behind our back; and stop that. */
void odp_ct_mem_fill(struct odp_ct *ct);
void odp_ct_mem_fill_end(struct odp_ct *ct);

/* ---- the rest ---- */

/* Find an address and a port, and put both directions of `c` in. 0, -EADDRNOTAVAIL, -EAGAIN. */
int odp_ct_nat_bind(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_nat_conf *nat, uint32_t *flags, uint64_t now_ms);
/* The key of an expectation of `key`, from its source or from anybody. Pure. */
void odp_ct_expect_key(const struct odp_ct_key *key, bool any_src, struct odp_ct_key *out);
/* The expectation that a new connection answers to; NULL. */
struct odp_conn *odp_ct_expected(
	struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_key *key, uint64_t now_ms);
void odp_ct_info_read(const struct odp_ct *ct, const struct odp_conn *c, uint64_t now_ms,
	struct odp_ct_info *out);
/* May this helper have a connection of this protocol? */
bool odp_ct_helper_fits(unsigned helper, uint8_t proto);
/* A helped connection that goes on with a packet that was not helped yet: where lines begin. */
void odp_ct_helper_begin(struct odp_ct *ct, const struct odp_conn *c);
/*
 * There is one more expectation, `c`, and its master has it. False: there are too many, or it has,
 * and this one is not counted. A master that is gone has any number.
 */
bool odp_ct_expect_count(struct odp_ct *ct, const struct odp_conn *c);
void odp_ct_expect_uncount(struct odp_ct *ct, const struct odp_conn *c);
/* Output fields of a packet of `c`, state apart. */
void odp_ct_fill(const struct odp_ct *ct, struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p);
/* The state of a packet of `c` whose fields are filled. */
void odp_ct_set_state(const struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p);
/* All of an ICMP error that goes the way `dir` of the connection that it is about. */
void odp_ct_fill_error(
	const struct odp_ct *ct, struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p);
/*
 * All of a packet that was translated before, of the connection that did it. False: there is none,
 * and p->was is NULL now.
 */
bool odp_ct_fill_was(const struct odp_ct *ct, struct odp_ct_pkt *p, uint64_t now_ms);
/* All of a packet without a connection; state: with ODP_CS_TRK. */
void odp_ct_fill_none(struct odp_ct_pkt *p, unsigned state);
