// SPDX-License-Identifier: Apache-2.0
/*
 * Action lists of a hostile provider: bytes as they come are installed as the list of a flow, under
 * a key and mask that may be as odd. What is taken reads back from its text as the same, and runs
 * over the rest of the input as packets. One that is lost each time empties the pool, which ends
 * the run.
 *
 * Input: which key, length of the list in units of 8 bytes, how many bytes of key and mask are
 * others (each 16 bits of a place, and two values), the list, then packets behind a length each.
 */
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fake_port.h"
#include "key.h"
#include "upcall.h"
#include "worker.h"

#define N_PORTS 3u
#define LIST_MAX 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port p[N_PORTS];

static void init(void)
{
	static const char *const names[N_PORTS] = { "p1", "p2", "p3" };
	struct odp_conf conf = { .n_workers = 1, .ct_conns = 256 };

	conf.pool = pool = fake_eal(8191);
	if (odp_create(&conf, &dp) < 0)
		abort();
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_add(&p[i], dp, odp_worker(dp, 0), names[i]);
}

/* Keys for which lists may do much, and one for what recirculates. */
static void key_of(uint8_t which, struct odp_key *k, struct odp_key *m)
{
	static const char *const texts[] = { "in_port(1)", "in_port(1),eth_type(0x0800)",
		"in_port(1),eth_type(0x0800),ipv4(proto=6)",
		"in_port(1),eth_type(0x0800),ipv4(proto=17)",
		"in_port(1),eth_type(0x0800),ipv4(proto=1)", "in_port(1),eth_type(0x86dd)",
		"in_port(1),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135)",
		"in_port(1),eth_type(0x0806)", "in_port(1),eth_type(0x8847)",
		"in_port(1),eth_type(0x8100),vlan(vid=1),encap(eth_type(0x0800))",
		"recirc_id(0x1),in_port(1)", "recirc_id(0x1),in_port(1),eth_type(0x0800)" };
	size_t at;

	if (odp_key_parse(dp, texts[which % (sizeof(texts) / sizeof(texts[0]))], k, m, &at) < 0)
		abort();
}

/* A list that was taken can be written down, and read again but for what only the switch says. */
static void check_text(const struct odp_act *list, size_t len)
{
	static struct odp_actbuf again;
	static char text[65536];
	size_t at;

	if (odp_actions_format(dp, list, len, ODP_PORTS_BY_NUMBER, text, sizeof(text)) < 0)
		abort();
	if (!strstr(text, "storm(") && odp_actions_parse(dp, text, &again, &at) < 0)
		abort();
}

static void told(const struct odp_flow_info *f, void *arg)
{
	(void)arg;
	check_text(f->actions, f->actions_len);
}

static void settle(void)
{
	while (odp_worker_turn(odp_worker(dp, 0)) + odp_upcall_poll(dp) > 0)
		;
}

static void run(const uint8_t *data, size_t size)
{
	while (size > 1) {
		size_t n = data[0] < size - 1 ? data[0] : size - 1;

		if (n > 0)
			fake_port_push(&p[0], pool, data + 1, n);
		data += 1 + n;
		size -= 1 + n;
	}
	settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t list[LIST_MAX / 8]; // aligned, as a provider's buffer is
	struct odp_key k, m;
	size_t len;

	if (!dp)
		init();
	if (size < 3)
		return 0;
	key_of(data[0], &k, &m);
	len = data[1] * (size_t)8;
	unsigned patches = data[2] % 4;

	data += 3;
	size -= 3;
	for (; patches && size >= 4; patches--, data += 4, size -= 4) {
		size_t at = (data[0] | (size_t)data[1] << 8) % sizeof(k);

		((uint8_t *)&k)[at] = data[2];
		((uint8_t *)&m)[at] = data[3];
	}
	if (len > size)
		len = size;
	memcpy(list, data, len);
	if (odp_flow_put(dp, &k, &m, (const struct odp_act *)(const void *)list, len, true,
		    "operator", NULL) == 0) {
		odp_flow_foreach(dp, told, NULL);
		run(data + len, size - len);
	}
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&p[i]);
	odp_flow_flush(dp, NULL);
	settle();
	odp_mac_flush(dp, ODP_PORT_NONE);
	return 0;
}
