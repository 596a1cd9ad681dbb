// SPDX-License-Identifier: Apache-2.0
/*
 * TCP as seen from the middle: two half machines, one for what each side has sent, and windows.
 *
 * A half goes from nothing over a SYN, its acknowledgement, a FIN to that one's acknowledgement;
 * the state that operators read follows from the two. A segment is in window when a receiver that
 * has seen what we have would take it: RFC 9293 section 3.10.7.4, with the bounds that follow for
 * somebody who sees both directions but not what was lost behind him.
 *
 *   seq <= max_end[from]                 no more than the peer has room for
 *   end >= end[from] - max_win[to]       not older than what the peer may still lack,
 *       or ack[to]                       which is all from where it stands
 *   ack <= end[to]                       nothing is acknowledged that was not sent
 *   ack >= end[to] - max_win[from] - 66000
 *
 * The last bound holds for duplicate acknowledgements with SACK, too: what is unacknowledged is
 * within the largest window that the acknowledging side ever offered.
 */
#include "ct_priv.h"
#include "inet.h"

#define FIN 0x01u
#define SYN 0x02u
#define RST 0x04u
#define PSH 0x08u
#define ACK 0x10u
#define URG 0x20u

#define SCALE_MAX 14u // RFC 7323, section 2.3
#define WIN_SLACK 66000u // a segment that begins within a window ends that much behind it

enum { H_NONE, H_SYN, H_OPEN, H_FIN, H_DONE, HALVES };

/* Bits of the state's word. */
#define HALF_SHIFT(side) (8 + 4 * (side))
#define SCALE_SHIFT(side) (16 + 4 * (side))
#define HAS_SCALE(side) (0x01000000u << (side))
#define LOOSE(side) (0x04000000u << (side)) // taken over: no segment of it was seen since
#define LOOSE_ANY (LOOSE(0) | LOOSE(1))

#define ALL_OPEN (ODP_CT_TCP_ESTABLISHED | H_OPEN << 8 | H_OPEN << 12)

struct seg {
	uint32_t seq, ack, len; // payload
	uint32_t end; // seq + len, and one for SYN and FIN each
	uint32_t win; // as in the header
	unsigned flags;
	unsigned hdr_len;
};

/* Row: half of the side that opened. Column: of the other one. Absent: cannot be. */
static const uint8_t state_of[HALVES][HALVES] = {
	[H_SYN] = { [H_NONE] = ODP_CT_TCP_SYN_SENT,
		[H_SYN] = ODP_CT_TCP_SYN_SENT2,
		[H_OPEN] = ODP_CT_TCP_SYN_RECV,
		[H_FIN] = ODP_CT_TCP_FIN_WAIT,
		[H_DONE] = ODP_CT_TCP_CLOSE_WAIT },
	[H_OPEN] = { [H_SYN] = ODP_CT_TCP_SYN_RECV,
		[H_OPEN] = ODP_CT_TCP_ESTABLISHED,
		[H_FIN] = ODP_CT_TCP_FIN_WAIT,
		[H_DONE] = ODP_CT_TCP_CLOSE_WAIT },
	[H_FIN] = { [H_SYN] = ODP_CT_TCP_FIN_WAIT,
		[H_OPEN] = ODP_CT_TCP_FIN_WAIT,
		[H_FIN] = ODP_CT_TCP_LAST_ACK,
		[H_DONE] = ODP_CT_TCP_LAST_ACK },
	[H_DONE] = { [H_SYN] = ODP_CT_TCP_CLOSE_WAIT,
		[H_OPEN] = ODP_CT_TCP_CLOSE_WAIT,
		[H_FIN] = ODP_CT_TCP_LAST_ACK,
		[H_DONE] = ODP_CT_TCP_TIME_WAIT },
};

static bool after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static unsigned half(uint32_t st, unsigned side)
{
	return st >> HALF_SHIFT(side) & 0xf;
}

