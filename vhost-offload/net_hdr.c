// SPDX-License-Identifier: Apache-2.0
/* virtio-net headers: checked against the frame on the way in, made from flags on the way out. */
#include "net_hdr.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "dpu_cur.h"
#include "net_proto.h"

enum {
	TCP_CSUM_OFF = 16,
	UDP_CSUM_OFF = 6,
};

/* A frame down to its TCP or UDP header. */
struct frame {
	uint32_t l2_len, l3_len, l4_len; // bytes
	uint32_t ip_len; // bytes of the IP packet as its header says
	bool v4;
	uint8_t proto; // 0: neither TCP nor UDP, or a fragment
};

static void parse_ipv4(struct dpu_cur *c, struct frame *f)
{
	uint8_t vihl = dpu_cur_u8(c);
	uint16_t frag;

	dpu_cur_skip(c, 1);
	f->ip_len = dpu_cur_be16(c);
	dpu_cur_skip(c, 2);
	frag = dpu_cur_be16(c);
	dpu_cur_skip(c, 1);
	f->proto = dpu_cur_u8(c);
	dpu_cur_skip(c, 10);
	f->l3_len = (vihl & 0xfu) * 4;
	if (c->bad || vihl >> 4 != 4 || f->l3_len < 20 || frag & 0x3fff)
		f->proto = 0;
	else
		dpu_cur_skip(c, f->l3_len - 20);
	f->v4 = true;
}

static void parse_ipv6(struct dpu_cur *c, struct frame *f)
{
	uint32_t vtf = dpu_cur_be32(c);

	f->ip_len = dpu_cur_be16(c) + 40u;
	f->proto = dpu_cur_u8(c);
	dpu_cur_skip(c, 33);
	f->l3_len = 40;
	if (vtf >> 28 != 6)
		f->proto = 0;
	for (unsigned n = 0; n < IP6_EXT_MAX; n++) {
		uint8_t next;
		uint32_t len;

		if (f->proto != IP6_ROUTING && f->proto != IP6_DEST_OPTS &&
			!(f->proto == IP6_HOP_BY_HOP && n == 0 && vtf >> 28 == 6))
			break; // TCP, UDP, or something (a fragment, say) that we leave alone
		next = dpu_cur_u8(c);
		len = (dpu_cur_u8(c) + 1u) * 8;
		dpu_cur_skip(c, len - 2);
		f->l3_len += len;
		f->proto = next;
	}
}

/*
 * Bounded: two VLAN tags, IP6_EXT_MAX extension headers. False: no TCP or UDP header to be found.
 */
static bool parse(const struct rte_mbuf *m, struct frame *f)
{
	struct dpu_cur c = dpu_cur_init(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	uint16_t type;

	*f = (struct frame){ .l2_len = 14 };
	dpu_cur_skip(&c, 12);
	type = dpu_cur_be16(&c);
	for (unsigned n = 0; n < 2 && (type == ETH_VLAN || type == ETH_QINQ); n++) {
		dpu_cur_skip(&c, 2);
		type = dpu_cur_be16(&c);
		f->l2_len += 4;
	}
	if (type == ETH_IPV4)
		parse_ipv4(&c, f);
	else if (type == ETH_IPV6)
		parse_ipv6(&c, f);
	if (f->proto == PROTO_TCP) {
		dpu_cur_skip(&c, 12);
		f->l4_len = (dpu_cur_u8(&c) >> 4) * 4u;
		dpu_cur_skip(&c, 7);
		if (f->l4_len < 20)
			return false;
		dpu_cur_skip(&c, f->l4_len - 20);
	} else if (f->proto == PROTO_UDP) {
		f->l4_len = 8;
		dpu_cur_skip(&c, 8);
	} else {
		return false;
	}
	return !c.bad && f->l3_len <= 511; // width of the mbuf's l3_len
}

int vho_net_csum_complete(struct rte_mbuf *m, uint32_t start, uint32_t off)
{
	uint32_t at = start + off, base = 0;
	uint64_t sum = 0;
	uint8_t csum[2];
	bool odd = false;

	if (start > m->pkt_len || m->pkt_len - start < 2 || off > m->pkt_len - start - 2)
		return -EINVAL;
	for (const struct rte_mbuf *s = m; s; base += s->data_len, s = s->next) {
		const uint8_t *p = rte_pktmbuf_mtod(s, const uint8_t *);
		uint32_t i = start > base ? start - base : 0;

		if (i >= s->data_len)
			continue;
		if (odd) {
			sum += p[i++];
			odd = false;
		}
		for (; i + 1 < s->data_len; i += 2)
			sum += (uint32_t)p[i] << 8 | p[i + 1];
		if (i < s->data_len) {
			sum += (uint32_t)p[i] << 8;
			odd = true;
		}
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	if (sum == 0)
		sum = 0xffff; // zero means "no checksum" to UDP, and the two are equal otherwise
	csum[0] = (uint8_t)(sum >> 8);
	csum[1] = (uint8_t)sum;
	base = 0;
	for (struct rte_mbuf *s = m; s; base += s->data_len, s = s->next)
		for (unsigned k = 0; k < 2; k++)
			if (at + k >= base && at + k - base < s->data_len)
				*rte_pktmbuf_mtod_offset(s, uint8_t *, at + k - base) = csum[k];
	return 0;
}

static void mark(struct rte_mbuf *m, const struct frame *f, uint64_t flags)
{
	m->l2_len = f->l2_len & 0x7f;
	m->l3_len = f->l3_len & 0x1ff;
	m->l4_len = f->l4_len & 0xff;
	m->ol_flags |= flags | (f->v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
}

static uint64_t csum_flag(const struct frame *f)
{
	return f->proto == PROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
}

/* Is the request the one for the frame's own TCP or UDP checksum? */
static bool csum_fits(const vho_net_hdr *h, const struct frame *f)
{
	return le16toh(h->csum_start) == f->l2_len + f->l3_len &&
	       le16toh(h->csum_offset) == (f->proto == PROTO_TCP ? TCP_CSUM_OFF : UDP_CSUM_OFF);
}

static int apply_gso(const vho_net_hdr *h, uint64_t features, struct rte_mbuf *m)
{
	static const struct {
		uint8_t type, proto;
		bool v4, v6;
		unsigned feature;
	} kinds[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, PROTO_TCP, true, false, VIRTIO_NET_F_HOST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, PROTO_TCP, false, true, VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP_L4, PROTO_UDP, true, true, VIRTIO_NET_F_HOST_USO },
	};
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	uint32_t size = le16toh(h->gso_size), payload, headers;
	struct frame f;

	if (size == 0 || !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !parse(m, &f) ||
		!csum_fits(h, &f))
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].type != type)
			continue;
		if (!vho_net_has(features, kinds[i].feature) || f.proto != kinds[i].proto ||
			!(f.v4 ? kinds[i].v4 : kinds[i].v6))
			return -EINVAL;
		headers = f.l2_len + f.l3_len + f.l4_len;
		payload = m->pkt_len - headers;
		if (payload <= size) { // one segment: an ordinary packet
			mark(m, &f, csum_flag(&f));
			return 0;
		}
		if ((payload + size - 1) / size > VHO_NET_GSO_SEGS_MAX)
			return -EINVAL;
		mark(m, &f,
			csum_flag(&f) | (f.proto == PROTO_TCP ? RTE_MBUF_F_TX_TCP_SEG
							      : RTE_MBUF_F_TX_UDP_SEG));
		m->tso_segsz = (uint16_t)size;
		return 0;
	}
	return -EINVAL;
}

