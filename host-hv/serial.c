// SPDX-License-Identifier: Apache-2.0
/* A 16550A. Source: National Semiconductor, PC16550D data sheet (1995), section 8. */
#include "serial.h"

#include "layout.h"

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX 0x01
#define IER_THR 0x02
#define IIR_NONE 0x01
#define IIR_THR 0x02
#define IIR_RX 0x04
#define IIR_FIFO 0xc0
#define FCR_ON 0x01
#define FCR_CLEAR_RX 0x02
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define MCR_ALL 0x1f
#define LSR_DATA 0x01
#define LSR_IDLE 0x60 // both the holding and the shift register are empty
#define MSR_READY 0xb0 // carrier, data set ready, clear to send

int hv_serial_init(struct hv_serial *s, const struct hv_serial_ops *ops, void *arg)
{
	*s = (struct hv_serial){ .ops = ops, .arg = arg, .latch = { 1 } };
	return -pthread_mutex_init(&s->lock, NULL);
}

void hv_serial_fini(struct hv_serial *s)
{
	pthread_mutex_destroy(&s->lock);
}

static uint8_t pending(const struct hv_serial *s)
{
	if (s->ier & IER_RX && s->head != s->tail)
		return IIR_RX;
	if (s->ier & IER_THR && s->thr_empty)
		return IIR_THR;
	return IIR_NONE;
}

/* The line is edge-triggered: while it is high, the driver is on its way or still at it. */
static void update_line(struct hv_serial *s)
{
	bool level = pending(s) != IIR_NONE;

	if (level != s->line)
		s->ops->line(s->arg, HV_GSI_SERIAL, level);
	s->line = level;
}

static bool put(struct hv_serial *s, uint8_t byte)
{
	if (s->head - s->tail == HV_SERIAL_IN)
		return false;
	s->in[s->head++ % HV_SERIAL_IN] = byte;
	return true;
}

/* Whoever was refused may go on. */
static void tell_room(struct hv_serial *s)
{
	if (!s->refused || s->head - s->tail > HV_SERIAL_IN / 2)
		return;
	s->refused = false;
	s->ops->room(s->arg);
}

static uint8_t take(struct hv_serial *s)
{
	uint8_t byte;

	if (s->head == s->tail)
		return 0;
	byte = s->in[s->tail++ % HV_SERIAL_IN];
	tell_room(s);
	return byte;
}

static uint8_t modem_status(const struct hv_serial *s)
{
	uint8_t m = s->mcr;

	if (!(m & MCR_LOOP))
		return MSR_READY;
	// DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD
	return (uint8_t)((m & 1) << 5 | (m & 2) << 3 | (m & 4) << 4 | (m & 8) << 4);
}

static uint8_t read_reg(struct hv_serial *s, unsigned reg)
{
	uint8_t v;

	if (reg <= IER && s->lcr & LCR_DLAB)
		return s->latch[reg];
	switch (reg) {
	case DATA:
		return take(s);
	case IER:
		return s->ier;
	case IIR_FCR:
		v = pending(s);
		if (v == IIR_THR)
			s->thr_empty = false;
		return v | (s->fifo ? IIR_FIFO : 0);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return LSR_IDLE | (s->head != s->tail ? LSR_DATA : 0);
	case MSR:
		return modem_status(s);
	default:
		return s->scr;
	}
}

static void write_data(struct hv_serial *s, uint8_t v)
{
	if (s->mcr & MCR_LOOP)
		put(s, v);
	else
		s->ops->out(s->arg, v);
	s->thr_empty = true;
}

static void write_reg(struct hv_serial *s, unsigned reg, uint8_t v)
{
	if (reg <= IER && s->lcr & LCR_DLAB) {
		s->latch[reg] = v;
	} else if (reg == DATA) {
		write_data(s, v);
	} else if (reg == IER) {
		s->thr_empty |= v & ~s->ier & IER_THR; // switching it on asks at once
		s->ier = v & 0x0f;
	} else if (reg == IIR_FCR) {
		s->fifo = v & FCR_ON;
		s->tail = v & FCR_CLEAR_RX ? s->head : s->tail;
		tell_room(s);
	} else if (reg == LCR) {
		s->lcr = v;
	} else if (reg == MCR) {
		s->mcr = v & MCR_ALL;
	} else if (reg == SCR) {
		s->scr = v; // the others are status registers
	}
}

/* Wider accesses touch one register after another, as the bus of a PC does. */
static void bus_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hv_serial *s = arg;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < len; i++)
		data[i] = read_reg(s, (unsigned)off + i);
	update_line(s);
	pthread_mutex_unlock(&s->lock);
}

static void bus_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_serial *s = arg;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < len; i++)
		write_reg(s, (unsigned)off + i, data[i]);
	update_line(s);
	pthread_mutex_unlock(&s->lock);
}

const struct hv_bus_ops hv_serial_bus = { bus_read, bus_write };

unsigned hv_serial_input(struct hv_serial *s, const uint8_t *bytes, unsigned len)
{
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < len && put(s, bytes[n]))
		n++;
	s->refused = n < len;
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}
