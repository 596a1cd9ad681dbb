// SPDX-License-Identifier: Apache-2.0
/* Methods on the paths of remote volumes, under SPDK's names. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "nof_ctrl.h"
#include "rpc_list.h"
#include "rpc_schema.h"
#include "worker.h"

static const char *const selectors[] = {
	[VOL_ROUND_ROBIN] = "round_robin",
	[VOL_QUEUE_DEPTH] = "queue_depth",
	[VOL_NUMA] = "numa",
};

int card_nvme_policy(
	const char *policy, const char *selector, enum vol_policy *out, struct card_error *e)
{
	if (!strcmp(policy, "active_passive")) {
		*out = VOL_ACTIVE_PASSIVE;
		return 0;
	}
	if (strcmp(policy, "active_active") != 0)
		return card_fail(e, -EINVAL, "policy: must be active_active or active_passive");
	for (unsigned i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		if (strcmp(selector, selectors[i]) != 0)
			continue;
		*out = (enum vol_policy)i;
		return 0;
	}
	return card_fail(e, -EINVAL, "selector: must be round_robin, queue_depth or numa");
}

/* The remote volume of this name; NULL and *err, with e->text. */
static struct vol *remote(struct card *c, const json_t *params, int *err, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_volume *v = card_volume_find(c, name);

	if (!v)
		*err = card_fail(e, -ENODEV, "%s: no such volume", name);
	else if (v->conf.kind != CARD_VOL_NVME)
		*err = card_fail(e, -ENOTSUP, "%s: has no paths", name);
	else
		return v->vol;
	return NULL;
}

int card_call_bdev_nvme_set_multipath_policy(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	enum vol_policy policy = VOL_ROUND_ROBIN;
	int ret = card_nvme_policy(card_arg_str(params, "policy", ""),
		card_arg_str(params, "selector", "round_robin"), &policy, e);
	struct vol *v = ret ? NULL : remote(c, params, &ret, e);

	(void)result;
	return v ? vol_nvmf_policy_set(v, policy) : ret;
}

int card_call_bdev_nvme_set_preferred_path(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	unsigned cntlid = (unsigned)card_arg_uint(params, "cntlid", 0);
	int ret = 0;
	struct vol *v = remote(c, params, &ret, e);

	(void)result;
	if (v)
		ret = vol_nvmf_prefer(v, (uint16_t)cntlid);
	if (ret == -ENOENT)
		return card_fail(e, ret, "cntlid: no connected controller %u", cntlid);
	return ret;
}

static json_t *path_object(const char *volume, const struct vol_nvmf_path *p)
{
	struct nof_ctrl_info i;
	char port[8];

	nof_ctrl_info(p->ctrl, &i);
	snprintf(port, sizeof(port), "%u", i.trsvcid);
	return json_pack("{s:s, s:i, s:b, s:b, s:b, s:b, s:i, s:s, s:{s:s, s:s, s:s, s:s}}",
		"bdev_name", volume, "cntlid", (int)i.cntlid, "connected",
		(int)(i.state == NOF_CTRL_LIVE), "accessible", (int)p->accessible, "optimized",
		(int)p->optimized, "preferred", (int)p->preferred, "numa_node", p->node, "policy",
		p->policy == VOL_ACTIVE_PASSIVE ? "active_passive" : selectors[p->policy],
		"transport", "trtype", "TCP", "traddr", i.traddr, "trsvcid", port, "adrfam",
		strchr(i.traddr, ':') ? "IPv6" : "IPv4");
}

/* Paths are the same for all workers; SPDK's answer has them for each of its threads. */
static bool list_paths(const struct card_volume_view *v, void *arg)
{
	struct vol *vol = (struct vol *)(uintptr_t)v->vol; // which it does not change
	struct card_list *l = arg;
	struct vol_nvmf_path p;

	for (unsigned i = 0; vol_nvmf_path(vol, i, &p) == 0; i++)
		if (!card_list_add(l, path_object(v->conf.name, &p)))
			return false;
	return true;
}

static int paths_end(struct card_list *l, json_t **result, struct card_error *e)
{
	int ret = card_list_end(l, "volume with paths", result, e);

	if (ret)
		return ret;
	*result = json_pack(
		"{s:[{s:s, s:o}]}", "poll_groups", "thread", "workers", "io_paths", *result);
	return *result ? 0 : card_fail(e, -ENOMEM, "out of memory");
}

int card_call_bdev_nvme_get_io_paths(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const struct card_list_volumes how = { list_paths, paths_end };

	return card_list_volumes(c, params, &how, result, e);
}
