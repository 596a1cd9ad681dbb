// SPDX-License-Identifier: Apache-2.0
/*
 * The counters as OpenMetrics text on a loopback HTTP port. Made from the same JSON value as
 * stats_get, so the two cannot disagree: number -> counter, "now" -> gauges, other object ->
 * counter by reason, array -> parts; "name", "queue", "pair" and "worker" become labels.
 *
 * Every local user may connect, and TCP has no credentials to ask for. So what one may take is
 * little: a connection carries one request and lasts DEADLINE_S at most, and when the house is full
 * the oldest makes room.
 *
 * Spec: OpenMetrics 1.0.
 */
#include "metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "metrics_text.h"
#include "rpc.h"

#define HEADERS_MAX 8192
#define BODY_MAX 1024
#define IDLE_S 5 // without a byte either way
#define DEADLINE_S 10 // in all
#define BACKLOG 32
/* How soon to look again: what a flood of connections costs is bounded by the first. */
#define SWEEP_FULL_MS 10
#define SWEEP_BUSY_MS 100
#define SWEEP_IDLE_MS 1000

struct conn {
	struct bufferevent *bev; // owned: one reference beside evhttp's
	uint64_t since_ns;
	bool cut; // shut down; evhttp has not looked yet
	TAILQ_ENTRY(conn) link;
};

/* A page that is being made, a part at a time. */
struct page {
	TAILQ_ENTRY(page) link;
	struct card_metrics *m; // borrowed
	struct evhttp_request *req; // borrowed: evhttp waits for our answer
	struct card_stats_work *work; // owned; NULL: has been done
	struct card_metrics_page *text; // owned; NULL: has not begun
};

struct card_metrics {
	struct card *card; // borrowed: owns us
	struct event *step; // owned; pending while there are pages
	TAILQ_HEAD(pages, page) pages; // one at a time, the first
	struct evhttp *http; // owned
	struct evconnlistener *listener; // owned by http
	struct event *sweep; // owned; always pending
	TAILQ_HEAD(, conn) conns; // oldest first
	struct card_metrics_stats stats;
};

void card_metrics_stats(const struct card *c, struct card_metrics_stats *out)
{
	*out = c->metrics ? c->metrics->stats : (struct card_metrics_stats){ 0 };
}

/* ---- connections ---- */

/* evhttp has closed it: it takes its callbacks back before it lets go. */
static bool is_over(const struct conn *cn)
{
	void *arg;

	bufferevent_getcb(cn->bev, NULL, NULL, NULL, &arg);
	return !arg;
}

static void conn_free(struct card_metrics *m, struct conn *cn)
{
	TAILQ_REMOVE(&m->conns, cn, link);
	m->stats.open--;
	bufferevent_decref(cn->bev);
	free(cn);
}

/* evhttp sees the end of the connection and closes it. */
static void cut(struct conn *cn)
{
	cn->cut = true;
	shutdown(bufferevent_getfd(cn->bev), SHUT_RDWR);
}

static void sweep_in(struct card_metrics *m, unsigned ms)
{
	const struct timeval delay = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L };

	event_add(m->sweep, &delay);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct card_metrics *m = arg;
	uint64_t now = dpu_now_ns();
	struct conn *cn, *next;

	(void)fd;
	(void)what;
	for (cn = TAILQ_FIRST(&m->conns); cn; cn = next) {
		next = TAILQ_NEXT(cn, link);
		if (is_over(cn)) {
			conn_free(m, cn);
		} else if (!cn->cut && now - cn->since_ns > DEADLINE_S * 1000000000ull) {
			m->stats.cut_late++;
			cut(cn);
		}
	}
	if (m->stats.open < CARD_METRICS_CONNS_MAX)
		evconnlistener_enable(m->listener);
	sweep_in(m, m->stats.open ? SWEEP_BUSY_MS : SWEEP_IDLE_MS);
}

/* No more until the oldest connection has gone. */
static void shut_the_door(struct card_metrics *m)
{
	struct conn *cn = TAILQ_FIRST(&m->conns);

	evconnlistener_disable(m->listener);
	sweep_in(m, SWEEP_FULL_MS);
	while (cn && (cn->cut || is_over(cn)))
		cn = TAILQ_NEXT(cn, link);
	if (!cn)
		return;
	m->stats.cut_full++;
	cut(cn);
}

/* A new connection's buffers. NULL (no memory): evhttp tries for itself. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
	struct card_metrics *m = arg;
	struct conn *cn = dpu_calloc(1, sizeof(*cn));

	m->stats.accepted++;
	if (!cn)
		return NULL;
	cn->bev = bufferevent_socket_new(base, -1, 0); // evhttp closes the socket
	if (!cn->bev) {
		free(cn);
		return NULL;
	}
	bufferevent_incref(cn->bev);
	cn->since_ns = dpu_now_ns();
	TAILQ_INSERT_TAIL(&m->conns, cn, link);
	if (++m->stats.open == CARD_METRICS_CONNS_MAX)
		shut_the_door(m);
	else if (m->stats.open == 1)
		sweep_in(m, SWEEP_BUSY_MS);
	return cn->bev;
}

/*
 * Out of descriptors or memory: the client that waits must not spin this thread. The next sweep
 * opens the door again. arg is evhttp's.
 */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	(void)arg;
	dpu_warn_ratelimited("metrics: cannot take a client", "err=%s", strerror(errno));
	evconnlistener_disable(listener);
}

/* ---- requests ---- */

static void free_text(const void *text, size_t len, void *arg)
{
	(void)text;
	(void)len;
	free(arg);
}

