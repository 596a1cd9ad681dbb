// SPDX-License-Identifier: Apache-2.0
/*
 * A virtio function as its guest sees it, with the test as the card at the other end of the socket:
 * registers, start and reset, a card that goes and comes back, and one that lies.
 */
#include "virtio_rig.h"

/* ---- tests ---- */

/* VF-18 */
static void registers(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
	// What the transport, or nobody here, can do is not shown
	assert_int_equal(offered(&r), OFFERED & ~(BIT(30) | BIT(26) | BIT(33)));
	assert_int_equal(rd(&r, DEVICE, 8), 0x80);
	assert_int_equal(rd(&r, DEVICE + 0xff8, 8), 0);

	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 0xffff, 2);
	for (unsigned off = VIRTIO_PCI_COMMON_Q_SIZE; off < 64; off += 2) {
		wr(&r, COMMON + off, 0xffff, 2);
		assert_int_equal(rd(&r, COMMON + off, 2), 0);
	}
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 0x1234, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, QUEUES, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), QUEUES);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_MSIX, QUEUES + 1, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 65, 2); // no power of two
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 512, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 0, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), HV_VHOST_RING_SIZE);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2); // before FEATURES_OK
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);

	// FEATURES_OK is refused without VERSION_1, or for what was not offered
	set_status(&r, 3);
	set_features(&r, 0);
	set_status(&r, 11);
	assert_int_equal(status(&r), 3);
	set_features(&r, BIT(VIRTIO_F_VERSION_1) | BIT(33));
	set_status(&r, 11);
	assert_int_equal(status(&r), 3);
	set_status(&r, 15);
	assert_int_equal(status(&r), 3);

	// Every width everywhere; nothing but whole registers changes
	for (unsigned len = 1; len <= 8; len++)
		for (uint64_t a = BAR; a < BAR + 0x8000; a += len == 1 ? 1 : 7) {
			if (a < COMMON + 60 && (len == 1 || len == 2 || len == 4 || len == 8))
				continue;
			wr(&r, a, UINT64_MAX, len);
			(void)rd(&r, a, len);
		}
	assert_int_equal(status(&r), 3);
	assert_true(r.d->bad_accesses > 0);
	rig_fini(&r);
}

static void starts_and_resets(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	assert_int_equal(r.card.seen[VU_SET_FEATURES], 0);
	drive(&r, 0);
	assert_true(hv_vhost_settled(&r.d->vhost));
	assert_int_equal(r.card.features_set, BIT(VIRTIO_F_VERSION_1) | BIT(30));
	assert_int_equal(r.card.status, 15);
	assert_int_equal(r.card.seen[VU_SET_MEM_TABLE], 1);
	assert_int_equal(r.card.seen[VU_SET_VRING_KICK], 2); // of three
	assert_int_equal(r.card.seen[VU_SET_VRING_ENABLE], 2);
	assert_int_equal(r.card.seen[VU_SET_VRING_CALL], 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 1, 2); // another vector while it runs
	talk(&r);
	assert_int_equal(r.card.seen[VU_SET_VRING_CALL], 3);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 1, 2); // too late: DRIVER_OK
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 0x200000, 8);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_AVAILLO, 0x201000, 8);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 0x202000, 8);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);

	// Without bus mastering nothing runs, and goes on with it where it was
	wr(&r, CFG + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	talk(&r);
	assert_int_equal(r.card.seen[VU_GET_VRING_BASE], 2);
	wr(&r, CFG + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	talk(&r);
	assert_int_equal(r.card.base[2], 5);
	assert_int_equal(r.card.seen[VU_SET_VRING_ENABLE], 4);

	set_status(&r, 0);
	assert_int_equal(status(&r), 15); // the card has not let go yet
	set_status(&r, 1);
	talk(&r);
	assert_int_equal(status(&r), 0);
	assert_int_equal(r.card.seen[VU_GET_VRING_BASE], 4);
	assert_int_equal(r.card.seen[VU_RESET_DEVICE], 1);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	drive(&r, BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(r.card.base[2], 0x80008000);
	assert_int_equal(r.card.seen[VU_GET_INFLIGHT_FD], 2);
	rig_fini(&r);
}

/* DRIVER_OK's answer is none to the reset that came meanwhile: the card has the rings still. */
static void reset_during_start(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	r.card.resets = &r;
	drive(&r, 0);
	assert_int_equal(status(&r), 0);
	assert_int_equal(r.card.seen[VU_GET_VRING_BASE], 2);
	assert_int_equal(r.card.seen[VU_RESET_DEVICE], 1);
	rig_fini(&r);
}

/* 2.6.1 */
static void queue_reset(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, BIT(40));
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_RESET, 2), 1);
	talk(&r);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(r.card.seen[VU_GET_VRING_BASE], 1);
	set_queue(&r, 2);
	talk(&r);
	assert_int_equal(r.card.base[2], 0); // not where it was
	assert_int_equal(r.card.seen[VU_SET_VRING_ENABLE], 3);
	rig_fini(&r);
}

