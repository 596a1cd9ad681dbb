// SPDX-License-Identifier: Apache-2.0
/* Volumes over NVMe/TCP from our host to our target: data, every operation, loss of connections. */
#include "nvmf_rig.h"
#include "tgt.h"
#include "vol_priv.h"

#define LEN (1U << 20)

static uint8_t *bytes(unsigned seed)
{
	uint8_t *b = malloc(LEN);

	assert_non_null(b);
	for (unsigned i = 0; i < LEN; i++)
		b[i] = (uint8_t)(i * 31 + i / 509 + seed);
	return b;
}

static struct vol *open_vol(struct nvmf_rig *r)
{
	struct vol *v = NULL;
	const struct vol_nvmf_conf conf = {
		.name = "v", .host = r->h, .subnqn = NQN, .nsid = 1, .uuid = { 1, 2, 3 }
	};

	assert_int_equal(vol_nvmf_open(&conf, &v), 0);
	return v;
}

static const struct data_case {
	const char *name;
	bool hdgst, ddgst;
} data_cases[] = {
	{ "without digests", false, false },
	{ "with header digests", true, false },
	{ "with data digests", false, true },
	{ "with both digests", true, true },
};

static void data(void **state)
{
	const struct data_case *t = *state;
	static const uint64_t lens[] = { 512, 1024, 4096, 8192, 8704, 65536, LEN };
	uint8_t *in = bytes(1), *out = malloc(LEN);
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol_chan *c[WORKERS];
	struct vol *v;
	struct vol_info info;

	assert_non_null(out);
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.hdgst = t->hdgst;
	conf.ddgst = t->ddgst;
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	v = open_vol(&r);
	vol_info(v, &info);
	assert_true(info.size == 64 << 20);
	assert_int_equal(info.block_size, 512);
	for (unsigned w = 0; w < WORKERS; w++)
		assert_int_equal(vol_chan_open(v, r.hw[w], &c[w]), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		uint64_t off = 512 * (i + 1);

		assert_int_equal(req_do(&r, c[0], VOL_WRITE, off, in, lens[i]), 0);
		memset(out, 0, LEN);
		assert_int_equal(req_do(&r, c[1], VOL_READ, off, out, lens[i]), 0);
		assert_memory_equal(in, out, lens[i]);
	}
	assert_int_equal(req_do(&r, c[0], VOL_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(req_do(&r, c[0], VOL_WRITE_ZEROES, 4096, NULL, 65536), 0);
	assert_int_equal(req_do(&r, c[0], VOL_READ, 4096, out, 65536), 0);
	for (unsigned i = 0; i < 65536; i++)
		assert_int_equal(out[i], 0);
	assert_int_equal(req_do(&r, c[0], VOL_DISCARD, 1 << 20, NULL, 65536), 0);
	assert_int_equal(req_do(&r, c[0], VOL_READ, info.size, out, 512), -EINVAL);
	for (unsigned w = 0; w < WORKERS; w++)
		vol_chan_close(c[w]);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(in);
	free(out);
}

/* Pieces as small as a guest may give: a block in hundreds of them, and long requests. */
static void in_many_pieces(void **state)
{
	static const uint64_t lens[] = { 512, 1024, 65536, 262144 };
	enum { PIECES = 1022 };
	static struct iovec iov[PIECES];
	uint8_t *in = bytes(2), *out = malloc(LEN);
	const struct data_case *t = *state;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct vol_chan *c;
	struct vol *v;
	struct link l;

	assert_non_null(out);
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.ddgst = t->ddgst;
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		uint64_t n = lens[i] < PIECES ? lens[i] : PIECES, step = lens[i] / n;

		for (unsigned w = 0; w < 2; w++) {
			uint8_t *b = w ? out : in;
			struct req q = { .io = { .op = w ? VOL_READ : VOL_WRITE,
						 .off = 4096,
						 .len = lens[i],
						 .iov = iov,
						 .n_iov = (unsigned)n,
						 .done = req_done } };

			for (uint64_t k = 0; k < n; k++)
				iov[k] = (struct iovec){ b + k * step,
					k == n - 1 ? lens[i] - k * step : step };
			vol_submit(c, &q.io);
			POLL_UNTIL(&r, q.done);
			assert_int_equal(q.err, 0);
		}
		assert_memory_equal(in, out, lens[i]);
		memset(out, 0, LEN);
	}
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(in);
	free(out);
}

/* Many at once, more than there are slots, from two volumes that share the queue. */
static void more_than_slots(void **state)
{
	enum { N = 200 };
	static uint8_t buf[N][4096];
	static struct req q[N];
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol_chan *a, *b;
	struct vol *va, *vb;
	unsigned n = 0;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.queue_size = 8;
	link_open(&r, &l, &conf);
	va = open_vol(&r);
	vb = open_vol(&r);
	assert_int_equal(vol_chan_open(va, r.hw[0], &a), 0);
	assert_int_equal(vol_chan_open(vb, r.hw[0], &b), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			if (round == 0)
				memset(buf[i], (int)i, 4096);
			else
				memset(buf[i], 0xff, 4096);
			req_submit(i % 2 ? a : b, &q[i], round ? VOL_READ : VOL_WRITE, 4096ull * i,
				buf[i], 4096);
		}
		assert_true(vol_chan_inflight(a) > 4);
		for (n = 0; n < N; n++)
			POLL_UNTIL(&r, q[n].done);
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(q[i].err, 0);
		assert_int_equal(buf[i][0], (uint8_t)i);
		assert_int_equal(buf[i][4095], (uint8_t)i);
	}
	vol_chan_close(a);
	vol_chan_close(b);
	vol_close(va);
	vol_close(vb);
	link_close(&r, &l);
	rig_close(&r);
}

