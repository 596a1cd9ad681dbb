/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects by name: a hash table whose links lie in the objects. It grows with what is in it and
 * never shrinks. Names come from operators, who gain nothing by names that collide. Control thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct card_index_link {
	struct card_index_link *next; // borrowed: of the same bucket
	const char *name; // borrowed: the object's; NULL: in no index
	uint64_t hash;
};

struct card_index {
	struct card_index_link **bucket; // owned; NULL: nothing was added yet
	size_t n_buckets; // a power of two
	size_t n;
};

/* All zero is an empty one; this frees it. The objects stay. */
void card_index_fini(struct card_index *x);
/*
 * `name` is not in it yet, and stays as it is while the link is in it. 0, or -ENOMEM: the first one
 * needs memory; later ones get along with what there is.
 */
int card_index_add(struct card_index *x, struct card_index_link *l, const char *name);
/* A link that is in no index is left alone. */
void card_index_del(struct card_index *x, struct card_index_link *l);
/* NULL: none of that name. */
struct card_index_link *card_index_find(const struct card_index *x, const char *name);
