// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes over NVMe over Fabrics, on the control thread: what their controllers say of them, and
 * how their paths are used.
 */
#include "vol_nvmf.h"

#include <errno.h>
#include <string.h>

#include "dpu_log.h"
#include "dpu_wire.h"

bool vol_nvmf_accepts(struct nof_view *view, const struct nof_ctrl *c, const struct nof_ns *ns)
{
	struct nvmf *n = (struct nvmf *)((char *)view - offsetof(struct nvmf, view));
	bool same = dpu_is_zero(n->want, 16) || !memcmp(n->want, ns->id.uuid, 16) ||
		    !memcmp(n->want, ns->id.nguid, 16);

	if (same && ns->id.lba_shift == n->shift) {
		if (dpu_is_zero(n->want, 16)) // from here on it is this one
			memcpy(n->want, !dpu_is_zero(ns->id.uuid, 16) ? ns->id.uuid : ns->id.nguid,
				16);
		return true;
	}
	dpu_warn_ratelimited("nvme: another namespace", "volume=%s ctrl=%s nsid=%u", n->v.name,
		c->conf.name, ns->nsid);
	return false;
}

/* What is safe on every path that there is: a request may take any of them. */
struct on_all {
	unsigned n; // paths
	uint64_t size; // the smallest
	uint32_t opt_io_size; // the smallest that is said; 0: none is
	uint32_t compare_max; // the smallest
	bool read_only, volatile_cache; // of any
	bool can_discard, can_zero, can_deac; // of all
};

static void one_more(struct on_all *a, const struct nof_ctrl *c, const struct nof_ns *ns)
{
	uint64_t size = ns->id.blocks << ns->id.lba_shift;
	uint32_t opt = ns->id.opt_io_blocks << ns->id.lba_shift, pair = nvmf_pair_max(c, ns);

	if (a->n++ == 0) {
		a->size = size;
		a->compare_max = pair;
		a->can_discard = a->can_zero = a->can_deac = true;
	}
	if (size < a->size)
		a->size = size;
	if (opt && (!a->opt_io_size || opt < a->opt_io_size))
		a->opt_io_size = opt;
	if (pair < a->compare_max)
		a->compare_max = pair;
	a->read_only |= ns->id.read_only;
	a->volatile_cache |= c->id.volatile_cache;
	a->can_discard &= (c->id.oncs & NOF_ONCS_DSM) != 0;
	a->can_zero &= (c->id.oncs & NOF_ONCS_WRITE_ZEROES) != 0;
	a->can_deac &= ns->id.deac_zero;
}

/* True: the volume is another than it was, but for its size. */
static bool take_features(struct nvmf *n, const struct on_all *a)
{
	struct vol *v = &n->v;
	// Once there was a cache there may be something in it: a flush not needed harms nobody.
	bool cache = a->volatile_cache || (n->known && v->volatile_cache);
	bool changed = v->can_discard != a->can_discard || v->can_zero != a->can_zero ||
		       v->volatile_cache != cache || v->read_only != a->read_only ||
		       v->opt_io_size != a->opt_io_size;

	atomic_store_explicit(&n->can_deac, a->can_deac, memory_order_relaxed);
	atomic_store_explicit(&n->compare_max, a->compare_max, memory_order_relaxed);
	n->known = true;
	if (!changed)
		return false;
	v->can_discard = a->can_discard;
	v->can_zero = a->can_zero;
	v->volatile_cache = cache;
	v->read_only = a->read_only;
	v->opt_io_size = a->opt_io_size;
	return true;
}

void vol_nvmf_changed(struct nof_view *view)
{
	struct nvmf *n = (struct nvmf *)((char *)view - offsetof(struct nvmf, view));
	uint64_t old = atomic_load_explicit(&n->v.size, memory_order_relaxed);
	struct on_all all = { 0 };
	bool changed;

	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		const struct nof_ns *ns = nof_view_ns(view, i);

		if (ns)
			one_more(&all, view->subsys->ctrl[i], ns);
	}
	if (all.n == 0)
		return; // as it was
	changed = take_features(n, &all);
	if (all.size != old)
		atomic_store_explicit(&n->v.size, all.size, memory_order_release);
	if (!n->v.watch || (all.size == old && !changed))
		return;
	dpu_info("nvme: volume changed", "name=%s bytes=%llu read_only=%d cache=%d", n->v.name,
		(unsigned long long)all.size, n->v.read_only, n->v.volatile_cache);
	n->v.watch(n->v.watch_arg);
}

/* ---- how its paths are used; on the control thread ---- */

static struct nof_view *view_of(struct vol *v)
{
	return v->ops == &vol_nvmf_ops ? &((struct nvmf *)v)->view : NULL;
}

int vol_nvmf_policy_set(struct vol *v, enum vol_policy policy)
{
	struct nof_view *view = view_of(v);

	if (!view)
		return -ENOTSUP;
	atomic_store_explicit(&view->policy, (uint8_t)policy, memory_order_relaxed);
	return 0;
}

int vol_nvmf_prefer(struct vol *v, uint16_t cntlid)
{
	struct nof_view *view = view_of(v);
	bool found = false;

	if (!view)
		return -ENOTSUP;
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		const struct nof_ctrl *c = view->subsys->ctrl[i];

		found |= c && c->state == NOF_CTRL_LIVE && c->id.cntlid == cntlid;
	}
	for (unsigned i = 0; found && i < NOF_CTRLS_MAX; i++) {
		const struct nof_ctrl *c = view->subsys->ctrl[i];

		atomic_store_explicit(&view->path[i].preferred,
			c && c->state == NOF_CTRL_LIVE && c->id.cntlid == cntlid,
			memory_order_relaxed);
	}
	return found ? 0 : -ENOENT;
}

int vol_nvmf_path(struct vol *v, unsigned idx, struct vol_nvmf_path *out)
{
	struct nof_view *view = view_of(v);
	uint8_t ana;

	if (!view)
		return -ENOTSUP;
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		if (!view->subsys->ctrl[i] || idx-- > 0)
			continue;
		ana = atomic_load_explicit(&view->path[i].ana, memory_order_relaxed);
		*out = (struct vol_nvmf_path){
			.ctrl = view->subsys->ctrl[i],
			.accessible = atomic_load_explicit(
					      &view->path[i].ctrl, memory_order_relaxed) &&
				      (ana == NOF_ANA_OPTIMIZED || ana == NOF_ANA_NON_OPTIMIZED),
			.optimized = ana == NOF_ANA_OPTIMIZED,
			.node = atomic_load_explicit(&view->path[i].node, memory_order_relaxed),
			.preferred = atomic_load_explicit(
				&view->path[i].preferred, memory_order_relaxed),
			.policy = (enum vol_policy)atomic_load_explicit(
				&view->policy, memory_order_relaxed),
		};
		return 0;
	}
	return -ENOENT;
}
