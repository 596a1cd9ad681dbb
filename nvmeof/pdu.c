// SPDX-License-Identifier: Apache-2.0
/* NVMe/TCP PDUs: checks and encoding. */
#include "pdu.h"

#include <errno.h>
#include <string.h>

#include "crc32c.h"

enum has { HAS_NOTHING, HAS_DATA, MAY_HAVE_DATA, HAS_REST };

static const struct kind {
	uint8_t hlen;
	uint8_t to; // 1 << enum nof_role: who may receive it
	uint8_t has; // what follows the header
	bool digests; // after negotiation
} kinds[] = {
	[NOF_PDU_ICREQ] = { 128, 1 << NOF_TARGET, HAS_NOTHING, false },
	[NOF_PDU_ICRESP] = { 128, 1 << NOF_HOST, HAS_NOTHING, false },
	[NOF_PDU_H2C_TERM] = { 24, 1 << NOF_TARGET, HAS_REST, false },
	[NOF_PDU_C2H_TERM] = { 24, 1 << NOF_HOST, HAS_REST, false },
	[NOF_PDU_CMD] = { 72, 1 << NOF_TARGET, MAY_HAVE_DATA, true },
	[NOF_PDU_RESP] = { 24, 1 << NOF_HOST, HAS_NOTHING, true },
	[NOF_PDU_H2C_DATA] = { 24, 1 << NOF_TARGET, HAS_DATA, true },
	[NOF_PDU_C2H_DATA] = { 24, 1 << NOF_HOST, HAS_DATA, true },
	[NOF_PDU_R2T] = { 24, 1 << NOF_HOST, HAS_NOTHING, true },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Offsets of fields, for FEI. */
#define FEI_TYPE 0
#define FEI_FLAGS 1
#define FEI_HLEN 2
#define FEI_PDO 3
#define FEI_PLEN 4

static int wrong(struct nof_pdu_err *e, enum nof_fes fes, uint32_t fei)
{
	*e = (struct nof_pdu_err){ fes, fei };
	return -EPROTO;
}

const char *nof_fes_name(uint16_t fes)
{
	static const char *const names[] = {
		[NOF_FES_HEADER] = "invalid header field",
		[NOF_FES_SEQUENCE] = "PDU sequence error",
		[NOF_FES_HDGST] = "header digest error",
		[NOF_FES_RANGE] = "data transfer out of range",
		[NOF_FES_LIMIT] = "data transfer limit exceeded",
		[NOF_FES_UNSUPPORTED] = "unsupported parameter",
	};

	return fes < sizeof(names) / sizeof(names[0]) && names[fes] ? names[fes] : "unknown";
}

/* PDO and PLEN of a PDU that has data. */
static int check_data(const struct nof_ch *ch, const struct nof_pdu_rules *r,
	struct nof_pdu_shape *out, struct nof_pdu_err *e)
{
	uint32_t plen = dpu_le32_get(ch->plen);
	uint32_t align = (r->pda + 1u) * 4u;
	bool ddgst = ch->flags & NOF_F_DDGST;

	if (ddgst != !!(r->dgst & NOF_DGST_DATA))
		return wrong(e, NOF_FES_HEADER, FEI_FLAGS);
	if (ch->pdo < out->head_len || ch->pdo % align != 0)
		return wrong(e, NOF_FES_HEADER, FEI_PDO);
	if (plen <= ch->pdo || plen - ch->pdo <= (ddgst ? NOF_DGST_LEN : 0))
		return wrong(e, NOF_FES_HEADER, FEI_PLEN);
	out->pad_len = (uint8_t)(ch->pdo - out->head_len);
	out->data_len = plen - ch->pdo - (ddgst ? NOF_DGST_LEN : 0);
	out->ddgst = ddgst;
	if (ch->type == NOF_PDU_CMD && out->data_len > r->capsule_max)
		return wrong(e, NOF_FES_HEADER, FEI_PLEN);
	if (ch->type == NOF_PDU_H2C_DATA && out->data_len > r->data_max)
		return wrong(e, NOF_FES_LIMIT, FEI_PLEN);
	return 0;
}

int nof_pdu_check(const struct nof_ch *ch, const struct nof_pdu_rules *r, struct nof_pdu_shape *out,
	struct nof_pdu_err *e)
{
	uint32_t plen = dpu_le32_get(ch->plen);
	const struct kind *k;
	bool hdgst;

	if (ch->type >= N_KINDS || !(kinds[ch->type].to & 1u << r->role))
		return wrong(e, NOF_FES_HEADER, FEI_TYPE);
	if (!(r->allowed >> ch->type & 1))
		return wrong(e, NOF_FES_SEQUENCE, FEI_TYPE);
	k = &kinds[ch->type];
	if (ch->hlen != k->hlen)
		return wrong(e, NOF_FES_HEADER, FEI_HLEN);
	hdgst = k->digests && (r->dgst & NOF_DGST_HEADER);
	if (k->digests && !!(ch->flags & NOF_F_HDGST) != hdgst)
		return wrong(e, NOF_FES_HEADER, FEI_FLAGS);
	*out = (struct nof_pdu_shape){ .head_len = (uint8_t)(k->hlen +
							     (hdgst ? NOF_DGST_LEN : 0)) };
	switch ((enum has)k->has) {
	case HAS_REST: // part of the PDU that offended
		if (plen < k->hlen || plen - k->hlen > NOF_TERM_DATA_MAX)
			return wrong(e, NOF_FES_HEADER, FEI_PLEN);
		out->data_len = plen - k->hlen;
		return 0;
	case HAS_NOTHING:
		return plen == out->head_len ? 0 : wrong(e, NOF_FES_HEADER, FEI_PLEN);
	case MAY_HAVE_DATA:
		if (plen == out->head_len)
			return 0;
		break;
	case HAS_DATA:
		break;
	}
	return check_data(ch, r, out, e);
}

bool nof_pdu_hdgst_ok(const uint8_t *pdu, size_t hlen)
{
	dpu_le32 got;

	memcpy(&got, pdu + hlen, sizeof(got));
	return dpu_le32_get(got) == nof_crc32c(0, pdu, hlen);
}

int nof_icreq_check(const struct nof_icreq *p, struct nof_pdu_err *e)
{
	if (dpu_le16_get(p->pfv) != 0)
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icreq, pfv));
	if (p->hpda > NOF_PDA_MAX)
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icreq, hpda));
	return 0;
}

