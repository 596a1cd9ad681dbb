// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: commands on virtio-net's control queue.
 *
 * Input: features, then commands: length of the out segments, where they are cut, length of the in
 * segments, bytes. Segments stand in memory of their own size.
 */
#include <stdlib.h>
#include <string.h>

#include "dpu_cur.h"
#include "net_ctrl.h"
#include "net_hdr.h"

#define COMMANDS_MAX 32
#define PAIRS 4
#define UNTOUCHED 0xa7
#define RESULT 9 // bytes of the longest answer: status, packets, microseconds

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void seg(struct iovec *v, size_t n)
{
	v->iov_base = malloc(n);
	v->iov_len = n;
	if (!v->iov_base)
		abort();
}

static void check(const struct vho_net_ctrl *c, uint64_t features)
{
	const struct vho_net_filter *f = vho_net_ctrl_filter(c);
	const struct vho_net_hash *h = vho_net_ctrl_hash(c);
	uint64_t offloads = atomic_load(&c->guest_offloads);

	if (atomic_load(&c->pairs) > PAIRS || (offloads & ~features) != 0)
		abort();
	if (f && (f->n_uni > VHO_NET_FILTER_MACS || f->n_multi > VHO_NET_FILTER_MACS))
		abort();
	if (!h)
		return;
	if ((h->types & ~VHO_NET_HASH_TYPES) || h->mask >= VHO_NET_RSS_TABLE ||
		(h->mask & (h->mask + 1)) || h->unclassified >= PAIRS)
		abort();
	for (unsigned i = 0; i <= h->mask; i++)
		if (h->table[i] >= PAIRS)
			abort();
}

static void command(struct vho_net_ctrl *c, uint64_t features, struct dpu_cur *in)
{
	size_t n_out = dpu_cur_u8(in) * 2U, cut = dpu_cur_u8(in), n_in = dpu_cur_u8(in) % 12, done;
	struct iovec iov[3];
	struct vho_chain chain = { .iov = iov };
	uint8_t *ack = NULL;

	if (n_out > in->left)
		n_out = in->left;
	for (size_t left = n_out; left > 0 && chain.n_out < 2; left -= done) {
		struct iovec *v = &iov[chain.n_out];

		done = chain.n_out == 0 && cut > 0 && cut < left ? cut : left;
		seg(v, done);
		dpu_cur_copy(in, v->iov_base, done);
		chain.n_out++;
		chain.out_len += done;
	}
	if (n_in > 0) {
		seg(&iov[chain.n_out], n_in);
		ack = iov[chain.n_out].iov_base;
		memset(ack, UNTOUCHED, n_in);
		chain.n_in = 1;
		chain.in_len = n_in;
	}

	uint32_t written = vho_net_ctrl_handle(c, features, &chain);

	if ((written != (n_in > 0) && (written != RESULT || n_in < RESULT)) ||
		(ack && *ack != VIRTIO_NET_OK && *ack != VIRTIO_NET_ERR))
		abort();
	for (size_t i = written; i < n_in; i++)
		if (ack[i] != UNTOUCHED)
			abort();
	check(c, features);
	for (unsigned i = 0; i < (unsigned)chain.n_out + chain.n_in; i++)
		free(iov[i].iov_base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	static const struct vho_host host;
	struct dpu_cur in = dpu_cur_init(data, len);
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1;
	struct vho_net_ctrl c;

	if (len < 8)
		return 0;
	features |= dpu_cur_le64(&in);
	vho_net_ctrl_init(&c, &host, mac, PAIRS);
	vho_net_ctrl_reset(&c, features);
	for (unsigned i = 0; i < COMMANDS_MAX && in.left > 0; i++)
		command(&c, features, &in);
	vho_net_ctrl_reset(&c, features);
	if (vho_net_ctrl_filter(&c))
		abort();
	vho_net_ctrl_fini(&c);
	return 0;
}
