// SPDX-License-Identifier: Apache-2.0
/* The registers of a modern virtio-pci function. */
#include "virtio_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_log.h"
#include "dpu_wire.h"
#include "irq.h"

/* BAR 0: a page for each, but the table, which has two. */
#define BAR 0
#define BAR_LEN 0x8000u
#define AREA_LEN 0x1000u
#define COMMON 0x0000u
#define ISR 0x1000u
#define DEVICE 0x2000u
#define NOTIFY 0x3000u
#define MSIX_TABLE 0x4000u
#define MSIX_PBA 0x6000u
#define NOTIFY_STEP HV_VHOST_DOORBELL // for each queue

#define COMMON_LEN 60u // to queue_reset, VIRTIO 1.2
#define VENDOR 0x1af4
#define DEVICE_BASE 0x1040

#define BIT(n) (1ull << (n))
#define NOTIFICATION_DATA 38 // an eventfd carries none
#define RING_RESET 40
/* Bits 24 to 40 belong to rings and transport; only these are carried through. */
#define RING_BITS (BIT(41) - BIT(24))
#define RING_KNOWN                                                                             \
	(BIT(VIRTIO_F_ANY_LAYOUT) | BIT(28) /* indirect */ | BIT(29) /* event index */ |       \
		BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(35) /* in order */ | \
		BIT(VIRTIO_F_ORDER_PLATFORM) | BIT(RING_RESET))

static struct hv_virtio *of(struct hv_pci_func *f)
{
	return (struct hv_virtio *)f;
}

static uint64_t offered(const struct hv_virtio *d)
{
	return d->vhost.offered & ~(RING_BITS & ~RING_KNOWN);
}

static struct hv_vhost_ring *selected(struct hv_virtio *d)
{
	return d->queue_select < d->vhost.n_rings ? &d->vhost.rings[d->queue_select] : NULL;
}

/* ---- common configuration: 4.1.4.3 ---- */

static uint32_t feature_word(uint64_t bits, uint32_t select)
{
	return select == 0 ? (uint32_t)bits : select == 1 ? (uint32_t)(bits >> 32) : 0;
}

static void put(uint8_t *image, unsigned off, uint64_t v, unsigned len)
{
	dpu_le64 w = dpu_le64_put(v);

	memcpy(image + off, &w, len);
}

/* All registers as they read now. A queue that there is not reads 0. */
static void common_image(struct hv_virtio *d, uint8_t *b)
{
	const struct hv_vhost *v = &d->vhost;
	const struct hv_vhost_ring *r = selected(d);
	uint8_t status = d->status | (v->broken ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);

	memset(b, 0, COMMON_LEN);
	put(b, VIRTIO_PCI_COMMON_DFSELECT, d->device_select, 4);
	put(b, VIRTIO_PCI_COMMON_DF, feature_word(offered(d), d->device_select), 4);
	put(b, VIRTIO_PCI_COMMON_GFSELECT, d->driver_select, 4);
	put(b, VIRTIO_PCI_COMMON_GF, feature_word(d->driver_features, d->driver_select), 4);
	put(b, VIRTIO_PCI_COMMON_MSIX, d->config_vector, 2);
	put(b, VIRTIO_PCI_COMMON_NUMQ, v->n_rings, 2);
	// 0 is the end of a reset; until then the driver waits for it
	put(b, VIRTIO_PCI_COMMON_STATUS, status, 1);
	put(b, VIRTIO_PCI_COMMON_CFGGENERATION, d->generation, 1);
	put(b, VIRTIO_PCI_COMMON_Q_SELECT, d->queue_select, 2);
	if (!r)
		return;
	put(b, VIRTIO_PCI_COMMON_Q_SIZE, r->size, 2);
	put(b, VIRTIO_PCI_COMMON_Q_MSIX, d->vectors[d->queue_select], 2);
	put(b, VIRTIO_PCI_COMMON_Q_ENABLE, r->enabled, 2);
	put(b, VIRTIO_PCI_COMMON_Q_NOFF, d->queue_select, 2);
	put(b, VIRTIO_PCI_COMMON_Q_DESCLO, r->desc, 8);
	put(b, VIRTIO_PCI_COMMON_Q_AVAILLO, r->driver, 8);
	put(b, VIRTIO_PCI_COMMON_Q_USEDLO, r->device, 8);
	put(b, VIRTIO_PCI_COMMON_Q_NDATA, d->queue_select, 2);
	put(b, VIRTIO_PCI_COMMON_Q_RESET, r->resetting, 2);
}