static void card_restarts(void **state)
{
	const uint16_t used = 7;
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	assert_int_equal(hv_vm_write(&r.vm, 0x122002, &used, sizeof(used)), 0);
	disconnect(&r.card);
	talk(&r);
	assert_int_equal(r.lost, 1);
	assert_int_equal(status(&r), 15); // nothing that the guest can see
	assert_int_equal(rd(&r, DEVICE, 8), 0x80);
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	assert_int_equal(r.ready, 1);
	assert_int_equal(r.card.base[0], 0);
	assert_int_equal(r.card.base[2], 7);
	assert_int_equal(r.card.seen[VU_GET_INFLIGHT_FD], 0); // it has the old one
	assert_int_equal(r.card.seen[VU_SET_INFLIGHT_FD], 1);
	assert_int_equal(r.card.status, 15);

	// It is gone as the driver resets: that needs nobody
	disconnect(&r.card);
	talk(&r);
	set_status(&r, 0);
	talk(&r);
	assert_int_equal(status(&r), 0);
	drive(&r, 0); // waits for a card
	assert_false(hv_vhost_settled(&r.d->vhost));

	// One that can do less than what the driver was shown is none
	r.card.features &= ~BIT(VIRTIO_F_RING_PACKED);
	connect_card(&r);
	assert_int_equal(r.d->vhost.counters.unfit, 1);
	r.card.features = OFFERED;
	r.card.queues = QUEUES - 1;
	connect_card(&r);
	assert_int_equal(r.d->vhost.counters.unfit, 2);
	r.card.queues = QUEUES + 1;
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	rig_fini(&r);
}

/* Memory is added while rings run: they go on; the guest knows of it once the card does. */
static void memory_grows(void **state)
{
	struct hv_vhost *v;
	struct rig r;

	(void)state;
	rig_init(&r);
	v = &r.d->vhost;
	connect_card(&r);
	rig_plug(&r);
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	assert_true(hv_vhost_knows_memory(v)); // no driver uses any
	drive(&r, 0);
	assert_int_equal(r.card.table.n, 2);
	assert_int_equal(r.card.seen[VU_SET_MEM_TABLE], 1);

	assert_int_equal(hv_vm_add_memory(&r.vm, 2 * HV_MEM_UNIT), 0);
	assert_false(hv_vhost_knows_memory(v));
	hv_vhost_wake(v);
	hv_vhost_run(v); // asked, and not answered; meanwhile there is more
	assert_false(hv_vhost_knows_memory(v));
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	assert_true(card_turn(&r.card));
	assert_int_equal(r.card.table.n, 3);
	hv_vhost_run(v);
	assert_false(hv_vhost_knows_memory(v));
	talk(&r);
	assert_true(hv_vhost_knows_memory(v));
	assert_int_equal(r.card.seen[VU_SET_MEM_TABLE], 3);
	assert_int_equal(r.card.table.n, 4);
	for (unsigned i = 1; i < 4; i++) {
		const struct vu_region *m = &r.card.table.region[i];

		assert_int_equal(m->gpa, HV_HIGH_BASE + m->mmap_off);
		assert_int_equal(m->mmap_off, (i == 3 ? 3 : i - 1) * HV_MEM_UNIT);
		assert_int_equal(m->size, (i == 2 ? 2 : 1) * HV_MEM_UNIT);
	}
	assert_int_equal(r.card.seen[VU_GET_VRING_BASE], 0); // no ring was stopped
	assert_int_equal(status(&r), 15);
	rig_fini(&r);
}

