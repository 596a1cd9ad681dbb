// SPDX-License-Identifier: Apache-2.0
/*
 * A guest without a kernel, in user mode: finds the card's functions on its PCI bus, moves their
 * BARs, sets up MSI-X and virtqueues, and writes, reads and compares blocks and frames.
 */
#include "guest.h"

#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#define params ((struct guest_params *)GUEST_PARAMS)
#define RINGS 0x400000ul // 16 KiB for each ring
#define BUFFERS 0x800000ul // 64 KiB for each ring
#define APIC 0xfee00000ul
#define APIC_SVR 0xf0
#define APIC_IRR 0x200
#define VECTOR 0x40
#define RING_SIZE 64
#define SECTORS 64 // of the disk that are used
#define NET_HEADER 12
#define FRAME 256

#define CHECK(ok, v)                                      \
	do {                                              \
		if (!(ok))                                \
			give_up(__LINE__, (uint64_t)(v)); \
	} while (0)

struct seg {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; // 2: the device writes
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t a, b; // split: flags, next; packed: id, flags
};

struct ring {
	uint32_t packed;
	uint16_t next, last; // where the driver is, of what it adds and of what it gets
	uint16_t added, got; // requests, free-running in both layouts
	uint8_t wrap, used_wrap;
	uint8_t n[16]; // descriptors of each request
	volatile struct desc *desc;
	volatile uint16_t *avail, *used;
	volatile uint16_t *bell;
	uint16_t number;
	uint64_t buf;
};

struct function {
	uint64_t cfg, bar;
	uint8_t slot, msix;
	uint64_t common, device, notify, isr, window;
	uint32_t step;
	struct ring ring[2];
};

static struct function disks[32], net[2]; // disks by slot, where they come and go
static struct function *disk = &disks[0];
#define blk (*disk)

static void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static void give_up(uint32_t line, uint64_t value)
{
	params->line = line;
	params->value = value;
	out8(GUEST_PORT_EXIT, 1);
	for (;;)
		;
}

static uint64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

#define R8(a) (*(volatile uint8_t *)(a))
#define R16(a) (*(volatile uint16_t *)(a))
#define R32(a) (*(volatile uint32_t *)(a))
#define R64(a) (*(volatile uint64_t *)(a))

/* ---- PCI ---- */

static void capability(struct function *f, uint64_t cap)
{
	uint64_t at = f->bar + R32(cap + VIRTIO_PCI_CAP_OFFSET);

	if (R8(cap) == PCI_CAP_ID_MSIX)
		f->msix = (uint8_t)cap;
	if (R8(cap) != PCI_CAP_ID_VNDR)
		return;
	switch (R8(cap + VIRTIO_PCI_CAP_CFG_TYPE)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		f->common = at;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		f->notify = at;
		f->step = R32(cap + VIRTIO_PCI_NOTIFY_CAP_MULT);
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		f->device = at;
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		f->isr = at;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		f->window = cap;
		break;
	default:
		break;
	}
}

/* The BAR goes to another place while it decodes, and must answer there. */
static void find(struct function *f, unsigned slot)
{
	uint64_t cfg = GUEST_ECAM + slot * 0x8000ul;

	f->cfg = cfg;
	f->slot = (uint8_t)slot;
	R16(cfg + PCI_COMMAND) = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	f->bar = GUEST_BARS + 0x8000000 + slot * 0x100000ul;
	R32(cfg + PCI_BASE_ADDRESS_0) = (uint32_t)f->bar;
	CHECK(R32(cfg + PCI_BASE_ADDRESS_0) == f->bar, R32(cfg + PCI_BASE_ADDRESS_0));
	for (uint8_t at = R8(cfg + PCI_CAPABILITY_LIST), n = 0; at && n < 48; n++) {
		capability(f, cfg + at);
		at = R8(cfg + at + 1);
	}
	CHECK(f->common && f->notify && f->device && f->isr && f->msix, slot);
}

static uint64_t vector_at(const struct function *f, unsigned i)
{
	return f->bar + (R32(f->cfg + f->msix + PCI_MSIX_TABLE) & ~7u) + i * 16ul;
}

static uint8_t vector(const struct function *f, unsigned i)
{
	return (uint8_t)(VECTOR + f->slot * 8 + i);
}

