// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket: who may connect, how much a client may send, and for how long.
 *
 * Messages are JSON values one after the other, as SPDK's clients send them. A client is closed
 * when a message is longer than MSG_MAX or not complete DEADLINE_S after its first byte; it is not
 * read from while OUT_HIGH bytes of answers wait for it, and closed when it does not take them.
 * When the house is full, the client that has been silent longest makes room, so that an operator
 * always gets in. Descriptors sent along are dropped by the kernel: we read without space for them.
 */
#include "rpc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_log.h"

#define MSG_MAX (1u << 20)
#define OUT_HIGH (256u << 10)
#define CLIENTS_MAX 64
#define DEADLINE_S 10
#define DRAIN_S 30
#define BACKLOG 128
#define RETRY_MS 250 // when a client cannot be taken

struct client {
	struct card_rpc *rpc; // borrowed: outlives the client
	struct bufferevent *bev; // owned, with the socket
	struct event *deadline; // owned
	struct card_message *later; // owned: is being answered; NULL: none
	struct event *step; // owned; pending while there is one
	struct card_frame frame;
	size_t seen; // bytes of the input buffer that the frame has looked at
	bool closing; // close once the answers are out
	TAILQ_ENTRY(client) link;
};

struct card_rpc {
	struct card *card; // borrowed: owns us
	int fd; // owned
	struct event *accept; // owned; pending but while `retry` is
	struct event *retry; // owned
	TAILQ_HEAD(, client) clients; // longest silent first
	unsigned n_clients;
	dev_t dev; // of our socket file
	ino_t ino;
	struct card_rpc_stats stats;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

void card_rpc_stats(const struct card *c, struct card_rpc_stats *out)
{
	*out = c->rpc ? c->rpc->stats : (struct card_rpc_stats){ 0 };
}

void card_rpc_count(struct card *c, uint64_t requests, uint64_t errors, uint64_t parse_errors)
{
	if (!c->rpc)
		return;
	c->rpc->stats.requests += requests;
	c->rpc->stats.errors += errors;
	c->rpc->stats.parse_errors += parse_errors;
}

/* ---- one client ---- */

static void client_destroy(struct client *cl)
{
	TAILQ_REMOVE(&cl->rpc->clients, cl, link);
	cl->rpc->n_clients--;
	if (cl->later)
		cl->rpc->stats.cancelled++;
	card_message_destroy(cl->later);
	event_free(cl->step);
	event_free(cl->deadline);
	bufferevent_free(cl->bev);
	free(cl);
}

static size_t waiting_out(const struct client *cl)
{
	return evbuffer_get_length(bufferevent_get_output(cl->bev));
}

/* Take nothing more; close when what was answered is out. May destroy the client. */
static void client_finish(struct client *cl)
{
	cl->closing = true;
	bufferevent_disable(cl->bev, EV_READ);
	event_del(cl->deadline);
	if (!waiting_out(cl))
		client_destroy(cl);
}

static void free_text(const void *text, size_t len, void *arg)
{
	(void)text;
	(void)len;
	free(arg);
}

/* Takes it. */
static void send_text(struct client *cl, char *text)
{
	struct evbuffer *out = bufferevent_get_output(cl->bev);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return;
	text[len] = '\n'; // in the place of the NUL
	if (evbuffer_add_reference(out, text, len + 1, free_text, text))
		free(text);
}

/* After all other events, or a little later; false: no memory. */
static bool step_soon(struct client *cl)
{
	struct timeval tv = { .tv_usec = card_message_nap_ms(cl->later) * 1000L };

	return event_add(cl->step, &tv) == 0;
}

/* Answer the message that fills the first `len` bytes of the input, or begin to. */
static void answer(struct client *cl, struct evbuffer *in, size_t len)
{
	const char *msg = (const char *)evbuffer_pullup(in, (ev_ssize_t)len);

	if (msg)
		send_text(cl, card_rpc_answer(cl->rpc->card, msg, len, &cl->later));
	evbuffer_drain(in, len);
}

/* Look at bytes not seen yet. *len: those of the message at the start, whole when DONE. */
static enum card_frame_result next_message(struct client *cl, struct evbuffer *in, size_t *len)
{
	struct evbuffer_ptr at;
	struct evbuffer_iovec v;

