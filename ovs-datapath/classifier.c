// SPDX-License-Identifier: Apache-2.0
/* Megaflow tuple-space search: which subtables there are, and which packets meet them in turn. */
#include "classifier.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

/* ---- lookup ---- */

unsigned odp_classifier_lookup_burst(const struct odp_view *v, const struct odp_kw *const *key,
	uint32_t todo, struct odp_flow **flow)
{
	unsigned looks = 0;

	while (todo) {
		uint32_t port = odp_kw_port(key[__builtin_ctz(todo)]), same = 0;
		const struct odp_list *l = odp_view_list(v, port);

		for (uint32_t left = todo; left; left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctz(left);

			if (odp_kw_port(key[i]) != port)
				continue;
			flow[i] = NULL;
			same |= 1u << i;
		}
		todo &= ~same;
		for (unsigned i = 0; i < l->n && same; i++) {
			looks += (unsigned)__builtin_popcount(same);
			same &= ~l->st[i]->search(l->st[i], v, key, same, flow);
		}
	}
	return looks;
}

struct odp_flow *odp_classifier_lookup(const struct odp_view *v, const struct odp_kw *k)
{
	struct odp_flow *f;

	odp_classifier_lookup_burst(v, &k, 1, &f);
	return f;
}

/* Does every flow of the subtable match on packet_type? */
static bool is_typed(const struct odp_subtable *st)
{
	const uint64_t bit = UINT64_C(1) << ODP_KEY_TYPE_WORD;
	uint32_t type[2];

	if (!(st->map & bit))
		return false;
	memcpy(type, &st->w[__builtin_popcountll(st->map & (bit - 1))], sizeof(type));
	return type[1] != 0;
}

unsigned odp_classifier_lookup_bare(
	const struct odp_view *v, const struct odp_kw *k, struct odp_flow **flow)
{
	const struct odp_list *l = odp_view_list(v, odp_kw_port(k));
	unsigned looks = 0;

	*flow = NULL;
	for (unsigned i = 0; i < l->n && !*flow; i++) {
		if (!is_typed(l->st[i]))
			continue;
		l->st[i]->search(l->st[i], v, &k, 1, flow);
		looks++;
	}
	return looks;
}

void odp_compact(
	struct odp_compact *c, const struct odp_key *key, const struct odp_key *mask, bool prior)
{
	memcpy(&c->mask, mask, sizeof(c->mask));
	c->map = odp_kw_map(&c->mask);
	c->prior = prior;
	c->n = 0;
	for (uint64_t map = c->map; map; map &= map - 1) {
		unsigned i = (unsigned)__builtin_ctzll(map);
		uint64_t w;

		memcpy(&w, (const uint8_t *)key + i * sizeof(w), sizeof(w));
		c->w[c->n++] = w & c->mask.w[i];
	}
	c->port = mask->in_port == UINT32_MAX ? key->in_port : ODP_PORT_NONE;
	if (c->port >= ODP_PORT_MAX)
		c->port = ODP_PORT_NONE;
}

/* ---- the view ---- */

static bool before(const struct odp_subtable *a, const struct odp_subtable *b)
{
	if (a->prior != b->prior)
		return a->prior;
	if (a->prior)
		return a->bits != b->bits ? a->bits > b->bits : a->serial < b->serial;
	return a->rank != b->rank ? a->rank > b->rank : a->serial < b->serial;
}

static int by_order(const void *a, const void *b)
{
	const struct odp_subtable *const *x = a, *const *y = b;

	return before(*x, *y) ? -1 : before(*y, *x);
}

/* What packets of a port meet; of ODP_PORT_NONE: what all meet. NULL: out of memory. */
static struct odp_list *list_create(const struct odp_subtables *s, uint32_t port)
{
	unsigned size = s->n_common + (port < ODP_PORT_MAX ? s->n_of_port[port] : 0);
	struct odp_list *l = dpu_calloc(1, sizeof(*l) + size * sizeof(l->st[0]));

	if (!l)
		return NULL;
	for (unsigned i = 0; i < s->top && l->n < size; i++)
		if (s->st[i] && !s->st[i]->leaving &&
			(s->st[i]->port == port || s->st[i]->port == ODP_PORT_NONE))
			l->st[l->n++] = s->st[i];
	qsort(l->st, l->n, sizeof(l->st[0]), by_order);
	return l;
}

static bool list_in_order(const struct odp_list *l)
{
	for (unsigned i = 1; i < l->n; i++)
		if (before(l->st[i], l->st[i - 1]))
			return false;
	return true;
}

/* New lists, to be shown together; what a failure leaves behind is right, but not shown yet. */
struct change {
	struct odp_list *common, *port[ODP_PORT_MAX]; // NULL: as it is
	uint32_t n_ports;
};