/* A driver that holds its function back may let it go on before we look: the card knows by then. */
static void memory_grows_while_it_is_held_back(void **state)
{
	struct hv_vhost *v;
	struct rig r;

	(void)state;
	rig_init(&r);
	v = &r.d->vhost;
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	wr(&r, CFG + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	assert_false(hv_vhost_knows_memory(v));
	talk(&r);
	assert_true(hv_vhost_knows_memory(v));
	assert_int_equal(r.card.table.n, 2);
	rig_fini(&r);
}

/* One that refuses the larger table is none any more, and what it says holds up nobody. */
static void memory_grows_and_the_card_refuses(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	r.card.spoiled = VU_SET_MEM_TABLE;
	r.card.how = REFUSED;
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	hv_vhost_wake(&r.d->vhost);
	talk(&r);
	assert_int_equal(r.lost, 1);
	assert_int_equal(r.d->vhost.counters.refusals, 1);
	assert_true(hv_vhost_knows_memory(&r.d->vhost));
	r.card.how = RIGHT;
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	assert_int_equal(r.card.table.n, 2);
	assert_int_equal(status(&r), 15);
	rig_fini(&r);
}

/* The guest is told when all cards know: one that has news without end holds up none of that. */
static void memory_grows_amid_news(void **state)
{
	const struct vu_header change = { VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0 };
	struct hv_vhost *v;
	struct rig r;

	(void)state;
	rig_init(&r);
	v = &r.d->vhost;
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(write(r.card.channel, &change, sizeof(change)), sizeof(change));
		hv_vhost_run(v);
		if (i % 2) // what is new is heard before each answer
			card_turn(&r.card);
	}
	hv_vhost_run(v);
	assert_int_equal(r.card.seen[VU_SET_MEM_TABLE], 2);
	assert_true(hv_vhost_knows_memory(v));
	assert_true(r.card.seen[VU_GET_CONFIG] > 1);
	rig_fini(&r);
}

/* A card that goes instead of an answer holds up nobody, and the next one is told all. */
static void memory_grows_without_a_card(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	assert_int_equal(hv_vm_add_memory(&r.vm, HV_MEM_UNIT), 0);
	hv_vhost_wake(&r.d->vhost);
	hv_vhost_run(&r.d->vhost);
	assert_false(hv_vhost_knows_memory(&r.d->vhost));
	disconnect(&r.card);
	talk(&r);
	assert_int_equal(r.lost, 1);
	assert_true(hv_vhost_knows_memory(&r.d->vhost));
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	assert_int_equal(r.card.table.n, 2);
	rig_fini(&r);
}

