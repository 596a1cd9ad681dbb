// SPDX-License-Identifier: Apache-2.0
/*
 * The counters as OpenMetrics text on a loopback HTTP port. Made from the same JSON value as
 * stats_get, so the two cannot disagree: number -> counter, "now" -> gauges, other object ->
 * counter by reason, array -> parts; "name", "queue", "pair" and "worker" become labels.
 *
 * Spec: OpenMetrics 1.0.
 */
#include "card.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "metrics_text.h"
#include "rpc.h"

#define HEADERS_MAX 8192
#define BODY_MAX 1024
#define TIMEOUT_S 5

struct card_metrics {
	struct evhttp *http; // owned
};

static void on_metrics(struct evhttp_request *req, void *arg)
{
	struct card *c = arg;
	struct evbuffer *body;
	json_t *stats;
	char *text;

	if (evhttp_request_get_command(req) != EVHTTP_REQ_GET) {
		evhttp_send_error(req, HTTP_BADMETHOD, NULL);
		return;
	}
	stats = card_stats_json(c, NULL, NULL);
	text = stats ? card_metrics_text(c->opt.name ? c->opt.name : "", stats) : NULL;
	json_decref(stats);
	body = text ? evbuffer_new() : NULL;
	if (!body) {
		free(text);
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	evbuffer_add(body, text, strlen(text));
	free(text);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
		"application/openmetrics-text; version=1.0.0; charset=utf-8");
	evhttp_send_reply(req, HTTP_OK, "OK", body);
	evbuffer_free(body);
}

static void on_other(struct evhttp_request *req, void *arg)
{
	(void)arg;
	evhttp_send_error(req, HTTP_NOTFOUND, NULL);
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
	m->http = evhttp_new(c->loop);
	if (!m->http) {
		ret = -ENOMEM;
		goto err_metrics;
	}
	evhttp_set_max_headers_size(m->http, HEADERS_MAX);
	evhttp_set_max_body_size(m->http, BODY_MAX);
	evhttp_set_timeout(m->http, TIMEOUT_S);
	evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET);
	evhttp_set_gencb(m->http, on_other, NULL);
	if (evhttp_set_cb(m->http, "/metrics", on_metrics, c)) {
		ret = -ENOMEM;
		goto err_http;
	}
	if (evhttp_bind_socket(m->http, "127.0.0.1", (uint16_t)c->opt.metrics_port)) {
		ret = errno ? -errno : -EADDRINUSE;
		dpu_err("metrics: cannot listen", "port=%u err=%s", (unsigned)c->opt.metrics_port,
			strerror(-ret));
		goto err_http;
	}
	c->metrics = m;
	return 0;

err_http:
	evhttp_free(m->http);
err_metrics:
	free(m);
	return ret;
}

void card_metrics_stop(struct card *c)
{
	if (!c->metrics)
		return;
	evhttp_free(c->metrics->http);
	free(c->metrics);
	c->metrics = NULL;
}