static void change_drop(struct change *c)
{
	if (!c)
		return;
	free(c->common);
	for (uint32_t p = 0; p < c->n_ports; p++)
		free(c->port[p]);
	free(c);
}

static int change_port(const struct odp *dp, struct change *c, uint32_t port)
{
	c->port[port] = list_create(dp->subtables, port);
	c->n_ports = RTE_MAX(c->n_ports, port + 1);
	return c->port[port] ? 0 : -ENOMEM;
}

static int change_common(const struct odp *dp, struct change *c)
{
	const struct odp_subtables *s = dp->subtables;
	int ret = 0;

	c->common = list_create(s, ODP_PORT_NONE);
	if (!c->common)
		return -ENOMEM;
	for (uint32_t p = 0; p < ODP_PORT_MAX && ret == 0; p++)
		if (s->n_of_port[p] || s->port[p])
			ret = change_port(dp, c, p);
	return ret;
}

static void list_replace(struct odp *dp, struct odp_list **at, struct odp_list *by)
{
	if (*at)
		odp_defer(dp, *at);
	*at = by;
}

static enum odp_depth depth_of(uint64_t map)
{
	if (map >> ODP_KEY_L4_WORD)
		return ODP_DEPTH_L4;
	return map >> ODP_KEY_L2_WORDS ? ODP_DEPTH_L3 : ODP_DEPTH_L2;
}

/* Show a change under these masks. Takes the lists over; -ENOMEM: nothing has happened. */
static int view_publish(struct odp *dp, struct change *c, const struct odp_kw *any)
{
	struct odp_view *old = atomic_load_explicit(&dp->view, memory_order_relaxed), *v;
	struct odp_subtables *s = dp->subtables;
	uint32_t n_ports = RTE_MAX(c->n_ports, old ? old->n_ports : 0), gen = 0;

	v = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(*v) + n_ports * sizeof(v->port[0]));
	if (!v)
		return -ENOMEM;
	if (c->common)
		list_replace(dp, &s->common, c->common);
	for (uint32_t p = 0; p < c->n_ports; p++)
		if (c->port[p])
			list_replace(dp, &s->port[p], c->port[p]);
	free(c);
	v->common = s->common;
	v->n_ports = n_ports;
	memcpy(v->port, s->port, n_ports * sizeof(v->port[0]));
	v->seed = dp->seed;
	v->chunk = dp->chunk;
	v->any = *any;
	v->map = odp_kw_map(any);
	v->n_words = (uint8_t)odp_map_words(v->map, v->word);
	v->depth = depth_of(v->map);
	if (old) {
		gen = atomic_load_explicit(&old->gen, memory_order_relaxed);
		gen += !odp_kw_eq(&old->any, any, ODP_KEY_WORDS);
	}
	atomic_store_explicit(&v->gen, gen, memory_order_relaxed);
	atomic_store_explicit(&dp->view, v, memory_order_release);
	if (old)
		odp_defer(dp, old);
	return 0;
}

/* Show the subtables of a port as they are now, of ODP_PORT_NONE everybody's, and a mask more. */
static int view_update(struct odp *dp, uint32_t port, const struct odp_kw *mask)
{
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);
	struct change *c = dpu_calloc(1, sizeof(*c));
	struct odp_kw any = v ? v->any : (struct odp_kw){ 0 };
	int ret = -ENOMEM;

	if (c)
		ret = port < ODP_PORT_MAX ? change_port(dp, c, port) : change_common(dp, c);
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		any.w[i] |= mask->w[i];
	if (ret == 0)
		ret = view_publish(dp, c, &any);
	if (ret < 0)
		change_drop(c);
	return ret;
}

/* ---- subtables ---- */

int odp_classifier_init(struct odp *dp)
{
	static const struct odp_kw nothing;

	dp->subtables = dpu_calloc(1, sizeof(*dp->subtables));
	return dp->subtables ? view_update(dp, ODP_PORT_NONE, &nothing) : -ENOMEM;
}

void odp_classifier_fini(struct odp *dp)
{
	struct odp_subtables *s = dp->subtables;

	free(atomic_load_explicit(&dp->view, memory_order_relaxed));
	if (!s)
		return;
	for (unsigned i = 0; i < s->top; i++)
		odp_subtable_destroy(s->st[i]);
	for (uint32_t p = 0; p < ODP_PORT_MAX; p++)
		free(s->port[p]);
	free(s->common);
	free(s);
}

