// SPDX-License-Identifier: Apache-2.0
/* Listeners and connections: how they come, go to their worker, and end. */
#include "tgt_tcp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "tgt_ctrl.h"
#include "tgt_io.h"
#include "tgt_subsys.h"
#include "tgt_view.h"

#define BACKLOG 128
#define ACCEPT_BUDGET 16U
#define RING_START 8192U
#define RING_BYTES 16384U
#define CONTROL_POOL (2U << 20)
#define LARGE (128U << 10)
#define END_NAP_NS 200000L
#define END_NS 2000000000ull // for connections and volumes to end, when the target does

static struct tcp_control *control_of(const struct nof_tgt *t)
{
	return t->workers[t->conf.n_workers].xport;
}

/* ---- slots ---- */

void tcp_slot_unload(struct tcp_conn *c, struct slot *s)
{
	struct tcp_worker *tw = c->tw;

	if (!s->r.n_iov)
		return;
	tgt_pool_put(&tw->pool, &c->held, s->r.iov, s->r.n_iov);
	s->r.n_iov = 0;
	if (!TAILQ_EMPTY(&tw->waiters)) {
		tw->freed = true;
		nof_conn_busy(&tw->pump, true);
	}
}

void tcp_slot_free(struct tcp_conn *c, struct slot *s)
{
	tcp_slot_unload(c, s);
	s->state = SLOT_FREE;
	c->n_used--;
	if (s != &c->first || c->slots == &c->first)
		TAILQ_INSERT_HEAD(&c->free, s, link);
}

static void on_sent(struct nof_tx_ref *ref)
{
	struct slot *s = (struct slot *)((char *)ref - offsetof(struct slot, ref));
	struct tcp_conn *c = (struct tcp_conn *)((char *)s->r.q - offsetof(struct tcp_conn, q));

	tcp_slot_free(c, s);
}

static void slot_init(struct tcp_conn *c, struct slot *s)
{
	s->r.q = &c->q;
	s->r.done = tcp_answer;
	s->ref.sent = on_sent;
	TAILQ_INSERT_TAIL(&c->free, s, link);
}

/* ---- the end ---- */

static void count_end(struct tcp_conn *c, int err)
{
	struct tgt_counters *n = &c->q.w->n;

	if (err != -EPROTO) {
		if (c->state != TCP_ICREQ && err != -ECANCELED)
			dpu_counter_add(&n->reset, 1);
		return;
	}
	switch (c->s.why.fes) {
	case NOF_FES_SEQUENCE:
		dpu_counter_add(&n->bad_sequence, 1);
		break;
	case NOF_FES_HDGST:
		dpu_counter_add(&n->bad_hdgst, 1);
		break;
	case NOF_FES_RANGE:
	case NOF_FES_LIMIT:
		dpu_counter_add(&n->bad_data, 1);
		break;
	case NOF_FES_UNSUPPORTED:
		dpu_counter_add(&n->unsupported, 1);
		break;
	case NOF_FES_HEADER:
		dpu_counter_add(&n->bad_header, 1);
		break;
	}
}

static void drop_slot(struct tcp_conn *c, struct slot *s)
{
	switch (s->state) {
	case SLOT_FREE:
	case SLOT_SENDING: // nothing is lent any more: free already
		return;
	case SLOT_CORE:
		if (c->q.view || s->r.cmd.opc != NOF_ADM_AER)
			return; // done() comes
		tgt_admin_drop(&s->r);
		c->n_working--;
		break;
	case SLOT_DATA:
		c->n_working--;
		if (c->q.view)
			tgt_io_drop(&s->r);
		break;
	case SLOT_BUFFER:
		if (c->q.view)
			tgt_io_drop(&s->r);
		break;
	case SLOT_READY:
		if (s->r2t && c->q.view)
			tgt_io_drop(&s->r);
		break;
	}
	tcp_slot_free(c, s);
}

/* The stream is over: everything but what is with volumes ends here. */
static void on_broken(struct nof_stream *st, int err)
{
	struct tcp_conn *c = (struct tcp_conn *)st;

	count_end(c, err);
	c->dead = true;
	tcp_waiter_leave(c);
	nof_stream_fini(st);
	drop_slot(c, &c->first);
	for (unsigned i = 0; i < c->n_slots && c->slots != &c->first; i++)
		drop_slot(c, &c->slots[i]);
	tgt_io_end(&c->q);
}