static uint32_t with_half(uint32_t st, unsigned side, unsigned h)
{
	return (st & ~(0xfu << HALF_SHIFT(side))) | h << HALF_SHIFT(side);
}

static unsigned scale(uint32_t st, unsigned side)
{
	return st >> SCALE_SHIFT(side) & 0xf;
}

/* The visible state that follows from the halves. */
static uint32_t named(uint32_t st)
{
	return (st & ~0xffu) | state_of[half(st, 0)][half(st, 1)];
}

bool odp_ct_tcp_word_ok(uint32_t st)
{
	if (half(st, 0) >= HALVES || half(st, 1) >= HALVES || scale(st, 0) > SCALE_MAX ||
		scale(st, 1) > SCALE_MAX)
		return false;
	unsigned name = state_of[half(st, 0)][half(st, 1)];

	return name != 0 && (CT_ST(st) == name || CT_ST(st) == ODP_CT_TCP_CLOSE);
}

uint32_t odp_ct_tcp_loosen(uint32_t st)
{
	return half(st, 0) >= H_OPEN && half(st, 1) >= H_OPEN ? st | LOOSE_ANY : st;
}

bool odp_ct_tcp_loose(uint32_t st)
{
	return st & LOOSE_ANY;
}

bool odp_ct_tcp_unspoken(uint32_t st, unsigned dir)
{
	return half(st, dir) <= H_SYN;
}

/* ---- headers ---- */

/* The combinations that a sender may choose; PSH, ECE and CWR stand with any. */
static bool flags_ok(unsigned flags)
{
	switch (flags & (FIN | SYN | RST | ACK | URG)) {
	case SYN:
	case SYN | URG:
	case SYN | ACK:
	case RST:
	case RST | ACK:
	case FIN | ACK:
	case FIN | ACK | URG:
	case ACK:
	case ACK | URG:
		return true;
	default:
		return false;
	}
}

static bool seg_read(const struct odp_ct_pkt *p, struct seg *s)
{
	if (p->l4_len < 20)
		return false;
	s->hdr_len = (p->l4[12] >> 4) * 4u;
	s->flags = p->l4[13] & 0x3f;
	if (s->hdr_len < 20 || s->hdr_len > p->l4_total || !flags_ok(s->flags))
		return false;
	s->seq = odp_get32(p->l4 + 4);
	s->ack = odp_get32(p->l4 + 8);
	s->win = odp_get16(p->l4 + 14);
	s->len = p->l4_total - s->hdr_len;
	s->end = s->seq + s->len + !!(s->flags & SYN) + !!(s->flags & FIN);
	return true;
}

/* Window scale of a SYN: 0..14, or SCALE_MAX + 1 without one. False: options that cannot be. */
static bool scale_read(const struct odp_ct_pkt *p, const struct seg *s, unsigned *out)
{
	unsigned at = 20;

	*out = SCALE_MAX + 1;
	if (s->hdr_len > p->l4_len)
		return false;
	while (at < s->hdr_len) { // each turn takes a byte at least
		unsigned kind = p->l4[at];

		if (kind == 0)
			return true;
		if (kind == 1) {
			at++;
			continue;
		}
		if (s->hdr_len - at < 2)
			return false;
		unsigned len = p->l4[at + 1];

		if (len < 2 || len > s->hdr_len - at || (kind == 3 && len != 3))
			return false;
		if (kind == 3)
			*out = p->l4[at + 2] < SCALE_MAX ? p->l4[at + 2] : SCALE_MAX;
		at += len;
	}
	return true;
}

/* ---- windows ---- */

/* The offer of a segment as bytes; that of a SYN is never scaled: RFC 7323, section 2.2. */
static uint32_t offer(const struct seg *s, uint32_t st, unsigned side)
{
	return s->flags & SYN ? s->win : s->win << scale(st, side);
}

