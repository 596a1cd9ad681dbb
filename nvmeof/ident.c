// SPDX-License-Identifier: Apache-2.0
/* Identify structures and the ANA log, checked. */
#include "ident.h"

#include <errno.h>
#include <string.h>

#include "dpu_cur.h"

#define SQE_UNITS 4U // 64 bytes in units of 16

static void text(char *out, const char *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = in[i] >= ' ' && in[i] <= '~' ? in[i] : '?';
	while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '?'))
		n--;
	out[n] = '\0';
}

static uint32_t transfer_max(uint8_t mdts, uint32_t page_shift)
{
	// 0: no limit of its own. Beyond what a shift can say: neither.
	if (mdts == 0 || mdts + page_shift >= 32 || 1U << (mdts + page_shift) > NOF_TRANSFER_MAX)
		return NOF_TRANSFER_MAX;
	return 1U << (mdts + page_shift);
}

static uint32_t capsule_max(uint32_t ioccsz)
{
	uint64_t bytes = (uint64_t)(ioccsz - SQE_UNITS) * 16;

	return bytes > NOF_TRANSFER_MAX ? NOF_TRANSFER_MAX : (uint32_t)bytes;
}

int nof_ident_ctrl(const struct nof_id_ctrl *id, uint32_t page_shift, const char *subnqn,
	struct nof_ident *out)
{
	uint32_t ioccsz = dpu_le32_get(id->ioccsz);
	bool discovery = !strcmp(subnqn, NOF_DISCOVERY_NQN);

	*out = (struct nof_ident){
		.cntlid = dpu_le16_get(id->cntlid),
		.transfer_max = transfer_max(id->mdts, page_shift),
		.maxcmd = dpu_le16_get(id->maxcmd),
		.cqt_ms = dpu_le16_get(id->cqt),
		.kas_ms = dpu_le16_get(id->kas) * 100u,
		.oaes = dpu_le32_get(id->oaes),
		.ctratt = dpu_le32_get(id->ctratt),
		.anagrpmax = dpu_le32_get(id->anagrpmax),
		.nanagrpid = dpu_le32_get(id->nanagrpid),
		.oncs = dpu_le16_get(id->oncs),
		.acwu_blocks = dpu_le16_get(id->acwu) + 1u,
		.compare_write = dpu_le16_get(id->fuses) & NOF_FUSES_COMPARE_WRITE,
		.volatile_cache = id->vwc & NOF_VWC_PRESENT,
		.ana = id->cmic & NOF_CMIC_ANA,
		.discovery = discovery,
	};
	text(out->sn, id->sn, sizeof(id->sn));
	text(out->mn, id->mn, sizeof(id->mn));
	text(out->fr, id->fr, sizeof(id->fr));
	if (strnlen(id->subnqn, sizeof(id->subnqn)) == sizeof(id->subnqn))
		return -EPROTO;
	if (discovery) // its own name may be another one
		return 0;
	if (strcmp(id->subnqn, subnqn) != 0)
		return -EPROTO;
	if ((id->sqes & 15) > 6 || id->sqes >> 4 < 6 || (id->cqes & 15) > 4 || id->cqes >> 4 < 4)
		return -EPROTO;
	if (ioccsz < SQE_UNITS || dpu_le16_get(id->icdoff) != 0)
		return -EPROTO;
	if (!(dpu_le32_get(id->sgls) & 3)) // Fabrics have nothing but SGLs
		return -EPROTO;
	out->capsule_max = capsule_max(ioccsz);
	return 0;
}