int nof_icresp_check(
	const struct nof_icresp *p, uint8_t asked, uint8_t demanded, struct nof_pdu_err *e)
{
	uint8_t dgst = p->dgst & (NOF_DGST_HEADER | NOF_DGST_DATA);

	if (dpu_le16_get(p->pfv) != 0)
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icresp, pfv));
	if (p->cpda > NOF_PDA_MAX)
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icresp, cpda));
	if ((dgst & ~asked) || (demanded & ~dgst))
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icresp, dgst));
	if (dpu_le32_get(p->maxh2cdata) < NOF_MAXH2CDATA_MIN || dpu_le32_get(p->maxh2cdata) % 4)
		return wrong(e, NOF_FES_HEADER, offsetof(struct nof_icresp, maxh2cdata));
	return 0;
}

size_t nof_pdu_begin(
	uint8_t *pdu, enum nof_pdu_type type, uint8_t dgst, uint8_t pda, uint32_t data_len)
{
	const struct kind *k = &kinds[type];
	bool hdgst = k->digests && (dgst & NOF_DGST_HEADER);
	bool ddgst = k->digests && data_len && (dgst & NOF_DGST_DATA);
	size_t head = k->hlen + (hdgst ? NOF_DGST_LEN : 0), off = head;
	uint32_t align = (pda + 1u) * 4u;
	struct nof_ch ch = { .type = (uint8_t)type, .hlen = k->hlen };

	if (k->digests && data_len) {
		off = (head + align - 1) / align * align;
		ch.pdo = (uint8_t)off;
	}
	// Known lengths are a few stores; else it is a repeated one, whose start takes longer.
	if (off == sizeof(struct nof_data_pdu))
		memset(pdu, 0, sizeof(struct nof_data_pdu));
	else if (off == sizeof(struct nof_cmd_pdu))
		memset(pdu, 0, sizeof(struct nof_cmd_pdu));
	else
		memset(pdu, 0, off);
	if (hdgst)
		ch.flags |= NOF_F_HDGST;
	if (ddgst)
		ch.flags |= NOF_F_DDGST;
	ch.plen = dpu_le32_put((uint32_t)off + data_len + (ddgst ? NOF_DGST_LEN : 0));
	memcpy(pdu, &ch, sizeof(ch));
	return off;
}

void nof_pdu_seal(uint8_t *pdu)
{
	const struct nof_ch *ch = (const struct nof_ch *)pdu;
	dpu_le32 dgst;

	if (!(ch->flags & NOF_F_HDGST))
		return;
	dgst = dpu_le32_put(nof_crc32c(0, pdu, ch->hlen));
	memcpy(pdu + ch->hlen, &dgst, sizeof(dgst));
}

size_t nof_term_build(
	uint8_t *out, enum nof_role from, const struct nof_pdu_err *e, const uint8_t *pdu, size_t n)
{
	struct nof_term *t = (struct nof_term *)out;
	size_t head;

	if (n > NOF_TERM_DATA_MAX)
		n = NOF_TERM_DATA_MAX;
	head = nof_pdu_begin(
		out, from == NOF_HOST ? NOF_PDU_H2C_TERM : NOF_PDU_C2H_TERM, 0, 0, (uint32_t)n);
	t->fes = dpu_le16_put((uint16_t)e->fes);
	t->fei = dpu_le32_put(e->fei);
	if (n)
		memcpy(out + head, pdu, n);
	return head + n;
}