/* A card may keep a copy of our end, readable for ever: what was dropped is polled no more. */
static void socket_that_the_card_keeps(void **state)
{
	struct pollfd p = { .events = POLLIN };
	int copy, pair[2];
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	copy = dup(r.d->vhost.fd);
	assert_true(copy >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(hv_vhost_reconnect(&r.d->vhost, pair[0]), 0);
	disconnect(&r.card);
	r.card.fd = pair[1];
	for (int i = 0; i < 100; i++) {
		hv_vhost_run(&r.d->vhost);
		card_turn(&r.card);
	}
	assert_int_equal(r.d->vhost.stage, UP);
	p.fd = r.d->vhost.epoll_fd;
	assert_int_equal(poll(&p, 1, 0), 0);
	close(copy);
	rig_fini(&r);
}

static void config_changes(void **state)
{
	const struct vu_header change = { VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0 };
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	assert_int_equal(rd(&r, PBA, 8), 0);
	r.card.config[0] = 0x90;
	assert_int_equal(write(r.card.channel, &change, sizeof(change)), sizeof(change));
	talk(&r);
	assert_int_equal(rd(&r, DEVICE, 8), 0x90);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	assert_int_equal(rd(&r, PBA, 8), 1);
	assert_int_equal(rd(&r, ISR, 1), VIRTIO_PCI_ISR_CONFIG);
	assert_int_equal(rd(&r, ISR, 1), 0);
	// Told again, but nothing is new
	assert_int_equal(write(r.card.channel, &change, sizeof(change)), sizeof(change));
	talk(&r);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	// What the driver writes goes to the card; what that refuses is as it was
	wr(&r, DEVICE + offsetof(struct virtio_blk_config, wce), 1, 1);
	talk(&r);
	assert_int_equal(r.card.seen[VU_SET_CONFIG], 1);
	r.card.spoiled = VU_SET_CONFIG;
	r.card.how = REFUSED;
	r.card.seen[VU_GET_CONFIG] = 0;
	wr(&r, DEVICE + 2, 1, 1);
	talk(&r);
	assert_int_equal(rd(&r, DEVICE + 2, 1), 0);
	assert_int_equal(r.card.seen[VU_GET_CONFIG], 1);
	assert_int_equal(r.d->vhost.counters.drops, 0);
	// A ring that broke: the driver is told to reset
	(void)eventfd_write(r.d->vhost.err_fd, 1);
	talk(&r);
	assert_int_equal(status(&r), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	set_status(&r, 0);
	talk(&r);
	assert_int_equal(status(&r), 0);
	// Nonsense on the channel closes it, no more
	assert_int_equal(write(r.card.channel, "nonsense, nonsense", 18), 18);
	talk(&r);
	assert_int_equal(r.d->vhost.channel_fd, -1);
	assert_int_equal(r.d->vhost.counters.drops, 0);
	rig_fini(&r);
}

/* VF-19 */
static void window(void **state)
{
	struct rig r;
	uint64_t cap;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	cap = CFG + r.d->window;
	wr(&r, cap + 4, 0, 1);
	wr(&r, cap + 8, 0x2000, 4);
	wr(&r, cap + 12, 4, 4);
	assert_int_equal(rd(&r, cap + 16, 4), 0x80);
	wr(&r, cap + 8, VIRTIO_PCI_COMMON_STATUS, 4);
	wr(&r, cap + 12, 1, 4);
	wr(&r, cap + 16, 3, 4);
	assert_int_equal(status(&r), 3);
	for (unsigned i = 0; i < 6; i++) {
		static const struct {
			uint8_t bar;
			uint32_t off, len;
		} bad[] = { { 0, 20, 3 }, { 0, 20, 0 }, { 0, 20, 8 }, { 6, 20, 1 }, { 7, 20, 1 },
			{ 0, 0x8000, 4 } };

		wr(&r, cap + 4, bad[i].bar, 1);
		wr(&r, cap + 8, bad[i].off, 4);
		wr(&r, cap + 12, bad[i].len, 4);
		wr(&r, cap + 16, 0xff, 4);
		(void)rd(&r, cap + 16, 4);
		assert_int_equal(status(&r), 3);
	}
	rig_fini(&r);
}

static const struct lie {
	const char *name;
	uint32_t request;
	enum how how;
} lies[] = {
	{ "features too short", VU_GET_FEATURES, SHORT },
	{ "features too long", VU_GET_FEATURES, LONG },
	{ "an answer to something else", VU_GET_PROTOCOL_FEATURES, OTHER },
	{ "no answer but a request", VU_GET_QUEUE_NUM, NOT_A_REPLY },
	{ "an answer beyond all sizes", VU_GET_CONFIG, HUGE },
	{ "short configuration space", VU_GET_CONFIG, SHORT },
	{ "two answers", VU_SET_MEM_TABLE, TWICE },
	{ "features refused", VU_SET_FEATURES, REFUSED },
	{ "memory refused", VU_SET_MEM_TABLE, REFUSED },
	{ "inflight region too short", VU_GET_INFLIGHT_FD, SHORT },
	{ "inflight region too long", VU_GET_INFLIGHT_FD, HUGE },
	{ "gone at the base", VU_SET_VRING_BASE, CLOSED },
	{ "gone at the kick", VU_SET_VRING_KICK, CLOSED },
	{ "gone as it is enabled", VU_SET_VRING_ENABLE, CLOSED },
	{ "base too long", VU_GET_VRING_BASE, LONG },
	{ "reset refused", VU_RESET_DEVICE, REFUSED },
	{ "silent in a reset", VU_GET_VRING_BASE, SILENT },
};

/* Whatever it says, registers answer, and the next card finds all in order. */
static void lies_once(void **state)
{
	const struct lie *l = *state;
	struct pollfd p = { .events = POLLIN };
	struct rig r;

	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	disconnect(&r.card);
	talk(&r);
	drive(&r, 0);
	r.card.spoiled = l->request;
	r.card.how = l->how;
	connect_card(&r);
	assert_int_equal(status(&r), 15);
	if (l->request == VU_GET_VRING_BASE || l->request == VU_RESET_DEVICE) {
		assert_true(hv_vhost_settled(&r.d->vhost));
		set_status(&r, 0);
		talk(&r);
		p.fd = r.d->vhost.epoll_fd;
		if (l->how == SILENT) { // 5 s, and nobody waits for it but the driver
			assert_int_equal(status(&r), 15);
			assert_int_equal(poll(&p, 1, 10000), 1);
			talk(&r);
			assert_int_equal(r.d->vhost.counters.timeouts, 1);
		}
		assert_int_equal(status(&r), 0);
		drive(&r, 0);
	}
	assert_int_equal(r.d->vhost.counters.drops, 2);
	await_lost(&r, 2);
	assert_false(hv_vhost_settled(&r.d->vhost));
	r.card.how = RIGHT;
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	assert_int_equal(status(&r), 15);
	rig_fini(&r);
}

/* A card that refuses what another connection would bring again is not asked all the time. */
static void asks_less_and_less(void **state)
{
	struct pollfd p = { .events = POLLIN };
	unsigned given = 0;
	uint64_t end;
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	r.card.spoiled = VU_SET_MEM_TABLE;
	r.card.how = REFUSED;
	drive(&r, 0);
	assert_int_equal(r.lost, 1); // the first time at once
	p.fd = r.d->vhost.epoll_fd;
	end = dpu_now_ns() + 1000000000;
	while (dpu_now_ns() < end) {
		if (given < r.lost) {
			given = r.lost;
			connect_card(&r);
		}
		(void)poll(&p, 1, 10);
		talk(&r);
	}
	assert_true(given <= 5); // at 0, 100, 300 and 700 ms
	if (given == r.lost) // it was refused, and the delay is not over
		await_lost(&r, given + 1);
	// What is wrong once is as if it had never been, once a card has all that it needs
	r.card.how = RIGHT;
	connect_card(&r);
	assert_true(hv_vhost_settled(&r.d->vhost));
	given = r.lost;
	disconnect(&r.card);
	talk(&r);
	assert_int_equal(r.lost, given + 1);
	rig_fini(&r);
}

/* Where the card does not take a ring, another connection would not, either. */
static void rings_refused(void **state)
{
	static const uint32_t requests[] = { VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR,
		VU_SET_VRING_ERR, VU_SET_VRING_CALL, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE };
	struct rig r;

	(void)state;
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		rig_init(&r);
		connect_card(&r);
		rig_plug(&r);
		r.card.spoiled = requests[i];
		r.card.how = REFUSED;
		drive(&r, 0);
		assert_int_equal(status(&r), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_int_equal(rd(&r, BAR + 0x1000, 1), 2); // ISR: configuration changed
		assert_int_equal(r.d->vhost.counters.refusals, 1);
		assert_int_equal(r.d->vhost.counters.drops, 0);
		assert_int_equal(r.lost, 0);
		// The driver tries again, and it is no worse than before
		r.card.how = RIGHT;
		set_status(&r, 0);
		talk(&r);
		assert_int_equal(status(&r), 0);
		drive(&r, 0);
		assert_int_equal(status(&r), 15);
		assert_true(hv_vhost_settled(&r.d->vhost));
		rig_fini(&r);
	}
}

/* A size that only packed rings have is none once the driver does without them. */
static void size_of_another_layout(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	r.card.features |= BIT(VIRTIO_F_RING_PACKED);
	connect_card(&r);
	rig_plug(&r);
	set_status(&r, 3);
	set_features(&r, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED));
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 65, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), 65);
	set_features(&r, BIT(VIRTIO_F_VERSION_1));
	set_status(&r, 11);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 0x100000, 8);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_AVAILLO, 0x101000, 4);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 0x102000, 4);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 64, 2);
	wr(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(rd(&r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	rig_fini(&r);
}

/* What is in an eventfd; it is as it was. */
static uint64_t count(int fd)
{
	char path[64], line[128];
	uint64_t n = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "eventfd-count:", 14) == 0)
			n = strtoull(line + 14, NULL, 16);
	fclose(f);
	return n;
}

