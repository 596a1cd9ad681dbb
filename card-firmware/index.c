// SPDX-License-Identifier: Apache-2.0
/* Objects by name. */
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_id.h"

#define FIRST_BUCKETS 64u

static uint64_t hash_of(const char *name)
{
	return dpu_hash(DPU_HASH_BASIS, name, strlen(name));
}

static struct card_index_link **bucket_of(const struct card_index *x, uint64_t hash)
{
	// FNV-1a mixes upwards: what is high depends on every byte, too
	return &x->bucket[(hash ^ hash >> 32) & (x->n_buckets - 1)];
}

static int grow(struct card_index *x)
{
	struct card_index next = { .n_buckets = x->n_buckets ? 2 * x->n_buckets : FIRST_BUCKETS,
		.n = x->n };

	next.bucket = dpu_calloc(next.n_buckets, sizeof(struct card_index_link *));
	if (!next.bucket)
		return -ENOMEM;
	for (size_t i = 0; i < x->n_buckets; i++) {
		struct card_index_link *l;

		while ((l = x->bucket[i]) != NULL) {
			struct card_index_link **to = bucket_of(&next, l->hash);

			x->bucket[i] = l->next;
			l->next = *to;
			*to = l;
		}
	}
	free(x->bucket);
	*x = next;
	return 0;
}

void card_index_fini(struct card_index *x)
{
	free(x->bucket);
	*x = (struct card_index){ 0 };
}

int card_index_add(struct card_index *x, struct card_index_link *l, const char *name)
{
	struct card_index_link **to;

	if (x->n >= x->n_buckets && grow(x) && !x->n_buckets)
		return -ENOMEM;
	l->name = name;
	l->hash = hash_of(name);
	to = bucket_of(x, l->hash);
	l->next = *to;
	*to = l;
	x->n++;
	return 0;
}

void card_index_del(struct card_index *x, struct card_index_link *l)
{
	struct card_index_link **at;

	if (!l->name)
		return;
	for (at = bucket_of(x, l->hash); *at != l; at = &(*at)->next)
		;
	*at = l->next;
	l->name = NULL;
	x->n--;
}

struct card_index_link *card_index_find(const struct card_index *x, const char *name)
{
	struct card_index_link *l;
	uint64_t hash = hash_of(name);

	if (!x->n_buckets)
		return NULL;
	for (l = *bucket_of(x, hash); l; l = l->next)
		if (l->hash == hash && !strcmp(l->name, name))
			return l;
	return NULL;
}
