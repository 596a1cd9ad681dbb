// SPDX-License-Identifier: Apache-2.0
/* Long packets from a guest: the payload is lent, not copied. */
#include "net_lend.h"

#include <assert.h>

#include "net_priv.h"

/* Shorter pieces than this, on average, cost more to lend than to copy. */
#define PIECE_MIN 1024u
/* A flood to 1024 ports makes as many clones of each segment, and their number has 16 bits. */
#define PIECES_MAX 63u
#define TCP_HDR_MAX 60u

/* All segments are gone when theirs is 1: the last one never gets here. */
static void never(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
	assert(!"the queue's own count is there");
}

void vho_lent_init(struct vho_lent *l)
{
	l->n = 0;
	for (unsigned i = 0; i < VHO_BURST; i++) {
		l->chain[i].info.free_cb = never;
		rte_mbuf_ext_refcnt_set(&l->chain[i].info, 1);
	}
}

bool vho_lend_worth(const struct vho_net *net, const struct vho_chain *ch,
	const struct virtio_net_hdr_v1 *h, uint32_t len)
{
	uint32_t pieces = len / PIECE_MIN;

	if (!net->lends || len <= net->mbuf_room)
		return false;
	if (ch->n_out > (pieces < PIECES_MAX ? pieces : PIECES_MAX))
		return false;
	// What a checksum request makes us read and write as headers must lie in our copy.
	return !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	       (le16toh(h->csum_start) <= VHO_LEND_HEAD - TCP_HDR_MAX &&
		       le16toh(h->csum_offset) <= TCP_HDR_MAX - sizeof(uint16_t));
}

struct rte_mbuf *vho_lend(
	const struct vho_net *net, struct vho_lent *l, struct vho_seg_cur *c, uint32_t len)
{
	struct rte_mbuf_ext_shared_info *info = &l->chain[l->n].info;
	struct rte_mbuf *head = rte_pktmbuf_alloc(net->pool), *last = head;

	assert(l->n < VHO_BURST);
	if (!head)
		return NULL;
	vho_seg_read(c, rte_pktmbuf_mtod(head, void *), VHO_LEND_HEAD);
	head->data_len = VHO_LEND_HEAD;
	head->pkt_len = len;
	for (uint32_t left = len - VHO_LEND_HEAD; left;) {
		size_t part = vho_seg_left(c);
		struct rte_mbuf *m = rte_pktmbuf_alloc(net->pool);

		if (!m) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		static_assert(VHO_NET_FRAME_MAX - VHO_LEND_HEAD <= UINT16_MAX, "fits buf_len");
		part = part < left ? part : left;
		rte_mbuf_ext_refcnt_update(info, 1);
		rte_pktmbuf_attach_extbuf(
			m, (uint8_t *)c->v->iov_base + c->off, RTE_BAD_IOVA, (uint16_t)part, info);
		m->data_len = (uint16_t)part;
		last->next = m;
		last = m;
		head->nb_segs++;
		left -= (uint32_t)part;
		vho_seg_skip(c, part);
	}
	return head;
}

void vho_lent_keep(struct vho_lent *l, const struct vho_elem *e)
{
	struct vho_elem *kept = &l->chain[l->n++].elem;

	*kept = *e;
	// Nothing is written into a transmitted chain, so nothing of it is to be logged; and the
	// list of its segments does not live as long as this.
	kept->in = NULL;
	kept->n_in = 0;
}

void vho_lent_return(struct vho_lent *l, struct vho_queue *q)
{
	for (unsigned i = 0; i < l->n; i++) {
		// A segment that somebody kept would show what the guest puts there next, or point
		// to where memory was unmapped.
		assert(rte_mbuf_ext_refcnt_read(&l->chain[i].info) == 1);
		vho_queue_push(q, &l->chain[i].elem, 0);
	}
	vho_queue_publish(q);
	l->n = 0;
}

void vho_net_let_go(struct vho_dev *dev, unsigned idx)
{
	struct vho_net *net = dev->owner;
	struct vho_net_pair *np;

	if (idx / 2 >= net->max_pairs)
		return; // the control queue
	if (idx % 2 == 0) {
		vho_net_tx_forget(net, (uint16_t)(idx / 2));
		return;
	}
	np = &net->pairs[idx / 2];
	np->rest.until_tsc = 0;
	if (np->lent.n == 0)
		return;
	vho_lent_return(&np->lent, &dev->queues[idx].q);
	vho_queue_notify(&dev->queues[idx].q);
}
