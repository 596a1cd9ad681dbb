// SPDX-License-Identifier: Apache-2.0
/* One emulated card: its folder and configuration, its cardd process, and whether that answers. */
#include "emu.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "proc.h"
#include "text.h"

#define PROBE_MS 20

int emu_call_add(json_t *calls, const char *method, json_t *params)
{
	json_t *call = params ? json_pack("{s:s, s:o}", "method", method, "params", params) : NULL;

	return call && json_array_append_new(calls, call) == 0 ? 0 : -ENOMEM;
}

static int add_volume(struct emu_card *c, const struct emu_volume *v, json_t *calls)
{
	json_int_t blocks = (json_int_t)((v->size_mib << 20) / v->block_size);
	char path[EMU_PATH_SIZE];
	int fd, ret = 0;

	if (v->kind == EMU_VOL_REMOTE)
		return emu_remote_add(c, v, calls);
	if (v->kind != EMU_VOL_FILE)
		return emu_call_add(calls,
			v->kind == EMU_VOL_RAM ? "bdev_malloc_create" : "bdev_null_create",
			json_pack("{s:s, s:I, s:I}", "name", v->name, "num_blocks", blocks,
				"block_size", (json_int_t)v->block_size));
	emu_path(c->emu, path, sizeof(path), "%s/%s.img", c->conf->name, v->name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(v->size_mib << 20)) < 0)
		ret = -errno;
	close(fd);
	return ret ? ret
		   : emu_call_add(calls, "bdev_uring_create",
			     json_pack("{s:s, s:s, s:I}", "filename", path, "name", v->name,
				     "block_size", (json_int_t)v->block_size));
}

static int add_function(
	const struct emu_card_conf *conf, const struct emu_function *f, json_t *calls)
{
	char volume[EMU_NAME_SIZE + 8];

	if (f->kind == EMU_FN_NET)
		return emu_call_add(calls, "net_create",
			json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:b}", "name", f->name, "mac",
				f->mac, "queue_pairs", (json_int_t)f->queues, "mtu",
				(json_int_t)f->mtu, "client", (int)f->client, "host_notifier",
				(int)f->host_notifier, "gro", (int)f->gro));
	emu_volume_name(conf, f->volume, volume, sizeof(volume));
	return emu_call_add(calls, "vhost_create_blk_controller",
		json_pack("{s:s, s:s, s:I, s:b, s:b}", "ctrlr", f->name, "dev_name", volume,
			"num_queues", (json_int_t)f->queues, "client", (int)f->client,
			"host_notifier", (int)f->host_notifier));
}

/* The call that makes an uplink; NULL: out of memory. */
static json_t *uplink_params(const struct emu_card *c, size_t idx)
{
	const struct emu_uplink *u = &c->conf->uplinks[idx];
	char devargs[EMU_TEXT_SIZE + EMU_PATH_SIZE];

	emu_fabric_devargs(c->emu, c->idx, idx, devargs, sizeof(devargs));
	return json_pack("{s:s, s:s, s:I, s:o*}", "name", u->name, "devargs", devargs, "queues",
		(json_int_t)u->queues, "mtu", u->mtu ? json_integer((json_int_t)u->mtu) : NULL);
}

/* The card's objects as the list of calls that cardd's configuration file is. */
static int make_config(struct emu_card *c, json_t *calls)
{
	const struct emu_card_conf *conf = c->conf;
	json_t *call;
	size_t i;
	int ret = 0;

	for (i = 0; i < conf->n_volumes && !ret; i++)
		ret = add_volume(c, &conf->volumes[i], calls);
	if (!ret)
		ret = emu_exports_add(c, calls);
	for (i = 0; i < conf->n_functions && !ret; i++)
		ret = add_function(conf, &conf->functions[i], calls);
	for (i = 0; i < conf->n_uplinks && !ret; i++)
		ret = emu_call_add(calls, "uplink_create", uplink_params(c, i));
	if (!ret)
		ret = emu_vms_add(c, calls);
	json_array_foreach (conf->calls, i, call)
		if (!ret && json_array_append(calls, call) < 0)
			ret = -ENOMEM;
	return ret;
}

/* CPUs we may run on, one after the other over all cards' workers. */
static void choose_cores(struct emu *e, struct emu_card *c)
{
	cpu_set_t set;
	unsigned before = 0, n_cpus, n = 0;

	emu_text(c->cores, sizeof(c->cores), "%s", c->conf->cores);
	if (c->cores[0])
		return;
	for (size_t i = 0; i < c->idx; i++)
		before += (unsigned)e->topo->cards[i].workers;
	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	n_cpus = (unsigned)CPU_COUNT(&set);
	for (unsigned w = 0; w < c->conf->workers && w < n_cpus; w++) {
		unsigned skip = (before + w) % (n_cpus ? n_cpus : 1), cpu = 0;

		for (; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &set) && skip-- == 0)
				break;
		n += (unsigned)snprintf(
			c->cores + n, sizeof(c->cores) - n, "%s%u", w ? "," : "", cpu);
	}
}