/* Takes the text; NULL: there was no memory. */
static void reply(struct card_metrics *m, struct evhttp_request *req, char *text, size_t len)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct evbuffer *body = text ? evbuffer_new() : NULL;

	if (!body || evbuffer_add_reference(body, text, len, free_text, text)) {
		free(text);
		if (body)
			evbuffer_free(body);
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	evhttp_add_header(headers, "Content-Type",
		"application/openmetrics-text; version=1.0.0; charset=utf-8");
	evhttp_add_header(headers, "Connection", "close");
	evhttp_send_reply(req, HTTP_OK, "OK", body);
	evbuffer_free(body);
	m->stats.requests++;
}

static void page_free(struct page *p)
{
	char *text;
	size_t len;

	TAILQ_REMOVE(&p->m->pages, p, link);
	card_stats_end(p->work);
	text = p->text ? card_metrics_page_end(p->text, &len) : NULL;
	free(text);
	free(p);
}

/* CARD_RPC_LATER; 0: the text is all there, and -errno: it will not be. */
static int page_step(struct page *p, uint64_t until_ns)
{
	const char *name = p->m->card->opt.name;
	json_t *stats;
	int ret;

	if (p->work) {
		ret = card_stats_step(p->work, until_ns, &stats);
		if (ret)
			return ret;
		card_stats_end(p->work);
		p->work = NULL;
		ret = card_metrics_page_begin(name ? name : "", stats, &p->text);
		if (ret)
			return ret;
	}
	return card_metrics_page_step(p->text, until_ns) ? CARD_RPC_LATER : 0;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0 };
	struct card_metrics *m = arg;
	struct page *p = TAILQ_FIRST(&m->pages);
	struct evhttp_request *req = p->req;
	char *text = NULL;
	size_t len = 0;
	int ret = page_step(p, dpu_now_ns() + CARD_SLICE_NS);

	(void)fd;
	(void)what;
	if (ret != CARD_RPC_LATER) {
		if (!ret)
			text = card_metrics_page_end(p->text, &len);
		if (!ret)
			p->text = NULL;
		page_free(p);
		reply(m, req, text, len);
	}
	if (!TAILQ_EMPTY(&m->pages))
		event_add(m->step, &now);
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
	static const struct timeval now = { 0 };
	struct card_metrics *m = arg;
	struct page *p;

	if (evhttp_request_get_command(req) != EVHTTP_REQ_GET) {
		evhttp_send_error(req, HTTP_BADMETHOD, NULL);
		return;
	}
	p = dpu_calloc(1, sizeof(*p));
	if (!p || card_stats_begin(m->card, NULL, NULL, &p->work)) {
		free(p);
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	p->m = m;
	p->req = req;
	TAILQ_INSERT_TAIL(&m->pages, p, link);
	event_add(m->step, &now);
}

static void on_other(struct evhttp_request *req, void *arg)
{
	(void)arg;
	evhttp_send_error(req, HTTP_NOTFOUND, NULL);
}

/* ---- life ---- */

static int http_init(struct card_metrics *m)
{
	m->http = evhttp_new(m->card->loop);
	m->sweep = evtimer_new(m->card->loop, on_sweep, m);
	m->step = evtimer_new(m->card->loop, on_step, m);
	if (!m->http || !m->sweep || !m->step)
		return -ENOMEM;
	evhttp_set_max_headers_size(m->http, HEADERS_MAX);
	evhttp_set_max_body_size(m->http, BODY_MAX);
	evhttp_set_timeout(m->http, IDLE_S);
	evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET);
	evhttp_set_gencb(m->http, on_other, NULL);
	evhttp_set_bevcb(m->http, on_connection, m);
	return evhttp_set_cb(m->http, "/metrics", on_metrics, m) ? -ENOMEM : 0;
}

static int listen_on(struct card_metrics *m, uint16_t port)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	errno = 0;
	m->listener = evconnlistener_new_bind(m->card->loop, NULL, NULL,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
		(struct sockaddr *)&sa, sizeof(sa));
	if (!m->listener)
		return errno ? -errno : -ENOMEM;
	if (!evhttp_bind_listener(m->http, m->listener)) {
		evconnlistener_free(m->listener);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(m->listener, on_accept_error);
	sweep_in(m, SWEEP_IDLE_MS);
	return 0;
}

static void metrics_free(struct card_metrics *m)
{
	struct conn *cn, *next;
	struct page *p, *more;

	for (p = TAILQ_FIRST(&m->pages); p; p = more) {
		more = TAILQ_NEXT(p, link);
		page_free(p);
	}
	if (m->step)
		event_free(m->step);
	if (m->http)
		evhttp_free(m->http);
	for (cn = TAILQ_FIRST(&m->conns); cn; cn = next) {
		next = TAILQ_NEXT(cn, link);
		conn_free(m, cn);
	}
	if (m->sweep)
		event_free(m->sweep);
	free(m);
}

int card_metrics_start(struct card *c)
{
	struct card_metrics *m;
	int ret;

	if (!c->opt.metrics_port)
		return 0;
	m = dpu_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->card = c;
	TAILQ_INIT(&m->conns);
	TAILQ_INIT(&m->pages);
	ret = http_init(m);
	if (!ret)
		ret = listen_on(m, (uint16_t)c->opt.metrics_port);
	if (ret) {
		dpu_err("metrics: cannot listen", "port=%u err=%s", (unsigned)c->opt.metrics_port,
			strerror(-ret));
		metrics_free(m);
		return ret;
	}
	c->metrics = m;
	return 0;
}

void card_metrics_stop(struct card *c)
{
	if (!c->metrics)
		return;
	metrics_free(c->metrics);
	c->metrics = NULL;
}