	while (cl->seen < evbuffer_get_length(in)) {
		enum card_frame_result r;
		size_t used;

		evbuffer_ptr_set(in, &at, cl->seen, EVBUFFER_PTR_SET);
		if (evbuffer_peek(in, -1, &at, &v, 1) < 1)
			break;
		r = card_frame_scan(&cl->frame, v.iov_base, v.iov_len, &used);
		cl->seen += used;
		if (r == CARD_FRAME_MORE && !cl->frame.started) { // white space between messages
			evbuffer_drain(in, cl->seen);
			cl->seen = 0;
		}
		if (r != CARD_FRAME_MORE) {
			*len = cl->seen;
			return r;
		}
	}
	*len = cl->seen;
	return CARD_FRAME_MORE;
}

static void refuse(struct client *cl, int code, const char *why)
{
	card_rpc_count(cl->rpc->card, 1, 1, 1);
	send_text(cl, card_rpc_error_text(code, why));
	client_finish(cl);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	static const struct timeval deadline = { .tv_sec = DEADLINE_S };
	struct client *cl = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len;

	TAILQ_REMOVE(&cl->rpc->clients, cl, link);
	TAILQ_INSERT_TAIL(&cl->rpc->clients, cl, link);
	while (!cl->closing) {
		if (waiting_out(cl) > OUT_HIGH) { // goes on in on_written()
			bufferevent_disable(bev, EV_READ);
			return;
		}
		enum card_frame_result r = next_message(cl, in, &len);

		if (r == CARD_FRAME_BAD) {
			refuse(cl, CARD_RPC_PARSE, "a message begins with { or [");
			return;
		}
		if (len > MSG_MAX) {
			cl->rpc->stats.oversize++;
			refuse(cl, CARD_RPC_REQUEST, "message longer than 1 MiB");
			return;
		}
		if (r == CARD_FRAME_MORE)
			break;
		cl->seen = 0;
		event_del(cl->deadline);
		answer(cl, in, len);
		if (cl->later) { // goes on in on_step()
			bufferevent_disable(bev, EV_READ);
			if (!step_soon(cl))
				client_destroy(cl);
			return;
		}
	}
	if (cl->frame.started && !event_pending(cl->deadline, EV_TIMEOUT, NULL))
		event_add(cl->deadline, &deadline);
	else if (cl->rpc->card->stopping && !waiting_out(cl))
		event_base_loopexit(cl->rpc->card->loop, NULL);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct client *cl = arg;

	if (cl->rpc->card->stopping)
		event_base_loopexit(cl->rpc->card->loop, NULL);
	if (cl->closing) {
		client_destroy(cl);
		return;
	}
	if (!cl->later && !(bufferevent_get_enabled(bev) & EV_READ)) {
		bufferevent_enable(bev, EV_READ);
		on_read(bev, cl);
	}
}

/* Both ways are closed. One that only says no more waits for its answers: half-closed. */
static bool is_gone(const struct client *cl)
{
	struct pollfd p = { .fd = bufferevent_getfd(cl->bev) };

	return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct client *cl = arg;
	char *text;

	(void)fd;
	(void)what;
	if (is_gone(cl)) {
		client_destroy(cl);
		return;
	}
	if (card_message_step(cl->later, &text)) {
		if (!step_soon(cl))
			client_destroy(cl);
		return;
	}
	card_message_destroy(cl->later);
	cl->later = NULL;
	send_text(cl, text);
	bufferevent_enable(cl->bev, EV_READ);
	on_read(cl->bev, cl);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *cl = arg;

	(void)bev;
	if (what & BEV_EVENT_TIMEOUT)
		cl->rpc->stats.timeouts++;
	if ((what & BEV_EVENT_EOF) && !(what & BEV_EVENT_ERROR))
		client_finish(cl); // half-closed: it may still wait for its answers
	else
		client_destroy(cl);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct client *cl = arg;

	(void)fd;
	(void)what;
	cl->rpc->stats.timeouts++;
	refuse(cl, CARD_RPC_REQUEST, "message not complete in time");
}

static int client_create(struct card_rpc *rpc, int fd)
{
	static const struct timeval drain = { .tv_sec = DRAIN_S };
	struct client *cl = dpu_calloc(1, sizeof(*cl));

	if (!cl)
		return -ENOMEM;
	cl->rpc = rpc;
	cl->bev = bufferevent_socket_new(rpc->card->loop, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!cl->bev)
		goto err_client;
	cl->deadline = evtimer_new(rpc->card->loop, on_deadline, cl);
	cl->step = evtimer_new(rpc->card->loop, on_step, cl);
	if (!cl->deadline || !cl->step)
		goto err_bev;
	bufferevent_setcb(cl->bev, on_read, on_written, on_event, cl);
	bufferevent_setwatermark(cl->bev, EV_READ, 0, MSG_MAX + 1);
	bufferevent_set_timeouts(cl->bev, NULL, &drain);
	TAILQ_INSERT_TAIL(&rpc->clients, cl, link);
	rpc->n_clients++;
	rpc->stats.accepted++;
	bufferevent_enable(cl->bev, EV_READ | EV_WRITE);
	return 0;

err_bev:
	if (cl->deadline)
		event_free(cl->deadline);
	if (cl->step)
		event_free(cl->step);
	bufferevent_free(cl->bev); // closes fd
	free(cl);
	return -ECANCELED;
err_client:
	free(cl);
	return -ENOMEM;
}

/* ---- the door ---- */

/* Make room by closing the client that has been silent longest and waits for nothing. */
static bool evict(struct card_rpc *rpc)
{
	struct client *cl;

	TAILQ_FOREACH (cl, &rpc->clients, link) {
		if (!waiting_out(cl) && !cl->later) {
			rpc->stats.evicted++;
			client_destroy(cl);
			return true;
		}
	}
	return false;
}

/* Out of descriptors or memory: the client that waits must not spin this thread. */
static void back_off(struct card_rpc *rpc)
{
	static const struct timeval delay = { .tv_usec = RETRY_MS * 1000 };

	rpc->stats.accept_failed++;
	dpu_warn_ratelimited("rpc: cannot take a client", "err=%s", strerror(errno));
	if (!event_add(rpc->retry, &delay))
		event_del(rpc->accept);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct card_rpc *rpc = arg;

	(void)fd;
	(void)what;
	event_add(rpc->accept, NULL);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct card_rpc *rpc = arg;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			back_off(rpc);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ||
		(peer.uid != geteuid() && peer.uid != 0)) {
		rpc->stats.refused_uid++;
		dpu_warn_ratelimited("rpc: refused a client", "uid=%u", (unsigned)peer.uid);
		close(fd);
		return;
	}
	/* The last place is root's; beyond it somebody has to go. */
	if (rpc->n_clients >= CLIENTS_MAX - (peer.uid != 0) && !evict(rpc)) {
		rpc->stats.refused_full++;
		close(fd);
		return;
	}
	if (client_create(rpc, fd) == -ENOMEM)
		close(fd);
}

