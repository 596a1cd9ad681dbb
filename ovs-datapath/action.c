// SPDX-License-Identifier: Apache-2.0
/* Action lists: validation, compilation, execution. */
#include "action.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "sw_offload.h"
#include "tx.h"
#include "upcall.h"

#define COPY_MAX 256u // bytes up to which a copy is cheaper than a clone
#define VLAN_LEN 4u

static int validate(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_action *a, unsigned n, unsigned *n_outputs)
{
	uint16_t present = dpu_be16_get(key->vlan_tci) & dpu_be16_get(mask->vlan_tci);
	unsigned tags = present & ODP_VLAN_PRESENT ? 1 : 0;

	*n_outputs = 0;
	if (n > ODP_ACTIONS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		switch (a[i].type) {
		case ODP_ACT_OUTPUT:
			if (!odp_port_by_no(dp, a[i].port))
				return -ENODEV;
			(*n_outputs)++;
			break;
		case ODP_ACT_PUSH_VLAN:
			if (a[i].vlan.tpid != 0x8100 && a[i].vlan.tpid != 0x88a8)
				return -EINVAL;
			tags++;
			break;
		case ODP_ACT_POP_VLAN:
			if (tags == 0)
				return -EINVAL;
			tags--;
			break;
		case ODP_ACT_USERSPACE:
			break;
		default:
			return -EINVAL;
		}
	}
	return 0;
}

int odp_acts_create(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_action *a, unsigned n, struct odp_acts **out)
{
	unsigned n_outputs;
	int ret = validate(dp, key, mask, a, n, &n_outputs);

	if (ret < 0)
		return ret;
	struct odp_acts *acts = dpu_calloc(1, sizeof(*acts) + n * sizeof(*a));

	if (!acts)
		return -ENOMEM;
	acts->n = n;
	acts->n_outputs = n_outputs;
	acts->kind = n == 0 ? ODP_ACTS_DROP : ODP_ACTS_LIST;
	if (n > 0)
		memcpy(acts->a, a, n * sizeof(*a));
	if (n == 1 && n_outputs == 1) {
		acts->kind = ODP_ACTS_OUTPUT;
		acts->port = a[0].port;
	}
	*out = acts;
	return 0;
}

/*
 * A packet whose first VLAN bytes can be rewritten in place; NULL: no memory, it was freed. Only
 * the first segment matters: those behind it may be shared, or lent.
 */
static struct rte_mbuf *writable_header(struct odp_worker *w, struct rte_mbuf *m)
{
	struct rte_mbuf *c;

	if (RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 && m->data_len >= 18 &&
		rte_pktmbuf_headroom(m) >= VLAN_LEN)
		return m;
	c = odp_copy(m, w->dp->conf.pool);
	rte_pktmbuf_free(m);
	return c;
}

static struct rte_mbuf *push_vlan(
	struct odp_worker *w, struct odp_pw *in, struct rte_mbuf *m, uint16_t tpid, uint16_t tci)
{
	m = writable_header(w, m);
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_prepend(m, VLAN_LEN) : NULL;

	if (!p) {
		odp_drop_one(in, ODP_DROP_NO_MBUF, m);
		return NULL;
	}
	memmove(p, p + VLAN_LEN, 12);
	dpu_be16 tag[2] = { dpu_be16_put(tpid), dpu_be16_put(tci) };
	memcpy(p + 12, tag, sizeof(tag));
	if (m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO))
		m->l2_len += VLAN_LEN;
	return m;
}

static struct rte_mbuf *pop_vlan(struct odp_worker *w, struct odp_pw *in, struct rte_mbuf *m)
{
	m = writable_header(w, m);
	if (!m) {
		dpu_counter_add(&in->drops[ODP_DROP_NO_MBUF], 1);
		return NULL;
	}
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	if (m->data_len < 18) {
		odp_drop_one(in, ODP_DROP_MALFORMED, m);
		return NULL;
	}
	memmove(p + VLAN_LEN, p, 12);
	rte_pktmbuf_adj(m, VLAN_LEN);
	if (m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO))
		m->l2_len -= VLAN_LEN;
	return m;
}

static struct rte_mbuf *duplicate(struct odp_worker *w, struct odp_pw *in, struct rte_mbuf *m)
{
	struct rte_mempool *pool = w->dp->conf.pool;
	struct rte_mbuf *c = m->pkt_len <= COPY_MAX ? odp_copy(m, pool)
						    : rte_pktmbuf_clone(m, pool);

