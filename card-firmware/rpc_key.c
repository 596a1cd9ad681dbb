// SPDX-License-Identifier: Apache-2.0
/* Methods on keys of encrypted volumes, under SPDK's names. No answer holds a key. */
#include "rpc.h"

#include <errno.h>
#include <string.h>

#include "nof_key.h"
#include "rpc_list.h"
#include "rpc_schema.h"

static int check_params(const json_t *params, struct card_error *e)
{
	const char *key = card_arg_str(params, "key", NULL);
	const char *key2 = card_arg_str(params, "key2", NULL);
	const char *wrapped = card_arg_str(params, "wrapped", NULL);
	bool ephemeral = card_arg_bool(params, "ephemeral", false) ||
			 card_arg_str(params, "kept", NULL);

	if (strcmp(card_arg_str(params, "cipher", "AES_XTS"), "AES_XTS") != 0)
		return card_fail(e, -EINVAL, "cipher: must be AES_XTS");
	if (strcmp(card_arg_str(params, "tweak_mode", "SIMPLE_LBA"), "SIMPLE_LBA") != 0)
		return card_fail(e, -EINVAL, "tweak_mode: must be SIMPLE_LBA");
	if (!key != !key2)
		return card_fail(e, -EINVAL, "key, key2: both, or none for a new key");
	if (ephemeral && (key || wrapped))
		return card_fail(e, -EINVAL, "ephemeral: always a new key");
	if (key && wrapped)
		return card_fail(e, -EINVAL, "wrapped: not together with a key");
	return 0;
}

/* Out of this copy of the parameters; there are others, which no core file has. */
static void wipe(json_t *params, const char *name)
{
	const char *text = card_arg_str(params, name, NULL);

	if (text)
		explicit_bzero((char *)(uintptr_t)text, strlen(text));
	json_object_del(params, name);
}

/* In the place of the wish for an ephemeral key, the name under which it is kept. */
static int canon_kept(struct card *c, json_t *params, struct card_error *e)
{
	char kept[CARD_KEPT_TEXT];
	int ret;

	if (card_arg_str(params, "kept", NULL))
		return 0;
	ret = card_key_keep(c, card_arg_str(params, "name", ""), kept, e);
	if (ret)
		return ret;
	json_object_del(params, "ephemeral");
	return json_object_set_new(params, "kept", json_string(kept)) ? -ENOMEM : 0;
}

int card_key_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	char wrapped[CARD_WRAPPED_TEXT];
	int ret;

	if (m != card_method_at(CARD_M_accel_crypto_key_create))
		return 0;
	ret = card_arg_str(params, "key", NULL) ? nof_key_hide() : 0;
	if (!ret)
		ret = check_params(params, e);
	if (ret || card_arg_str(params, "wrapped", NULL))
		return ret;
	if (card_arg_bool(params, "ephemeral", false) || card_arg_str(params, "kept", NULL))
		return canon_kept(c, params, e);
	ret = card_key_wrap(c, card_arg_str(params, "name", ""), card_arg_str(params, "key", NULL),
		card_arg_str(params, "key2", NULL), wrapped, e);
	wipe(params, "key");
	wipe(params, "key2");
	return ret							      ? ret
	       : json_object_set_new(params, "wrapped", json_string(wrapped)) ? -ENOMEM
									      : 0;
}

int card_call_accel_crypto_key_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	const char *kept = card_arg_str(params, "kept", NULL);

	(void)result;
	return kept ? card_key_create_kept(c, name, kept, e)
		    : card_key_create(c, name, card_arg_str(params, "wrapped", ""), e);
}

int card_call_accel_crypto_key_destroy(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_key_delete(c, card_arg_str(params, "key_name", ""), e);
}

static bool list_key(const char *name, bool ephemeral, unsigned users, void *arg)
{
	struct card_list *l = arg;

	if (!card_list_wants(l, name))
		return true;
	return card_list_add(l, json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", name, "cipher",
					"AES_XTS", "tweak_mode", "SIMPLE_LBA", "users", (int)users,
					"ephemeral", (int)ephemeral));
}

int card_call_accel_crypto_keys_get(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "key_name");
	card_key_foreach(c, list_key, &l);
	return card_list_end(&l, "key", result, e);
}
