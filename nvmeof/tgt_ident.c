// SPDX-License-Identifier: Apache-2.0
/* Identify: Base 2.0, section 5.17; NVM Command Set 1.0, section 4.1.5. */
#include "tgt_ctrl.h"

#include <string.h>

#define ANATT_S 10U
#define ANACAP_GROUP_STAYS 0x40 // ANAGRPID does not change while a namespace is attached
#define LPA_EFFECTS 0x02
#define FRMW 0x03 // one slot, read only
#define NSTAT_READY 0x01

static uint8_t log2_of(uint32_t n)
{
	return (uint8_t)(31 - __builtin_clz(n));
}

static void io_ctrl(const struct tgt_ctrl *c, struct nof_id_ctrl *id)
{
	const struct nof_tgt_subsys *sub = c->sub;
	const struct nof_tgt_opts *o = &sub->t->conf.opts;

	id->cmic = NOF_CMIC_PORTS | NOF_CMIC_CTRLS;
	id->oaes = dpu_le32_put(NOF_OAES_NS_ATTR | (sub->ana ? NOF_OAES_ANA : 0));
	id->cntrltype = NOF_CTRLTYPE_IO;
	id->frmw = FRMW;
	id->lpa = LPA_EFFECTS | NOF_LPA_OFFSET;
	if (sub->ana) {
		id->cmic |= NOF_CMIC_ANA;
		id->anatt = ANATT_S;
		id->anacap = NOF_ANACAP_OPTIMIZED | NOF_ANACAP_NON_OPTIMIZED |
			     NOF_ANACAP_INACCESSIBLE | NOF_ANACAP_LOSS | NOF_ANACAP_CHANGE |
			     ANACAP_GROUP_STAYS;
		id->anagrpmax = dpu_le32_put(NOF_TGT_ANA_GROUPS);
		id->nanagrpid = dpu_le32_put(NOF_TGT_ANA_GROUPS);
	}
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = dpu_le32_put(sub->max_ns);
	id->mnan = dpu_le32_put(sub->max_ns);
	id->oncs = dpu_le16_put(NOF_ONCS_COMPARE | NOF_ONCS_DSM | NOF_ONCS_WRITE_ZEROES);
	id->fuses = dpu_le16_put(NOF_FUSES_COMPARE_WRITE); // ACWU 0: a block of any namespace
	// Always: a host asks once, namespaces come later.
	id->vwc = NOF_VWC_PRESENT | NOF_VWC_ALL_NO;
	id->ioccsz = dpu_le32_put((sizeof(struct nof_sqe) + o->in_capsule_bytes) / 16);
	id->iorcsz = dpu_le32_put(sizeof(struct nof_cqe) / 16);
	tgt_text(id->sn, sizeof(id->sn), sub->serial);
	tgt_text(id->mn, sizeof(id->mn), sub->model);
}

static uint16_t identify_ctrl(struct tgt_req *r, struct tgt_out *out)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	const struct nof_tgt_opts *o = &c->sub->t->conf.opts;
	struct nof_id_ctrl id = { 0 };

	id.mdts = (uint8_t)(log2_of(o->max_io_bytes) - 12);
	id.cntlid = dpu_le16_put(c->cntlid);
	id.ver = dpu_le32_put(NOF_VS_2_0);
	id.ctratt = dpu_le32_put(NOF_CTRATT_HOSTID_128);
	id.aerl = TGT_AERL;
	id.kas = dpu_le16_put(1); // of 100 ms
	id.maxcmd = dpu_le16_put(o->max_queue_depth);
	id.sgls = dpu_le32_put(NOF_SGLS_SUPPORTED | NOF_SGLS_OFFSET | NOF_SGLS_TRANSPORT);
	id.msdbd = 1;
	tgt_text(id.fr, sizeof(id.fr), OUTBOARD_VERSION);
	memcpy(id.subnqn, c->sub->nqn, strlen(c->sub->nqn));
	if (c->sub->discovery) {
		id.cntrltype = NOF_CTRLTYPE_DISCOVERY;
		id.oaes = dpu_le32_put(NOF_OAES_DISCOVERY);
		id.lpa = NOF_LPA_OFFSET;
	} else {
		id.acl = 3;
		io_ctrl(c, &id);
	}
	tgt_out_put(out, &id, sizeof(id));
	return 0;
}

static bool is_nsid(const struct tgt_ctrl *c, uint32_t nsid)
{
	return nsid - 1 < c->sub->max_ns;
}