unsigned odp_classifier_subtables(const struct odp *dp)
{
	const struct odp_subtables *s = dp->subtables;
	unsigned n = 0;

	for (unsigned i = 0; i < s->top; i++)
		n += s->st[i] && s->st[i]->n_flows > 0;
	return n;
}

static uint32_t mask_hash(const struct odp *dp, const struct odp_compact *c)
{
	uint64_t w[ODP_KEY_WORDS + 2] = { c->map, (uint64_t)c->port << 1 | c->prior };
	unsigned n = 2;

	for (uint64_t map = c->map; map; map &= map - 1)
		w[n++] = c->mask.w[__builtin_ctzll(map)];
	return odp_words_hash(&dp->seed, w, n);
}

static bool mask_is(const struct odp_subtable *st, const struct odp_compact *c)
{
	unsigned n = 0;

	if (st->prior != c->prior || st->port != c->port || st->map != c->map)
		return false;
	for (uint64_t map = st->map; map; map &= map - 1)
		if (c->mask.w[__builtin_ctzll(map)] != st->w[n++])
			return false;
	return true;
}

static struct odp_subtable *subtable_get(const struct odp *dp, const struct odp_compact *c)
{
	uint32_t hash = mask_hash(dp, c);
	struct odp_subtable *st = dp->subtables->chain[hash % SUBTABLE_CHAINS];

	while (st && (st->mask_hash != hash || !mask_is(st, c)))
		st = st->next;
	return st;
}

/*
 * Ports share what there is. Beyond the few that everybody may have, each gets up to a fourth of
 * what is still free of one half; the other half is for those few. So one port alone has plenty,
 * and many that take all they can get leave enough to whoever comes later.
 */
static bool room_for(const struct odp_subtables *s, uint32_t port)
{
	unsigned has = port < ODP_PORT_MAX ? s->n_of_port[port] : s->n_common;
	unsigned half = SUBTABLES_MAX / 2, share = s->n < half ? (half - s->n) / 4 : 0;

	if (s->n == SUBTABLES_MAX)
		return false;
	return has < RTE_MIN(SUBTABLES_PORT_MAX, RTE_MAX(SUBTABLES_EACH, share));
}

static void subtable_count(struct odp_subtables *s, const struct odp_subtable *st, int by)
{
	s->n += (unsigned)by;
	if (st->port < ODP_PORT_MAX)
		s->n_of_port[st->port] = (uint16_t)(s->n_of_port[st->port] + by);
	else
		s->n_common += (unsigned)by;
}

static uint64_t subtable_hits(const struct odp *dp, const struct odp_subtable *st)
{
	uint64_t hits = 0;

	for (unsigned w = 0; w <= dp->conf.n_workers; w++)
		hits += dpu_counter_read(&dp->worker[w]->st_hits[st->slot]);
	return hits;
}

/* Registered, and not shown to workers yet. */
static int subtable_new(struct odp *dp, const struct odp_compact *c, struct odp_subtable **out)
{
	struct odp_subtables *s = dp->subtables;
	unsigned slot = 0;

	if (!room_for(s, c->port))
		return -ENOSPC;
	while (s->st[slot])
		slot++;
	struct odp_subtable *st = odp_subtable_create(&c->mask);

	if (!st)
		return -ENOMEM;
	st->slot = (uint16_t)slot;
	st->seen_hits = subtable_hits(dp, st);
	st->prior = c->prior;
	st->port = c->port;
	st->mask_hash = mask_hash(dp, c);
	st->next = s->chain[st->mask_hash % SUBTABLE_CHAINS];
	s->chain[st->mask_hash % SUBTABLE_CHAINS] = st;
	s->st[slot] = st;
	s->top = RTE_MAX(s->top, slot + 1);
	subtable_count(s, st, 1);
	*out = st;
	return 0;
}

/* Unregister; workers may still look at it. */
static void subtable_take(struct odp_subtables *s, const struct odp_subtable *st)
{
	struct odp_subtable **at = &s->chain[st->mask_hash % SUBTABLE_CHAINS];

	while (*at != st)
		at = &(*at)->next;
	*at = st->next;
	s->st[st->slot] = NULL;
	while (s->top > 0 && !s->st[s->top - 1])
		s->top--;
	subtable_count(s, st, -1);
}

/* ---- flows ---- */

struct odp_flow *odp_classifier_find(const struct odp *dp, const struct odp_compact *c)
{
	const struct odp_subtable *st = subtable_get(dp, c);

	return st ? odp_subtable_find(st, dp, c->w) : NULL;
}

/* Memory for the key, and the key. */
static int flow_key(struct odp_flow *f, struct odp_subtable *st, const struct odp_compact *c)
{
	uint64_t *key = f->inl;

	if (c->n > FLOW_INLINE_WORDS)
		key = dpu_calloc(c->n, sizeof(*key));
	if (!key)
		return -ENOMEM;
	memcpy(key, c->w, c->n * sizeof(*key));
	f->key = key;
	f->st = st;
	return 0;
}

