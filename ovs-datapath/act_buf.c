// SPDX-License-Identifier: Apache-2.0
/* Action lists: building and reading the records. */
#include "odp_act.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"

#define SIZE_MIN 256u // bytes that a list starts with

static const uint16_t set_sizes[ODP_SET_FIELDS] = {
#define X(name, value) [ODP_SET_##name] = sizeof(value),
	ODP_SETS(X)
#undef X
};

size_t odp_set_size(unsigned field)
{
	return field < ODP_SET_FIELDS ? set_sizes[field] : 0;
}

const struct odp_act *odp_act_list(const struct odp_act *a, size_t *len)
{
	size_t head = sizeof(*a);

	*len = 0;
	switch (a->type) {
	case ODP_ACT_SAMPLE:
	case ODP_ACT_CHECK_PKT_LEN:
		head = sizeof(struct odp_act_u32);
		break;
	case ODP_ACT_CLONE:
	case ODP_ACT_LIST:
	case ODP_ACT_DEC_TTL:
		break;
	default:
		return NULL;
	}
	*len = a->len - head;
	return odp_act_end(a, head);
}

void odp_actbuf_fini(struct odp_actbuf *b)
{
	free(b->mem);
	*b = (struct odp_actbuf){ 0 };
}

void odp_actbuf_reset(struct odp_actbuf *b)
{
	*b = (struct odp_actbuf){ .mem = b->mem, .size = b->size };
}

static int fail(struct odp_actbuf *b, int err)
{
	if (!b->err)
		b->err = err;
	return b->err;
}

/* Room for `more` bytes behind the list, which is a multiple of 8 long. */
static int grow(struct odp_actbuf *b, size_t more)
{
	size_t size = b->size ? b->size : SIZE_MIN;
	void *mem;

	if (b->err)
		return b->err;
	if (more > ODP_ACT_LIST_MAX - b->len)
		return fail(b, -E2BIG);
	if (more <= b->size - b->len)
		return 0;
	while (size - b->len < more)
		size *= 2;
	mem = dpu_calloc(1, size);
	if (!mem)
		return fail(b, -ENOMEM);
	if (b->len > 0)
		memcpy(mem, b->mem, b->len);
	free(b->mem);
	b->mem = mem;
	b->size = size;
	return 0;
}

static struct odp_act *at(const struct odp_actbuf *b, size_t off)
{
	return (struct odp_act *)(void *)((uint8_t *)b->mem + off);
}

void *odp_actbuf_add(struct odp_actbuf *b, enum odp_act_type type, size_t size)
{
	size_t room = (size + 7) & ~(size_t)7;
	struct odp_act *a;

	assert(size >= sizeof(*a));
	if (size > ODP_ACT_LIST_MAX || grow(b, room) < 0) {
		fail(b, -E2BIG);
		return NULL;
	}
	a = at(b, b->len);
	memset(a, 0, room);
	a->len = (uint32_t)size;
	a->type = (uint16_t)type;
	b->last = b->len + 1;
	b->len += room;
	return a;
}

void *odp_actbuf_open(struct odp_actbuf *b, enum odp_act_type type, size_t size)
{
	size_t off = b->len;

	if (b->depth >= ODP_ACT_DEPTH_MAX)
		fail(b, -E2BIG);
	void *a = odp_actbuf_add(b, type, size);

	if (a)
		b->open[b->depth++] = (uint32_t)off;
	b->last = 0;
	return a;
}

void odp_actbuf_close(struct odp_actbuf *b)
{
	if (b->err)
		return; // it may have failed to open
	assert(b->depth > 0);
	struct odp_act *a = at(b, b->open[--b->depth]);

	a->len = (uint32_t)(b->len - b->open[b->depth]);
	b->last = 0;
}

void odp_actbuf_output(struct odp_actbuf *b, uint32_t port)
{
	struct odp_act *a = b->last && !b->err ? at(b, b->last - 1) : NULL;

	if (!a || a->type != ODP_ACT_OUTPUT)
		a = odp_actbuf_add(b, ODP_ACT_OUTPUT, sizeof(*a));
	if (!a)
		return;
	if (a->len % 8 == 0) {
		if (grow(b, 8) < 0)
			return;
		a = at(b, b->last - 1);
		memset(at(b, b->len), 0, 8);
		b->len += 8;
	}
	((struct odp_act_output *)a)->port[odp_act_n_outputs(a)] = port;
	a->len += sizeof(port);
}

void odp_actbuf_u32(struct odp_actbuf *b, enum odp_act_type type, uint32_t v)
{
	struct odp_act_u32 *a = odp_actbuf_add(b, type, sizeof(*a));

	if (a)
		a->v = v;
}

void odp_actbuf_set(
	struct odp_actbuf *b, enum odp_set_field field, const void *value, const void *mask)
{
	size_t size = odp_set_size(field);
	struct odp_act_set *a = odp_actbuf_add(b, ODP_ACT_SET, sizeof(*a) + 2 * size);

	if (!a)
		return;
	a->field = (uint16_t)field;
	a->size = (uint16_t)size;
	memcpy(a->value, value, size);
	if (mask)
		memcpy(a->value + size, mask, size);
	else
		memset(a->value + size, 0xff, size);
}