static void msix_on(const struct function *f)
{
	for (unsigned i = 0; i < 3; i++) {
		R64(vector_at(f, i)) = APIC;
		R32(vector_at(f, i) + 8) = vector(f, i);
		R32(vector_at(f, i) + 12) = 0;
	}
	R16(f->cfg + f->msix + PCI_MSIX_FLAGS) = PCI_MSIX_FLAGS_ENABLE;
}

/* The local APIC has been asked to raise it (interrupts are off, so it stays asked). */
static int raised(const struct function *f, unsigned i)
{
	uint8_t v = vector(f, i);

	return R32(APIC + APIC_IRR + v / 32 * 16ul) >> v % 32 & 1;
}

/* ---- rings ---- */

static void ring_init(struct ring *r, unsigned number)
{
	uint64_t at = RINGS + number * 0x4000ul;

	for (unsigned i = 0; i < 0x4000; i += 8)
		R64(at + i) = 0;
	*r = (struct ring){ .packed = params->packed, .wrap = 1, .used_wrap = 1 };
	r->desc = (volatile struct desc *)at;
	r->avail = (volatile uint16_t *)(at + 0x1000);
	r->used = (volatile uint16_t *)(at + 0x2000);
	r->buf = BUFFERS + number * 0x10000ul;
}

static void add_split(struct ring *r, const struct seg *s, unsigned n)
{
	uint16_t head = (uint16_t)(r->added % 16 * 4);

	for (unsigned i = 0; i < n; i++) {
		volatile struct desc *d = &r->desc[head + i];

		d->addr = s[i].addr;
		d->len = s[i].len;
		d->a = (uint16_t)(s[i].flags | (i + 1 < n));
		d->b = (uint16_t)(head + i + 1);
	}
	r->avail[2 + r->next % RING_SIZE] = head;
	r->next++;
	__atomic_store_n(&r->avail[1], r->next, __ATOMIC_RELEASE);
}

static void add_packed(struct ring *r, const struct seg *s, unsigned n)
{
	uint16_t first = r->next, first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		volatile struct desc *d = &r->desc[r->next];
		uint16_t flags = (uint16_t)(s[i].flags | (i + 1 < n) |
					    (r->wrap ? 1u << 7 : 1u << 15));

		d->addr = s[i].addr;
		d->len = s[i].len;
		d->a = r->added % 16;
		if (i == 0)
			first_flags = flags;
		else
			d->b = flags;
		if (++r->next == RING_SIZE) {
			r->next = 0;
			r->wrap ^= 1;
		}
	}
	__atomic_store_n(&r->desc[first].b, first_flags, __ATOMIC_RELEASE);
}

static void add(struct ring *r, const struct seg *s, unsigned n)
{
	r->n[r->added % 16] = (uint8_t)n;
	if (r->packed)
		add_packed(r, s, n);
	else
		add_split(r, s, n);
	r->added++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*r->bell = r->number;
}

static int get_packed(struct ring *r)
{
	volatile struct desc *d = &r->desc[r->last];
	uint16_t flags = __atomic_load_n(&d->b, __ATOMIC_ACQUIRE);
	unsigned id = d->a;

	if ((flags >> 7 & 1) != r->used_wrap || flags >> 15 != r->used_wrap)
		return -1;
	CHECK(id < 16, id);
	r->last = (uint16_t)(r->last + r->n[id]);
	if (r->last >= RING_SIZE) {
		r->last = (uint16_t)(r->last - RING_SIZE);
		r->used_wrap ^= 1;
	}
	return (int)id;
}

static int get_split(struct ring *r)
{
	uint32_t id;

	if (__atomic_load_n(&r->used[1], __ATOMIC_ACQUIRE) == r->last)
		return -1;
	id = *(volatile uint32_t *)(r->used + 2 + 4ul * (r->last % RING_SIZE));
	CHECK(id < 64 && id % 4 == 0, id);
	r->last++;
	return (int)(id / 4);
}

/* Which of the 16 requests is done, or -1. */
static int get(struct ring *r)
{
	int id = r->packed ? get_packed(r) : get_split(r);

	if (id >= 0)
		r->got++;
	return id;
}

/* ---- virtio ---- */