static bool in_window(const struct odp_conn *c, uint32_t st, const struct seg *s, unsigned from)
{
	if (st & LOOSE_ANY)
		return true; // how far both have come is not known yet
	const struct ct_peer *me = &c->tcp[from], *to = &c->tcp[!from];
	uint32_t my_win = CT_GET(me->max_win), to_win = CT_GET(to->max_win);
	uint32_t to_end = CT_GET(to->end);

	if (my_win == 0) // its first segment; it answers to what was seen of the other one
		return !(s->flags & ACK) || !after(s->ack, to_end);
	if (after(s->seq, CT_GET(me->max_end)))
		return false;
	if (after(CT_GET(me->end) - (to_win ? to_win : WIN_SLACK), s->end) &&
		(to_win == 0 || after(CT_GET(to->ack), s->end)))
		return false;
	if (!(s->flags & ACK))
		return true;
	return !after(s->ack, to_end) && !after(to_end - my_win - WIN_SLACK, s->ack);
}

static void raise(_Atomic uint32_t *a, uint32_t v)
{
	if (after(v, CT_GET(*a)))
		CT_SET(*a, v);
}

/*
 * A segment of a connection that was taken over, while not both sides have been seen since: what it
 * says of both is where they stand. `to` has acknowledged no more than what comes now.
 */
static void windows_learn(struct odp_conn *c, uint32_t st, const struct seg *s, unsigned from)
{
	struct ct_peer *me = &c->tcp[from], *to = &c->tcp[!from];

	if ((st & LOOSE_ANY) != LOOSE_ANY) {
		raise(&me->end, s->end);
		raise(&me->max_end, s->end);
		raise(&me->ack, s->ack);
		raise(&to->end, s->ack);
		return;
	}
	CT_SET(me->end, s->end);
	CT_SET(me->max_end, s->end + (0xffffu << scale(st, !from)));
	CT_SET(me->ack, s->ack);
	CT_SET(to->end, s->ack);
	CT_SET(to->max_end, s->ack);
	CT_SET(to->ack, s->seq);
}

/* Another packet of this direction may be with another worker: the loss of one step is made up. */
static void windows_move(struct odp_conn *c, uint32_t st, const struct seg *s, unsigned from)
{
	struct ct_peer *me = &c->tcp[from], *to = &c->tcp[!from];
	uint32_t win = offer(s, st, from);

	if (st & LOOSE_ANY)
		windows_learn(c, st, s, from);
	if (CT_GET(me->max_win) == 0) {
		CT_SET(me->end, s->end);
		raise(&me->max_end, s->end);
		CT_SET(me->ack, s->ack);
	}
	raise(&me->end, s->end);
	if (CT_GET(me->max_win) < (win ? win : 1))
		CT_SET(me->max_win, win ? win : 1);
	if (!(s->flags & ACK))
		return;
	raise(&me->ack, s->ack);
	raise(&to->max_end, s->ack + (win ? win : 1));
}

bool odp_ct_tcp_fast(struct odp_ct *ct, struct odp_conn *c, uint32_t st, const struct odp_ct_pkt *p,
	unsigned dir, uint64_t now_ms)
{
	struct seg s;

	if ((st & (0xffffu | LOOSE_ANY | CT_ST_REPLIED)) != (ALL_OPEN | CT_ST_REPLIED) ||
		!seg_read(p, &s) || (s.flags & ~PSH) != ACK || CT_GET(c->tcp[dir].max_win) == 0 ||
		!in_window(c, st, &s, dir))
		return false;
	windows_move(c, st, &s, dir);
	ct_refresh(ct, c, ODP_CT_TCP_ESTABLISHED, now_ms);
	return true;
}

/* ---- beginnings ---- */

static void peer_set(
	struct ct_peer *p, uint32_t end, uint32_t max_end, uint32_t max_win, uint32_t ack)
{
	CT_SET(p->end, end);
	CT_SET(p->max_end, max_end);
	CT_SET(p->max_win, max_win);
	CT_SET(p->ack, ack);
}

