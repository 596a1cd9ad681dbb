/* SPDX-License-Identifier: Apache-2.0 */
/* A card without control socket and store: loop, EAL, workers, switch, inventory. */
#pragma once

#include "test.h"

#include <stdio.h>

#include <event2/event.h>
#include <rte_mempool.h>

#include "card.h"
#include "datapath.h"
#include "eal.h"
#include "loop.h"
#include "rpc.h"
#include "storage.h"

/* c->opt is set, the rest zero. 0, or non-zero: a part does not start. */
static inline int card_env_open(struct card *c)
{
	struct card_workers_conf conf = { .spin_us = 10 };
	int n;

	c->loop = event_base_new();
	n = card_eal_start(&c->opt);
	if (!c->loop || n < 1 || card_pool_create(&c->opt, &c->pool))
		return -1;
	card_loop_init(&c->vho_loop, c->loop);
	conf.n = (unsigned)n;
	if (card_workers_start(&conf, &c->workers) || card_storage_start(c) ||
		card_datapath_start(c))
		return -1;
	return card_inventory_init(c);
}

static inline void card_env_close(struct card *c)
{
	card_top_stop(c);
	card_inventory_fini(c);
	card_datapath_stop(c);
	card_storage_stop(c);
	card_workers_stop(c->workers);
	rte_mempool_free(c->pool);
	event_base_free(c->loop);
	card_eal_stop();
}

/*
 * Make a call that returns `want`; params as JSON with ' for ". The result, which is the caller's,
 * or NULL with *e.
 */
static inline json_t *card_env_call(
	struct card *c, const char *method, const char *params, int want, struct card_error *e)
{
	json_t *result, *p;
	char text[512];
	int ret;

	(void)snprintf(text, sizeof(text), "%s", params);
	for (char *at = text; *at; at++)
		if (*at == '\'')
			*at = '"';
	p = json_loads(text, 0, NULL);
	assert_non_null(p);
	ret = card_rpc_dispatch(c, method, p, &result, e);
	json_decref(p);
	if (ret != want)
		fail_msg("%s %s: %d, not %d; %s", method, params, ret, want, ret ? e->text : "");
	return result;
}