static void set_ring(struct function *f, unsigned i, unsigned number)
{
	struct ring *r = &f->ring[i];
	uint64_t c = f->common;

	ring_init(r, number);
	R16(c + VIRTIO_PCI_COMMON_Q_SELECT) = (uint16_t)i;
	CHECK(R16(c + VIRTIO_PCI_COMMON_Q_SIZE) >= RING_SIZE, R16(c + VIRTIO_PCI_COMMON_Q_SIZE));
	R16(c + VIRTIO_PCI_COMMON_Q_SIZE) = RING_SIZE;
	R16(c + VIRTIO_PCI_COMMON_Q_MSIX) = (uint16_t)(i + 1);
	CHECK(R16(c + VIRTIO_PCI_COMMON_Q_MSIX) == i + 1, i);
	R32(c + VIRTIO_PCI_COMMON_Q_DESCLO) = (uint32_t)(uintptr_t)r->desc;
	R32(c + VIRTIO_PCI_COMMON_Q_AVAILLO) = (uint32_t)(uintptr_t)r->avail;
	R32(c + VIRTIO_PCI_COMMON_Q_USEDLO) = (uint32_t)(uintptr_t)r->used;
	r->bell = (volatile uint16_t *)(f->notify +
					R16(c + VIRTIO_PCI_COMMON_Q_NOFF) * (uint64_t)f->step);
	r->number = (uint16_t)i;
	R16(c + VIRTIO_PCI_COMMON_Q_ENABLE) = 1;
	CHECK(R16(c + VIRTIO_PCI_COMMON_Q_ENABLE) == 1, i);
	R16(c + VIRTIO_PCI_COMMON_Q_SIZE) = 2; // too late: VF-18
	CHECK(R16(c + VIRTIO_PCI_COMMON_Q_SIZE) == RING_SIZE, i);
}

static void reset(struct function *f)
{
	R8(f->common + VIRTIO_PCI_COMMON_STATUS) = 0;
	while (R8(f->common + VIRTIO_PCI_COMMON_STATUS) != 0)
		;
}

static void set_features(const struct function *f, uint64_t bits)
{
	for (uint32_t i = 0; i < 2; i++) {
		R32(f->common + VIRTIO_PCI_COMMON_GFSELECT) = i;
		R32(f->common + VIRTIO_PCI_COMMON_GF) = (uint32_t)(bits >> i * 32);
	}
}

/* Features that were not offered, first; then those that are wanted. */
static void start(struct function *f, unsigned rings, unsigned number)
{
	const uint8_t begun = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	const uint64_t want = 1ull << VIRTIO_F_VERSION_1 |
			      (params->packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
	uint64_t status = f->common + VIRTIO_PCI_COMMON_STATUS;

	reset(f);
	R8(status) = begun;
	set_features(f, want | 1ull << VIRTIO_F_SR_IOV);
	R8(status) = begun | VIRTIO_CONFIG_S_FEATURES_OK;
	CHECK(R8(status) == begun, R8(status));
	set_features(f, want);
	R8(status) = begun | VIRTIO_CONFIG_S_FEATURES_OK;
	CHECK(R8(status) == (begun | VIRTIO_CONFIG_S_FEATURES_OK), R8(status));
	R16(f->common + VIRTIO_PCI_COMMON_MSIX) = 0;
	for (unsigned i = 0; i < rings; i++)
		set_ring(f, i, number + i);
	R8(status) = begun | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
}

/* ---- blocks ---- */

static uint8_t pattern(uint64_t i, unsigned k)
{
	return (uint8_t)(i * 37 + k * 11 + (i >> 8));
}

static void blk_request(uint32_t type, uint64_t sector)
{
	struct ring *r = &blk.ring[0];
	const struct seg s[3] = { { r->buf, 16, 0 },
		{ r->buf + 512, 512, (uint16_t)(type == VIRTIO_BLK_T_IN ? 2 : 0) },
		{ r->buf + 16, 1, 2 } };

	R32(r->buf) = type;
	R32(r->buf + 4) = 0;
	R64(r->buf + 8) = sector;
	R8(r->buf + 16) = 0xff;
	add(r, s, 3);
	while (get(r) < 0)
		;
	CHECK(R8(r->buf + 16) == VIRTIO_BLK_S_OK, R8(r->buf + 16));
}

static void blk_turn(uint64_t i)
{
	uint64_t data = blk.ring[0].buf + 512, sector = i / 2 % SECTORS;

	if (i % 2 == 0) {
		for (unsigned k = 0; k < 512; k++)
			R8(data + k) = pattern(i, k);
		blk_request(VIRTIO_BLK_T_OUT, sector);
	} else {
		for (unsigned k = 0; k < 512; k++)
			R8(data + k) = 0;
		blk_request(VIRTIO_BLK_T_IN, sector);
		for (unsigned k = 0; k < 512; k++)
			CHECK(R8(data + k) == pattern(i - 1, k), sector << 16 | k);
	}
	params->done_blk++;
}

/* ---- frames: from the first NIC to the second ---- */

static uint64_t rx_buf(unsigned i)
{
	return net[1].ring[0].buf + 2048ul * i;
}

static void give_rx(void)
{
	const struct seg s = { rx_buf(net[1].ring[0].added % 16), 2048, 2 };

	add(&net[1].ring[0], &s, 1);
}

static void send(uint64_t i)
{
	static const uint8_t head[14] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };
	struct ring *r = &net[0].ring[1];
	uint64_t buf = r->buf + 2048ul * (r->added % 16);
	const struct seg s = { buf, NET_HEADER + FRAME, 0 };

	while (get(r) >= 0) // a frame that is back before we look leaves no other time for it
		;
	CHECK((uint16_t)(r->added - r->got) < 16, (unsigned)r->added << 16 | r->got);
	for (unsigned k = 0; k < NET_HEADER; k++)
		R8(buf + k) = 0;
	for (unsigned k = 0; k < FRAME; k++)
		R8(buf + NET_HEADER + k) = k < 14 ? head[k] : pattern(i, k);
	R64(buf + NET_HEADER + 16) = i;
	add(r, &s, 1);
}

