// SPDX-License-Identifier: Apache-2.0
/* A guest under QEMU: its process, the agent on its second serial port, QEMU's control socket. */
#include "emu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/buffer.h>

#include "proc.h"
#include "text.h"

#define DIAL_MS 20

/* The socket of a function: who does not listen there comes back whenever it is lost. */
static void add_socket(const struct emu_guest *g, const char *card, const struct emu_function *f,
	struct emu_argv *a)
{
	emu_argv_add(a, "-chardev");
	emu_argv_add(a, "socket,id=%s,path=%s/%s/vhost/%s,%s",
		f->kind == EMU_FN_NET ? "net0" : "blk0", g->emu->dir, card, f->name,
		f->client ? "server=on" : "reconnect=1");
}

static void add_nic(const struct emu_guest *g, struct emu_argv *a)
{
	const struct emu_guest_conf *c = g->conf;
	const struct emu_card_conf *card = &g->emu->topo->cards[c->nic.card];
	const struct emu_function *f = &card->functions[c->nic.item];

	add_socket(g, card->name, f, a);
	emu_argv_add(a, "-netdev");
	emu_argv_add(a, "vhost-user,id=nd0,chardev=net0,queues=%u", (unsigned)f->queues);
	emu_argv_add(a, "-device");
	// QEMU 7.2 crashes when a vhost-user device with MSI-X starts under TCG.
	emu_argv_add(a, "virtio-net-pci,netdev=nd0,mac=%s,host_mtu=%u%s%s%s%s", f->mac,
		(unsigned)f->mtu, f->queues > 1 ? ",mq=on" : "", g->emu->kvm ? "" : ",vectors=0",
		c->nic_options[0] ? "," : "", c->nic_options);
}

static void add_disk(const struct emu_guest *g, struct emu_argv *a)
{
	const struct emu_guest_conf *c = g->conf;
	const struct emu_card_conf *card = &g->emu->topo->cards[c->disk.card];
	const struct emu_function *f = &card->functions[c->disk.item];

	add_socket(g, card->name, f, a);
	emu_argv_add(a, "-device");
	emu_argv_add(a, "vhost-user-blk-pci,chardev=blk0,num-queues=%u%s%s%s", (unsigned)f->queues,
		g->emu->kvm ? "" : ",vectors=0", c->disk_options[0] ? "," : "", c->disk_options);
}

static void add_machine(const struct emu_guest *g, struct emu_argv *a)
{
	static const char *const fixed[] = { "-nodefaults", "-no-user-config", "-display", "none",
		"-serial" };
	const struct emu_guest_conf *c = g->conf;
	char dir[EMU_PATH_SIZE];

	emu_path(g->emu, dir, sizeof(dir), "%s", c->name);
	emu_argv_add(a, "qemu-system-x86_64");
	emu_argv_add(a, "-M");
	emu_argv_add(a, "q35");
	emu_argv_add(a, "-accel");
	emu_argv_add(a, g->emu->kvm ? "kvm" : "tcg,thread=multi");
	emu_argv_add(a, "-cpu");
	emu_argv_add(a, g->emu->kvm ? "host" : "max");
	emu_argv_add(a, "-smp");
	emu_argv_add(a, "%u", (unsigned)c->cpus);
	emu_argv_add(a, "-m");
	emu_argv_add(a, "%u", (unsigned)c->mem_mib);
	emu_argv_add(a, "-object");
	emu_argv_add(a, "memory-backend-memfd,id=mem,size=%uM,share=on", (unsigned)c->mem_mib);
	emu_argv_add(a, "-numa");
	emu_argv_add(a, "node,memdev=mem");
	if (c->iommu) {
		emu_argv_add(a, "-device");
		emu_argv_add(a, "intel-iommu,device-iotlb=on,intremap=off");
	}
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		emu_argv_add(a, "%s", fixed[i]);
	emu_argv_add(a, "file:%s/console.log", dir);
	emu_argv_add(a, "-chardev");
	emu_argv_add(a, "socket,id=agent,path=%s/agent,server=on,wait=off", dir);
	emu_argv_add(a, "-serial");
	emu_argv_add(a, "chardev:agent");
	emu_argv_add(a, "-qmp");
	emu_argv_add(a, "unix:%s/qmp,server=on,wait=off", dir);
	emu_argv_add(a, "-monitor"); // the other one is ours
	emu_argv_add(a, "unix:%s/monitor,server=on,wait=off", dir);
	emu_argv_add(a, "-kernel");
	emu_argv_add(a, "%s/kernel", g->emu->image);
	emu_argv_add(a, "-initrd");
	emu_argv_add(a, "%s/initramfs", g->emu->image);
	emu_argv_add(a, "-append");
	emu_argv_add(a, "console=ttyS0 panic=-1 quiet ob.name=%s%s%s%s%s", c->name,
		c->ip[0] ? " ob.ip=" : "", c->ip, c->append[0] ? " " : "", c->append);
}

