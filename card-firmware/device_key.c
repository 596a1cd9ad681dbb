// SPDX-License-Identifier: Apache-2.0
/*
 * Keys of encrypted volumes. What the card remembers of one, in its store and elsewhere, is its
 * wrapped form; that opens with the key-encryption key of --key-file only, and under the name that
 * it was made for. Of an ephemeral one it remembers the name under which the kernel keeps it.
 */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "hex.h"
#include "nof_key.h"
#include "rpc_schema.h"

static_assert(CARD_WRAPPED_TEXT == 2 * NOF_WRAPPED_LEN + 1, "two digits a byte");

struct card_key *card_key_find(struct card *c, const char *name)
{
	struct card_key *k;

	TAILQ_FOREACH (k, &c->inv->keys, link)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

/* What a key is wrapped for: under another name it does not open. */
static void context_of(const char *name, char out[CARD_NAME_MAX + 32])
{
	snprintf(out, CARD_NAME_MAX + 32, NOF_KEY_CONTEXT, name);
}

/* ---- the provider ---- */

static int provider(struct card *c, struct card_error *e)
{
	int ret;

	if (c->inv->provider)
		return 0;
	if (!c->opt.key_file)
		return card_fail(e, -ENOTSUP, "cardd was started without --key-file");
	ret = nof_key_file_open(c->opt.key_file, &c->inv->provider);
	if (ret == -EACCES)
		return card_fail(e, ret, "key file: must be ours, and ours alone (mode 0600)");
	if (ret == -EINVAL)
		return card_fail(e, ret, "key file: must be a plain file of 32 bytes");
	return ret ? card_fail(e, ret, "key file: %s", strerror(-ret)) : 0;
}

static int import(const char *key, const char *key2, struct nof_key **out, struct card_error *e)
{
	uint8_t bytes[NOF_KEY_LEN];
	int ret = card_hex_parse(key, bytes, NOF_KEY_LEN / 2);

	if (!ret)
		ret = card_hex_parse(key2, bytes + NOF_KEY_LEN / 2, NOF_KEY_LEN / 2);
	if (ret)
		ret = card_fail(e, ret, "key, key2: must be 64 hexadecimal digits each");
	else
		ret = nof_key_import(bytes, out);
	explicit_bzero(bytes, sizeof(bytes));
	if (ret == -EINVAL && !e->text[0])
		return card_fail(e, ret, "key, key2: must differ");
	return ret && !e->text[0] ? card_fail(e, ret, "key: %s", strerror(-ret)) : ret;
}

int card_key_wrap(struct card *c, const char *name, const char *key, const char *key2,
	char out[CARD_WRAPPED_TEXT], struct card_error *e)
{
	char context[CARD_NAME_MAX + 32];
	struct nof_wrapped w;
	struct nof_key *k = NULL;
	int ret = provider(c, e);

	if (ret)
		return ret;
	e->text[0] = '\0';
	ret = key ? import(key, key2, &k, e) : nof_key_generate(&k);
	if (ret || !k)
		return e->text[0] ? ret : card_fail(e, ret, "key: %s", strerror(-ret));
	context_of(name, context);
	ret = nof_key_wrap(c->inv->provider, k, context, &w);
	nof_key_put(k);
	if (ret)
		return card_fail(e, ret, "key: cannot be wrapped: %s", strerror(-ret));
	card_hex_text(w.bytes, sizeof(w.bytes), out);
	return 0;
}

static int unwrap(struct card *c, const char *name, const char *wrapped, struct nof_key **out,
	struct card_error *e)
{
	char context[CARD_NAME_MAX + 32];
	struct nof_wrapped w;
	int ret = provider(c, e);

