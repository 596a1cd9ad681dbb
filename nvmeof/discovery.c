// SPDX-License-Identifier: Apache-2.0
/* Discovery logs. */
#include "discovery.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_log.h"
#include "host.h"

/* A field of text, padded with spaces or zeros: its length, or -EPROTO: it does not fit. */
static int field(char *out, size_t size, const char *in, size_t n)
{
	size_t len = strnlen(in, n);

	while (len > 0 && in[len - 1] == ' ')
		len--;
	if (len == 0 || len >= size)
		return -EPROTO;
	memcpy(out, in, len);
	out[len] = '\0';
	return (int)len;
}

static int port(const char in[32], uint16_t *out)
{
	char text[8];
	unsigned v = 0;
	int n = field(text, sizeof(text), in, 32);

	for (int i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EPROTO;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	if (n < 1 || n > 5 || v == 0 || v > UINT16_MAX)
		return -EPROTO;
	*out = (uint16_t)v;
	return 0;
}

int nof_disc_entry(const struct nof_disc_entry *e, struct nof_disc_info *out)
{
	struct in6_addr addr;
	int family;

	*out = (struct nof_disc_info){
		.referral = e->subtype != NOF_SUB_NVM,
		.portid = dpu_le16_get(e->portid),
		.cntlid = dpu_le16_get(e->cntlid),
		.secure_required = (e->treq & 3) == NOF_TREQ_SECURE_REQUIRED,
	};
	if (e->trtype != NOF_TRTYPE_TCP || e->subtype < NOF_SUB_REFERRAL ||
		e->subtype > NOF_SUB_CURRENT)
		return -ENOTSUP;
	family = e->adrfam == NOF_ADRFAM_IPV4 ? AF_INET : AF_INET6;
	if (e->adrfam != NOF_ADRFAM_IPV4 && e->adrfam != NOF_ADRFAM_IPV6)
		return -ENOTSUP;
	if (field(out->traddr, sizeof(out->traddr), e->traddr, sizeof(e->traddr)) < 0 ||
		inet_pton(family, out->traddr, &addr) != 1 || port(e->trsvcid, &out->trsvcid) < 0)
		return -EPROTO;
	if (field(out->subnqn, sizeof(out->subnqn), e->subnqn, sizeof(e->subnqn)) < 0 ||
		strncmp(out->subnqn, "nqn.", 4) != 0)
		return -EPROTO;
	return 0;
}

void nof_disc_begin(struct nof_disc *d)
{
	d->tries = 0;
	d->head_known = false;
}

void nof_disc_next(struct nof_disc *d, uint32_t buf_size, uint64_t *off, uint32_t *len)
{
	unsigned max = buf_size / sizeof(struct nof_disc_entry);

	*off = 0;
	*len = sizeof(struct nof_disc_log);
	d->part = 0;
	if (!d->head_known || d->seen == d->total)
		return; // the head
	d->part = d->total - d->seen < max ? d->total - d->seen : max;
	*off = sizeof(struct nof_disc_log) + (uint64_t)d->seen * sizeof(struct nof_disc_entry);
	*len = d->part * (uint32_t)sizeof(struct nof_disc_entry);
}

static int take_head(struct nof_disc *d, const struct nof_disc_log *h)
{
	uint64_t genctr = dpu_le64_get(h->genctr), numrec = dpu_le64_get(h->numrec);
	struct nof_disc_info *more;

	if (d->head_known && genctr == d->genctr)
		return 0;
	if (d->head_known && ++d->tries >= NOF_DISC_TRIES) {
		dpu_warn_ratelimited("nvme: a discovery log that always changes", "n=%u", d->n);
		return 0; // what there is of it
	}
	if (dpu_le16_get(h->recfmt) != 0)
		return -EPROTO;
	d->genctr = genctr;
	d->head_known = true;
	d->total = numrec < NOF_DISC_MAX ? (unsigned)numrec : NOF_DISC_MAX;
	d->seen = d->n = 0;
	if (d->total > d->room) {
		more = realloc(d->entries, d->total * sizeof(*more));
		if (!more)
			return -ENOMEM;
		d->entries = more;
		d->room = d->total;
	}
	return d->total > 0;
}

int nof_disc_take(struct nof_disc *d, const uint8_t *buf)
{
	const struct nof_disc_entry *e = (const struct nof_disc_entry *)buf;

	if (!d->part)
		return take_head(d, (const struct nof_disc_log *)buf);
	for (unsigned i = 0; i < d->part; i++)
		if (nof_disc_entry(&e[i], &d->entries[d->n]) == 0)
			d->n++;
	d->seen += d->part;
	return 1;
}

int nof_ctrl_disc(const struct nof_ctrl *c, unsigned idx, struct nof_disc_info *out)
{
	if (idx >= c->disc.n)
		return -ENOENT;
	*out = c->disc.entries[idx];
	return 0;
}

void nof_ctrl_disc_watch(struct nof_ctrl *c, void (*fn)(void *arg), void *arg)
{
	c->disc.changed = fn;
	c->disc.arg = arg;
}
