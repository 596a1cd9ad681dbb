// SPDX-License-Identifier: Apache-2.0
/* "cardctl vm console": what the guest prints comes out, what is typed goes in, in short calls. */
#include "cardctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "hex.h"

#define LEAVE 0x1d // Ctrl-]
#define PART 256 // bytes of input at a time
#define BUSY_MS 20
#define IDLE_MS 200
#define AGAIN_MS 50 // when the guest took nothing

struct console {
	cardctl_call_fn *call;
	const char *path, *name; // borrowed
	uint8_t in[PART];
	size_t n;
	bool eof; // of our input
	json_int_t offset;
};

/* What ends us while the terminal is raw; it has its modes back before that. */
static const int ends[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
static volatile sig_atomic_t ended_by;

static void on_signal(int number)
{
	ended_by = number;
}

static void take_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		(void)sigaction(ends[i], &sa, NULL);
}

/* Up to what are no digits: a card writes none. */
static void put_hex(const char *hex)
{
	for (int byte; hex && (byte = card_hex_byte(hex)) >= 0; hex += 2)
		putchar(byte);
	fflush(stdout);
}

/* One call: bytes of output that came, or a negative exit status. */
static int exchange(struct console *s)
{
	char hex[2 * PART + 1];
	json_t *params, *answer = NULL;
	const json_t *result, *error;
	json_int_t typed;
	int ret;

	card_hex_text(s->in, s->n, hex);
	params = json_pack("{s:s, s:I, s:s}", "name", s->name, "offset", s->offset, "input", hex);
	ret = params ? s->call(s->path, "vm_console", params, &answer) : -ENOMEM;
	json_decref(params);
	if (ret) {
		if (!ended_by)
			fprintf(stderr, "cardctl: %s: %s\n", s->path, strerror(-ret));
		return -1;
	}
	error = json_object_get(answer, "error");
	if (error) {
		fprintf(stderr, "cardctl: vm_console: %s\n",
			json_string_value(json_object_get(error, "message")));
		json_decref(answer);
		return -1;
	}
	result = json_object_get(answer, "result");
	put_hex(json_string_value(json_object_get(result, "output")));
	typed = json_integer_value(json_object_get(result, "typed"));
	if (typed < 0 || (size_t)typed > s->n)
		typed = (json_int_t)s->n;
	memmove(s->in, s->in + typed, s->n - (size_t)typed);
	s->n -= (size_t)typed;
	ret = (int)(json_integer_value(json_object_get(result, "next_offset")) -
		    json_integer_value(json_object_get(result, "offset")));
	s->offset = json_integer_value(json_object_get(result, "next_offset"));
	json_decref(answer);
	return ret;
}

/* Wait for input, so long at most. False: the operator leaves. */
static bool read_input(struct console *s, int wait_ms, bool tty)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	if (s->n || s->eof) {
		poll(NULL, 0, s->n ? AGAIN_MS : wait_ms);
		return true;
	}
	if (poll(&p, 1, wait_ms) < 1)
		return true;
	n = read(STDIN_FILENO, s->in, sizeof(s->in));
	s->eof = n <= 0;
	s->n = n > 0 ? (size_t)n : 0;
	return !(tty && (s->eof || memchr(s->in, LEAVE, s->n)));
}

static int run(struct console *s, bool tty)
{
	int got = exchange(s);

	while (got >= 0 && !ended_by) {
		// What is piped in ends it, once the guest has it and what there is was shown.
		if (!tty && s->eof && !s->n && got == 0)
			return 0;
		if (!read_input(s, got ? BUSY_MS : tty ? IDLE_MS : -1, tty))
			return 0;
		got = exchange(s);
	}
	return 1;
}

int cardctl_console(const char *path, const char *name, cardctl_call_fn *call)
{
	struct console s = { .call = call, .path = path, .name = name };
	bool tty = isatty(STDIN_FILENO);
	struct termios before, raw;
	int ret;

	if (tty && tcgetattr(STDIN_FILENO, &before) == 0) {
		raw = before;
		cfmakeraw(&raw);
		fprintf(stderr, "Attached to %s. Ctrl-] leaves.\n", name);
		take_signals();
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		ret = run(&s, tty);
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
		fputc('\n', stderr);
		if (ended_by) {
			(void)signal(ended_by, SIG_DFL);
			(void)raise(ended_by);
		}
		return ret;
	}
	return run(&s, false);
}
