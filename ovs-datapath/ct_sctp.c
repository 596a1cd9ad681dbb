// SPDX-License-Identifier: Apache-2.0
/*
 * SCTP: RFC 9260. The state follows from the chunks that set an association up and take it down;
 * every packet carries the tag that its receiver asked for (section 8.5).
 */
#include "ct_priv.h"
#include "inet.h"

#define CHUNKS_MAX 16u // looked at in one packet

enum event {
	EV_DATA, // anything that changes no state
	EV_INIT,
	EV_INIT_ACK,
	EV_COOKIE_ECHO,
	EV_COOKIE_ACK,
	EV_SHUTDOWN,
	EV_SHUTDOWN_ACK,
	EV_SHUTDOWN_COMPLETE,
	EV_ABORT,
	EVENTS
};

static const uint8_t event_of[256] = {
	[1] = EV_INIT,
	[2] = EV_INIT_ACK,
	[6] = EV_ABORT,
	[7] = EV_SHUTDOWN,
	[8] = EV_SHUTDOWN_ACK,
	[10] = EV_COOKIE_ECHO,
	[11] = EV_COOKIE_ACK,
	[14] = EV_SHUTDOWN_COMPLETE,
};

#define AT(s) (ODP_CT_SCTP_##s - ODP_CT_SCTP_COOKIE_WAIT)
#define STATES (AT(CLOSED) + 1)

