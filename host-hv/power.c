// SPDX-License-Identifier: Apache-2.0
/* Reset, sleep, button, hot-plug. Source: ACPI 6.5, sections 4.8.3.6, 4.8.3.7 and 5.6.9. */
#include "power.h"

#include "layout.h"

#define CF9_RESET 0x04
#define KBD_PORT 0x64
#define KBD_RESET 0xfe
#define SLEEP_ENABLE 0x20
#define SLEEP_TYPE(v) ((v) >> 2 & 7)
#define SLEEP_S5 5
#define PANICKED 0x01

#define REG(p, off) ((p)->regs[(off) / sizeof((p)->regs[0])])

/* The line is high until the guest has read what happened, however long it masks it (level). */
static void announce(struct hv_power *p, uint32_t what, uint32_t up, uint32_t down, uint32_t mem_up)
{
	pthread_mutex_lock(&p->lock);
	REG(p, HV_EV_SELECT) |= what;
	REG(p, HV_EV_PCI_UP) |= up;
	REG(p, HV_EV_PCI_DOWN) |= down;
	REG(p, HV_EV_MEM_UP) |= mem_up;
	p->ops->line(p->arg, HV_GSI_EVENTS, true);
	pthread_mutex_unlock(&p->lock);
}

void hv_power_button(struct hv_power *p)
{
	announce(p, HV_EV_BUTTON, 0, 0, 0);
}

void hv_power_slots(struct hv_power *p, uint32_t up, uint32_t down)
{
	announce(p, HV_EV_PCI, up, down, 0);
}

void hv_power_memory(struct hv_power *p, uint64_t gpa, uint64_t len)
{
	unsigned i;

	pthread_mutex_lock(&p->lock);
	i = p->n_mems++;
	REG(p, HV_EV_MEM + 8 * i) = (uint32_t)(gpa / HV_MEM_UNIT);
	REG(p, HV_EV_MEM + 8 * i + 4) = (uint32_t)(len / HV_MEM_UNIT);
	pthread_mutex_unlock(&p->lock);
	announce(p, HV_EV_MEMORY, 0, 0, 1u << i);
}

/* Those before HV_EV_MEM say what happened, once. */
static uint32_t read_reg(struct hv_power *p, uint64_t off)
{
	uint32_t v;

	if (off % 4 || off >= sizeof(p->regs))
		return 0;
	pthread_mutex_lock(&p->lock);
	v = REG(p, off);
	if (off < HV_EV_MEM)
		REG(p, off) = 0;
	if (off == HV_EV_SELECT)
		p->ops->line(p->arg, HV_GSI_EVENTS, false);
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void events_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	uint32_t v = 0;

	// Half of a register would lose the other half.
	if (len == sizeof(v))
		v = read_reg(arg, off);
	hv_bus_put32(data, len, v);
}

static void eject(struct hv_power *p, uint32_t slots)
{
	for (unsigned slot = 0; slot < 32; slot++)
		if (slots >> slot & 1)
			p->ops->ejected(p->arg, slot);
}

static void events_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_power *p = arg;
	uint32_t v = hv_bus_get32(data, len);

	if (off == HV_EV_PCI_EJECT && len == sizeof(v))
		eject(p, v);
	else if (off == HV_EV_RESET && data[0] == HV_EV_RESET_VALUE)
		p->ops->event(p->arg, HV_POWER_RESET);
	else if (off == HV_EV_SLEEP_CONTROL && data[0] & SLEEP_ENABLE &&
		 SLEEP_TYPE(data[0]) == SLEEP_S5)
		p->ops->event(p->arg, HV_POWER_OFF);
}

void hv_power_cf9(struct hv_power *p, uint8_t value)
{
	if (value & CF9_RESET)
		p->ops->event(p->arg, HV_POWER_RESET);
}

static void kbd_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_power *p = arg;

	(void)off;
	(void)len;
	if (data[0] == KBD_RESET)
		p->ops->event(p->arg, HV_POWER_RESET);
}

static void panic_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	(void)arg;
	(void)off;
	(void)len;
	data[0] = PANICKED; // the one event that we know
}

static void panic_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_power *p = arg;

	(void)off;
	(void)len;
	if (data[0] & PANICKED)
		p->ops->event(p->arg, HV_POWER_PANIC);
}

static const struct hv_bus_ops events_ops = { events_read, events_write };
static const struct hv_bus_ops kbd_ops = { NULL, kbd_write };
static const struct hv_bus_ops panic_ops = { panic_read, panic_write };

static const struct window {
	enum hv_bus_kind kind;
	uint64_t base, len;
	const struct hv_bus_ops *ops;
} windows[] = {
	{ HV_BUS_MMIO, HV_EVENTS, HV_EVENTS_LEN, &events_ops },
	{ HV_BUS_PORT, KBD_PORT, 1, &kbd_ops },
	{ HV_BUS_PORT, HV_PANIC_PORT, 1, &panic_ops },
};
#define N_WINDOWS (sizeof(windows) / sizeof(windows[0]))

int hv_power_init(struct hv_power *p, struct hv_bus *bus, const struct hv_power_ops *ops, void *arg)
{
	int ret = 0;

	*p = (struct hv_power){
		.ops = ops, .arg = arg, .bus = bus, .lock = PTHREAD_MUTEX_INITIALIZER
	};
	for (const struct window *w = windows; ret == 0 && w < windows + N_WINDOWS; w++)
		ret = hv_bus_add(bus, w->kind, w->base, w->len, w->ops, p);
	return ret;
}

void hv_power_fini(struct hv_power *p)
{
	for (size_t i = 0; p->bus && i < N_WINDOWS; i++)
		hv_bus_remove(p->bus, windows[i].kind, windows[i].base);
	pthread_mutex_destroy(&p->lock);
}