/*
 * A socket file that nobody answers on is left over from a dead process; anything else is not ours
 * to remove. 0: the path is free.
 */
static int clear_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, ret = 0;

	if (lstat(sa->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) || errno == EAGAIN)
		ret = -EADDRINUSE;
	else if (errno != ECONNREFUSED || unlink(sa->sun_path))
		ret = -errno;
	close(fd);
	return ret;
}

static int open_socket(struct card_rpc *rpc)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int ret;

	memcpy(sa.sun_path, rpc->path, sizeof(sa.sun_path));
	ret = clear_stale(&sa);
	if (ret)
		return ret;
	rpc->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (rpc->fd < 0)
		return -errno;
	/* The mode of the socket is that of the file from its first moment on. */
	if (fchmod(rpc->fd, 0600) || bind(rpc->fd, (struct sockaddr *)&sa, sizeof(sa)) ||
		lstat(rpc->path, &st) || listen(rpc->fd, BACKLOG)) {
		ret = -errno;
		close(rpc->fd);
		return ret;
	}
	rpc->dev = st.st_dev;
	rpc->ino = st.st_ino;
	return 0;
}

int card_rpc_start(struct card *c)
{
	struct card_rpc *rpc;
	int ret;

	if (strlen(c->opt.rpc_socket) >= sizeof(rpc->path)) {
		dpu_err("rpc: socket path too long", "path=%s", c->opt.rpc_socket);
		return -ENAMETOOLONG;
	}
	rpc = dpu_calloc(1, sizeof(*rpc));
	if (!rpc)
		return -ENOMEM;
	rpc->card = c;
	snprintf(rpc->path, sizeof(rpc->path), "%s", c->opt.rpc_socket);
	TAILQ_INIT(&rpc->clients);
	signal(SIGPIPE, SIG_IGN); // a client may leave in the middle of its answer
	ret = open_socket(rpc);
	if (ret) {
		dpu_err("rpc: cannot listen", "path=%s err=%s", rpc->path, strerror(-ret));
		goto err_rpc;
	}
	rpc->accept = event_new(c->loop, rpc->fd, EV_READ | EV_PERSIST, on_accept, rpc);
	rpc->retry = evtimer_new(c->loop, on_retry, rpc);
	if (!rpc->accept || !rpc->retry || event_add(rpc->accept, NULL)) {
		ret = -ENOMEM;
		goto err_socket;
	}
	c->rpc = rpc;
	return 0;

err_socket:
	if (rpc->accept)
		event_free(rpc->accept);
	if (rpc->retry)
		event_free(rpc->retry);
	close(rpc->fd);
	unlink(rpc->path);
err_rpc:
	free(rpc);
	return ret;
}

void card_rpc_stop(struct card *c)
{
	struct card_rpc *rpc = c->rpc;
	struct client *cl, *next;
	struct stat st;

	card_top_stop(c);
	if (!rpc)
		return;
	event_free(rpc->accept);
	event_free(rpc->retry);
	close(rpc->fd);
	if (!lstat(rpc->path, &st) && st.st_dev == rpc->dev && st.st_ino == rpc->ino)
		unlink(rpc->path);
	for (cl = TAILQ_FIRST(&rpc->clients); cl; cl = next) {
		next = TAILQ_NEXT(cl, link);
		client_destroy(cl);
	}
	c->rpc = NULL;
	free(rpc);
}
