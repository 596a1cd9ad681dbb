// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers. They see payload where it is, on the worker that has the packet: so what is expected is
 * in the table before the packet that announces it has left the card, and no connection that comes
 * of it can be faster.
 *
 * A helper of TCP gets whole lines. Where a line begins is followed by sequence numbers, in both
 * directions: otherwise whoever makes the other side send text of his could have a segment begin in
 * the middle of it. A line that does not lie in one segment is not seen; nor is the first one of a
 * connection that had begun before it was helped. Another process that takes the connection over
 * is told where its lines begin.
 */
#include "ct_helper.h"

#include <netinet/in.h>
#include <string.h>

#include "ct_ftp.h"
#include "dpu_cur.h"

#define LINES_MAX 8u // of one segment
#define PORT_MIN 1024u // services live below: nobody opens these for others

/* ---- FTP ---- */

static bool ftp_line(const struct ct_line *l, struct odp_ct_key *expect)
{
	const struct odp_ct_key *k = ct_conn_key(l->conn, l->dir); // as the speaker sends
	struct ct_ftp_ask ask;

	// Whoever speaks is where the data connection goes to. For others nobody speaks.
	if (!odp_ct_ftp_line(l->dir == ODP_CT_REPLY, l->at, l->len, &ask) ||
		(ask.l3 && (ask.l3 != k->l3 || memcmp(ask.addr, k->src, sizeof(k->src)) != 0)))
		return false;
	odp_ct_key_reverse(k, expect);
	expect->sport = dpu_be16_put(0);
	expect->dport = dpu_be16_put(ask.port);
	return true;
}

static const struct ct_helper helpers[] = {
	[1] = { "ftp", IPPROTO_TCP, ftp_line },
};
#define N_HELPERS (sizeof(helpers) / sizeof(helpers[0]))
static_assert(
	N_HELPERS - 1 <= CT_F_HELPER >> CT_F_HELPER_SHIFT, "numbers fit a connection's flags");

unsigned odp_ct_helper_find(const char *name)
{
	for (unsigned i = 1; i < N_HELPERS; i++)
		if (!strcmp(helpers[i].name, name))
			return i;
	return 0;
}

const char *odp_ct_helper_name(unsigned helper)
{
	return helper && helper < N_HELPERS ? helpers[helper].name : NULL;
}

bool odp_ct_helper_fits(unsigned helper, uint8_t proto)
{
	return helper == 0 || (helper < N_HELPERS && helpers[helper].proto == proto);
}

/* ---- TCP, line by line ---- */

/* Behind a SYN begins a line. Elsewhere nobody knows until one ends: no segment is the next. */
static void begin_at_end(struct odp_ct *ct, const struct odp_conn *c, unsigned dir)
{
	CT_SET(ct->line[ct_idx(ct, c)][dir],
		CT_GET(c->tcp[dir].end) - !odp_ct_tcp_unspoken(CT_GET(c->st), dir));
}

void odp_ct_helper_begin(struct odp_ct *ct, const struct odp_conn *c)
{
	for (unsigned dir = 0; dir < 2; dir++)
		begin_at_end(ct, c, dir);
}

static void expect(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p,
	const struct odp_ct_key *key, uint64_t now_ms)
{
	const struct odp_ct_expect e = { .key = *key };

	if (dpu_be16_get(key->dport) >= PORT_MIN &&
		odp_ct_expect(ct, worker, p->ref, &e, now_ms) == 0)
		dpu_counter_add(&ct->workers[worker].n.announced, 1);
}

static void lines(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p, const uint8_t *at,
	size_t len, uint64_t now_ms)
{
	const struct ct_helper *h = &helpers[p->helper];

	for (unsigned i = 0; i < LINES_MAX && len; i++) {
		const uint8_t *nl = memchr(at, '\n', len);
		struct odp_ct_key key;

		if (!nl)
			return;
		struct ct_line l = { p->ref.conn, p->dir, at, (size_t)(nl - at) + 1 };

		if (h->line(&l, &key))
			expect(ct, worker, p, &key, now_ms);
		at += l.len;
		len -= l.len;
	}
}

void odp_ct_help(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p,
	const struct odp_ct_payload *l, uint64_t now_ms)
{
	struct dpu_cur in = dpu_cur_init(l->l4, l->len);
	const struct odp_conn *c = p->ref.conn;

	if (!p->helper || p->helper >= N_HELPERS || !c || p->state & ODP_CS_INV ||
		p->key.proto != IPPROTO_TCP)
		return;
	dpu_cur_skip(&in, 4);
	uint32_t seq = dpu_cur_be32(&in);

	dpu_cur_skip(&in, 4);
	uint32_t hdr = (dpu_cur_u8(&in) >> 4) * 4u;
	unsigned flags = dpu_cur_u8(&in);

	if (hdr < 20 || p->l4_total < hdr)
		return;
	dpu_cur_skip(&in, hdr - 14);
	if (in.bad)
		return;
	_Atomic uint32_t *begin = &ct->line[ct_idx(ct, c)][p->dir];
	uint32_t n = p->l4_total - hdr;

	// Anybody's guess is in window then, but where the line begins nobody guesses: who is not
	// there has gone on since, or is somebody else.
	if (odp_ct_tcp_loose(CT_GET(c->st)) && seq != CT_GET(*begin)) {
		begin_at_end(ct, c, p->dir);
		return;
	}

	if (flags & 0x02) { // SYN
		if (odp_ct_tcp_unspoken(CT_GET(c->st), p->dir))
			CT_SET(*begin, seq + 1);
		return;
	}
	if (n == 0)
		return;
	if (seq == CT_GET(*begin))
		lines(ct, worker, p, in.at, in.left < n ? in.left : n, now_ms);
	if (l->last == '\n' && (int32_t)(seq + n - CT_GET(*begin)) > 0)
		CT_SET(*begin, seq + n);
}