/* The smallest queues that there may be, of two entries: one command at a time (MQES 1). */
static void one_slot(void **state)
{
	const struct nof_tgt_opts opts = { .max_queue_depth = 2, .max_io_queues = 1 };
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct vol_chan *c[WORKERS];
	struct req q[8] = { 0 };
	uint8_t *in = bytes(3), *out = malloc(LEN);
	struct link l;
	struct vol *v;

	(void)state;
	assert_non_null(out);
	rig_open(&r, &opts);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	v = open_vol(&r);
	for (unsigned w = 0; w < WORKERS; w++)
		assert_int_equal(vol_chan_open(v, r.hw[w], &c[w]), 0);
	assert_int_equal(req_do(&r, c[0], VOL_WRITE, 0, in, LEN), 0);
	for (unsigned i = 0; i < ARRAY_LEN(q); i++)
		req_submit(c[i % WORKERS], &q[i], VOL_READ, (uint64_t)i * (LEN / 8),
			out + (size_t)i * (LEN / 8), LEN / 8);
	for (unsigned i = 0; i < ARRAY_LEN(q); i++) {
		POLL_UNTIL(&r, q[i].done);
		assert_int_equal(q[i].err, 0);
	}
	assert_memory_equal(in, out, LEN);
	for (unsigned w = 0; w < WORKERS; w++)
		vol_chan_close(c[w]);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(in);
	free(out);
}

static void resized(void *arg)
{
	++*(unsigned *)arg;
}

static void resize_is_seen(void **state)
{
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol *v;
	struct vol_info info = { 0 };
	unsigned told = 0;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	vol_watch(v, resized, &told);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(vol_resize(r.disk, (64 + i) << 20), 0);
		nof_tgt_vol_resized(r.t, r.disk);
		POLL_UNTIL(&r, told == i);
		vol_info(v, &info);
		assert_true(info.size == (64ull + i) << 20);
	}
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