/* The descriptor behind a vector, and the vector as it reads back. */
static int vector_fd(struct hv_virtio *d, uint16_t v, uint16_t *out)
{
	int fd = hv_msix_fd(d->func.msix, v);

	*out = fd < 0 ? VIRTIO_MSI_NO_VECTOR : v;
	return fd;
}

static void registers_reset(struct hv_virtio *d)
{
	struct hv_vhost *v = &d->vhost;

	d->device_select = d->driver_select = 0;
	d->driver_features = 0;
	d->config_vector = VIRTIO_MSI_NO_VECTOR;
	d->queue_select = 0;
	d->isr = 0;
	for (unsigned i = 0; i < v->n_rings; i++) {
		struct hv_vhost_ring *r = &v->rings[i];

		d->vectors[i] = VIRTIO_MSI_NO_VECTOR;
		r->enabled = false;
		r->call_fd = -1;
		r->size = HV_VHOST_RING_SIZE;
		r->desc = r->driver = r->device = 0;
	}
}

/* 2.1.2: FEATURES_OK does not stay where the driver took what it was not offered. */
static void set_status(struct hv_virtio *d, uint8_t status)
{
	struct hv_vhost *v = &d->vhost;
	uint8_t set = status & (uint8_t)~d->status;

	if (v->resetting || (status == 0 && d->status == 0)) // it is reset
		return;
	if (status == 0) {
		v->run = false;
		v->resetting = true;
		hv_vhost_wake(v);
		return;
	}
	if (set & VIRTIO_CONFIG_S_FEATURES_OK) {
		if ((d->driver_features & ~offered(d)) ||
			!(d->driver_features & BIT(VIRTIO_F_VERSION_1)))
			status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
		else
			v->features = d->driver_features;
	}
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	// Bits are only cleared by a reset, and NEEDS_RESET is not the driver's
	d->status |= status & (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK) {
		v->run = true;
		hv_vhost_wake(v);
	}
}

/* The main thread is done with it: 0 reads from now on. */
static void end_reset(void *arg)
{
	struct hv_virtio *d = arg;

	registers_reset(d);
	hv_msix_drain(d->func.msix);
	d->vhost.features = 0;
	d->status = 0;
}