/* Allocate first: a flow that a worker may have seen cannot be taken back. */
int odp_classifier_add(struct odp *dp, struct odp_flow *f, const struct odp_compact *c)
{
	struct odp_subtable *st = subtable_get(dp, c);
	int ret = st ? 0 : subtable_new(dp, c, &st);

	if (ret == 0)
		ret = odp_subtable_reserve(st, dp, c->w);
	if (ret < 0)
		return ret;
	// The first flow decides how old a mask is.
	if (st->n_flows == 0 && (st->prior || !st->listed)) {
		st->serial = ++dp->subtables->serial;
		ret = view_update(dp, st->port, &c->mask);
		if (ret < 0)
			return ret;
		st->listed = true;
	}
	ret = flow_key(f, st, c);
	if (ret < 0)
		return ret;
	// It lives from here on. Release: a signature may still lead to this flow from an earlier
	// life, and whoever finds it alive looks at its subtable and its key
	atomic_fetch_add_explicit(&f->gen, 1, memory_order_release);
	odp_subtable_add(st, dp, f);
	// An operator's flow takes packets away from flows that caches know.
	if (st->prior)
		odp_classifier_decide_anew(dp);
	return 0;
}

void odp_classifier_decide_anew(struct odp *dp)
{
	struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);

	// Release: who sees the generation sees the flow, and caches nothing older under it.
	atomic_fetch_add_explicit(&v->gen, 1, memory_order_release);
}

void odp_classifier_del(struct odp *dp, struct odp_flow *f)
{
	odp_subtable_del(f->st, dp, f);
}

/* ---- upkeep ---- */

/* Mark what may go, rank what stays; true: there is something that goes. */
static bool subtables_look(struct odp *dp)
{
	const struct odp_subtables *s = dp->subtables;
	bool leaving = false;

	for (unsigned i = 0; i < s->top; i++) {
		struct odp_subtable *st = s->st[i];

		if (!st)
			continue;
		uint64_t hits = subtable_hits(dp, st);

		st->rank = hits - st->seen_hits;
		st->seen_hits = hits;
		st->leaving = st->n_flows == 0;
		leaving |= st->leaving;
		if (!st->leaving)
			odp_subtable_shrink(st, dp);
	}
	return leaving;
}

static bool list_leaving(const struct odp_list *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->st[i]->leaving)
			return true;
	return false;
}

/* The lists that change, and the masks of what stays. */
static int change_all(const struct odp *dp, struct change *c, struct odp_kw *any)
{
	const struct odp_subtables *s = dp->subtables;
	int ret = 0;

	for (unsigned i = 0; i < s->top; i++) {
		const struct odp_subtable *st = s->st[i];
		unsigned n = 0;

		for (uint64_t map = st && !st->leaving ? st->map : 0; map; map &= map - 1)
			any->w[__builtin_ctzll(map)] |= st->w[n++];
	}
	if (list_leaving(s->common))
		return change_common(dp, c);
	if (!list_in_order(s->common)) {
		c->common = list_create(s, ODP_PORT_NONE);
		ret = c->common ? 0 : -ENOMEM;
	}
	for (uint32_t p = 0; p < ODP_PORT_MAX && ret == 0; p++)
		if (s->port[p] && (list_leaving(s->port[p]) || !list_in_order(s->port[p])))
			ret = change_port(dp, c, p);
	return ret;
}

static void subtables_drop(struct odp *dp)
{
	struct odp_subtables *s = dp->subtables;

	for (unsigned i = s->top; i-- > 0;) {
		struct odp_subtable *st = s->st[i];

		if (!st || !st->leaving)
			continue;
		subtable_take(s, st);
		odp_defer(dp,
			odp_table_buckets(atomic_load_explicit(&st->table, memory_order_relaxed)));
		odp_defer(dp, st);
	}
}

void odp_classifier_tick(struct odp *dp)
{
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);
	struct change *c = dpu_calloc(1, sizeof(*c));
	struct odp_kw any = { 0 };
	bool leaving;

	if (!c)
		return; // all is right as it is
	leaving = subtables_look(dp);
	if (change_all(dp, c, &any) < 0)
		goto out;
	if (!c->common && !c->n_ports && !leaving && odp_kw_eq(&any, &v->any, ODP_KEY_WORDS))
		goto out;
	if (view_publish(dp, c, &any) < 0)
		goto out;
	subtables_drop(dp);
	return;
out:
	change_drop(c);
}