/* A namespace that is made anew, as another kind: what it can do is read again. */
static void features_are_read_again(void **state)
{
	const struct nof_tgt_ns_conf ns = { .nsid = 1, .uuid = { 1, 2, 3 } };
	struct nof_tgt_ns_conf again = ns;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol *v;
	struct vol_info info;
	unsigned told = 0;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	vol_watch(v, resized, &told);
	vol_info(v, &info);
	assert_false(info.read_only);
	for (unsigned i = 0; i < 2; i++) {
		while (nof_tgt_ns_del(r.t, NQN, 1) == -EBUSY)
			rig_poll(&r);
		atomic_store(&r.disk->read_only, i == 0);
		again.vol = r.disk;
		assert_int_equal(nof_tgt_ns_add(r.t, NQN, &again, NULL), 0);
		POLL_UNTIL(&r, (vol_info(v, &info), info.read_only == (i == 0)));
		assert_int_equal(told, i + 1);
	}
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

/* The listener goes and comes back: requests wait and end well. */
static void reconnects(void **state)
{
	uint8_t *in = bytes(5), *out = malloc(LEN);
	struct nof_ctrl_conf conf;
	struct nof_ctrl_info info;
	struct nvmf_rig r;
	struct link l;
	struct vol *v;
	struct vol_chan *c;
	struct req q = { 0 };

	(void)state;
	assert_non_null(out);
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	assert_int_equal(req_do(&r, c, VOL_WRITE, 0, in, LEN), 0);
	rig_deaf(&r, 0);
	POLL_UNTIL(&r, link_state(&l) != NOF_CTRL_LIVE);
	req_submit(c, &q, VOL_READ, 0, out, LEN);
	for (unsigned i = 0; i < 1000; i++)
		rig_poll(&r);
	assert_false(q.done);
	rig_listen(&r, 0);
	POLL_UNTIL(&r, q.done);
	assert_int_equal(q.err, 0);
	assert_memory_equal(in, out, LEN);
	nof_ctrl_info(l.c, &info);
	assert_true(info.connects == 2 && info.failures >= 1);
	for (unsigned i = 0; i < 5; i++) {
		nof_ctrl_reset(l.c);
		memset(out, 0, LEN);
		assert_int_equal(req_do(&r, c, VOL_READ, 0, out, LEN), 0);
		assert_memory_equal(in, out, LEN);
	}
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(in);
	free(out);
}

/* Two paths: one goes while requests are out, the other takes over. */
static void two_paths(void **state)
{
	uint8_t *in = bytes(9), *out = malloc(LEN);
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l[2];
	struct vol *v;
	struct vol_chan *c;
	struct req q = { 0 };

	(void)state;
	assert_non_null(out);
	rig_open(&r, NULL);
	rig_listen(&r, 1);
	for (unsigned i = 0; i < 2; i++) {
		conf = link_conf(&r, i);
		link_open(&r, &l[i], &conf);
		assert_int_equal(l[i].err, 0);
	}
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	assert_int_equal(req_do(&r, c, VOL_WRITE, 0, in, LEN), 0);
	for (unsigned round = 0; round < 4; round++) {
		unsigned which = round % 2;

		memset(out, 0, LEN);
		req_submit(c, &q, VOL_READ, 0, out, LEN);
		rig_deaf(&r, which);
		POLL_UNTIL(&r, q.done);
		assert_int_equal(q.err, 0);
		assert_memory_equal(in, out, LEN);
		req_submit(c, &q, VOL_WRITE, 0, in, LEN);
		POLL_UNTIL(&r, q.done);
		assert_int_equal(q.err, 0);
		rig_listen(&r, which);
		POLL_UNTIL(&r, link_state(&l[which]) == NOF_CTRL_LIVE);
	}
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l[0]);
	link_close(&r, &l[1]);
	rig_close(&r);
	free(in);
	free(out);
}

/* Fewer queues are granted than there are workers, more, fewer again: requests go on (NI-22). */
static void fewer_queues(void **state)
{
	static const uint16_t grants[] = { 1, 2, 1, 127, 1 };
	uint8_t *in[WORKERS] = { bytes(11), bytes(12) }, *out = malloc(LEN);
	const struct nof_tgt_opts opts = { .max_io_queues = 1 };
	struct nof_ctrl_stats before, after;
	struct nof_ctrl_conf conf;
	struct nof_ctrl_info info;
	struct nvmf_rig r;
	struct link l;
	struct vol *v;
	struct vol_chan *c[WORKERS];
	struct req q[WORKERS] = { 0 };

	(void)state;
	assert_non_null(out);
	rig_open(&r, &opts);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	v = open_vol(&r);
	for (unsigned w = 0; w < WORKERS; w++)
		assert_int_equal(vol_chan_open(v, r.hw[w], &c[w]), 0);
	for (unsigned i = 0; i < sizeof(grants) / sizeof(grants[0]); i++) {
		nof_ctrl_info(l.c, &info);
		assert_int_equal(info.n_queues, grants[i] < WORKERS ? grants[i] : WORKERS);
		r.t->conf.opts.max_io_queues = grants[i + 1 < 5 ? i + 1 : i];
		for (unsigned w = 0; w < WORKERS; w++)
			req_submit(c[w], &q[w], VOL_WRITE, w * LEN, in[(w + i) % WORKERS], LEN);
		for (unsigned k = 0; k < i; k++)
			rig_poll(&r);
		nof_ctrl_reset(l.c);
		POLL_UNTIL(&r, q[0].done && q[1].done && link_state(&l) == NOF_CTRL_LIVE);
		for (unsigned w = 0; w < WORKERS; w++) {
			assert_int_equal(q[w].err, 0);
			assert_int_equal(
				req_do(&r, c[1 - w], VOL_READ, (uint64_t)w * LEN, out, LEN), 0);
			assert_memory_equal(out, in[(w + i) % WORKERS], LEN);
		}
	}
	nof_ctrl_stats(l.c, &before);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(req_do(&r, c[1], VOL_READ, 0, out, 4096), 0);
	nof_ctrl_stats(l.c, &after); // each counts once, and a keep alive may come between
	assert_in_range(after.commands - before.commands, 10, 15);
	for (unsigned w = 0; w < WORKERS; w++) {
		vol_chan_close(c[w]);
		free(in[w]);
	}
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(out);
}

