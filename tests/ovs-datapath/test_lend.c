// SPDX-License-Identifier: Apache-2.0
/* Lent packets (ODP_F_LENT): who gets the sender's memory, and who a copy. */
#include "test.h"

#include <string.h>

#include "dp.h"
#include "fake_port.h"
#include "odp_tnl.h"
#include "sw_offload.h"

#define HEAD 256u
#define PIECE 1000u
#define PIECES 2u
#define LEN (HEAD + PIECES * PIECE)
#define MSS 600u

static struct rte_mempool *pool;
static uint8_t memory[PIECES * PIECE]; // the sender's
static struct rte_mbuf_ext_shared_info info; // counts 1 and the segments that point there

static void never(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
	fail();
}

static uint8_t payload_at(uint32_t i)
{
	return (uint8_t)(i * 7 + i / 256);
}

/* A TCP packet: the first 256 bytes its own, the rest lent. */
static struct rte_mbuf *lent_packet(uint16_t mss)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool), *last = head;
	uint8_t *p = head ? (uint8_t *)rte_pktmbuf_append(head, HEAD) : NULL;

	assert_non_null(p);
	for (uint32_t i = 0; i < sizeof(memory); i++)
		memory[i] = payload_at(HEAD + i);
	for (uint32_t i = 0; i < HEAD; i++)
		p[i] = payload_at(i);
	memset(p, 0, 54);
	p[0] = p[6] = 2;
	p[5] = 1;
	p[12] = 8;
	p[14] = 0x45;
	p[16] = (uint8_t)((LEN - 14) >> 8);
	p[17] = (uint8_t)(LEN - 14);
	p[23] = 6;
	p[46] = 0x50;
	for (unsigned i = 0; i < PIECES; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		assert_non_null(m);
		rte_mbuf_ext_refcnt_update(&info, 1);
		rte_pktmbuf_attach_extbuf(m, memory + i * PIECE, RTE_BAD_IOVA, PIECE, &info);
		m->data_len = PIECE;
		last->next = m;
		last = m;
		head->nb_segs++;
		head->pkt_len += PIECE;
	}
	head->l2_len = 14;
	head->l3_len = 20;
	head->l4_len = 20;
	head->tso_segsz = mss;
	head->ol_flags = ODP_F_LENT | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM |
			 (mss ? RTE_MBUF_F_TX_TCP_SEG : 0);
	return head;
}

/* Does the payload from byte `off` of the packet on stand at `at`? */
static void check_payload(const struct rte_mbuf *m, uint32_t at, uint32_t off)
{
	uint8_t copy[LEN + 8];
	const uint8_t *p = rte_pktmbuf_read(m, at, m->pkt_len - at, copy);

	assert_non_null(p);
	for (uint32_t i = 0; i < m->pkt_len - at; i++)
		assert_int_equal(p[i], payload_at(off + i));
}

static bool points_there(const struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

		if (p >= memory && p < memory + sizeof(memory))
			return true;
	}
	return false;
}

enum where { SAME, OTHER }; // worker of p2; p3 is always like p1

#define INTO_TUNNEL                                                                        \
	"tnl_push(tnl_port(4),header(size=50,type=4,eth(dst=02:00:00:00:00:02,"            \
	"src=02:00:00:00:00:01,dl_type=0x0800),ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17," \
	"tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"                          \
	"vxlan(flags=0x8000000,vni=0x5)),out_port(2))"