/* Frames that were sent again may come twice; others never. */
static int receive(uint64_t i)
{
	int got = get(&net[1].ring[0]);
	uint64_t buf;

	if (got < 0)
		return 0;
	buf = rx_buf((unsigned)got) + NET_HEADER;
	CHECK(R64(buf + 16) <= i, R64(buf + 16));
	if (R64(buf + 16) == i)
		for (unsigned k = 24; k < FRAME; k++)
			CHECK(R8(buf + k) == pattern(i, k), k);
	i = R64(buf + 16) == i;
	give_rx();
	return (int)i;
}

static void net_turn(uint64_t i)
{
	uint64_t sent = now();
	struct ring *r = &net[0].ring[1];

	send(i);
	while (!receive(i)) {
		while (get(r) >= 0)
			;
		// A card that was killed may have taken it along
		if (now() - sent > 1000000000 && (uint16_t)(r->added - r->got) < 8) {
			params->resent++;
			send(i);
			sent = now();
		}
	}
	params->done_net++;
}

/* ---- the whole of it ---- */

static void turn(uint64_t i)
{
	if (blk.common)
		blk_turn(i);
	if (net[1].common)
		net_turn(i);
}

/* A vector that is masked is pending in the PBA, and raised once it is not masked any more. */
static void masks(void)
{
	uint64_t pba = blk.bar + (R32(blk.cfg + blk.msix + PCI_MSIX_PBA) & ~7u);

	R32(vector_at(&blk, 1) + 8) = VECTOR + 7; // one that nobody else has
	R32(vector_at(&blk, 1) + 12) = 1;
	blk_request(VIRTIO_BLK_T_IN, 0);
	while (!(R32(pba) & 2))
		;
	CHECK(!(R32(APIC + APIC_IRR + (VECTOR + 7) / 32 * 16ul) >> (VECTOR + 7) % 32 & 1), 0);
	R32(vector_at(&blk, 1) + 12) = 0;
	while (!(R32(APIC + APIC_IRR + (VECTOR + 7) / 32 * 16ul) >> (VECTOR + 7) % 32 & 1))
		;
	CHECK(!(R32(pba) & 2), R32(pba));
}

/* A doorbell that leaves KVM: a card that serves the ring has another kick descriptor then. */
static void rings_by_window(void)
{
	struct ring *r = &blk.ring[0];
	volatile uint16_t *bell = r->bell;

	R8(blk.window + VIRTIO_PCI_CAP_BAR) = 0;
	R32(blk.window + VIRTIO_PCI_CAP_OFFSET) = (uint32_t)((uint64_t)bell - blk.bar);
	R32(blk.window + VIRTIO_PCI_CAP_LENGTH) = 2;
	r->bell = (volatile uint16_t *)(blk.window + sizeof(struct virtio_pci_cap));
	for (unsigned i = 0; i < 3; i++)
		blk_request(VIRTIO_BLK_T_IN, 0);
	r->bell = bell;
}