int emu_card_init(struct emu *e, size_t idx)
{
	struct emu_card *c = &e->cards[idx];
	char path[EMU_PATH_SIZE];
	json_t *calls;
	int ret;

	c->emu = e;
	c->conf = &e->topo->cards[idx];
	c->idx = idx;
	choose_cores(e, c);
	emu_path(e, path, sizeof(path), "%s", c->conf->name);
	if (mkdir(path, 0700) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		emu_path(e, path, sizeof(path), "%s/%s", c->conf->name, i ? "vhost" : "state");
		if (mkdir(path, 0700) < 0)
			return -errno;
	}
	calls = json_array();
	if (!calls)
		return -ENOMEM;
	ret = make_config(c, calls);
	emu_path(e, path, sizeof(path), "%s/config.json", c->conf->name);
	if (!ret && json_dump_file(calls, path, JSON_INDENT(2)) < 0)
		ret = -EIO;
	json_decref(calls);
	return ret;
}

static void probe_end(struct emu_card *c)
{
	if (c->probe)
		bufferevent_free(c->probe);
	c->probe = NULL;
}

static void probe_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct emu_card *c = arg;
	bool ok = evbuffer_search(in, "\"result\"", 8, NULL).pos >= 0;

	if (!ok && evbuffer_search(in, "\"error\"", 7, NULL).pos < 0)
		return; // not all of it yet
	probe_end(c);
	if (ok) {
		event_del(c->probe_timer);
		c->ready = true;
		if (!c->host_pid && emu_card_has_vms(c) && emu_host_start(c))
			emu_stop(c->emu, 1, "card %s: cannot start host-hv", c->conf->name);
		emu_advance(c->emu);
	}
}

static void probe_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (!(what & BEV_EVENT_CONNECTED))
		probe_end(arg);
}

/* Ask cardd, over and over: its socket appears only when it listens. */
static void probe(evutil_socket_t fd, short what, void *arg)
{
	static const char ask[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_ready\",\"params\":{}}\n";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct emu_card *c = arg;

	(void)fd;
	(void)what;
	if (c->probe || c->ready || !c->pid)
		return;
	emu_text(to.sun_path, sizeof(to.sun_path), "%.60s/%.31s/rpc.sock", c->emu->dir,
		c->conf->name);
	c->probe = bufferevent_socket_new(c->emu->base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (c->probe) {
		bufferevent_setcb(c->probe, probe_read, NULL, probe_event, c);
		bufferevent_enable(c->probe, EV_READ | EV_WRITE);
		bufferevent_write(c->probe, ask, sizeof(ask) - 1);
		if (bufferevent_socket_connect(c->probe, (struct sockaddr *)&to, sizeof(to)) < 0)
			probe_end(c); // unless the event callback did
	}
}

int emu_card_start(struct emu_card *c)
{
	const struct timeval period = { .tv_usec = PROBE_MS * 1000 };
	char path[EMU_PATH_SIZE], log[EMU_PATH_SIZE];
	struct emu_argv a = { 0 };
	json_t *word;
	size_t i;
	int ret;

	if (!c->probe_timer)
		c->probe_timer = event_new(c->emu->base, -1, EV_PERSIST, probe, c);
	if (!c->probe_timer)
		return -ENOMEM;
	// What it leaves when it is killed goes away with the run directory.
	emu_argv_add(&a, "env");
	emu_argv_add(&a, "TMPDIR=%s", c->emu->dir);
	emu_program_path("cardd", path, sizeof(path));
	emu_argv_add(&a, "%s", path);
	emu_path(c->emu, path, sizeof(path), "%s", c->conf->name);
	emu_argv_add(&a, "--name=%s", c->conf->name);
	emu_argv_add(&a, "--config=%s/config.json", path);
	emu_argv_add(&a, "--state-dir=%s/state", path);
	emu_argv_add(&a, "--rpc-socket=%s/rpc.sock", path);
	emu_argv_add(&a, "--socket-dir=%s/vhost", path);
	if (emu_card_has_vms(c))
		emu_argv_add(&a, "--agent-socket=%s/agents", path);
	emu_argv_add(&a, "--cores=%s", c->cores);
	emu_argv_add(&a, "--mem-mib=%llu", (unsigned long long)c->conf->mem_mib);
	if (emu_card_has_key(c)) {
		emu_card_key_path(c, path, sizeof(path));
		emu_argv_add(&a, "--key-file=%s", path);
	}
	json_array_foreach (c->conf->args, i, word)
		emu_argv_add(&a, "%s", json_string_value(word));
	emu_path(c->emu, log, sizeof(log), "%s/log", c->conf->name);
	c->ready = false;
	ret = emu_spawn(&a, log, &c->pid);
	emu_argv_fini(&a);
	if (ret)
		return ret;
	c->starts++;
	event_add(c->probe_timer, &period);
	return 0;
}

void emu_card_ended(struct emu_card *c, int status)
{
	bool was_ready = c->ready;
	char text[80];
	int ret;

	emu_status_text(status, text, sizeof(text));
	c->pid = 0;
	c->ready = false;
	probe_end(c);
	if (c->emu->phase == EMU_DOWN)
		return;
	// One that ends by itself before it ever answered would do so again.
	if (!c->conf->restart || (WIFEXITED(status) && !was_ready)) {
		emu_stop(c->emu, 1, "card %s %s: see %s/%s/log (kept with --keep)", c->conf->name,
			text, c->emu->dir, c->conf->name);
		return;
	}
	emu_say(c->emu, "card %s %s: starting it again", c->conf->name, text);
	ret = emu_card_start(c);
	if (ret)
		emu_stop(c->emu, 1, "card %s: cannot start: %s", c->conf->name, strerror(-ret));
}

void emu_card_fini(struct emu_card *c)
{
	probe_end(c);
	if (c->probe_timer)
		event_free(c->probe_timer);
}
