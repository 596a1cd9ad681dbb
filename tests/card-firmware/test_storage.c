// SPDX-License-Identifier: Apache-2.0
/* A card that is its own storage: what it refuses, and how what it shows to hosts ends. */
#include "test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "card_env.h"
#include "device.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "nof_ctrl.h"
#include "nof_group.h"
#include "nvmf.h"
#include "vol_priv.h"

#define NQN "nqn.2026-11.test:own"
#define UUID "00000000-0000-4000-8000-000000000001" // the far one is not the near one

static struct card card;
static struct card_error err;
static unsigned port;

static json_t *call(const char *method, const char *params, int want)
{
	return card_env_call(&card, method, params, want, &err);
}

static void done(const char *method, const char *params)
{
	json_decref(call(method, params, 0));
}

static void refused(const char *method, const char *params, int want, const char *why)
{
	json_decref(call(method, params, want));
	if (!strstr(err.text, why))
		fail_msg("%s: '%s', not '%s'", method, err.text, why);
}

/* ---- a volume that answers when the test says ---- */

struct slow {
	struct vol v;
	_Atomic bool open; // it answers
	_Atomic unsigned n_held;
};

struct slow_chan {
	struct vol_chan c;
	struct vol_io *held;
};

static int slow_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct slow_chan *c = calloc(1, sizeof(*c));

	(void)v;
	(void)group;
	*out = c ? &c->c : NULL;
	return c ? 0 : -ENOMEM;
}

static void slow_chan_close(struct vol_chan *c)
{
	free(c);
}

static void slow_submit(struct vol_chan *c, struct vol_io *io)
{
	struct slow *s = (struct slow *)c->v;

	((struct slow_chan *)c)->held = io;
	atomic_fetch_add(&s->n_held, 1);
}

static unsigned slow_poll(struct vol_chan *c)
{
	struct slow *s = (struct slow *)c->v;
	struct slow_chan *sc = (struct slow_chan *)c;
	struct vol_io *io = sc->held;

	if (!io || !atomic_load(&s->open))
		return 0;
	sc->held = NULL;
	vol_io_end(c, io, 0);
	return 1;
}

static void slow_close(struct vol *v)
{
	vol_fini(v);
}

static bool slow_work_stop(struct vol *v)
{
	return atomic_load(&((struct slow *)v)->open);
}

static void slow_work(const struct vol *v, struct vol_work *out)
{
	if (!atomic_load(&((const struct slow *)v)->open))
		out->kind = VOL_WORK_CHECK;
}

static const struct vol_ops slow_ops = {
	.kind = "slow",
	.work = slow_work,
	.work_stop = slow_work_stop,
	.close = slow_close,
	.chan_open = slow_chan_open,
	.chan_close = slow_chan_close,
	.submit = slow_submit,
	.poll = slow_poll,
};
static struct slow slow;

/* It takes the place of one that the card has made. */
static void slow_create(void)
{
	struct card_volume *v;

	done("bdev_null_create", "{'name':'slow','num_blocks':64,'block_size':512}");
	v = card_volume_find(&card, "slow");
	vol_close(v->vol);
	memset(&slow, 0, sizeof(slow));
	assert_int_equal(vol_init(&slow.v, &slow_ops, "slow", 64 * 512, 512), 0);
	v->vol = &slow.v;
}

/* ---- the card ---- */

static unsigned free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static _Atomic uint64_t later_ns; // than it is; workers read it

static uint64_t late_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec + later_ns;
}

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	dpu_clock_set(late_clock);
	port = free_port();
	card.opt = (struct card_options){
		.name = "own", .mem_mib = 64, .mbufs = 2047, .socket_dir = "/tmp"
	};
	return card_env_open(&card) || card_nvmf_start(&card);
}

static int teardown(void **state)
{
	(void)state;
	card_nvmf_stop(&card);
	card_env_close(&card);
	return 0;
}

static void add_listener(void)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "{'nqn':'" NQN "','listener':'127.0.0.1:%u'}", port);
	done("nvmf_subsystem_add_listener", text);
}