#define TAKES .up = true, .mtu = 9000, .csum = true, .multi_seg = true
static const struct row {
	const char *name;
	struct odp_port_caps caps; // of p2
	const char *acts;
	enum where where;
	uint16_t mss;
	bool lent[2]; // what p2, p3 get points into the sender's memory
	unsigned n_out[2];
	uint32_t hdr; // bytes before the payload in what p2 gets; 0: 54
	int drop; // at p2, or -1
} rows[] = {
	{ "to a port that takes it", { TAKES, .lent = true }, "2", SAME, 0, { true }, { 1, 0 }, 0,
		-1 },
	{ "to one that takes it as a GSO frame", { TAKES, .lent = true, .tso4 = true }, "2", SAME,
		MSS, { true }, { 1, 0 }, 0, -1 },
	{ "to a port that says nothing", { TAKES }, "2", SAME, 0, { false }, { 1, 0 }, 0, -1 },
	{ "GSO to a port that says nothing", { TAKES, .tso4 = true }, "2", SAME, MSS, { false },
		{ 1, 0 }, 0, -1 },
	{ "segmented here", { TAKES, .lent = true }, "2", SAME, MSS, { false }, { 4, 0 }, 0, -1 },
	{ "checksum completed here", { .up = true, .mtu = 9000, .multi_seg = true, .lent = true },
		"2", SAME, 0, { false }, { 1, 0 }, 0, -1 },
	{ "to another worker", { TAKES, .lent = true }, "2", OTHER, 0, { false }, { 1, 0 }, 0, -1 },
	{ "to two ports", { TAKES, .lent = true }, "2,3", SAME, 0, { true, true }, { 1, 1 }, 0,
		-1 },
	{ "to two ports, one of another worker", { TAKES, .lent = true }, "2,3", OTHER, 0,
		{ false, true }, { 1, 1 }, 0, -1 },
	{ "to two ports, one of which says nothing", { TAKES }, "2,3", SAME, 0, { false, true },
		{ 1, 1 }, 0, -1 },
	{ "with a tag", { TAKES, .lent = true }, "push_vlan(vid=5,pcp=0),2", SAME, 0, { true },
		{ 1, 0 }, 58, -1 },
	{ "with a tag, after a clone", { TAKES, .lent = true }, "3,push_vlan(vid=5,pcp=0),2", SAME,
		0, { false, true }, { 1, 1 }, 58, -1 },
	{ "into a tunnel", { TAKES, .lent = true }, INTO_TUNNEL, SAME, 0, { false }, { 1, 0 }, 104,
		-1 },
	{ "into a tunnel as a GSO frame", { TAKES, .lent = true, .tso4 = true }, INTO_TUNNEL, SAME,
		MSS, { false }, { 4, 0 }, 104, -1 },
	{ "into a tunnel, and to a port", { TAKES, .lent = true }, "3," INTO_TUNNEL, SAME, 0,
		{ false, true }, { 1, 1 }, 104, -1 },
	{ "and a copy for the control thread", { TAKES, .lent = true }, "2,userspace", SAME, 0,
		{ true }, { 1, 0 }, 0, -1 },
	{ "longer than the MTU",
		{ .up = true, .mtu = 1500, .csum = true, .multi_seg = true, .lent = true }, "2",
		SAME, 0, { false }, { 0, 0 }, 0, ODP_DROP_MTU },
	{ "to a port that is down", { .mtu = 9000, .lent = true }, "2", SAME, 0, { false },
		{ 0, 0 }, 0, ODP_DROP_PORT_GONE },
	{ "dropped by a flow", { TAKES, .lent = true }, "drop", SAME, 0, { false }, { 0, 0 }, 0,
		-1 },
};

struct sw {
	struct odp *dp;
	struct fake_port p[4]; // 1 to 3
	struct odp_worker *w[2];
	unsigned before; // mbufs in use
};

static void sw_open(struct sw *s, enum where where)
{
	static const char *const names[] = { NULL, "p1", "p2", "p3" };
	struct odp_conf conf = { .n_workers = 2, .pool = pool };
	struct odp_tnl_conf tun = { .name = "tun", .type = ODP_TNL_VXLAN };
	struct odp_port *p;

	s->before = rte_mempool_in_use_count(pool);
	info.free_cb = never;
	rte_mbuf_ext_refcnt_set(&info, 1);
	assert_int_equal(odp_create(&conf, &s->dp), 0);
	for (unsigned i = 0; i < 2; i++)
		s->w[i] = odp_worker(s->dp, i);
	for (unsigned i = 1; i <= 3; i++) {
		fake_port_add(&s->p[i], s->dp, s->w[i == 2 && where == OTHER], names[i]);
		s->p[i].caps = (struct odp_port_caps){ TAKES, .lent = true, .tso4 = true };
		odp_port_caps_changed(s->p[i].port);
	}
	assert_int_equal(odp_tnl_add(s->dp, &tun, &p), 0);
	assert_int_equal(odp_port_no(p), 4);
}

static void sw_close(struct sw *s, enum where where)
{
	for (unsigned i = 1; i <= 3; i++)
		fake_port_del(&s->p[i], s->w[i == 2 && where == OTHER]);
	odp_destroy(s->dp);
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	assert_int_equal(rte_mempool_in_use_count(pool), s->before);
}

static void put_flow(struct sw *s, const char *acts)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(s->dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(fake_put(s->dp, &k, &m, acts, false, NULL), 0);
}