static uint32_t syn_word(unsigned side, unsigned sc)
{
	return sc > SCALE_MAX ? 0 : HAS_SCALE(side) | sc << SCALE_SHIFT(side);
}

uint32_t odp_ct_tcp_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c)
{
	struct seg s;
	unsigned sc;

	if (!seg_read(p, &s) || s.flags & (RST | FIN))
		return 0;
	if (s.flags & SYN) {
		if (s.flags & ACK || !scale_read(p, &s, &sc))
			return 0; // the answer to a SYN that was not seen
		if (c) {
			peer_set(&c->tcp[0], s.end, s.end, s.win ? s.win : 1, 0);
			peer_set(&c->tcp[1], 0, 0, 0, s.seq + 1);
		}
		return named(syn_word(0, sc) | H_SYN << HALF_SHIFT(0));
	}
	if (ct->tcp_strict)
		return 0;
	// In mid-stream: scales are not known, so the largest are taken.
	if (c) {
		uint32_t win = s.win << SCALE_MAX;

		peer_set(&c->tcp[0], s.end, s.end + (0xffffu << SCALE_MAX), win ? win : 1, s.ack);
		peer_set(&c->tcp[1], s.ack, s.ack + win, 0, 0);
	}
	return ALL_OPEN | SCALE_MAX << SCALE_SHIFT(0) | SCALE_MAX << SCALE_SHIFT(1);
}

/* ---- what a segment does ---- */

/* Does it acknowledge the peer's SYN, and no more than was sent? */
static bool acks_syn(const struct odp_conn *c, const struct seg *s, unsigned from)
{
	uint32_t least = CT_GET(c->tcp[from].ack); // see peer.ack: nothing was acknowledged yet

	return s->flags & ACK && s->ack - least <= CT_GET(c->tcp[!from].end) - least;
}

static uint32_t assured(uint32_t st)
{
	bool is = CT_ST(st) == ODP_CT_TCP_ESTABLISHED && st & CT_ST_REPLIED;

	return is ? st | CT_ST_ASSURED : st;
}

/* RST: RFC 5961, section 3.2. */
static enum ct_verdict on_rst(
	const struct odp_conn *c, uint32_t st, const struct seg *s, unsigned from, uint32_t *new)
{
	const struct ct_peer *me = &c->tcp[from], *to = &c->tcp[!from];

	if (half(st, from) == H_NONE) {
		if (!acks_syn(c, s, from)) // RFC 9293, section 3.10.7.3
			return CT_INVALID;
	} else if (s->seq != CT_GET(me->end) &&
		   (CT_GET(to->max_win) == 0 || s->seq != CT_GET(to->ack))) {
		// Not where the peer stands: at what it acknowledged last or, if that
		// acknowledgement is on its way, behind all that was let through to it.
		return in_window(c, st, s, from) ? CT_IGNORED : CT_INVALID;
	}
	*new = (st & ~0xffu) | ODP_CT_TCP_CLOSE;
	return CT_OK;
}