static void attach(void)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
		"{'name':'far','traddr':'127.0.0.1','trsvcid':'%u','subnqn':'" NQN "'}", port);
	done("bdev_nvme_attach_controller", text);
}

/* ---- one read of the far volume, which its own card holds up ---- */

struct far_read {
	struct vol *vol;
	struct vol_chan *chan;
	struct vol_io io;
	struct iovec iov;
	uint8_t data[512];
	_Atomic int ended; // 1: well; 2: with an error
};

static void read_ended(struct vol_io *io, int ret)
{
	struct far_read *r = (struct far_read *)((char *)io - offsetof(struct far_read, io));

	atomic_store(&r->ended, ret ? 2 : 1);
}

static int read_begin(struct card_worker *w, void *arg)
{
	struct far_read *r = arg;
	int ret = vol_chan_open(r->vol, card_storage_group(&card, w), &r->chan);

	if (ret)
		return ret;
	r->iov = (struct iovec){ r->data, sizeof(r->data) };
	r->io = (struct vol_io){
		.op = VOL_READ, .len = 512, .iov = &r->iov, .n_iov = 1, .done = read_ended
	};
	vol_submit(r->chan, &r->io);
	(void)vol_chan_kick(r->chan);
	return 0;
}

static int read_poll(struct card_worker *w, void *arg)
{
	(void)w;
	return (int)vol_chan_poll(((struct far_read *)arg)->chan);
}

static int read_close(struct card_worker *w, void *arg)
{
	(void)w;
	vol_chan_close(((struct far_read *)arg)->chan);
	return 0;
}

/* Rounds of the control thread and of the first worker. */
static void go_on(struct far_read *r)
{
	event_base_loop(card.loop, EVLOOP_NONBLOCK);
	card_storage_poll(&card);
	(void)card_worker_call(card_worker_at(card.workers, 0), read_poll, r);
	sched_yield();
}

/* Rounds of the control thread until `cond`, 20 s at most. */
#define ROUNDS_UNTIL(cond)                                           \
	do {                                                         \
		uint64_t end_ = dpu_now_ns() + 20000000000ull;       \
		while (!(cond) && dpu_now_ns() < end_) {             \
			event_base_loop(card.loop, EVLOOP_NONBLOCK); \
			card_storage_poll(&card);                    \
			sched_yield();                               \
		}                                                    \
		assert_true(cond);                                   \
	} while (0)

/* ---- tests ---- */

static void refuses(void **state)
{
	(void)state;
	done("bdev_malloc_create", "{'name':'m0','num_blocks':64,'block_size':512}");
	refused("nvmf_subsystem_add_ns", "{'nqn':'" NQN "','bdev_name':'m0'}", -ENODEV,
		"no such subsystem");
	done("nvmf_create_transport", "{'trtype':'TCP'}");
	done("nvmf_create_subsystem", "{'nqn':'" NQN "','allow_any_host':true}");
	done("nvmf_create_subsystem", "{'nqn':'" NQN "','allow_any_host':true}");
	refused("nvmf_create_subsystem", "{'nqn':'" NQN "','serial_number':'X'}", -EEXIST,
		"other parameters");
	refused("nvmf_subsystem_add_ns", "{'nqn':'" NQN "','bdev_name':'none'}", -ENODEV,
		"none: no such volume");
	done("nvmf_subsystem_add_ns",
		"{'nqn':'" NQN "','bdev_name':'m0','nsid':1,'uuid':'" UUID "'}");
	refused("bdev_malloc_delete", "{'name':'m0'}", -EBUSY, "in use");
	refused("nvmf_subsystem_remove_ns", "{'nqn':'" NQN "','nsid':9}", -ENODEV,
		"no namespace 9");
	add_listener();
	attach();
	refused("volume_delete", "{'name':'farn1'}", -EINVAL, "controller");
	done("bdev_nvme_detach_controller", "{'name':'far'}");
	done("nvmf_delete_subsystem", "{'nqn':'" NQN "'}");
	refused("nvmf_delete_subsystem", "{'nqn':'" NQN "'}", -ENODEV, "no such subsystem");
	done("bdev_malloc_delete", "{'name':'m0'}");
}

/*
 * A namespace with a command that its volume does not answer: who takes it away waits, everybody
 * else is served, and it is gone once the volume has answered.
 */