/* A doorbell through the window, which leaves KVM. */
static void ring(struct rig *r, unsigned i)
{
	uint64_t cap = CFG + r->d->window;

	wr(r, cap + 4, 0, 1);
	wr(r, cap + 8, 0x3000 + i * 4, 4);
	wr(r, cap + 12, 2, 4);
	wr(r, cap + 16, 0, 2);
}

/*
 * The card has these descriptors, too: it fills them and lets who writes wait, whenever it likes.
 * So nobody writes to one that it has.
 */
static void shared_descriptors(void **state)
{
	const struct vu_header change = { VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0 };
	int old, *kick, fd;
	struct rig r;

	(void)state;
	rig_init(&r);
	connect_card(&r);
	rig_plug(&r);
	drive(&r, 0);
	alarm(60); // for who waits
	for (unsigned i = 0; i < QUEUES + 1; i++)
		assert_int_equal(fcntl(hv_msix_fd(r.d->func.msix, i), F_SETFL, 0), 0);
	assert_int_equal(fcntl(r.d->vhost.err_fd, F_SETFL, 0), 0);
	assert_false(hv_irq_take(r.d->vhost.err_fd));
	// The first one says that there may be requests already
	kick = &r.card.kick[2];
	assert_int_equal(count(*kick), 1);
	assert_int_equal(fcntl(*kick, F_SETFL, 0), 0);
	ring(&r, 2);
	talk(&r);
	assert_int_equal(r.card.seen[VU_VRING_KICK], 1);
	assert_int_equal(r.card.seen[VU_SET_VRING_KICK], 2);
	assert_int_equal(count(*kick), 1); // as it was
	// A doorbell is nowhere else meanwhile
	fd = r.d->vhost.rings[2].kick_fd;
	assert_int_equal(hv_irq_doorbell(&r.vm, BAR + 0x3008, fd), -EEXIST);
	old = dup(*kick);
	connect_card(&r); // which may have lost kicks and calls
	assert_int_equal(count(old), 1);
	assert_int_equal(count(*kick), 1);
	for (unsigned i = 0; i < QUEUES + 1; i++)
		assert_int_equal(count(hv_msix_fd(r.d->func.msix, i)), 0);
	assert_int_equal(rd(&r, PBA, 8), 1u << 1 | 1u << 3); // pending: all are masked
	r.card.config[0] = 0x90;
	assert_int_equal(write(r.card.channel, &change, sizeof(change)), sizeof(change));
	talk(&r);
	assert_int_equal(count(hv_msix_fd(r.d->func.msix, 0)), 0);
	assert_int_equal(rd(&r, PBA, 8), 1u << 0 | 1u << 1 | 1u << 3);
	set_status(&r, 0);
	talk(&r);
	assert_int_equal(status(&r), 0);
	assert_int_equal(rd(&r, PBA, 8), 0);
	alarm(0);
	close(old);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(registers),
		cmocka_unit_test(starts_and_resets), cmocka_unit_test(reset_during_start),
		cmocka_unit_test(queue_reset), cmocka_unit_test(card_restarts),
		cmocka_unit_test(socket_that_the_card_keeps), cmocka_unit_test(memory_grows),
		cmocka_unit_test(memory_grows_without_a_card),
		cmocka_unit_test(memory_grows_amid_news),
		cmocka_unit_test(memory_grows_while_it_is_held_back),
		cmocka_unit_test(memory_grows_and_the_card_refuses),
		cmocka_unit_test(config_changes), cmocka_unit_test(window),
		cmocka_unit_test(rings_refused), cmocka_unit_test(size_of_another_layout),
		cmocka_unit_test(shared_descriptors), cmocka_unit_test(asks_less_and_less) };
	int failed = 0;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(lies, lies_once, failed);
	return failed;
}