static void conn_free(struct tcp_conn *c)
{
	struct tcp_port *port = c->port;
	struct tcp_control *tc = control_of(c->q.w->t);

	nof_timer_clear(&c->start);
	LIST_REMOVE(c, link);
	tc->n_conns--;
	dpu_counter_add(&tc->worker.w->n.conns, (uint64_t)-1);
	if (c->slots != &c->first)
		free(c->slots);
	free(c);
	if (--port->n_conns == 0 && !port->listening) {
		free(port->port);
		free(port);
	}
}

/* Control: nothing of it is anywhere else. */
static void run_gone(struct nof_msg *m)
{
	struct tcp_conn *c = (struct tcp_conn *)((char *)m - offsetof(struct tcp_conn, msg));

	tgt_queue_gone(&c->q);
	conn_free(c);
}

/* The last thing that its thread does with it. */
void tcp_give_back(struct tcp_conn *c)
{
	if (!c->dead || c->in_turn || c->n_used > 0 || c->posted)
		return;
	c->posted = true;
	c->msg.run = run_gone;
	nof_group_post(c->q.w->t->conf.control, &c->msg);
}

/* ---- a turn ---- */

static void take_slots(struct tcp_conn *c)
{
	struct slot *slots = dpu_calloc(c->q.size, sizeof(*slots));

	if (!slots || nof_stream_ring(&c->s, RING_BYTES) < 0) {
		free(slots);
		(void)nof_stream_fail(&c->s, -ENOMEM);
		return;
	}
	TAILQ_INIT(&c->free);
	c->slots = slots;
	c->n_slots = c->q.size;
	for (unsigned i = 0; i < c->n_slots; i++)
		slot_init(c, &slots[i]);
	c->state = TCP_LIVE;
	c->s.rules.allowed = 1U << NOF_PDU_CMD | 1U << NOF_PDU_H2C_DATA | 1U << NOF_PDU_H2C_TERM;
	c->s.rules.capsule_max = c->q.qid ? c->q.w->t->conf.opts.in_capsule_bytes
					  : TCP_ADMIN_CAPSULE;
}

/* On the worker. */
static void run_move(struct nof_msg *m)
{
	struct tcp_conn *c = (struct tcp_conn *)((char *)m - offsetof(struct tcp_conn, msg));
	int ret = nof_group_add(c->q.w->group, &c->s.conn);

	if (ret < 0) {
		on_broken(&c->s, ret);
		tcp_give_back(c);
		return;
	}
	if (c->s.err)
		nof_conn_flush(&c->s.conn);
	nof_conn_busy(&c->s.conn, true);
}

/* Connect was accepted and its answer is with the socket. */
static void connected(struct tcp_conn *c)
{
	nof_timer_clear(&c->start);
	take_slots(c);
	if (c->s.err || !c->q.qid)
		return;
	nof_group_remove(&c->s.conn);
	c->moved = true;
	c->tw = c->q.w->xport;
	c->msg.run = run_move;
	nof_group_post(c->q.w->group, &c->msg);
}

/* In-capsule data must find a buffer, however many commands come at once. */
static bool may_receive(const struct tcp_conn *c)
{
	const struct tgt_pool *p = &c->tw->pool;

	return p->n_free[TGT_SMALL] >= c->n_slots - c->n_used ||
	       p->n_free[TGT_SMALL] == p->n[TGT_SMALL];
}

static void pump_wake(struct tcp_worker *tw)
{
	if (!TAILQ_EMPTY(&tw->w->busy) || !TAILQ_EMPTY(&tw->w->compares))
		nof_conn_busy(&tw->pump, true);
}

