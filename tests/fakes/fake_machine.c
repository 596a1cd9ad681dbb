// SPDX-License-Identifier: Apache-2.0
#include "fake_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct hv_machine {
	const struct hv_machine_events *ev;
	void *arg;
	enum hv_state state;
	int fd; // owned
	int function_fd[HV_PROTO_SLOTS]; // owned; -1: none
};

struct fake_machine fake_machine;
static struct hv_machine *the_one;

void fake_machine_reset(void)
{
	if (the_one)
		abort();
	memset(&fake_machine, 0, sizeof(fake_machine));
}

void fake_machine_wake(void)
{
	uint64_t one = 1;

	if (write(the_one->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

void fake_machine_print(const uint8_t *bytes, unsigned len)
{
	the_one->ev->console(the_one->arg, bytes, len);
}

int fake_machine_confine(void)
{
	return fake_machine.conf.confine();
}

static int next_ret(void)
{
	int ret = fake_machine.ret;

	fake_machine.ret = 0;
	return ret;
}

int hv_machine_create(const struct hv_conf *conf, const struct hv_machine_events *ev, void *arg,
	struct hv_machine **out)
{
	int ret = next_ret();

	if (ret)
		return ret;
	struct hv_machine *m = calloc(1, sizeof(*m));
	if (!m || the_one)
		abort();
	*m = (struct hv_machine){ .ev = ev, .arg = arg, .state = HV_CREATED };
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		m->function_fd[i] = -1;
	m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake_machine.conf = *conf;
	fake_machine.alive++;
	fake_machine.created++;
	*out = the_one = m;
	return 0;
}

void hv_machine_destroy(struct hv_machine *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (m->function_fd[i] >= 0)
			close(m->function_fd[i]);
	close(m->fd);
	free(m);
	the_one = NULL;
	fake_machine.alive--;
}

static int go(struct hv_machine *m, unsigned *count, enum hv_state to)
{
	int ret = next_ret();

	if (ret)
		return ret;
	(*count)++;
	m->state = to;
	return 0;
}

int hv_machine_start(struct hv_machine *m)
{
	int ret = go(m, &fake_machine.started, HV_RUNNING);

	if (ret == 0 && fake_machine.on_start)
		fake_machine.on_start();
	return ret;
}

int hv_machine_pause(struct hv_machine *m)
{
	return go(m, &fake_machine.paused, HV_PAUSED);
}

int hv_machine_resume(struct hv_machine *m)
{
	return go(m, &fake_machine.resumed, HV_RUNNING);
}

int hv_machine_stop(struct hv_machine *m)
{
	fake_machine.end = HV_END_STOPPED;
	fake_machine_wake();
	return go(m, &fake_machine.stopped, m->state);
}

int hv_machine_power_button(struct hv_machine *m)
{
	return go(m, &fake_machine.power, m->state);
}

enum hv_state hv_machine_state(const struct hv_machine *m)
{
	return m->state;
}

int hv_machine_fd(const struct hv_machine *m)
{
	return m->fd;
}

void hv_machine_turn(struct hv_machine *m)
{
	uint64_t n;

	if (read(m->fd, &n, sizeof(n)) != sizeof(n))
		return;
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (fake_machine.wants & 1u << i)
			m->ev->want(m->arg, i);
	fake_machine.wanting |= fake_machine.wants;
	fake_machine.wants = 0;
	if (fake_machine.end) {
		m->state = HV_ENDED;
		m->ev->ended(m->arg, fake_machine.end);
	}
}

int hv_machine_add(struct hv_machine *m, unsigned slot, enum hv_kind kind, int fd)
{
	int ret = next_ret();

	if (ret == 0 && m->function_fd[slot] >= 0)
		ret = -EEXIST;
	if (ret)
		return ret;
	m->function_fd[slot] = fd;
	fake_machine.kind[slot] = kind;
	fake_machine.present |= 1u << slot;
	fake_machine.added++;
	return 0;
}

int hv_machine_reconnect(struct hv_machine *m, unsigned slot, int fd)
{
	if (m->function_fd[slot] < 0)
		return -ENOENT;
	close(m->function_fd[slot]);
	m->function_fd[slot] = fd;
	fake_machine.wanting &= ~(1u << slot);
	fake_machine.reconnected++;
	return 0;
}

int hv_machine_remove(struct hv_machine *m, unsigned slot)
{
	if (m->function_fd[slot] < 0)
		return -ENOENT;
	close(m->function_fd[slot]);
	m->function_fd[slot] = -1;
	fake_machine.present &= ~(1u << slot);
	fake_machine.removed++;
	return 0;
}

int hv_machine_add_memory(struct hv_machine *m, uint64_t mib)
{
	int ret = next_ret();

	(void)m;
	if (ret == 0)
		fake_machine.memory_mib += mib;
	return ret;
}

void hv_machine_functions(const struct hv_machine *m, uint32_t *present, uint32_t *wanting)
{
	(void)m;
	*present = fake_machine.present;
	*wanting = fake_machine.wanting;
}

unsigned hv_machine_console_input(struct hv_machine *m, const uint8_t *bytes, unsigned len)
{
	unsigned room = (unsigned)sizeof(fake_machine.typed) - fake_machine.n_typed;
	unsigned n = len < room ? len : room;

	(void)m;
	memcpy(fake_machine.typed + fake_machine.n_typed, bytes, n);
	fake_machine.n_typed += n;
	return n;
}

void hv_machine_counters(const struct hv_machine *m, struct hv_machine_counters *out)
{
	(void)m;
	*out = (struct hv_machine_counters){ .exits = 7, .missed = 9 };
}