/* Whoever gets an error may send the next request from where it is told. */
struct chain {
	struct req q[2];
	struct vol_chan *c;
	uint8_t buf[512];
};

static void next_done(struct vol_io *io, int err)
{
	struct chain *ch = (struct chain *)io;

	ch->q[0].done = true;
	ch->q[0].err = err;
	req_submit(ch->c, &ch->q[1], VOL_READ, 0, ch->buf, sizeof(ch->buf));
}

static void errors_in_a_chain(struct nvmf_rig *r, struct vol_chan *c)
{
	struct chain ch = { .c = c };

	ch.q[0].io = (struct vol_io){ .op = VOL_WRITE_ZEROES, .len = 512, .done = next_done };
	vol_submit(c, &ch.q[0].io);
	POLL_UNTIL(r, ch.q[1].done);
	assert_int_equal(ch.q[0].err, -EIO);
	assert_int_equal(ch.q[1].err, -EIO);
}

/* A disk that is shown before its target was reached; then without any path for too long. */
static void before_the_target(void **state)
{
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol *v = NULL;
	struct vol_chan *c;
	struct req q = { 0 };
	uint8_t buf[4096];
	const struct vol_nvmf_conf vc = {
		.name = "v", .nsid = 1, .subnqn = NQN, .size = 64 << 20, .block_size = 512
	};
	struct vol_nvmf_conf now = vc;

	(void)state;
	rig_open(&r, NULL);
	now.host = r.h;
	assert_int_equal(vol_nvmf_open(&now, &v), 0);
	assert_int_equal(vol_chan_open(v, NULL, &c), -EINVAL);
	assert_int_equal(vol_chan_open(v, r.hw[1], &c), 0);
	req_submit(c, &q, VOL_READ, 0, buf, sizeof(buf));
	for (unsigned i = 0; i < 100; i++)
		rig_poll(&r);
	assert_false(q.done);
	rig_deaf(&r, 0);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	assert_true(l.err < 0);
	rig_listen(&r, 0);
	POLL_UNTIL(&r, q.done);
	assert_int_equal(q.err, 0);
	link_close(&r, &l); // the only path, for good: requests fail
	assert_int_equal(req_do(&r, c, VOL_READ, 0, buf, sizeof(buf)), -EIO);
	errors_in_a_chain(&r, c);
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, buf, sizeof(buf)), 0);
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

/* Identify is answered by another controller than the one that took Connect (NI-23): not used. */
static void another_controller(void **state)
{
	struct tgt_ctrl *there = NULL;
	struct nof_tgt_subsys *sub;
	struct nof_ctrl_info info;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l = { 0 };

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.reconnect_delay_ms = 60000;
	sub = tgt_subsys_find(r.t, NQN);
	assert_int_equal(nof_ctrl_create(r.h, &conf, link_up, &l, &l.c), 0);
	POLL_UNTIL(&r, (there = TAILQ_FIRST(&sub->ctrls)) != NULL);
	there->cntlid++;
	POLL_UNTIL(&r, l.told);
	assert_int_equal(l.err, -EPROTO);
	nof_ctrl_info(l.c, &info);
	assert_string_equal(info.last_step, "Identify Controller");
	link_close(&r, &l);
	rig_close(&r);
}

/* A host that is not let in leaves: no command follows a Connect that failed. */
static void not_let_in(void **state)
{
	struct nof_tgt_stats st;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;

	(void)state;
	rig_open(&r, NULL);
	assert_int_equal(nof_tgt_allow_any_host(r.t, NQN, false), 0);
	conf = link_conf(&r, 0);
	conf.reconnect_delay_ms = 60000;
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, -EACCES);
	link_close(&r, &l);
	nof_tgt_stats(r.t, &st);
	assert_int_equal(st.bad_connect, 1);
	assert_int_equal(st.bad_command, 1); // the Connect
	rig_close(&r);
}

struct seen {
	uint64_t connects, refused, commands, errors, accepted, of_hosts;
};

static void see_subsys(void *arg, const struct nof_tgt_subsys_view *v)
{
	struct seen *s = arg;

	s->connects = v->connects;
	s->refused = v->refused;
	s->commands = v->commands;
	s->errors = v->errors;
}