static unsigned conn_turn(struct nof_conn *nc, unsigned events)
{
	struct tcp_conn *c = (struct tcp_conn *)nc;
	bool starved = c->state == TCP_LIVE && !may_receive(c);
	unsigned n;

	c->in_turn = true;
	if (starved) {
		nof_conn_busy(nc, false);
		events = 0;
	}
	n = c->stream_turn(nc, events);
	c->in_turn = false;
	pump_wake(c->tw); // also for what the last turn of a connection has left with a volume
	if (c->dead) {
		tcp_give_back(c);
		return n;
	}
	if (c->state == TCP_CONNECT && c->q.connected && nof_stream_empty(&c->s) &&
		c->n_used == 0) {
		connected(c);
		return n + 1;
	}
	c->idle = n ? 0 : c->idle + 1;
	nof_conn_busy(nc, starved || c->n_working || c->idle < TCP_IDLE_TURNS);
	return n;
}

/* Volumes, commands that wait for buffers, connections that ended meanwhile. */
static unsigned pump_turn(struct nof_conn *nc, unsigned events)
{
	struct tcp_worker *tw = (struct tcp_worker *)nc;
	unsigned n = tgt_io_poll(tw->w);

	(void)events;
	if (tw->freed) {
		tw->freed = false;
		tcp_waiters_serve(tw);
		n++;
	}
	if (TAILQ_EMPTY(&tw->w->busy) && TAILQ_EMPTY(&tw->w->compares) && !tw->freed)
		nof_conn_busy(nc, false);
	return n;
}

/* ---- connections come ---- */

static void on_slow(struct nof_timer *timer)
{
	struct tcp_conn *c = (struct tcp_conn *)((char *)timer - offsetof(struct tcp_conn, start));

	dpu_counter_add(&c->q.w->n.slow_start, 1);
	(void)nof_stream_fail(&c->s, -ECANCELED);
}

static void name_local(int fd, char *out, size_t size)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return;
	if (a.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, out, (socklen_t)size);
	else if (a.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, out, (socklen_t)size);
}

static const struct nof_stream_ops stream_ops = {
	.header = tcp_on_header,
	.data = tcp_on_data,
	.fill = tcp_fill,
	.broken = on_broken,
};

/* A connected socket, closed on failure. */
static int conn_create(struct tcp_port *port, int fd)
{
	struct nof_tgt *t = port->port->t;
	struct tcp_control *tc = control_of(t);
	const struct nof_pdu_rules rules = {
		.role = NOF_TARGET,
		.allowed = 1U << NOF_PDU_ICREQ | 1U << NOF_PDU_H2C_TERM,
		.capsule_max = TCP_ADMIN_CAPSULE,
		.data_max = t->conf.opts.max_io_bytes,
	};
	struct tcp_conn *c = dpu_calloc(1, sizeof(*c));
	int ret = c ? nof_stream_init(&c->s, fd, &stream_ops, &rules, RING_START) : -ENOMEM;

	if (ret < 0) {
		if (!c)
			close(fd);
		free(c);
		return ret;
	}
	c->q.w = tgt_control(t);
	c->tw = &tc->worker;
	c->q.port = port->port;
	c->q.local = c->local;
	c->port = port;
	TAILQ_INIT(&c->free);
	TAILQ_INIT(&c->ready);
	TAILQ_INIT(&c->waiting);
	c->slots = &c->first;
	c->n_slots = 1;
	slot_init(c, &c->first);
	c->stream_turn = c->s.conn.turn;
	c->s.conn.turn = conn_turn;
	name_local(fd, c->local, sizeof(c->local));
	ret = nof_group_add(t->conf.control, &c->s.conn);
	if (ret < 0) {
		nof_stream_fini(&c->s);
		free(c);
		return ret;
	}
	LIST_INSERT_HEAD(&tc->conns, c, link);
	tc->n_conns++;
	port->n_conns++;
	dpu_counter_add(&tc->worker.w->n.conns, 1);
	dpu_counter_add(&tc->worker.w->n.conns_ever, 1);
	port->port->accepted++;
	c->start.fire = on_slow;
	nof_timer_set(t->conf.control, &c->start, dpu_now_ns() + TCP_START_NS);
	return 0;
}

static unsigned listen_turn(struct nof_conn *nc, unsigned events)
{
	struct tcp_port *port = (struct tcp_port *)nc;
	struct nof_tgt *t = port->port->t;
	unsigned n;
	int one = 1;

	(void)events;
	for (n = 0; n < ACCEPT_BUDGET; n++) {
		int fd = accept4(nc->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			break;
		if (control_of(t)->n_conns >= t->conf.opts.max_conns) {
			dpu_counter_add(&tgt_control(t)->n.too_many, 1);
			close(fd);
			continue;
		}
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
		// Not taken for so long, be it that the host reads nothing: tcp(7)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &t->conf.opts.stall_ms,
			sizeof(t->conf.opts.stall_ms));
		if (conn_create(port, fd) < 0)
			dpu_warn_ratelimited(
				"target: no memory for a connection", "addr=%s", port->port->addr);
	}
	return n;
}