static void ends_in_steps(void **state)
{
	static const char del[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
				  "\"nvmf_subsystem_remove_ns\",\"params\":{\"nqn\":\"" NQN
				  "\",\"nsid\":1}}",
			  info[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"card_info\"}";
	static struct far_read r;
	struct card_message *later = NULL, *other = NULL;
	char *text;

	(void)state;
	slow_create();
	done("nvmf_create_subsystem", "{'nqn':'" NQN "','allow_any_host':true}");
	done("nvmf_subsystem_add_ns",
		"{'nqn':'" NQN "','bdev_name':'slow','nsid':1,'uuid':'" UUID "'}");
	add_listener();
	attach();
	r.vol = card_volume_find(&card, "farn1")->vol;
	assert_int_equal(card_worker_call(card_worker_at(card.workers, 0), read_begin, &r), 0);
	while (!atomic_load(&slow.n_held))
		go_on(&r);

	text = card_rpc_answer(&card, del, sizeof(del) - 1, &later);
	assert_null(text);
	assert_non_null(later);
	text = card_rpc_answer(&card, info, sizeof(info) - 1, &other);
	assert_non_null(text);
	assert_null(other);
	assert_non_null(strstr(text, "\"result\""));
	free(text);
	for (unsigned i = 0; i < 50; i++)
		assert_true(card_message_step(later, &text));
	assert_true(card_volume_find(&card, "slow")->users > 0);

	atomic_store(&slow.open, true);
	while (card_message_step(later, &text))
		go_on(&r);
	assert_non_null(text);
	assert_non_null(strstr(text, "\"result\":true"));
	free(text);
	card_message_destroy(later);
	assert_int_equal(card_volume_find(&card, "slow")->users, 0);
	while (!atomic_load(&r.ended))
		go_on(&r);
	assert_int_equal(atomic_load(&r.ended), 1);
	(void)card_worker_call(card_worker_at(card.workers, 0), read_close, &r);

	done("bdev_nvme_detach_controller", "{'name':'far'}");
	done("nvmf_delete_subsystem", "{'nqn':'" NQN "'}");
	done("bdev_null_delete", "{'name':'slow'}");
}

static bool one_log(const struct card_discovery_view *v, void *arg)
{
	*(unsigned *)arg = v->service[0].n_entries;
	return true;
}

static bool any_discovery(const struct card_discovery_view *v, void *arg)
{
	(void)v;
	*(bool *)arg = true;
	return true;
}

/* So many controllers are connected, and none that is not. */
static bool all_live(unsigned want)
{
	struct nof_host *h = card_storage_host(&card);
	struct nof_ctrl_info info;
	unsigned n = 0;

	for (struct nof_ctrl *c = nof_ctrl_next(h, NULL); c; c = nof_ctrl_next(h, c), n++) {
		nof_ctrl_info(c, &info);
		if (info.state != NOF_CTRL_LIVE)
			return false;
	}
	return n == want;
}

/* A target that was there and goes before anybody looked: the call ends, and the path with it. */
static void attach_that_is_left(void **state)
{
	char call[256], *text;
	struct card_message *later;

	(void)state;
	ROUNDS_UNTIL(!nof_ctrl_next(card_storage_host(&card), NULL)); // those of other tests
	done("nvmf_create_subsystem", "{'nqn':'" NQN "','allow_any_host':true}");
	add_listener();
	(void)snprintf(call, sizeof(call),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"bdev_nvme_attach_controller\","
		"\"params\":{\"name\":\"far\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"%u\","
		"\"subnqn\":\"" NQN "\"}}",
		port);
	text = card_rpc_answer(&card, call, strlen(call), &later);
	assert_null(text);
	assert_true(card_message_step(later, &text));
	ROUNDS_UNTIL(all_live(1));
	done("nvmf_delete_subsystem", "{'nqn':'" NQN "'}");
	ROUNDS_UNTIL(!all_live(1));
	assert_true(card_message_step(later, &text));
	later_ns = 11000000000u; // for good: time never goes back
	assert_false(card_message_step(later, &text));
	assert_non_null(text);
	assert_non_null(strstr(text, "not connected any more"));
	free(text);
	card_message_destroy(later);
	ROUNDS_UNTIL(!nof_ctrl_next(card_storage_host(&card), NULL));
}

/* Whichever allocation fails when a log changed: in the end all of it is known. */
static void log_without_memory(void **state)
{
	enum { ALLOCATIONS = 8 };
	char text[128];
	unsigned n = 0, before;
	bool there = true;

	(void)state;
	done("nvmf_create_subsystem", "{'nqn':'" NQN "','allow_any_host':true}");
	add_listener();
	(void)snprintf(
		text, sizeof(text), "{'name':'auto','traddr':'127.0.0.1','trsvcid':'%u'}", port);
	done("bdev_nvme_start_discovery", text);
	ROUNDS_UNTIL((card_discovery_foreach(&card, one_log, &n), n > 0));
	for (unsigned i = 0; i < ALLOCATIONS; i++) {
		ROUNDS_UNTIL(all_live(i + 2)); // a path for each, and the service
		before = n;
		(void)snprintf(text, sizeof(text), "{'nqn':'" NQN ".%u','allow_any_host':true}", i);
		done("nvmf_create_subsystem", text);
		(void)snprintf(text, sizeof(text), "{'nqn':'" NQN ".%u','listener':'127.0.0.1:%u'}",
			i, port);
		done("nvmf_subsystem_add_listener", text);
		dpu_alloc_fail_after((long)i);
		ROUNDS_UNTIL((card_discovery_foreach(&card, one_log, &n), n == before + 1));
		dpu_alloc_fail_after(-1);
	}
	done("bdev_nvme_stop_discovery", "{'name':'auto'}");
	ROUNDS_UNTIL((there = false, card_discovery_foreach(&card, any_discovery, &there), !there));
	for (unsigned i = 0; i < ALLOCATIONS; i++) {
		(void)snprintf(text, sizeof(text), "{'nqn':'" NQN ".%u'}", i);
		done("nvmf_delete_subsystem", text);
	}
	done("nvmf_delete_subsystem", "{'nqn':'" NQN "'}");
}

/* The answer to a call that is no error; NULL and *later: there is none yet. */
static char *ask(const char *request, struct card_message **later)
{
	char *text = card_rpc_answer(&card, request, strlen(request), later);

	assert_true((text != NULL) == (*later == NULL));
	return text;
}

static void assert_says(char *text, const char *want)
{
	assert_non_null(text);
	if (!strstr(text, want))
		fail_msg("%s: no %s", text, want);
	free(text);
}

/* A volume that has something to do is deleted when it has stopped; everybody else is served. */
static void deleting_holds_up_nobody(void **state)
{
	static const char del[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"volume_delete\","
				  "\"params\":{\"name\":\"slow\"}}",
			  info[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"card_info\"}";
	struct card_message *later, *other;
	char *text;

	(void)state;
	slow_create();
	assert_null(ask(del, &later));
	assert_says(ask(info, &other), "\"result\"");
	assert_null(ask(del, &other)); // its turn is behind that one
	for (unsigned i = 0; i < 50; i++) {
		assert_true(card_message_step(later, &text));
		assert_true(card_message_step(other, &text));
	}
	assert_non_null(card_volume_find(&card, "slow"));
	atomic_store(&slow.open, true);
	assert_false(card_message_step(later, &text));
	assert_says(text, "\"result\":true");
	card_message_destroy(later);
	assert_null(card_volume_find(&card, "slow"));
	assert_false(card_message_step(other, &text));
	assert_says(text, "no such volume");
	card_message_destroy(other);
}

/* Whoever cannot wait leaves it: its name is free at once, it is gone when it has stopped. */
static void discarded_volumes_go(void **state)
{
	(void)state;
	slow_create();
	card_volume_discard(&card, "slow");
	card_volume_discard(&card, "slow"); // is none
	assert_null(card_volume_find(&card, "slow"));
	done("bdev_null_create", "{'name':'slow','num_blocks':8,'block_size':512}");
	event_base_loop(card.loop, EVLOOP_ONCE);
	assert_false(TAILQ_EMPTY(&card.inv->going));
	atomic_store(&slow.open, true);
	while (!TAILQ_EMPTY(&card.inv->going))
		event_base_loop(card.loop, EVLOOP_ONCE);
	done("bdev_null_delete", "{'name':'slow'}");
}

static unsigned n_files(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2; // . and ..
}

/* What is asked of one while another one is being made waits, by whatever call. */
static void logical_volumes_queue(const char *make)
{
	static const char resize[] = "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"volume_resize\","
				     "\"params\":{\"name\":\"%s\",\"num_blocks\":140000}}",
			  plain[] = "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"volume_resize\","
				    "\"params\":{\"name\":\"plain\",\"num_blocks\":8}}";
	const struct card_volume *v = card_volume_find_alias(&card, "lvs0/v");
	struct card_message *first, *second, *third;
	char other[512], text[256], *answer;

	(void)snprintf(text, sizeof(text), resize, v->name);
	(void)snprintf(other, sizeof(other), "%s", make);
	strstr(other, "\"v\"")[1] = 'w';
	done("bdev_null_create", "{'name':'plain','num_blocks':64,'block_size':512}");
	assert_null(ask(other, &first));
	assert_null(ask(text, &second));
	assert_says(ask(plain, &third), "\"result\":true"); // it takes no steps
	while (card_message_step(first, &answer))
		sched_yield();
	assert_says(answer, "\"result\":\"");
	card_message_destroy(first);
	while (card_message_step(second, &answer))
		sched_yield();
	assert_says(answer, "\"result\":true");
	card_message_destroy(second);
	done("bdev_null_delete", "{'name':'plain'}");
	done("bdev_lvol_delete", "{'name':'lvs0/w'}");
}

/* The file of a logical volume is made beside other calls; without its client there is none. */
static void files_are_made_beside(void **state)
{
	static const char del[] = "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"bdev_lvol_delete\","
				  "\"params\":{\"name\":\"lvs0/v\"}}";
	static const char make[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"bdev_lvol_create\","
				   "\"params\":{\"lvol_name\":\"v\",\"lvs_name\":\"lvs0\","
				   "\"size_in_mib\":64}}",
			  info[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"card_info\"}";
	char dir[] = "/tmp/outboard-lvols.XXXXXX", text[128], *answer;
	struct card_message *later, *other;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(text, sizeof(text), "{'lvs_name':'lvs0','path':'%s'}", dir);
	done("bdev_lvol_create_lvstore", text);
	assert_null(ask(make, &later));
	assert_says(ask(info, &other), "\"result\"");
	refused("bdev_lvol_delete_lvstore", "{'lvs_name':'lvs0'}", -EBUSY, "has volumes");
	card_message_destroy(later); // the client has gone
	while (n_files(dir))
		sched_yield();
	assert_null(card_volume_find_alias(&card, "lvs0/v"));

	assert_null(ask(make, &later));
	while (card_message_step(later, &answer))
		sched_yield();
	assert_says(answer, "\"result\":\"");
	card_message_destroy(later);
	assert_int_equal(n_files(dir), 1); // no mark
	assert_null(ask(del, &later));
	card_message_destroy(later); // the client has gone before anything was done
	assert_int_equal(n_files(dir), 1); // none either: a start would take it for half made
	assert_non_null(card_volume_find_alias(&card, "lvs0/v"));
	logical_volumes_queue(make);
	done("bdev_lvol_resize", "{'name':'lvs0/v','size_in_mib':80}");
	refused("bdev_lvol_create", "{'lvol_name':'v','lvs_name':'lvs0','size_in_mib':1}", -EEXIST,
		"File exists");
	done("bdev_lvol_delete", "{'name':'lvs0/v'}");
	assert_int_equal(n_files(dir), 0);
	done("bdev_lvol_delete_lvstore", "{'lvs_name':'lvs0'}");
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses),
		cmocka_unit_test(ends_in_steps),
		cmocka_unit_test(attach_that_is_left),
		cmocka_unit_test(log_without_memory),
		cmocka_unit_test(deleting_holds_up_nobody),
		cmocka_unit_test(discarded_volumes_go),
		cmocka_unit_test(files_are_made_beside),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