static void scan(void)
{
	uint32_t n = 0;

	CHECK(R32(GUEST_ECAM + PCI_CLASS_REVISION) >> 8 == 0x060000, 0);
	for (unsigned slot = 1; slot < 32; slot++) {
		uint32_t id = R32(GUEST_ECAM + slot * 0x8000ul);

		if (id == 0xffffffff)
			continue;
		n++;
		if (id == 0x10421af4)
			find(&blk, slot);
		else if (id == 0x10411af4)
			find(&net[net[0].common ? 1 : 0], slot);
		else
			CHECK(0, id);
	}
	CHECK(n == params->functions, n);
}

/* ---- for ever, with disks that come and go: nobody said how many there are ---- */

static void print(const char *text, uint32_t number)
{
	for (; *text; text++)
		out8(GUEST_PORT_CONSOLE, (uint8_t)*text);
	for (int shift = 28; shift >= 0; shift -= 4)
		out8(GUEST_PORT_CONSOLE, (uint8_t) "0123456789abcdef"[number >> shift & 15]);
	out8(GUEST_PORT_CONSOLE, '\n');
}

static void plugged(unsigned slot)
{
	disk = &disks[slot];
	find(disk, slot);
	msix_on(disk);
	start(disk, 1, slot);
	print("plug ", slot);
}

static uint32_t slots(void)
{
	uint32_t bits = 0;

	for (unsigned slot = 1; slot < 32; slot++)
		if (R32(GUEST_ECAM + slot * 0x8000ul) == 0x10421af4)
			bits |= 1u << slot;
	return bits;
}

static __attribute__((noreturn)) void serve(void)
{
	uint32_t have = 0, up = slots(), down;

	for (uint64_t i = 0;; i += 2) {
		for (unsigned slot = 1; slot < 32; slot++)
			if (up >> slot & ~have >> slot & 1)
				plugged(slot);
		have |= up;
		for (unsigned slot = 1; slot < 32; slot++)
			if (have >> slot & 1) {
				disk = &disks[slot];
				blk_turn(i);
				blk_turn(i + 1);
			}
		if (i % 64 == 0)
			print("io ", have);
		down = R32(GUEST_EVENTS + GUEST_PCI_DOWN) & have;
		have &= ~down;
		if (down) {
			print("eject ", down);
			R32(GUEST_EVENTS + GUEST_PCI_EJECT) = down;
		}
		up = R32(GUEST_EVENTS + GUEST_PCI_UP);
	}
}

__attribute__((section(".start"), noreturn)) void guest_start(void);

void guest_start(void)
{
	uint64_t i = 0;

	R32(APIC + APIC_SVR) = 0x1ff; // the local APIC is on
	if (!params->requests)
		serve();
	scan();
	if (blk.common) {
		msix_on(&blk);
		start(&blk, 1, 0);
		CHECK(R64(blk.device) == 131072, R64(blk.device)); // sectors
		turn(i++);
		while (!raised(&blk, 1))
			;
		masks();
		rings_by_window();
	}
	for (unsigned k = 0; k < 2 && net[1].common; k++) {
		msix_on(&net[k]);
		start(&net[k], 2, 2 + 2 * k);
		CHECK(R8(net[k].device + 5) == k + 1, R8(net[k].device + 5)); // its address
	}
	if (net[1].common) {
		for (unsigned k = 0; k < 8; k++)
			give_rx();
		net_turn(0);
		while (!raised(&net[1], 1))
			;
	}
	i = 2; // pairs of a write and a read
	out8(GUEST_PORT_MARK, MARK_BEGIN);
	for (; i < 2 + params->requests; i++)
		turn(i);
	out8(GUEST_PORT_MARK, MARK_END);
	if (params->restart) {
		out8(GUEST_PORT_MARK, MARK_RESTART);
		while (!params->restarted)
			turn(i++);
		for (uint64_t end = i + 501; i < end; i++)
			turn(i);
		out8(GUEST_PORT_MARK, MARK_RESTARTED);
	}
	// Another driver takes over: the rings begin anew
	if (blk.common) {
		start(&blk, 1, 0);
		turn(i & ~1ull);
		turn(i | 1);
		reset(&blk);
	}
	out8(GUEST_PORT_EXIT, 0);
	for (;;)
		;
}