/* ---- what the core asks for; control ---- */

static int bind_to(int fd, struct tgt_port *p)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	struct sockaddr *a = p->v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
	socklen_t len = p->v6 ? sizeof(a6) : sizeof(a4);
	uint16_t port = htons((uint16_t)strtoul(p->port, NULL, 10));

	a6.sin6_port = port;
	a4.sin_port = port;
	if (inet_pton(p->v6 ? AF_INET6 : AF_INET, p->addr,
		    p->v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr) != 1)
		return -EINVAL;
	if (bind(fd, a, len) < 0 || listen(fd, BACKLOG) < 0 || getsockname(fd, a, &len) < 0)
		return -errno;
	p->bound = ntohs(p->v6 ? a6.sin6_port : a4.sin_port);
	return 0;
}

static int tcp_listen(struct tgt_port *p)
{
	struct tcp_port *port = dpu_calloc(1, sizeof(*port));
	int one = 1, ret;

	if (!port)
		return -ENOMEM;
	port->port = p;
	port->conn.turn = listen_turn;
	port->conn.fd = socket(
		p->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (port->conn.fd < 0) {
		ret = -errno;
		goto err_free;
	}
	(void)setsockopt(port->conn.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (p->v6)
		(void)setsockopt(port->conn.fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	ret = bind_to(port->conn.fd, p);
	if (!ret)
		ret = nof_group_add(p->t->conf.control, &port->conn);
	if (ret < 0)
		goto err_close;
	port->listening = true;
	p->xport = port;
	return 0;

err_close:
	close(port->conn.fd);
err_free:
	free(port);
	return ret;
}

static void tcp_unlisten(struct tgt_port *p)
{
	struct tcp_port *port = p->xport;
	struct tcp_conn *c;

	nof_group_remove(&port->conn);
	close(port->conn.fd);
	port->listening = false;
	LIST_FOREACH (c, &control_of(p->t)->conns, link)
		if (c->port == port && !c->q.connected && !c->dead)
			(void)nof_stream_fail(&c->s, -ECANCELED);
	if (port->n_conns > 0)
		return;
	free(port);
	free(p);
}

static int fail_on_worker(void *arg)
{
	struct tcp_conn *c = arg;

	if (!c->dead)
		(void)nof_stream_fail(&c->s, -ECANCELED);
	return 0;
}

static void tcp_close(struct tgt_queue *q)
{
	struct tcp_conn *c = (struct tcp_conn *)((char *)q - offsetof(struct tcp_conn, q));
	const struct nof_tgt_conf *conf = &q->w->t->conf;

	if (c->moved)
		(void)conf->call(conf->env, q->w->idx, fail_on_worker, c);
	else
		(void)fail_on_worker(c);
}

static const struct tgt_xport tcp_xport = {
	.listen = tcp_listen,
	.unlisten = tcp_unlisten,
	.close = tcp_close,
};

/* ---- start and end ---- */

static void on_tick(struct nof_timer *timer)
{
	struct tcp_control *tc = (struct tcp_control *)((char *)timer -
							offsetof(struct tcp_control, tick));
	uint64_t now = dpu_now_ns();

	tgt_tick(tc->worker.w->t, now);
	nof_timer_set(tc->worker.w->group, timer, now + TGT_TICK_MS * 1000000ULL);
}

static int worker_begin(void *arg)
{
	struct tcp_worker *tw = arg;

	return nof_group_add(tw->w->group, &tw->pump);
}

static int worker_end(void *arg)
{
	struct tcp_worker *tw = arg;

	nof_group_remove(&tw->pump);
	return 0;
}

static int worker_init(struct tcp_worker *tw, struct tgt_worker *w)
{
	const struct nof_tgt_opts *o = &w->t->conf.opts;
	bool control = w->idx == w->t->conf.n_workers;
	uint32_t small = o->in_capsule_bytes > 4096 || control ? 16384 : 4096;
	uint32_t large = o->max_io_bytes < LARGE ? LARGE : o->max_io_bytes / 8;
	int ret;

	tw->w = w;
	TAILQ_INIT(&tw->waiters);
	tw->pump.turn = pump_turn;
	tw->pump.awake = true;
	tw->pump.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (tw->pump.fd < 0)
		return -errno;
	ret = tgt_pool_init(&tw->pool, small, large < LARGE ? LARGE : large,
		control ? CONTROL_POOL : o->pool_bytes, control ? 4 : 2U * o->max_queue_depth);
	if (ret < 0) {
		close(tw->pump.fd);
		return ret;
	}
	ret = control ? worker_begin(tw)
		      : w->t->conf.call(w->t->conf.env, w->idx, worker_begin, tw);
	if (ret < 0) {
		tgt_pool_fini(&tw->pool);
		close(tw->pump.fd);
		return ret;
	}
	w->xport = tw;
	return 0;
}

static void worker_fini(struct tgt_worker *w)
{
	struct tcp_worker *tw = w->xport;

	if (!tw)
		return;
	if (w->idx == w->t->conf.n_workers)
		(void)worker_end(tw);
	else
		(void)w->t->conf.call(w->t->conf.env, w->idx, worker_end, tw);
	tgt_pool_fini(&tw->pool);
	close(tw->pump.fd);
	free(tw);
	w->xport = NULL;
}

static int worker_create(struct tgt_worker *w, size_t size)
{
	struct tcp_worker *tw = dpu_aligned_calloc(64, 1, size);
	int ret = tw ? worker_init(tw, w) : -ENOMEM;

	if (ret < 0)
		free(tw);
	return ret;
}

int nof_tgt_create(const struct nof_tgt_conf *conf, struct nof_tgt **out)
{
	struct tcp_control *tc;
	struct nof_tgt *t;
	int ret = tgt_init(conf, &tcp_xport, &t);

	if (ret)
		return ret;
	for (unsigned i = 0; i < conf->n_workers && !ret; i++)
		ret = worker_create(&t->workers[i], sizeof(struct tcp_worker));
	if (!ret)
		ret = worker_create(tgt_control(t), sizeof(struct tcp_control));
	if (ret) {
		(void)nof_tgt_destroy(t);
		return ret;
	}
	tc = control_of(t);
	LIST_INIT(&tc->conns);
	tc->tick.fire = on_tick;
	nof_timer_set(conf->control, &tc->tick, dpu_now_ns() + TGT_TICK_MS * 1000000ULL);
	*out = t;
	return 0;
}

static int poll_group(void *arg)
{
	return (int)nof_group_poll(arg);
}

/* Until the last connection is gone and nothing is with a volume. False: a volume is silent. */
static bool end_conns(struct nof_tgt *t)
{
	uint64_t end = dpu_now_ns() + END_NS;
	struct tcp_control *tc = control_of(t);
	const struct timespec nap = { .tv_nsec = END_NAP_NS };
	struct tcp_conn *c;

	LIST_FOREACH (c, &tc->conns, link)
		tcp_close(&c->q);
	while (tc->n_conns > 0 || !tgt_view_reap(t, NULL)) {
		if (dpu_now_ns() >= end)
			return false;
		(void)nof_group_poll(t->conf.control);
		for (unsigned i = 0; i < t->conf.n_workers; i++)
			(void)t->conf.call(t->conf.env, i, poll_group, t->conf.workers[i]);
		(void)nanosleep(&nap, NULL);
	}
	return true;
}

int nof_tgt_destroy(struct nof_tgt *t)
{
	struct nof_tgt_subsys *sub;

	if (!t)
		return 0;
	// First: hosts whose connection ends try again at once, and would be let in.
	TAILQ_FOREACH (sub, &t->subs, link)
		tgt_subsys_unlisten(sub);
	if (control_of(t)) {
		if (!end_conns(t))
			return -EBUSY;
		nof_timer_clear(&control_of(t)->tick);
	}
	for (unsigned i = 0; i <= t->conf.n_workers; i++)
		worker_fini(&t->workers[i]);
	tgt_fini(t);
	return 0;
}
