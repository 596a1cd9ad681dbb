// SPDX-License-Identifier: Apache-2.0
/*
 * Instance storage: a local device, encrypted by a key that dies with the instance (ADR-0018). Each
 * is three objects, made and deleted by the calls that an operator could make one by one: the media
 * NAME.media, the ephemeral key NAME.key, and NAME itself, which encrypts the first by the second.
 */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rpc_schema.h"

#define NAME_SIZE 64

static void names_of(const json_t *params, char media[NAME_SIZE], char key[NAME_SIZE])
{
	const char *name = card_arg_str(params, "name", "");

	snprintf(media, NAME_SIZE, "%.57s.media", name);
	snprintf(key, NAME_SIZE, "%.57s.key", name);
}

/* Makes the call; takes its parameters. */
static int call(struct card *c, const char *method, json_t *params, struct card_error *e)
{
	json_t *result = NULL;
	int ret = params ? card_rpc_dispatch(c, method, params, &result, e) : -ENOMEM;

	json_decref(params);
	json_decref(result);
	return ret;
}

static int delete_volume(struct card *c, const char *name, struct card_error *e)
{
	return call(c, "volume_delete", json_pack("{s:s}", "name", name), e);
}

static int delete_key(struct card *c, const char *key, struct card_error *e)
{
	return call(c, "accel_crypto_key_destroy", json_pack("{s:s}", "key_name", key), e);
}

/* If it is given; what a device has by itself is not said for it. */
static void copy_number(json_t *to, const json_t *from, const char *name)
{
	json_t *v = json_object_get(from, name);

	if (v)
		json_object_set(to, name, v);
}

static int create_media(
	struct card *c, const json_t *params, const char *media, struct card_error *e)
{
	json_t *p = json_pack("{s:s, s:s, s:b}", "name", media, "filename",
		card_arg_str(params, "filename", ""), "direct",
		(int)card_arg_bool(params, "direct", true));

	copy_number(p, params, "block_size");
	copy_number(p, params, "num_blocks");
	return call(c, "bdev_uring_create", p, e);
}

static int create_above(struct card *c, const json_t *params, const char *media, const char *key,
	struct card_error *e)
{
	const char *uuid = card_arg_str(params, "uuid", NULL);

	json_t *p = json_pack("{s:s, s:s, s:s, s:s*}", "name", card_arg_str(params, "name", ""),
		"base_bdev_name", media, "key_name", key, "uuid", uuid);

	copy_number(p, params, "block_size");
	return call(c, "bdev_crypto_create", p, e);
}

static bool has_volume(const struct card *c, const char *name)
{
	struct card_volume_view v;
	struct card_error none;

	return !card_volume_get(c, name, &v, &none);
}

struct search {
	const char *name;
	bool found;
};

static bool is_key(const char *name, bool ephemeral, unsigned users, void *arg)
{
	struct search *s = arg;

	(void)users;
	s->found = ephemeral && !strcmp(name, s->name);
	return !s->found;
}

static bool has_key(const struct card *c, const char *name)
{
	struct search s = { .name = name };

	card_key_foreach(c, is_key, &s);
	return s.found;
}

int card_call_volume_create_instance(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	bool had_media, had_key;
	char media[NAME_SIZE], key[NAME_SIZE];
	struct card_error ignored;
	int ret;

	names_of(params, media, key);
	had_media = has_volume(c, media);
	had_key = has_key(c, key);
	ret = create_media(c, params, media, e);
	if (ret)
		return ret;
	ret = call(c, "accel_crypto_key_create",
		json_pack("{s:s, s:b}", "name", key, "ephemeral", 1), e);
	if (ret)
		goto err_media;
	ret = create_above(c, params, media, key, e);
	if (ret)
		goto err_key;
	*result = json_string(card_arg_str(params, "name", ""));
	return 0;

err_key:
	if (!had_key)
		(void)delete_key(c, key, &ignored);
err_media:
	if (!had_media)
		(void)delete_volume(c, media, &ignored);
	return ret;
}

/* Of one that could not be made again after a restart there is less, or only what the store has. */
int card_call_volume_end_instance(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	char media[NAME_SIZE], key[NAME_SIZE];
	struct card_volume_view v;
	struct card_error none;
	int ret;

	(void)result;
	names_of(params, media, key);
	if (!card_volume_get(c, name, &v, &none) &&
		(!v.conf.base || strcmp(v.conf.base, media) != 0))
		return card_fail(e, -EINVAL, "%s: is no instance's volume", name);
	ret = delete_volume(c, name, e);
	if (ret && (ret != -ENODEV || !has_key(c, key)))
		return ret;
	ret = delete_key(c, key, e);
	if (ret && ret != -ENODEV)
		return ret;
	ret = delete_volume(c, media, e);
	return ret == -ENODEV ? 0 : ret;
}