int nof_ident_ns(const struct nof_id_ns *id, struct nof_ns_ident *out)
{
	uint64_t nsze = dpu_le64_get(id->nsze), ncap = dpu_le64_get(id->ncap);
	unsigned format = (id->flbas & 15u) | (id->flbas >> 5 & 3u) << 4;
	const struct nof_lbaf *f;

	memset(out, 0, sizeof(*out));
	if (nsze == 0)
		return -ENOENT;
	if (ncap > nsze || format >= sizeof(id->lbaf) / sizeof(id->lbaf[0]) || format > id->nlbaf)
		return -EPROTO;
	f = &id->lbaf[format];
	if (f->lbads < 9 || f->lbads > 63)
		return -EPROTO;
	if (f->lbads != 9 && f->lbads != 12)
		return -ENOTSUP;
	if (dpu_le16_get(f->ms) != 0)
		return -ENOTSUP;
	if (nsze > (uint64_t)INT64_MAX >> f->lbads)
		return -EPROTO;
	out->blocks = nsze;
	out->lba_shift = f->lbads;
	out->read_only = id->nsattr & NOF_NSATTR_WP;
	out->reads_zero = (id->dlfeat & 7) == NOF_DLFEAT_READS_ZERO;
	out->deac_zero = out->reads_zero && (id->dlfeat & NOF_DLFEAT_WZ_DEAC);
	out->ana_grpid = dpu_le32_get(id->anagrpid);
	if (id->nsfeat & NOF_NSFEAT_OPTPERF)
		out->opt_io_blocks = dpu_le16_get(id->nows) + 1u;
	if (id->nsfeat & NOF_NSFEAT_ATOMIC && dpu_le16_get(id->nacwu) != 0)
		out->acwu_blocks = dpu_le16_get(id->nacwu) + 1u;
	memcpy(out->nguid, id->nguid, sizeof(out->nguid));
	memcpy(out->eui64, id->eui64, sizeof(out->eui64));
	return 0;
}

void nof_ident_desc(const uint8_t list[NOF_IDENTIFY_LEN], struct nof_ns_ident *out)
{
	struct dpu_cur in = dpu_cur_init(list, NOF_IDENTIFY_LEN);

	while (in.left >= sizeof(struct nof_ns_desc)) {
		uint8_t type = dpu_cur_u8(&in), len = dpu_cur_u8(&in);
		const uint8_t *p;

		dpu_cur_skip(&in, 2);
		if (len == 0)
			return;
		p = dpu_cur_take(&in, len);
		if (!p)
			return;
		if (type == NOF_NIDT_UUID && len == sizeof(out->uuid))
			memcpy(out->uuid, p, len);
		else if (type == NOF_NIDT_NGUID && len == sizeof(out->nguid))
			memcpy(out->nguid, p, len);
		else if (type == NOF_NIDT_EUI64 && len == sizeof(out->eui64))
			memcpy(out->eui64, p, len);
	}
}

static enum nof_ana known_state(uint8_t state)
{
	switch (state & 15) {
	case NOF_ANA_OPTIMIZED:
	case NOF_ANA_NON_OPTIMIZED:
	case NOF_ANA_INACCESSIBLE:
	case NOF_ANA_LOSS:
	case NOF_ANA_CHANGE:
		return (enum nof_ana)(state & 15);
	default:
		return NOF_ANA_INACCESSIBLE;
	}
}

int nof_ident_ana(const void *log, size_t len, uint32_t grp_max,
	void (*fn)(void *arg, uint32_t grpid, enum nof_ana state), void *arg)
{
	struct dpu_cur in = dpu_cur_init(log, len);
	unsigned n;

	dpu_cur_skip(&in, offsetof(struct nof_ana_log, ngrps));
	n = dpu_cur_le16(&in);
	dpu_cur_skip(&in, 6);
	for (unsigned i = 0; i < n; i++) {
		uint32_t grpid = dpu_cur_le32(&in), nnsids = dpu_cur_le32(&in);
		uint8_t state;

		dpu_cur_skip(&in, 8);
		state = dpu_cur_u8(&in);
		dpu_cur_skip(&in, 15);
		dpu_cur_skip(&in, (uint64_t)nnsids * 4); // that they are there is all we ask
		if (in.bad || grpid == 0 || grpid > grp_max)
			return -EPROTO;
		fn(arg, grpid, known_state(state));
	}
	return in.bad ? -EPROTO : 0;
}