int vho_net_hdr_apply(const vho_net_hdr *h, uint64_t features, struct rte_mbuf *m)
{
	struct frame f;

	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return apply_gso(h, features, m);
	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return 0;
	// Hardware sums as far as the IP length says, the driver meant the whole frame: only where
	// both are the same may the request travel on.
	if (parse(m, &f) && csum_fits(h, &f) && f.ip_len == m->pkt_len - f.l2_len) {
		mark(m, &f, csum_flag(&f));
		return 0;
	}
	return vho_net_csum_complete(m, le16toh(h->csum_start), le16toh(h->csum_offset));
}

/* May its bytes be written? A clone shares them. */
static bool writable(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
			return false;
	return true;
}

int vho_net_hdr_make(struct rte_mbuf *m, uint64_t offloads, vho_net_hdr *h)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	uint64_t seg = m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	bool v4 = m->ol_flags & RTE_MBUF_F_TX_IPV4;
	bool tcp = l4 == RTE_MBUF_F_TX_TCP_CKSUM || seg & RTE_MBUF_F_TX_TCP_SEG;
	uint32_t start = m->l2_len + m->l3_len;
	uint32_t off = tcp ? TCP_CSUM_OFF : UDP_CSUM_OFF;

	memset(h, 0, sizeof(*h));
	h->num_buffers = htole16(1);
	if (seg) {
		unsigned need = tcp ? (v4 ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_GUEST_TSO6)
				    : (v4 ? VIRTIO_NET_F_GUEST_USO4 : VIRTIO_NET_F_GUEST_USO6);

		if (!vho_net_has(offloads, need) || m->tso_segsz == 0)
			return -ENOTSUP;
		h->gso_type = tcp ? (v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6)
				  : VIRTIO_NET_HDR_GSO_UDP_L4;
		h->gso_size = htole16(m->tso_segsz);
		h->hdr_len = htole16((uint16_t)(start + m->l4_len));
	}
	if (seg || l4 == RTE_MBUF_F_TX_TCP_CKSUM || l4 == RTE_MBUF_F_TX_UDP_CKSUM) {
		if (!vho_net_has(offloads, VIRTIO_NET_F_GUEST_CSUM)) {
			if (seg || !writable(m))
				return -ENOTSUP;
			return vho_net_csum_complete(m, start, off) ? -ENOTSUP : 0;
		}
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = htole16((uint16_t)start);
		h->csum_offset = htole16((uint16_t)off);
		return 0;
	}
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
		vho_net_has(offloads, VIRTIO_NET_F_GUEST_CSUM))
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	return 0;
}
