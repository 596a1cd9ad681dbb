// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: bytes on the control socket. Where a message ends must not depend on how the bytes
 * arrive; each answer is JSON, and none comes after the input that ends a session.
 *
 * Input: where the bytes are cut, then the bytes.
 */
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_log.h"
#include "fake_calls.h"

#define ENDS_MAX 256
#define ANSWERS_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct card card;
static char path[64];

static void stop(void)
{
	card_rpc_stop(&card);
	event_base_free(card.loop);
	fake_calls_reset();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	dpu_log_level_set(DPU_LOG_ERR);
	snprintf(path, sizeof(path), "/tmp/fuzz-rpc-%d", (int)getpid());
	card.opt.rpc_socket = path;
	card.loop = event_base_new();
	if (!card.loop || card_rpc_start(&card))
		abort();
	return atexit(stop);
}

/* Where messages end when the bytes come `step` at a time. How many; the last may be BAD. */
static unsigned ends(const char *bytes, size_t len, size_t step, size_t at[ENDS_MAX])
{
	struct card_frame f = { 0 };
	unsigned n = 0;

	for (size_t i = 0; i < len && n < ENDS_MAX;) {
		size_t part = len - i < step ? len - i : step, used;
		enum card_frame_result r = card_frame_scan(&f, bytes + i, part, &used);

		if (used > part || (r == CARD_FRAME_MORE && used != part))
			abort();
		i += used;
		if (r != CARD_FRAME_MORE)
			at[n++] = i * 2 + (r == CARD_FRAME_BAD);
		if (r == CARD_FRAME_BAD)
			break;
	}
	return n;
}

/*
 * What the parser takes for a value ends where the frame ended. A NUL makes Jansson's count wrong:
 * after a number it is lost.
 */
static void agrees_with_parser(const char *bytes, size_t len, const size_t *at, unsigned n)
{
	size_t from = 0;

	if (memchr(bytes, 0, len))
		return;
	for (unsigned i = 0; i <= n && (i == n || at[i] % 2 == 0); i++) {
		json_error_t e;
		json_t *v;

		while (from < len && strchr(" \t\r\n", bytes[from]))
			from++;
		v = json_loadb(bytes + from, len - from, JSON_DISABLE_EOF_CHECK, &e);
		if (v && (i == n ? n < ENDS_MAX : from + (size_t)e.position != at[i] / 2))
			abort();
		json_decref(v);
		from = i < n ? at[i] / 2 : len;
	}
}

static void turn(void)
{
	for (unsigned i = 0; i < 3; i++)
		event_base_loop(card.loop, EVLOOP_NONBLOCK);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		abort();
	return fd;
}

/* Every line that came back is a JSON value. */
static void answers(int fd)
{
	static char text[ANSWERS_MAX];
	size_t n = 0;
	ssize_t r;

	while (n < sizeof(text) - 1 &&
		(r = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT)) > 0) {
		n += (size_t)r;
		turn();
	}
	text[n] = '\0';
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		json_t *v = json_loadb(line, (size_t)(end - line), 0, NULL);

		if (!v)
			abort();
		json_decref(v);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *bytes = (const char *)data + 1;
	size_t a[ENDS_MAX], b[ENDS_MAX], cut;
	unsigned n;
	int fd;

	if (len < 2)
		return 0;
	len--;
	n = ends(bytes, len, len, a);
	if (ends(bytes, len, 1, b) != n || ends(bytes, len, data[0] % 16 + 1, b) != n ||
		memcmp(a, b, n * sizeof(a[0])) != 0)
		abort();
	agrees_with_parser(bytes, len, a, n);
	fd = dial();
	cut = data[0] * len / 256;
	if (send(fd, bytes, cut, MSG_NOSIGNAL) < 0)
		abort();
	turn();
	(void)send(fd, bytes + cut, len - cut, MSG_NOSIGNAL); // the session may be over by now
	turn();
	shutdown(fd, SHUT_WR);
	turn();
	answers(fd);
	close(fd);
	turn();
	return 0;
}