/* Row: where we are. Column: what came. An absent cell is 0: not allowed. */
static const uint8_t next_state[STATES][EVENTS] = {
	[AT(COOKIE_WAIT)] = { [EV_INIT] = ODP_CT_SCTP_COOKIE_WAIT,
		[EV_INIT_ACK] = ODP_CT_SCTP_COOKIE_WAIT,
		[EV_COOKIE_ECHO] = ODP_CT_SCTP_COOKIE_ECHOED,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
	[AT(COOKIE_ECHOED)] = { [EV_DATA] = ODP_CT_SCTP_COOKIE_ECHOED,
		[EV_COOKIE_ECHO] = ODP_CT_SCTP_COOKIE_ECHOED,
		[EV_COOKIE_ACK] = ODP_CT_SCTP_ESTABLISHED,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
	[AT(ESTABLISHED)] = { [EV_DATA] = ODP_CT_SCTP_ESTABLISHED,
		[EV_COOKIE_ECHO] = ODP_CT_SCTP_ESTABLISHED,
		[EV_COOKIE_ACK] = ODP_CT_SCTP_ESTABLISHED,
		[EV_SHUTDOWN] = ODP_CT_SCTP_SHUTDOWN_SENT,
		[EV_SHUTDOWN_ACK] = ODP_CT_SCTP_SHUTDOWN_ACK,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
	[AT(SHUTDOWN_SENT)] = { [EV_DATA] = ODP_CT_SCTP_SHUTDOWN_SENT,
		[EV_SHUTDOWN] = ODP_CT_SCTP_SHUTDOWN_SENT,
		[EV_SHUTDOWN_ACK] = ODP_CT_SCTP_SHUTDOWN_ACK,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
	[AT(SHUTDOWN_ACK)] = { [EV_SHUTDOWN] = ODP_CT_SCTP_SHUTDOWN_ACK,
		[EV_SHUTDOWN_ACK] = ODP_CT_SCTP_SHUTDOWN_ACK,
		[EV_SHUTDOWN_COMPLETE] = ODP_CT_SCTP_CLOSED,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
	[AT(CLOSED)] = { [EV_SHUTDOWN_ACK] = ODP_CT_SCTP_CLOSED,
		[EV_SHUTDOWN_COMPLETE] = ODP_CT_SCTP_CLOSED,
		[EV_ABORT] = ODP_CT_SCTP_CLOSED },
};

struct sctp {
	uint32_t vtag, init_tag;
	enum event ev; // the strongest of the chunks
	bool reflected; // T bit: the tag is the receiver's own
};

static bool sctp_read(const struct odp_ct_pkt *p, struct sctp *s)
{
	size_t at = 12;

	*s = (struct sctp){ .ev = EV_DATA };
	if (p->l4_len < 16)
		return false;
	s->vtag = odp_get32(p->l4 + 4);
	for (unsigned n = 0; n < CHUNKS_MAX && p->l4_len - at >= 4; n++) {
		size_t len = odp_get16(p->l4 + at + 2);
		enum event ev = (enum event)event_of[p->l4[at]];

		if (len < 4 || len > p->l4_total - at)
			return false;
		if (ev == EV_INIT || ev == EV_INIT_ACK || ev == EV_SHUTDOWN_COMPLETE) {
			// Section 6.10: these stand alone.
			if (n != 0 || (len + 3) / 4 * 4 < p->l4_total - at)
				return false;
		}
		if (ev == EV_INIT || ev == EV_INIT_ACK) {
			if (len < 20 || p->l4_len - at < 20)
				return false;
			s->init_tag = odp_get32(p->l4 + at + 4);
			if (s->init_tag == 0) // section 3.3.2
				return false;
		}
		if (ev > s->ev)
			s->ev = ev;
		if (ev == EV_ABORT || ev == EV_SHUTDOWN_COMPLETE)
			s->reflected = p->l4[at + 1] & 1;
		len = (len + 3) / 4 * 4;
		if (len > p->l4_len - at)
			break; // the rest is not contiguous, or is the padding
		at += len;
	}
	return (s->vtag == 0) == (s->ev == EV_INIT);
}

uint32_t odp_ct_sctp_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c)
{
	struct sctp s;

	if (!sctp_read(p, &s))
		return 0;
	if (s.ev == EV_INIT) {
		if (c) {
			CT_SET(c->vtag[ODP_CT_ORIG], 0);
			CT_SET(c->vtag[ODP_CT_REPLY], s.init_tag);
		}
		return ODP_CT_SCTP_COOKIE_WAIT;
	}
	if (ct->tcp_strict || s.ev != EV_DATA)
		return 0;
	if (c) {
		CT_SET(c->vtag[ODP_CT_ORIG], s.vtag);
		CT_SET(c->vtag[ODP_CT_REPLY], 0); // learned from the first answer
	}
	return ODP_CT_SCTP_ESTABLISHED;
}

static bool tag_ok(const struct odp_conn *c, const struct sctp *s, unsigned dir)
{
	uint32_t mine = CT_GET(c->vtag[dir]), back = CT_GET(c->vtag[!dir]);

	if (s->ev == EV_INIT)
		return true;
	if (s->reflected)
		return back == s->vtag;
	return mine == 0 ? s->ev != EV_ABORT : mine == s->vtag;
}

enum ct_verdict odp_ct_sctp_update(const struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms)
{
	struct sctp s;

	if (!sctp_read(p, &s) || !tag_ok(c, &s, dir))
		return CT_INVALID;
	for (unsigned tries = 0; tries < 8; tries++) {
		uint32_t old = CT_GET(c->st);

		if (CT_ST(old) < ODP_CT_SCTP_COOKIE_WAIT || CT_ST(old) > ODP_CT_SCTP_CLOSED)
			return CT_INVALID; // removed at this moment
		if (s.ev == EV_INIT && CT_ST(old) == ODP_CT_SCTP_CLOSED)
			return CT_REOPENS;
		if (s.ev == EV_INIT && CT_ST(old) != ODP_CT_SCTP_COOKIE_WAIT)
			return CT_IGNORED; // section 5.2.2: the peer's to judge
		uint32_t new = next_state[CT_ST(old) - ODP_CT_SCTP_COOKIE_WAIT][s.ev];

		if (new == 0)
			return CT_INVALID;
		new |= old &(CT_ST_REPLIED | CT_ST_ASSURED);
		if (dir == ODP_CT_REPLY)
			new |= CT_ST_REPLIED;
		if (CT_ST(new) == ODP_CT_SCTP_ESTABLISHED && new &CT_ST_REPLIED)
			new |= CT_ST_ASSURED;
		if (new != old && !odp_ct_move(w, c, old, new))
			continue;
		if (s.ev == EV_INIT || s.ev == EV_INIT_ACK)
			CT_SET(c->vtag[!dir], s.init_tag);
		else if (CT_GET(c->vtag[dir]) == 0 && !s.reflected)
			CT_SET(c->vtag[dir], s.vtag);
		ct_refresh(ct, c, CT_ST(new), now_ms);
		return CT_OK;
	}
	return CT_IGNORED;
}
