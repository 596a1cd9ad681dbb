// SPDX-License-Identifier: Apache-2.0
/* What a supervised card hears from its supervisor, and tells it. */
#include "standby.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "card.h"
#include "dpu_alloc.h"
#include "dpu_log.h"
#include "keeper.h"
#include "supervise.h"

struct card_standby {
	struct card *card; // borrowed: owns us
	int fd; // owned
	struct event *readable; // owned
	bool waiting, spare;
};

static void tell(struct card_standby *s, enum card_note n)
{
	const char byte = (char)n;

	if (send(s->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		dpu_warn("standby: the supervisor does not hear us", "err=%d", errno);
}

static void on_note(struct card_standby *s, char n)
{
	switch (n) {
	case CARD_NOTE_GO:
		if (s->waiting)
			event_base_loopbreak(s->card->loop);
		s->waiting = false;
		break;
	case CARD_NOTE_SPARE:
	case CARD_NOTE_ALONE:
		s->spare = n == CARD_NOTE_SPARE;
		break;
	default:
		dpu_warn("standby: unknown note", "note=%d", n);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct card_standby *s = arg;
	char buf[16];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)what;
	for (ssize_t i = 0; i < n; i++)
		on_note(s, buf[i]);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	// Nobody would watch over two cards on the same sockets: end in order.
	dpu_err("standby: the supervisor is gone", "err=%d", n < 0 ? errno : 0);
	event_del(s->readable);
	s->card->stopping = true;
	event_base_loopbreak(s->card->loop);
}

int card_standby_start(struct card *c)
{
	struct card_standby *s;
	int ret;

	if (!c->opt.standby_fd)
		return 0;
	s = dpu_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->card = c;
	s->fd = (int)c->opt.standby_fd;
	s->waiting = true;
	c->standby = s;
	s->readable = event_new(c->loop, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	if (!s->readable || event_add(s->readable, NULL) < 0) {
		card_standby_stop(c);
		return -ENOMEM;
	}
	(void)fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	ret = card_keeper_start();
	if (ret)
		dpu_warn("standby: no keeper, a crash will take longer", "err=%d", ret);
	tell(s, CARD_NOTE_WARM);
	while (s->waiting && !c->stopping)
		event_base_dispatch(c->loop);
	if (!c->stopping)
		return 0;
	card_standby_stop(c);
	return -ECANCELED;
}

void card_standby_stop(struct card *c)
{
	struct card_standby *s = c->standby;

	if (!s)
		return;
	if (s->readable)
		event_free(s->readable);
	close(s->fd);
	free(s);
	c->standby = NULL;
}

void card_standby_serving(struct card *c)
{
	if (c->standby)
		tell(c->standby, CARD_NOTE_SERVING);
}

bool card_standby_spare(const struct card *c)
{
	return c->standby && c->standby->spare;
}
