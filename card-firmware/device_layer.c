// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes that stand on others. What is below one is its alone from then on: what a guest or
 * another volume wrote there directly would be noise above.
 */
#include "device.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "rpc_schema.h"
#include "storage.h"

bool card_layer_kind(enum card_volume_kind kind)
{
	return kind == CARD_VOL_CRYPT || kind == CARD_VOL_INTEGRITY || kind == CARD_VOL_STRIPE;
}

static int find_below(
	struct card *c, const char *name, struct card_volume **out, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	if (v->users || v->orphans)
		return card_fail(e, -EBUSY, "%s: in use", v->name);
	*out = v;
	return 0;
}

bool card_layer_stands_on(const struct card_volume *v, const struct card_volume *on)
{
	for (unsigned i = 0; i < v->n_below; i++)
		if (card_layer_stands_on(v->below[i], on))
			return true;
	return v == on;
}

/* It is open: those below are its own. */
static void claim(struct card_volume *v, struct card_volume *below)
{
	below->users++;
	below->above = v;
	v->below[v->n_below++] = below;
}

static int open_crypt(struct card *c, struct card_volume *v, struct card_error *e)
{
	struct card_key *key = card_key_find(c, v->conf.key);
	struct vol_crypt_conf conf = { .name = v->name };
	struct card_volume *below = NULL;
	int ret = find_below(c, v->conf.base, &below, e);

	if (ret)
		return ret;
	assert(below);
	if (!key)
		return card_fail(e, -ENODEV, "key_name: %s: no such key", v->conf.key);
	if (!v->conf.block_size)
		v->conf.block_size = below->conf.block_size;
	if (v->conf.block_size < below->conf.block_size)
		return card_fail(e, -EINVAL, "block_size: smaller than that of %s", below->name);
	conf.lower = below->vol;
	conf.key = key->key;
	conf.unit = v->conf.block_size;
	ret = vol_crypt_open(&conf, &v->vol);
	if (ret)
		return ret;
	v->key = key;
	key->users++;
	claim(v, below);
	return 0;
}

static struct nof_group *any_group(struct card *c)
{
	return card_storage_group(c, card_worker_of(c, card_take_workers(c, 1), 0));
}

static int open_integrity(struct card *c, struct card_volume *v, struct card_error *e)
{
	struct vol_integrity_conf conf = {
		.name = v->name, .format = v->conf.format, .overwrite = v->conf.overwrite
	};
	struct card_volume *below = NULL;
	int ret = find_below(c, v->conf.base, &below, e);

	if (ret)
		return ret;
	assert(below);
	if (v->conf.header && card_uuid_parse(v->conf.header, conf.uuid))
		return card_fail(e, -EINVAL, "header: not a UUID");
	conf.lower = below->vol;
	conf.group = any_group(c);
	conf.control = card_storage_control(c);
	ret = vol_integrity_open(&conf, &v->vol);
	if (ret == -EINVAL)
		return card_fail(e, ret, "base_bdev_name: %s: too small", below->name);
	if (ret)
		return ret;
	v->conf.block_size = below->conf.block_size;
	claim(v, below);
	return 0;
}

/* The volumes of a list of names. How many, or a negative errno with e->text. */
static int find_members(struct card *c, const char *names, struct card_volume *out[CARD_BELOW_MAX],
	struct card_error *e)
{
	char name[CARD_NAME_MAX + 1];
	unsigned n = 0;

	for (size_t len; *names; names += len + (names[len] == ',')) {
		int ret;

		len = strcspn(names, ",");
		if (len > CARD_NAME_MAX || n == CARD_BELOW_MAX)
			return card_fail(e, -EINVAL, "base_bdevs: %u at most", CARD_BELOW_MAX);
		memcpy(name, names, len);
		name[len] = '\0';
		ret = find_below(c, name, &out[n], e);
		if (ret)
			return ret;
		for (unsigned i = 0; i < n; i++)
			if (out[i] == out[n])
				return card_fail(e, -EINVAL, "base_bdevs: %s: twice", name);
		n++;
	}
	return (int)n;
}

static int open_stripe(struct card *c, struct card_volume *v, struct card_error *e)
{
	struct card_volume *below[CARD_BELOW_MAX] = { NULL };
	struct vol *members[CARD_BELOW_MAX];
	struct vol_stripe_conf conf = {
		.name = v->name, .members = members, .strip = v->conf.strip_kib << 10
	};
	struct vol_info info;
	int ret = find_members(c, v->conf.base, below, e);

	if (ret < 0)
		return ret;
	conf.n = (unsigned)ret;
	for (unsigned i = 0; i < conf.n; i++) {
		assert(below[i]);
		members[i] = below[i]->vol;
	}
	ret = vol_stripe_open(&conf, &v->vol);
	if (ret == -EINVAL)
		return card_fail(e, ret,
			"base_bdevs, strip_size_kb: from one volume on, each with a strip at "
			"least; strips are a power of two");
	if (ret)
		return ret;
	vol_info(v->vol, &info);
	v->conf.block_size = info.block_size;
	for (unsigned i = 0; i < conf.n; i++)
		claim(v, below[i]);
	return 0;
}

int card_layer_open(struct card *c, struct card_volume *v, struct card_error *e)
{
	switch (v->conf.kind) {
	case CARD_VOL_CRYPT:
		return open_crypt(c, v, e);
	case CARD_VOL_INTEGRITY:
		return open_integrity(c, v, e);
	case CARD_VOL_STRIPE:
		return open_stripe(c, v, e);
	default:
		return -EINVAL;
	}
}