static void each_way(void **state)
{
	const struct row *t = *state;
	static struct sw s;
	struct odp_port_stats stats;
	bool lent = false;

	sw_open(&s, t->where);
	s.p[2].caps = t->caps;
	odp_port_caps_changed(s.p[2].port);
	put_flow(&s, t->acts);
	s.p[1].in[s.p[1].n_in++] = lent_packet(t->mss);
	assert_int_equal(odp_worker_turn(s.w[0]), 1);
	// What another worker will get, and control, outlives the turn.
	for (unsigned i = 0; i < 2; i++)
		lent |= t->lent[i];
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info) > 1, lent);
	for (unsigned i = 0; i < 2 && lent; i++)
		assert_int_equal(s.p[2 + i].n_out, i == 0 && t->where == OTHER ? 0 : t->n_out[i]);
	odp_worker_turn(s.w[1]);
	for (unsigned i = 0; i < 2; i++) {
		struct fake_port *p = &s.p[2 + i];
		uint32_t hdr = i == 0 && t->hdr ? t->hdr : 54, off = 54;

		assert_int_equal(p->n_out, t->n_out[i]);
		for (unsigned k = 0; k < p->n_out; k++) {
			assert_int_equal(points_there(p->out[k]), t->lent[i]);
			assert_int_equal((p->out[k]->ol_flags & ODP_F_LENT) != 0, t->lent[i]);
			check_payload(p->out[k], hdr, off);
			off += p->out[k]->pkt_len - hdr;
		}
		assert_int_equal(off, p->n_out ? LEN : 54);
		fake_port_reset(p);
	}
	// The ports have freed theirs: a copy in the control thread's ring is none of them.
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	for (uint32_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], payload_at(HEAD + i));
	odp_port_stats(s.p[2].port, &stats);
	for (int d = 0; d < ODP_DROP_COUNT; d++)
		assert_int_equal(stats.drops[d], d == t->drop);
	sw_close(&s, t->where);
}

/* No flow: the packet waits for the control thread, the memory does not. */
static void miss(void **state)
{
	static struct sw s;

	(void)state;
	sw_open(&s, SAME);
	for (unsigned i = 0; i < 2; i++)
		s.p[1].in[s.p[1].n_in++] = lent_packet(0);
	assert_int_equal(odp_worker_turn(s.w[0]), 2);
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	memset(memory, 0, sizeof(memory)); // the guest has it back
	assert_int_equal(odp_upcall_poll(s.dp), 2);
	odp_worker_turn(s.w[0]);
	assert_int_equal(s.p[2].n_out, 2);
	assert_int_equal(s.p[3].n_out, 2);
	for (unsigned i = 0; i < 2; i++)
		check_payload(s.p[2].out[i], 54, 54);
	sw_close(&s, SAME);
}

static void hand_over(struct sw *s)
{
	s->p[2].caps.lent = true;
	put_flow(s, "2");
}

static void to_other_port(struct sw *s)
{
	s->p[2].caps.lent = false;
	odp_port_caps_changed(s->p[2].port);
	put_flow(s, "2");
}

static void into_tunnel(struct sw *s)
{
	put_flow(s, INTO_TUNNEL);
}

static void no_flow(struct sw *s)
{
	(void)s;
}

static const struct empty {
	const char *name;
	void (*set_up)(struct sw *s);
	enum where where;
	unsigned port; // that counts the drops
} empties[] = {
	{ "pool empty: another worker", hand_over, OTHER, 2 },
	{ "pool empty: a port that says nothing", to_other_port, SAME, 2 },
	{ "pool empty: a tunnel", into_tunnel, SAME, 1 },
	{ "pool empty: a miss", no_flow, SAME, 1 },
};

/* No memory for a copy: the packet is dropped and counted, and nothing of it is kept. */
static void pool_empty(void **state)
{
	const struct empty *t = *state;
	static struct rte_mbuf *all[8192];
	struct odp_port_stats stats;
	static struct sw s;
	unsigned n = 0;

	sw_open(&s, t->where);
	t->set_up(&s);
	for (unsigned i = 0; i < 2; i++)
		s.p[1].in[s.p[1].n_in++] = lent_packet(0);
	while ((all[n] = rte_pktmbuf_alloc(pool)))
		n++;
	assert_int_equal(odp_worker_turn(s.w[0]), 2);
	odp_port_stats(s.p[t->port].port, &stats);
	// What the first leaves is enough for the second.
	assert_int_equal(stats.drops[ODP_DROP_NO_MBUF], 1);
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	rte_pktmbuf_free_bulk(all, n);
	sw_close(&s, t->where);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(miss) };
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(rows, each_way, failed);
	RUN_ROWS(empties, pool_empty, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