	if (ret)
		return ret;
	if (card_hex_parse(wrapped, w.bytes, sizeof(w.bytes)))
		return card_fail(
			e, -EINVAL, "wrapped: must be %u hexadecimal digits", 2 * NOF_WRAPPED_LEN);
	context_of(name, context);
	ret = nof_key_unwrap(c->inv->provider, &w, context, out);
	if (ret == -EBADMSG)
		return card_fail(e, ret, "wrapped: damaged, of another key file or another name");
	if (ret == -EPROTONOSUPPORT)
		return card_fail(e, ret, "wrapped: of a version that is not known");
	return ret ? card_fail(e, ret, "wrapped: %s", strerror(-ret)) : 0;
}

/* ---- ephemeral keys ---- */

static int keep_fails(int ret, struct card_error *e)
{
	if (ret == -ENOSYS || ret == -EPERM || ret == -EACCES)
		return card_fail(
			e, -ENOTSUP, "key: the kernel keeps none for us: %s", strerror(-ret));
	return card_fail(e, ret, "key: cannot be kept: %s", strerror(-ret));
}

int card_key_keep(struct card *c, const char *name, char kept[CARD_KEPT_TEXT], struct card_error *e)
{
	const struct card_key *k = card_key_find(c, name);
	uint8_t id[(CARD_KEPT_TEXT - 1) / 2];
	struct nof_key *key;
	int ret;

	if (k && k->kept[0]) {
		memcpy(kept, k->kept, CARD_KEPT_TEXT);
		return 0;
	}
	if (k)
		return card_fail(e, -EEXIST, "%s: exists", name);
	if (!c->store)
		return card_fail(e, -ENOTSUP,
			"ephemeral: needs --state-dir, and no configuration file makes one: a "
			"restart "
			"would not find it");
	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return card_fail(e, -EIO, "key: no random numbers");
	card_hex_text(id, sizeof(id), kept);
	ret = nof_key_generate(&key);
	if (ret)
		return card_fail(e, ret, "key: %s", strerror(-ret));
	ret = nof_key_keep(key, kept);
	nof_key_put(key);
	return ret ? keep_fails(ret, e) : 0;
}

static int fetch(const char *kept, struct nof_key **out, struct card_error *e)
{
	uint8_t id[(CARD_KEPT_TEXT - 1) / 2];
	int ret;

	if (strlen(kept) != CARD_KEPT_TEXT - 1 || card_hex_parse(kept, id, sizeof(id)))
		return card_fail(
			e, -EINVAL, "kept: must be %u hexadecimal digits", CARD_KEPT_TEXT - 1);
	ret = nof_key_kept(kept, out);
	if (ret == -ENOKEY)
		return card_fail(
			e, ret, "kept: is gone, with what it encrypted: the card was started anew");
	return ret ? keep_fails(ret, e) : 0;
}

/* ---- keys ---- */

/* One of this name, whose bytes are one thing or the other. */
static int create(struct card *c, const char *name, const char *wrapped, const char *kept,
	struct card_error *e)
{
	struct card_key *k = card_key_find(c, name);
	int ret;

	if (!card_name_ok(name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	if (k && !strcasecmp(k->wrapped, wrapped) && !strcmp(k->kept, kept))
		return 0;
	if (k)
		return card_fail(e, -EEXIST, "%s: exists", name);
	k = dpu_calloc(1, sizeof(*k));
	if (!k)
		return card_fail(e, -ENOMEM, "out of memory");
	ret = kept[0] ? fetch(kept, &k->key, e) : unwrap(c, name, wrapped, &k->key, e);
	if (ret) {
		free(k);
		return ret;
	}
	snprintf(k->name, sizeof(k->name), "%s", name);
	snprintf(k->wrapped, sizeof(k->wrapped), "%s", wrapped);
	snprintf(k->kept, sizeof(k->kept), "%s", kept);
	TAILQ_INSERT_TAIL(&c->inv->keys, k, link);
	dpu_info("key: created", "name=%s", name);
	return 0;
}

int card_key_create(struct card *c, const char *name, const char *wrapped, struct card_error *e)
{
	return create(c, name, wrapped, "", e);
}

int card_key_create_kept(struct card *c, const char *name, const char *kept, struct card_error *e)
{
	return create(c, name, "", kept, e);
}

static void key_free(struct card_key *k)
{
	nof_key_put(k->key);
	free(k);
}

int card_key_delete(struct card *c, const char *name, struct card_error *e)
{
	struct card_key *k = card_key_find(c, name);

	if (!k)
		return card_fail(e, -ENODEV, "%s: no such key", name);
	if (k->users)
		return card_fail(e, -EBUSY, "%s: in use by %u volumes", name, k->users);
	if (k->kept[0]) {
		int ret = nof_key_let_go(k->kept);

		if (ret &&
			ret != -ENOKEY) // whoever ends an instance has to know, and may try again
			return card_fail(
				e, ret, "%s: the kernel still has it: %s", name, strerror(-ret));
	}
	TAILQ_REMOVE(&c->inv->keys, k, link);
	key_free(k);
	dpu_info("key: deleted", "name=%s", name);
	return 0;
}

void card_keys_fini(struct card *c)
{
	struct card_key *k, *next;

	for (k = TAILQ_FIRST(&c->inv->keys); k; k = next) {
		next = TAILQ_NEXT(k, link);
		key_free(k);
	}
	TAILQ_INIT(&c->inv->keys);
	nof_key_provider_close(c->inv->provider);
	c->inv->provider = NULL;
}

void card_key_foreach(const struct card *c,
	bool (*fn)(const char *name, bool ephemeral, unsigned users, void *a), void *a)
{
	const struct card_key *k;

	TAILQ_FOREACH (k, &c->inv->keys, link)
		if (!fn(k->name, k->kept[0] != '\0', k->users, a))
			return;
}