	if (!c)
		dpu_counter_add(&in->drops[ODP_DROP_NO_MBUF], 1);
	return c;
}

/* A copy for the control thread, marked as one that has been decided on. */
static void to_userspace(struct odp_worker *w, const struct odp_from *from, struct rte_mbuf *m)
{
	struct odp_pw *in = from->in;

	if (odp_is_control(w))
		return;
	struct rte_mbuf *c = odp_copy(m, w->dp->conf.pool);

	if (!c) {
		dpu_counter_add(&in->drops[ODP_DROP_NO_MBUF], 1);
		return;
	}
	odp_upcall_put(w, from, ODP_UPCALL_COPY, &c, 1);
}

/* What of a list still counts once its last output has taken the packet. */
static void copy_rest(struct odp_worker *w, const struct odp_acts *acts, unsigned first,
	const struct odp_from *from, struct rte_mbuf *m)
{
	for (unsigned i = first; i < acts->n; i++)
		if (acts->a[i].type == ODP_ACT_USERSPACE)
			to_userspace(w, from, m);
}

/*
 * One packet through a list. w->out[i] is where output i goes, NULL to skip it; `last` is the index
 * of the last output that goes anywhere and takes the packet itself.
 */
static void run_list(struct odp_worker *w, const struct odp_acts *acts, unsigned last,
	const struct odp_from *from, struct rte_mbuf *m)
{
	struct odp_pw *in = from->in;

	for (unsigned i = 0; i < acts->n && m; i++) {
		const struct odp_action *a = &acts->a[i];

		switch (a->type) {
		case ODP_ACT_OUTPUT:
			if (!w->out[i])
				break;
			if (i == last) {
				copy_rest(w, acts, last + 1, from, m);
				odp_out(w, w->out[i], from->rxq, m);
				return;
			}
			struct rte_mbuf *c = duplicate(w, in, m);

			if (c)
				odp_out(w, w->out[i], from->rxq, c);
			break;
		case ODP_ACT_PUSH_VLAN:
			m = push_vlan(w, in, m, a->vlan.tpid, a->vlan.tci);
			break;
		case ODP_ACT_POP_VLAN:
			m = pop_vlan(w, in, m);
			break;
		case ODP_ACT_USERSPACE:
			to_userspace(w, from, m);
			break;
		}
	}
	if (m)
		odp_drop_one(in, acts->n_outputs ? ODP_DROP_PORT_GONE : ODP_DROP_FLOW_DROP, m);
}

/*
 * Where each output of a list goes. With several outputs (a flood), ports that are down get no
 * copy; a packet that goes nowhere at all is a drop. Returns the index of the last output, or
 * acts->n.
 */
static unsigned resolve(struct odp_worker *w, const struct odp_acts *acts)
{
	unsigned last = acts->n;

	for (unsigned i = 0; i < acts->n; i++) {
		if (acts->a[i].type != ODP_ACT_OUTPUT)
			continue;
		w->out[i] = odp_pw(w, acts->a[i].port);
		if (w->out[i] && !(odp_caps(w->out[i]->port) & CAPS_UP))
			w->out[i] = NULL;
		if (w->out[i])
			last = i;
	}
	return last;
}

/* Not inlined: it would cost the common way below its registers. */
static __rte_noinline void run_lists(struct odp_worker *w, const struct odp_acts *acts,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	unsigned last = resolve(w, acts);

	for (unsigned i = 0; i < n; i++)
		run_list(w, acts, last, from, pkts[i]);
}

void odp_acts_run(struct odp_worker *w, const struct odp_acts *acts, const struct odp_from *from,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	if (unlikely(acts->kind == ODP_ACTS_LIST)) {
		run_lists(w, acts, from, pkts, sums->n);
		return;
	}
	bool drop = acts->kind == ODP_ACTS_DROP;
	struct odp_pw *out = drop ? NULL : odp_pw(w, acts->port);

	if (likely(out))
		odp_out_all(w, out, from->rxq, pkts, sums);
	else
		odp_drop(from->in, drop ? ODP_DROP_FLOW_DROP : ODP_DROP_PORT_GONE, pkts, sums->n);
}
