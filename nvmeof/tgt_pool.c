// SPDX-License-Identifier: Apache-2.0
/* Buffers for data of commands. */
#include "tgt_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

static int init_class(struct tgt_pool *p, enum tgt_pool_class c, uint32_t size, uint32_t n)
{
	p->size[c] = size;
	p->n[c] = n;
	p->mem[c] = dpu_aligned_calloc(4096, n, size);
	p->free[c] = dpu_calloc(n, sizeof(uint8_t *));
	if (!p->mem[c] || !p->free[c])
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		p->free[c][p->n_free[c]++] = p->mem[c] + (size_t)(n - 1 - i) * size;
	return 0;
}

int tgt_pool_init(
	struct tgt_pool *p, uint32_t small, uint32_t large, uint32_t bytes, uint32_t reserve)
{
	int ret;

	*p = (struct tgt_pool){ .reserve = reserve };
	ret = init_class(p, TGT_SMALL, small, bytes / 2 / small);
	if (!ret)
		ret = init_class(p, TGT_LARGE, large, bytes / 2 / large);
	if (ret)
		tgt_pool_fini(p);
	return ret;
}

void tgt_pool_fini(struct tgt_pool *p)
{
	for (unsigned c = 0; c < TGT_CLASSES; c++) {
		free(p->mem[c]);
		free(p->free[c]);
	}
	*p = (struct tgt_pool){ 0 };
}

static bool may_take(const struct tgt_pool *p, const struct tgt_held *held, enum tgt_pool_class c,
	enum tgt_pool_for why, uint32_t n)
{
	uint32_t reserve = c == TGT_SMALL ? p->reserve : 0;

	if (why == TGT_FOR_CAPSULE)
		return p->n_free[c] >= n;
	if (p->n_free[c] < n + reserve)
		return false;
	// A command of the greatest length always may, when there is one's worth.
	return held->n[c] == 0 || held->n[c] + n <= p->n_free[c] - reserve;
}

static unsigned take(struct tgt_pool *p, struct tgt_held *held, enum tgt_pool_class c, uint32_t len,
	struct iovec *iov)
{
	unsigned n = 0;

	while (len > 0) {
		uint32_t part = len < p->size[c] ? len : p->size[c];

		iov[n++] = (struct iovec){ p->free[c][--p->n_free[c]], part };
		len -= part;
	}
	held->n[c] += n;
	return n;
}

unsigned tgt_pool_get(struct tgt_pool *p, struct tgt_held *held, enum tgt_pool_for why,
	uint32_t len, struct iovec *iov, unsigned max)
{
	uint32_t n = (len + p->size[TGT_LARGE] - 1) / p->size[TGT_LARGE];

	if (len == 0 || n > max)
		return 0;
	if (len <= p->size[TGT_SMALL] && may_take(p, held, TGT_SMALL, why, 1))
		return take(p, held, TGT_SMALL, len, iov);
	if (may_take(p, held, TGT_LARGE, why, n))
		return take(p, held, TGT_LARGE, len, iov);
	return 0;
}

static enum tgt_pool_class class_of(const struct tgt_pool *p, const uint8_t *buf)
{
	const uint8_t *mem = p->mem[TGT_SMALL];

	return buf >= mem && buf < mem + (size_t)p->n[TGT_SMALL] * p->size[TGT_SMALL] ? TGT_SMALL
										      : TGT_LARGE;
}

void tgt_pool_put(
	struct tgt_pool *p, struct tgt_held *held, const struct iovec *iov, unsigned n_iov)
{
	for (unsigned i = 0; i < n_iov; i++) {
		enum tgt_pool_class c = class_of(p, iov[i].iov_base);

		assert(p->n_free[c] < p->n[c] && held->n[c] > 0);
		p->free[c][p->n_free[c]++] = iov[i].iov_base;
		held->n[c]--;
	}
}
