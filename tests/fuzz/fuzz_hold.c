// SPDX-License-Identifier: Apache-2.0
/*
 * A run of packets through flows that track and translate, each behind two bytes of length and one
 * that says which port, how much time has passed, and whether a turn comes before it. Fragments are
 * held, go on, and are lost; in the end no mbuf is.
 */
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "fake_port.h"
#include "hold.h"
#include "odp_ct.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct odp *dp;
static struct odp_worker *w;
static struct fake_port port[2];

static void flow(const char *text, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	if (odp_key_parse(dp, text, &k, &m, &at) < 0 ||
		fake_put(dp, &k, &m, actions, true, NULL) < 0)
		abort();
}

static void start(void)
{
	struct odp_conf conf = { .n_workers = 1, .ct_conns = 256 };

	conf.pool = pool = fake_eal(4095);
	fake_now_ns = 1000000000;
	dpu_clock_set(fake_clock);
	if (odp_create(&conf, &dp) < 0)
		abort();
	w = odp_worker(dp, 0);
	fake_port_add(&port[0], dp, w, "a");
	fake_port_add(&port[1], dp, w, "b");
	flow("recirc_id(0),eth_type(0x0800)", "ct(zone=1,nat),recirc(0x1)");
	flow("recirc_id(0),eth_type(0x86dd)", "ct(zone=1,nat),recirc(0x1)");
	flow("recirc_id(0x1),in_port(1),ct_state(+new+trk-inv),eth_type(0x0800)",
		"ct(commit,zone=1,nat(src=10.9.9.9:1000-2000)),recirc(0x2)");
	flow("recirc_id(0x1),in_port(1),ct_state(+new+trk-inv),eth_type(0x86dd)",
		"ct(commit,zone=1,nat(dst=[fd00::9])),clone(ct(zone=2),recirc(0x2)),1,2");
	flow("recirc_id(0x1),ct_state(+est+trk)", "1,2");
	flow("recirc_id(0x1),ct_state(+rel+trk)", "1");
	flow("recirc_id(0x2),eth_type(0x0800)", "ct(commit,zone=2,mark=1/1),trunc(100),1,2");
}

static void turns(void)
{
	while (odp_worker_turn(w))
		continue;
	(void)odp_upcall_poll(dp);
	for (unsigned i = 0; i < 2; i++)
		fake_port_reset(&port[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct odp_frag_stats s;

	if (!dp)
		start();
	while (size > 3) {
		size_t len = (size_t)data[0] << 1 | (data[1] & 1);
		uint8_t how = data[2];

		data += 3;
		size -= 3;
		len = len < size ? len : size;
		if (how & 2)
			turns();
		fake_now_ns += (how >> 6) * 7000000000ull;
		if (port[how & 1].n_in < 32)
			fake_port_push(&port[how & 1], pool, data, len);
		data += len;
		size -= len;
	}
	turns();
	for (unsigned i = 0; i < 4; i++) {
		fake_now_ns += 61000000000ull;
		turns();
		odp_tick(dp);
	}
	odp_fragment_stats(dp, &s);
	if (s.contexts || s.bytes || w->n_whole || rte_mempool_in_use_count(pool) != 0)
		abort();
	return 0;
}