static void set_features(struct hv_virtio *d, uint32_t word)
{
	unsigned shift = d->driver_select * 32;

	if (d->driver_select > 1 || (d->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	d->driver_features &= ~(0xffffffffull << shift);
	d->driver_features |= (uint64_t)word << shift;
}

static bool size_ok(const struct hv_virtio *d, uint16_t n)
{
	bool packed = d->driver_features & BIT(VIRTIO_F_RING_PACKED);

	return n > 0 && n <= HV_VHOST_RING_SIZE && (packed || !(n & (n - 1)));
}

static void enable(struct hv_virtio *d, struct hv_vhost_ring *r, uint64_t value)
{
	// 2.6.1: once the driver runs, only a queue that was reset is enabled
	if (value != 1 || !(d->status & VIRTIO_CONFIG_S_FEATURES_OK) || !r->desc || !r->driver ||
		!r->device)
		return;
	// The size was taken for the layout that the driver had chosen by then
	if (!size_ok(d, r->size) || (d->vhost.run && !(d->vhost.features & BIT(RING_RESET))))
		return;
	r->enabled = true;
	hv_vhost_wake(&d->vhost);
}

static void reset_queue(struct hv_virtio *d, struct hv_vhost_ring *r, uint64_t value)
{
	if (value != 1 || !r->enabled || !(d->vhost.features & BIT(RING_RESET)))
		return;
	r->enabled = false;
	r->resetting = true;
	hv_vhost_wake(&d->vhost);
}

static void half(uint64_t *addr, bool high, uint64_t v)
{
	*addr = high ? (*addr & 0xffffffff) | v << 32 : (*addr & ~0xffffffffull) | v;
}

/* Registers of the selected queue; fixed from the time that it is enabled. */
static void set_queue(struct hv_virtio *d, unsigned off, uint64_t v)
{
	struct hv_vhost_ring *r = selected(d);

	if (!r || r->resetting)
		return;

	uint64_t *const addrs[] = { &r->desc, &r->driver, &r->device };
	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		r->call_fd = vector_fd(d, (uint16_t)v, &d->vectors[d->queue_select]);
		hv_vhost_wake(&d->vhost);
	} else if (off == VIRTIO_PCI_COMMON_Q_RESET) {
		reset_queue(d, r, v);
	}
	if (r->enabled)
		return;
	if (off == VIRTIO_PCI_COMMON_Q_SIZE && size_ok(d, (uint16_t)v))
		r->size = (uint16_t)v;
	else if (off == VIRTIO_PCI_COMMON_Q_ENABLE)
		enable(d, r, v);
	else if (off >= VIRTIO_PCI_COMMON_Q_DESCLO && off <= VIRTIO_PCI_COMMON_Q_USEDHI)
		half(addrs[(off - VIRTIO_PCI_COMMON_Q_DESCLO) / 8], off % 8, v);
}

static void set_register(struct hv_virtio *d, unsigned off, uint64_t v)
{
	if (off == VIRTIO_PCI_COMMON_DFSELECT)
		d->device_select = (uint32_t)v;
	else if (off == VIRTIO_PCI_COMMON_GFSELECT)
		d->driver_select = (uint32_t)v;
	else if (off == VIRTIO_PCI_COMMON_GF)
		set_features(d, (uint32_t)v);
	else if (off == VIRTIO_PCI_COMMON_MSIX)
		(void)vector_fd(d, (uint16_t)v, &d->config_vector);
	else if (off == VIRTIO_PCI_COMMON_STATUS)
		set_status(d, (uint8_t)v);
	else if (off == VIRTIO_PCI_COMMON_Q_SELECT)
		d->queue_select = (uint16_t)v;
	else
		set_queue(d, off, v);
}

/* How wide the register at off is; 0: none begins there. 4.1.3.1: it is accessed as such. */
static unsigned width(unsigned off)
{
	if (off == VIRTIO_PCI_COMMON_STATUS || off == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	if (off < VIRTIO_PCI_COMMON_MSIX ||
		(off >= VIRTIO_PCI_COMMON_Q_DESCLO && off < VIRTIO_PCI_COMMON_Q_NDATA))
		return off % 4 ? 0 : 4;
	return off % 2 ? 0 : 2;
}

static void write_common(struct hv_virtio *d, unsigned off, const uint8_t *data, unsigned len)
{
	dpu_le64 w = { { 0 } };
	uint64_t v;

	memcpy(&w, data, len);
	v = dpu_le64_get(w);
	// 64-bit registers may be written at once
	if (len == 8 && off >= VIRTIO_PCI_COMMON_Q_DESCLO && off % 8 == 0 && width(off) == 4) {
		set_register(d, off, (uint32_t)v);
		set_register(d, off + 4, v >> 32);
	} else if (off < COMMON_LEN && width(off) == len) {
		set_register(d, off, v);
	} else {
		d->bad_accesses++;
	}
}

/* ---- the other areas ---- */

static void read_bytes(
	const uint8_t *from, unsigned size, unsigned off, uint8_t *data, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		data[i] = off + i < size ? from[off + i] : 0;
}

/* 5.2.4: what the driver may write, the card knows; it is asked afterwards. */
static void write_device(struct hv_virtio *d, unsigned off, const uint8_t *data, unsigned len)
{
	struct hv_vhost *v = &d->vhost;

	if (off >= v->conf.config_len || len > v->conf.config_len - off) {
		d->bad_accesses++;
		return;
	}
	memcpy(v->config + off, data, len);
	if (v->dirty == v->dirty_end)
		v->dirty = v->dirty_end = off;
	v->dirty = off < v->dirty ? off : v->dirty;
	v->dirty_end = off + len > v->dirty_end ? off + len : v->dirty_end;
	hv_vhost_wake(v);
}

static void bar_read(struct hv_pci_func *f, unsigned bar, uint64_t at, uint8_t *data, unsigned len)
{
	struct hv_virtio *d = of(f);
	unsigned off = (unsigned)at % AREA_LEN;
	uint8_t image[COMMON_LEN];

	(void)bar;
	memset(data, 0, len);
	pthread_mutex_lock(&d->vhost.lock);
	if (at - off == COMMON) {
		common_image(d, image);
		read_bytes(image, sizeof(image), off, data, len);
	} else if (at - off == ISR) {
		read_bytes(&d->isr, 1, off, data, len);
		d->isr = off == 0 ? 0 : d->isr;
	} else if (at - off == DEVICE) {
		read_bytes(d->vhost.config, d->vhost.conf.config_len, off, data, len);
	}
	pthread_mutex_unlock(&d->vhost.lock);
}

static void bar_write(
	struct hv_pci_func *f, unsigned bar, uint64_t at, const uint8_t *data, unsigned len)
{
	struct hv_virtio *d = of(f);
	unsigned off = (unsigned)at % AREA_LEN;

	(void)bar;
	pthread_mutex_lock(&d->vhost.lock);
	if (at - off == COMMON)
		write_common(d, off, data, len);
	else if (at - off == DEVICE)
		write_device(d, off, data, len);
	else if (at - off != NOTIFY)
		d->bad_accesses++;
	else if (off % NOTIFY_STEP == 0 && off / NOTIFY_STEP < d->vhost.n_rings)
		// By the window in config space, or too early: KVM takes all others
		hv_vhost_kick(&d->vhost, off / NOTIFY_STEP);
	pthread_mutex_unlock(&d->vhost.lock);
}

/* ---- config space: 4.1.4.9, a window to BARs for who cannot map them ---- */

#define CAP(field) offsetof(struct virtio_pci_cfg_cap, field)

static bool window(struct hv_virtio *d, unsigned off, unsigned len, uint32_t *at, uint32_t *n)
{
	const uint8_t *cap = d->func.cfg + d->window;
	unsigned data = d->window + CAP(pci_cfg_data);
	dpu_le32 w;

	if (off >= data + 4 || data >= off + len)
		return false;
	memcpy(&w, cap + CAP(cap.offset), sizeof(w));
	*at = dpu_le32_get(w);
	memcpy(&w, cap + CAP(cap.length), sizeof(w));
	*n = dpu_le32_get(w);
	return (*n == 1 || *n == 2 || *n == 4) && *at % *n == 0;
}

static void config_read(struct hv_pci_func *f, unsigned off, unsigned len)
{
	uint8_t *cap = f->cfg + of(f)->window;
	uint32_t at, n;

	if (window(of(f), off, len, &at, &n))
		(void)hv_pci_bar_read(f, cap[CAP(cap.bar)], at, cap + CAP(pci_cfg_data), n);
}

static void config_written(struct hv_pci_func *f, unsigned off, unsigned len)
{
	const uint8_t *cap = f->cfg + of(f)->window;
	uint32_t at, n;

	if (window(of(f), off, len, &at, &n))
		(void)hv_pci_bar_write(f, cap[CAP(cap.bar)], at, cap + CAP(pci_cfg_data), n);
}

static void placed(struct hv_pci_func *f, unsigned bar, uint64_t addr)
{
	(void)bar;
	hv_vhost_place(&of(f)->vhost, addr ? addr + NOTIFY : 0);
}

static void mastering(struct hv_pci_func *f, bool on)
{
	struct hv_virtio *d = of(f);

	pthread_mutex_lock(&d->vhost.lock);
	d->vhost.mastering = on;
	pthread_mutex_unlock(&d->vhost.lock);
	hv_vhost_wake(&d->vhost);
}

static void ejected(struct hv_pci_func *f)
{
	of(f)->ev->ejected(of(f)->arg);
}

static const struct hv_pci_ops pci_ops = { bar_read, bar_write, config_read, config_written, placed,
	mastering, ejected };

/* ---- what it looks like ---- */

static int add_area(struct hv_virtio *d, uint8_t type, uint32_t off, uint32_t len)
{
	struct virtio_pci_notify_cap c = { .cap = { .cap_len = sizeof(c.cap),
						   .cfg_type = type,
						   .bar = BAR,
						   .offset = off,
						   .length = len },
		.notify_off_multiplier = NOTIFY_STEP };

	// The notify area has its multiplier there, the window its data
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG)
		c.cap.cap_len = sizeof(c);
	if (type == VIRTIO_PCI_CAP_PCI_CFG)
		c.notify_off_multiplier = 0;
	return hv_pci_cap_add(&d->func, PCI_CAP_ID_VNDR, &c.cap.cap_len, c.cap.cap_len - 2u);
}

static int add_window(struct hv_virtio *d)
{
	int at = add_area(d, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);

	if (at < 0)
		return at;
	d->window = (unsigned)at;
	d->func.mask[d->window + CAP(cap.bar)] = 0xff;
	// Offset, length, data
	memset(&d->func.mask[d->window + CAP(cap.offset)], 0xff, 12);
	return 0;
}

static const struct kind {
	uint16_t id;
	uint32_t class;
	unsigned config_len;
} kinds[] = { [HV_KIND_NET] = { VIRTIO_ID_NET, 0x020000, sizeof(struct virtio_net_config) },
	[HV_KIND_BLK] = { VIRTIO_ID_BLOCK, 0x018000, sizeof(struct virtio_blk_config) } };
static_assert(sizeof(struct virtio_net_config) <= VU_CONFIG_MAX &&
		      sizeof(struct virtio_blk_config) <= VU_CONFIG_MAX,
	"configuration space");

static const struct {
	uint8_t type;
	uint32_t off, len;
} areas[] = {
	{ VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, AREA_LEN },
	{ VIRTIO_PCI_CAP_ISR_CFG, ISR, 1 },
	{ VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, AREA_LEN },
	{ VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_LEN },
};
static_assert(HV_VHOST_RINGS_MAX * NOTIFY_STEP <= AREA_LEN, "doorbells");

static int build(struct hv_virtio *d)
{
	const struct kind *k = &kinds[d->kind];
	const uint16_t device = DEVICE_BASE + k->id;
	const struct hv_pci_id id = { VENDOR, device, VENDOR, device, k->class, 1 };
	unsigned n = d->vhost.n_rings;
	int ret;

	hv_pci_func_init(&d->func, &pci_ops, &id);
	ret = hv_pci_bar_add(&d->func, BAR, BAR_LEN, false);
	ret = ret ? ret : add_window(d);
	if (ret == 0)
		ret = hv_msix_create(d->vm, &d->func, BAR, n + 1, MSIX_TABLE, MSIX_PBA);
	for (unsigned i = 0; ret >= 0 && i < sizeof(areas) / sizeof(areas[0]); i++)
		ret = add_area(d, areas[i].type, areas[i].off, areas[i].len);
	return ret < 0 ? ret : 0;
}

/* ---- the card's side ---- */

static void on_known(void *arg)
{
	struct hv_virtio *d = arg;
	int ret = d->vhost.offered & BIT(VIRTIO_F_VERSION_1) ? build(d) : -EPROTONOSUPPORT;

	registers_reset(d);
	if (ret)
		dpu_err("virtio: the function cannot be shown", "err=%s", strerror(-ret));
	d->ev->ready(d->arg, ret);
}

static void on_changed(void *arg)
{
	struct hv_virtio *d = arg;

	pthread_mutex_lock(&d->vhost.lock);
	d->generation++;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK) {
		d->isr |= VIRTIO_PCI_ISR_CONFIG;
		hv_msix_raise(d->func.msix, d->config_vector);
	}
	pthread_mutex_unlock(&d->vhost.lock);
}