static uint16_t identify_ns(struct tgt_req *r, struct tgt_out *out, uint32_t nsid)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	struct nof_id_ns id = { 0 };
	const struct tgt_ns *ns;
	dpu_le64 blocks, bytes;
	struct vol_info info;
	uint32_t opt;

	if (!is_nsid(c, nsid))
		return NOF_SC_INVALID_NS | NOF_SC_DNR;
	if (!tgt_ns_visible(c, nsid))
		return 0; // inactive: zeros
	ns = c->sub->ns[nsid];
	blocks = dpu_le64_put(atomic_load_explicit(&ns->n_blocks, memory_order_relaxed));
	bytes = dpu_le64_put(dpu_le64_get(blocks) << ns->shift);
	id.nsze = blocks;
	id.ncap = blocks;
	id.nuse = blocks;
	memcpy(id.nvmcap, &bytes, sizeof(bytes));
	id.nmic = NOF_NMIC_SHARED;
	if (ns->info.can_zero)
		id.dlfeat = NOF_DLFEAT_READS_ZERO | NOF_DLFEAT_WZ_DEAC;
	opt = ns->info.opt_io_size >> ns->shift;
	if (opt > 0 && opt <= UINT16_MAX) {
		id.nsfeat |= NOF_NSFEAT_OPTPERF;
		id.npwg = id.npwa = id.npdg = id.npda = id.nows = dpu_le16_put((uint16_t)(opt - 1));
	}
	vol_info(ns->vol, &info); // a remote one learns late what it can
	if (info.compare_max > 1u << ns->shift) {
		id.nsfeat |= NOF_NSFEAT_ATOMIC;
		id.nacwu = dpu_le16_put((uint16_t)((info.compare_max >> ns->shift) - 1));
	}
	if (c->sub->ana)
		id.anagrpid = dpu_le32_put(ns->anagrpid);
	id.nsattr = ns->info.read_only ? NOF_NSATTR_WP : 0;
	memcpy(id.nguid, ns->nguid, sizeof(id.nguid));
	memcpy(id.eui64, ns->eui64, sizeof(id.eui64));
	id.lbaf[0].lbads = ns->shift;
	tgt_out_put(out, &id, sizeof(id));
	return 0;
}

static uint16_t identify_list(struct tgt_req *r, struct tgt_out *out, uint32_t above)
{
	const struct tgt_ctrl *c = r->q->ctrl;

	if (above >= NOF_NSID_ALL - 1)
		return NOF_SC_INVALID_NS | NOF_SC_DNR;
	for (uint32_t i = above + 1; i <= c->sub->max_ns && out->pos < NOF_IDENTIFY_LEN; i++) {
		dpu_le32 nsid = dpu_le32_put(i);

		if (tgt_ns_visible(c, i))
			tgt_out_put(out, &nsid, sizeof(nsid));
	}
	return 0;
}

static void put_desc(struct tgt_out *out, enum nof_nidt type, const uint8_t *id, uint8_t len)
{
	const struct nof_ns_desc d = { .nidt = (uint8_t)type, .nidl = len };
	static const uint8_t none[16];

	if (type != NOF_NIDT_CSI && !memcmp(id, none, len))
		return;
	tgt_out_put(out, &d, sizeof(d));
	tgt_out_put(out, id, len);
}

static uint16_t identify_desc(struct tgt_req *r, struct tgt_out *out, uint32_t nsid)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	const uint8_t csi = 0;
	const struct tgt_ns *ns;

	if (!tgt_ns_visible(c, nsid))
		return NOF_SC_INVALID_NS | NOF_SC_DNR;
	ns = c->sub->ns[nsid];
	put_desc(out, NOF_NIDT_EUI64, ns->eui64, sizeof(ns->eui64));
	put_desc(out, NOF_NIDT_NGUID, ns->nguid, sizeof(ns->nguid));
	put_desc(out, NOF_NIDT_UUID, ns->uuid, sizeof(ns->uuid));
	put_desc(out, NOF_NIDT_CSI, &csi, sizeof(csi));
	return 0;
}

/* Base 5.17.2.8: what of a namespace no command set changes. */
static uint16_t identify_indep(struct tgt_req *r, struct tgt_out *out, uint32_t nsid)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	const struct tgt_ns *ns;
	uint8_t id[16] = { 0 };
	dpu_le32 group;

	if (!is_nsid(c, nsid))
		return NOF_SC_INVALID_NS | NOF_SC_DNR;
	if (!tgt_ns_visible(c, nsid))
		return 0;
	ns = c->sub->ns[nsid];
	id[1] = NOF_NMIC_SHARED;
	group = dpu_le32_put(c->sub->ana ? ns->anagrpid : 0);
	memcpy(id + 4, &group, sizeof(group));
	id[8] = ns->info.read_only ? NOF_NSATTR_WP : 0;
	id[14] = NSTAT_READY;
	tgt_out_put(out, id, sizeof(id));
	return 0;
}

/* NVM 4.1.5.3 and 4.1.5.4: no limits, no protection information; all zeros. */
static uint16_t identify_nvm(const struct tgt_ctrl *c, uint32_t cns, uint32_t nsid)
{
	if (cns == NOF_CNS_CS_NS && !is_nsid(c, nsid))
		return NOF_SC_INVALID_NS | NOF_SC_DNR;
	return 0;
}

uint16_t tgt_identify(struct tgt_req *r)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	uint32_t cns = dpu_le32_get(r->cmd.cdw10) & 0xff, nsid = dpu_le32_get(r->cmd.nsid);
	uint32_t csi = dpu_le32_get(r->cmd.cdw11) >> 24;
	struct tgt_out out;

	tgt_out_init(&out, r, 0);
	if (cns == NOF_CNS_CTRL)
		return identify_ctrl(r, &out);
	if (c->sub->discovery)
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	switch (cns) {
	case NOF_CNS_NS:
		return identify_ns(r, &out, nsid);
	case NOF_CNS_NS_LIST:
		return identify_list(r, &out, nsid);
	case NOF_CNS_NS_DESC:
		return identify_desc(r, &out, nsid);
	case NOF_CNS_INDEP_NS:
		return identify_indep(r, &out, nsid);
	case NOF_CNS_CS_NS:
	case NOF_CNS_CS_CTRL:
		if (csi == 0)
			return identify_nvm(c, cns, nsid);
		break;
	case NOF_CNS_CS_NS_LIST:
		if (csi == 0)
			return identify_list(r, &out, nsid);
		break;
	default:
		break;
	}
	return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
}