static void serial_read(struct bufferevent *bev, void *arg)
{
	emu_guest_heard(arg, bufferevent_get_input(bev));
}

static void was_reset(struct emu_guest *g)
{
	emu_guest_was_reset(g, g->serial ? bufferevent_get_input(g->serial) : NULL);
}

static void qmp_read(struct bufferevent *bev, void *arg)
{
	struct emu_guest *g = arg;
	char *line;

	while ((line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_CRLF))) {
		json_t *msg = json_loads(line, 0, NULL);
		const char *event = json_string_value(json_object_get(msg, "event"));

		if (event && !strcmp(event, "RESET")) {
			const char *why = json_string_value(
				json_object_get(json_object_get(msg, "data"), "reason"));

			g->resets++;
			emu_say(g->emu, "guest %s reset (%s)", g->conf->name, why ? why : "");
			was_reset(g);
		}
		json_decref(msg);
		free(line);
	}
}

static void socket_event(struct bufferevent *bev, short what, void *arg)
{
	struct emu_guest *g = arg;
	struct bufferevent **slot = bev == g->serial ? &g->serial : &g->qmp;

	if (what & BEV_EVENT_CONNECTED) {
		if (slot == &g->qmp)
			bufferevent_write(bev, "{\"execute\":\"qmp_capabilities\"}\n", 31);
		return;
	}
	*slot = NULL; // not there yet, or QEMU ended; the timer tries again while it runs
	bufferevent_free(bev);
}

static void dial_one(
	struct emu_guest *g, struct bufferevent **slot, const char *name, bufferevent_data_cb read)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (*slot)
		return;
	emu_text(to.sun_path, sizeof(to.sun_path), "%.60s/%.31s/%s", g->emu->dir, g->conf->name,
		name);
	*slot = bufferevent_socket_new(g->emu->base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!*slot)
		return;
	bufferevent_setcb(*slot, read, NULL, socket_event, g);
	bufferevent_enable(*slot, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(*slot, (struct sockaddr *)&to, sizeof(to)) < 0 && *slot) {
		bufferevent_free(*slot); // unless the event callback did
		*slot = NULL;
	}
	if (*slot) // programs that are run get no way to QEMU past us
		(void)evutil_make_socket_closeonexec(bufferevent_getfd(*slot));
}

static void dial(evutil_socket_t fd, short what, void *arg)
{
	struct emu_guest *g = arg;

	(void)fd;
	(void)what;
	if (!g->pid)
		return;
	dial_one(g, &g->serial, "agent", serial_read);
	dial_one(g, &g->qmp, "qmp", qmp_read);
	if (emu_guest_up(g))
		event_del(g->dial_timer);
}

static int start(struct emu_guest *g)
{
	const struct timeval period = { .tv_usec = DIAL_MS * 1000 };
	struct emu_argv a = { 0 };
	char log[EMU_PATH_SIZE];
	int ret;

	if (!g->dial_timer)
		g->dial_timer = event_new(g->emu->base, -1, EV_PERSIST, dial, g);
	if (!g->dial_timer)
		return -ENOMEM;
	add_machine(g, &a);
	if (g->conf->nic.set)
		add_nic(g, &a);
	if (g->conf->disk.set)
		add_disk(g, &a);
	emu_path(g->emu, log, sizeof(log), "%s/qemu.log", g->conf->name);
	ret = emu_spawn(&a, log, &g->pid);
	emu_argv_fini(&a);
	if (!ret)
		event_add(g->dial_timer, &period);
	return ret;
}

static void hang_up(struct emu_guest *g)
{
	if (g->serial)
		bufferevent_free(g->serial);
	if (g->qmp)
		bufferevent_free(g->qmp);
	g->serial = g->qmp = NULL;
}

static bool connected(const struct emu_guest *g)
{
	return g->serial && g->qmp;
}

static void say(struct emu_guest *g, const char *text, size_t len)
{
	bufferevent_write(g->serial, text, len);
}

static int reset(struct emu_guest *g)
{
	static const char cmd[] = "{\"execute\":\"system_reset\"}\n";

	if (!g->pid || !g->qmp)
		return -ENOTCONN;
	was_reset(g);
	return bufferevent_write(g->qmp, cmd, sizeof(cmd) - 1) < 0 ? -ENOMEM : 0;
}

static int kill_guest(struct emu_guest *g)
{
	return g->pid && kill(g->pid, SIGKILL) == 0 ? 0 : -ENOTCONN;
}

static void fini(struct emu_guest *g)
{
	hang_up(g);
	if (g->dial_timer)
		event_free(g->dial_timer);
}

const struct emu_guest_ops emu_guest_qemu = { "qemu.log", start, hang_up, connected, say, reset,
	kill_guest, fini };