static void on_call(void *arg, unsigned i)
{
	struct hv_virtio *d = arg;

	hv_msix_raise(d->func.msix, d->vectors[i]);
}

static void on_lost(void *arg)
{
	struct hv_virtio *d = arg;

	d->ev->lost(d->arg);
}

static const struct hv_vhost_events vhost_events = { on_known, on_changed, on_lost, end_reset,
	on_call };

int hv_virtio_create(struct hv_vm *vm, enum hv_kind kind, const struct hv_virtio_events *ev,
	void *arg, struct hv_virtio **out)
{
	struct hv_virtio *d = calloc(1, sizeof(*d));
	const struct hv_vhost_conf conf = { .config_len = kinds[kind].config_len,
		.has_control = kind == HV_KIND_NET,
		.vm = vm,
		.ev = &vhost_events,
		.arg = d };
	int ret;

	if (!d)
		return -ENOMEM;
	d->vm = vm;
	d->ev = ev;
	d->arg = arg;
	d->kind = kind;
	ret = hv_vhost_init(&d->vhost, &conf);
	if (ret) {
		free(d);
		return ret;
	}
	*out = d;
	return 0;
}

void hv_virtio_destroy(struct hv_virtio *d)
{
	if (!d)
		return;
	hv_msix_destroy(&d->func);
	hv_vhost_fini(&d->vhost);
	free(d);
}
