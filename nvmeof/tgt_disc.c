// SPDX-License-Identifier: Apache-2.0
/* The discovery log, and hosts that want to hear of its changes. */
#include "tgt_disc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"

#define ASQSZ 32U

struct entry {
	enum nof_subtype subtype;
	const char *nqn, *addr, *port;
	bool v6;
	uint16_t portid;
	uint16_t eflags;
};

static void put_entry(struct tgt_out *o, const struct entry *e)
{
	struct nof_disc_entry d = {
		.trtype = NOF_TRTYPE_TCP,
		.adrfam = e->v6 ? NOF_ADRFAM_IPV6 : NOF_ADRFAM_IPV4,
		.subtype = (uint8_t)e->subtype,
		.treq = NOF_TREQ_NO_SQ_FLOW,
		.portid = dpu_le16_put(e->portid),
		.cntlid = dpu_le16_put(NOF_CNTLID_DYNAMIC),
		.asqsz = dpu_le16_put(ASQSZ),
		.eflags = dpu_le16_put(e->eflags),
	};

	tgt_text(d.trsvcid, sizeof(d.trsvcid), e->port);
	memcpy(d.subnqn, e->nqn, strlen(e->nqn));
	tgt_text(d.traddr, sizeof(d.traddr), e->addr);
	tgt_out_put(o, &d, sizeof(d));
}

static bool is_any(const char *addr)
{
	return !strcmp(addr, "0.0.0.0") || !strcmp(addr, "::");
}

/* A listener on every address is reached by the one that the host has come to. */
static void put_listener(const struct tgt_ctrl *c, struct tgt_out *o, enum nof_subtype subtype,
	const char *nqn, const struct tgt_port *p)
{
	const char *local = c->admin && c->admin->local ? c->admin->local : p->addr;
	char port[8];
	struct entry e = {
		.subtype = subtype,
		.nqn = nqn,
		.addr = is_any(p->addr) ? local : p->addr,
		.port = port,
		.portid = p->id,
		.eflags = subtype == NOF_SUB_CURRENT ? NOF_EFLAGS_EPCSD : 0,
	};

	e.v6 = strchr(e.addr, ':') != NULL;
	snprintf(port, sizeof(port), "%u", p->bound);
	put_entry(o, &e);
}

/* Put all entries; returns how many. */
static uint64_t put_entries(const struct tgt_ctrl *c, struct tgt_out *o)
{
	const struct nof_tgt *t = c->sub->t;
	const struct nof_tgt_subsys *sub;
	const struct tgt_referral *ref;
	const struct tgt_listener *l;
	uint64_t n = 1;

	put_listener(c, o, NOF_SUB_CURRENT, NOF_DISCOVERY_NQN, c->port);
	TAILQ_FOREACH (sub, &t->subs, link) {
		if (sub->discovery || !tgt_host_allowed(sub, c->hostnqn))
			continue;
		TAILQ_FOREACH (l, &sub->listeners, link) {
			put_listener(c, o, NOF_SUB_NVM, sub->nqn, l->port);
			n++;
		}
	}
	TAILQ_FOREACH (ref, &t->referrals, link) {
		put_entry(o, &(struct entry){ .subtype = NOF_SUB_REFERRAL,
				     .nqn = NOF_DISCOVERY_NQN,
				     .addr = ref->addr,
				     .port = ref->port,
				     .v6 = ref->v6 });
		n++;
	}
	return n;
}

void tgt_log_discovery(const struct tgt_ctrl *c, struct tgt_out *o)
{
	struct tgt_req nowhere = { 0 };
	struct tgt_out count = { .r = &nowhere };
	struct nof_disc_log h = { .genctr = dpu_le64_put(c->sub->t->genctr) };

	h.numrec = dpu_le64_put(put_entries(c, &count));
	tgt_out_put(o, &h, sizeof(h));
	put_entries(c, o);
}

void tgt_discovery_changed(struct nof_tgt *t)
{
	struct tgt_ctrl *c;

	t->genctr++;
	TAILQ_FOREACH (c, &t->discovery->ctrls, link)
		if (!c->gone)
			tgt_ctrl_event(c, TGT_EV_DISCOVERY, 0);
}

/* ---- referrals ---- */

static struct tgt_referral *find(struct nof_tgt *t, const struct nof_tgt_addr *at)
{
	struct tgt_referral *ref;

	TAILQ_FOREACH (ref, &t->referrals, link)
		if (!strcmp(ref->addr, at->addr) && !strcmp(ref->port, at->port))
			return ref;
	return NULL;
}

int nof_tgt_referral_add(struct nof_tgt *t, const struct nof_tgt_addr *at)
{
	struct tgt_referral *ref;
	bool v6;
	int ret = tgt_addr_check(at, &v6);

	if (ret)
		return ret;
	if (find(t, at))
		return -EEXIST;
	if (t->n_referrals >= TGT_REFERRALS_MAX)
		return -ENOSPC;
	ref = dpu_calloc(1, sizeof(*ref));
	if (!ref)
		return -ENOMEM;
	memcpy(ref->addr, at->addr, strlen(at->addr));
	memcpy(ref->port, at->port, strlen(at->port));
	ref->v6 = v6;
	TAILQ_INSERT_TAIL(&t->referrals, ref, link);
	t->n_referrals++;
	tgt_discovery_changed(t);
	return 0;
}

int nof_tgt_referral_del(struct nof_tgt *t, const struct nof_tgt_addr *at)
{
	struct tgt_referral *ref = at->addr && at->port ? find(t, at) : NULL;

	if (!ref)
		return -ENOENT;
	TAILQ_REMOVE(&t->referrals, ref, link);
	t->n_referrals--;
	free(ref);
	tgt_discovery_changed(t);
	return 0;
}