static void see_listener(void *arg, const struct nof_tgt_listener_view *v)
{
	((struct seen *)arg)->accepted += v->accepted;
}

static void see_ctrl(void *arg, const struct nof_tgt_ctrl_view *v)
{
	((struct seen *)arg)->of_hosts += v->commands;
}

/* What the target counts: of controllers that are there, and of those that are gone. */
static void the_target_counts(void **state)
{
	struct nof_tgt_thread_view th;
	uint64_t begun = 0;
	unsigned queues = 0;
	struct nof_ctrl_conf conf;
	struct seen s = { 0 };
	const struct nof_tgt_visit visit = {
		.subsys = see_subsys, .listener = see_listener, .ctrl = see_ctrl, .arg = &s
	};
	uint8_t *b = bytes(1);
	struct nvmf_rig r;
	struct link l;
	struct vol_chan *c;
	struct vol *v;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(req_do(&r, c, VOL_WRITE, 0, b, 4096), 0);
	nof_ctrl_reset(l.c);
	POLL_UNTIL(&r, link_state(&l) != NOF_CTRL_LIVE);
	POLL_UNTIL(&r, link_state(&l) == NOF_CTRL_LIVE);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, b, 4096), 0);
	// Beyond the end that the target alone has: refused there.
	assert_int_equal(vol_resize(r.disk, 1 << 20), 0);
	assert_int_equal(req_do(&r, c, VOL_READ, 32 << 20, b, 4096), -EIO);
	assert_int_equal(nof_tgt_visit(r.t, NQN, &visit), 0);
	assert_int_equal(s.connects, 2);
	assert_int_equal(s.refused, 0);
	assert_int_equal(s.commands, 5);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.of_hosts, 2); // those of the first controller went with it
	assert_int_equal(s.accepted, 2 * (1 + WORKERS));
	for (unsigned i = 0; nof_tgt_thread(r.t, i, &th); i++) {
		assert_int_equal(th.control, i == WORKERS);
		assert_int_equal(th.admin_queues, th.control ? 1 : 0);
		begun += th.commands;
		queues += th.io_queues;
	}
	assert_true(begun >= 4);
	assert_int_equal(queues, WORKERS);
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(b);
}

/* Each command of a path is timed, and what was counted stays when its connections go. */
static void paths_are_timed(void **state)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct nof_ctrl_stats before, after;
	uint8_t *b = bytes(1);
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol_chan *c;
	struct vol *v;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	nof_ctrl_latency_set(l.c, 1);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(req_do(&r, c, VOL_WRITE, 0, b, 4096), 0);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, b, 4096), 0);
	assert_int_equal(req_do(&r, c, VOL_FLUSH, 0, NULL, 0), 0);
	nof_ctrl_stats(l.c, &before);
	assert_true(before.commands > 5); // those of the admin queue as well
	assert_int_equal(before.timeouts + before.digest_errors + before.short_data, 0);
	nof_ctrl_reset(l.c);
	POLL_UNTIL(&r, link_state(&l) != NOF_CTRL_LIVE);
	POLL_UNTIL(&r, link_state(&l) == NOF_CTRL_LIVE);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, b, 4096), 0);
	nof_ctrl_stats(l.c, &after);
	assert_true(after.commands > before.commands + 1);
	nof_ctrl_latency(l.c, sum);
	assert_int_equal(sum[DPU_LAT_READ].count, 2);
	assert_int_equal(sum[DPU_LAT_WRITE].count, 3);
	assert_int_equal(sum[DPU_LAT_OTHER].count, 1);
	assert_true(sum[DPU_LAT_WRITE].max_ns > 0);
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_controller),
		cmocka_unit_test(not_let_in),
		cmocka_unit_test(paths_are_timed),
		cmocka_unit_test(the_target_counts),
		cmocka_unit_test_prestate(in_many_pieces, (void *)(uintptr_t)&data_cases[0]),
		cmocka_unit_test_prestate(in_many_pieces, (void *)(uintptr_t)&data_cases[2]),
		cmocka_unit_test(more_than_slots),
		cmocka_unit_test(one_slot),
		cmocka_unit_test(resize_is_seen),
		cmocka_unit_test(features_are_read_again),
		cmocka_unit_test(reconnects),
		cmocka_unit_test(two_paths),
		cmocka_unit_test(fewer_queues),
		cmocka_unit_test(before_the_target),
	};
	int failed = 0;

	RUN_ROWS(data_cases, data, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