/* SYN where one was not seen from this side, or not answered yet. */
static enum ct_verdict on_syn(struct odp_conn *c, uint32_t st, const struct odp_ct_pkt *p,
	const struct seg *s, unsigned from, uint32_t *new)
{
	struct ct_peer *me = &c->tcp[from], *to = &c->tcp[!from];
	unsigned h = half(st, from), other = half(st, !from), sc;
	bool again = h != H_NONE && s->end == CT_GET(me->end);

	// RFC 5961, section 4: the peer answers with a challenge. When both open at once, a SYN
	// that was acknowledged comes again to acknowledge the other one.
	if (h > H_OPEN || (h == H_OPEN && !(again && other == H_SYN)) ||
		(h == H_SYN && !again && other != H_NONE))
		return CT_IGNORED;
	if (!scale_read(p, s, &sc) || (s->flags & ACK && other == H_SYN && !acks_syn(c, s, from)))
		return CT_INVALID;
	uint32_t win = s->win ? s->win : 1;

	if (!again) {
		uint32_t room = s->seq + 1 + CT_GET(to->max_win);

		CT_SET(me->end, s->end);
		CT_SET(me->max_end, after(room, s->end) ? room : s->end);
		CT_SET(me->max_win, win);
		CT_SET(to->ack, s->seq + 1);
		st &= ~(HAS_SCALE(from) | 0xfu << SCALE_SHIFT(from));
		st |= syn_word(from, sc);
	}
	// Scaling is in force only if both SYNs have it: RFC 7323, section 2.2.
	if (other != H_NONE && !(st & HAS_SCALE(0) && st & HAS_SCALE(1)))
		st &= ~(0xffu << SCALE_SHIFT(0) | HAS_SCALE(0) | HAS_SCALE(1));
	if (h == H_NONE)
		st = with_half(st, from, H_SYN);
	if (s->flags & ACK && other == H_SYN) {
		st = with_half(st, !from, H_OPEN);
		CT_SET(me->ack, s->ack);
		raise(&to->max_end, s->ack + win);
	}
	*new = assured(named(st));
	return CT_OK;
}

/* Anything that carries an acknowledgement, with FIN or without. */
static enum ct_verdict on_ack(const struct odp_ct *ct, const struct odp_conn *c, uint32_t st,
	const struct seg *s, unsigned from, uint32_t *new)
{
	unsigned other = half(st, !from);

	// Data before its SYN, or an acknowledgement of what nobody sent.
	if (half(st, from) == H_NONE || other == H_NONE)
		return CT_INVALID;
	if (other == H_SYN && !acks_syn(c, s, from))
		return CT_INVALID;
	if (!in_window(c, st, s, from) && !ct->tcp_liberal)
		return CT_INVALID;
	if (other == H_SYN)
		st = with_half(st, !from, H_OPEN);
	if (other == H_FIN && s->ack == CT_GET(c->tcp[!from].end))
		st = with_half(st, !from, H_DONE);
	if (s->flags & FIN && half(st, from) < H_FIN)
		st = with_half(st, from, H_FIN);
	*new = assured(named(st & ~LOOSE(from)));
	return CT_OK;
}

static bool is_over(uint32_t st)
{
	return CT_ST(st) == ODP_CT_TCP_CLOSE || CT_ST(st) == ODP_CT_TCP_TIME_WAIT;
}

enum ct_verdict odp_ct_tcp_update(const struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms)
{
	struct seg s;

	if (!seg_read(p, &s))
		return CT_INVALID;
	for (unsigned tries = 0; tries < 8; tries++) {
		uint32_t old = CT_GET(c->st), new = old;
		enum ct_verdict v;

		if (CT_ST(old) == 0)
			return CT_INVALID; // removed at this moment
		if (s.flags & SYN && !(s.flags & ACK) && is_over(old))
			return CT_REOPENS;
		uint32_t in = dir == ODP_CT_REPLY ? old | CT_ST_REPLIED : old;

		if (s.flags & RST)
			v = on_rst(c, in, &s, dir, &new);
		else if (CT_ST(old) == ODP_CT_TCP_CLOSE)
			return in_window(c, old, &s, dir) ? CT_IGNORED : CT_INVALID;
		else if (s.flags & SYN)
			v = on_syn(c, in, p, &s, dir, &new);
		else
			v = on_ack(ct, c, in, &s, dir, &new);
		if (v == CT_IGNORED)
			dpu_counter_add(&w->n.challenged, 1);
		if (v != CT_OK)
			return v;
		if (new != old && !odp_ct_move(w, c, old, new))
			continue;
		if (!(s.flags & (RST | SYN)))
			windows_move(c, new | (old & LOOSE_ANY), &s, dir);
		ct_refresh(ct, c, CT_ST(new), now_ms);
		return CT_OK;
	}
	return CT_IGNORED;
}
