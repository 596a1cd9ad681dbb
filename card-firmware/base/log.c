// SPDX-License-Identifier: Apache-2.0
/* Writes log lines: escape, format, one write(2) each. */
#include "dpu_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "dpu_clock.h"

static const char *const level_names[] = { "err", "warn", "info", "debug" };
static _Atomic int threshold = DPU_LOG_INFO;

void dpu_log_level_set(enum dpu_log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum dpu_log_level dpu_log_level(void)
{
	return (enum dpu_log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

int dpu_log_level_parse(const char *name, enum dpu_log_level *out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcasecmp(name, level_names[i]) == 0) {
			*out = (enum dpu_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Copy `in` to `out` with control and non-ASCII bytes as \xNN; returns the length written. */
static size_t escape(const char *in, size_t in_len, char *out, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < in_len && size - n > 4; i++) {
		unsigned char c = (unsigned char)in[i];

		if (c >= 0x20 && c < 0x7f) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return n;
}

void dpu_log(enum dpu_log_level level, const char *msg, const char *fmt, ...)
{
	char args[768], line[4096];
	va_list ap;
	size_t n;
	int len;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	len = vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	if (len < 0)
		len = 0;
	if ((size_t)len >= sizeof(args))
		len = sizeof(args) - 1;

	n = (size_t)snprintf(
		line, sizeof(line), "%-5s %.200s%s", level_names[level], msg, len > 0 ? " " : "");
	n += escape(args, (size_t)len, line + n, sizeof(line) - n - 1);
	line[n++] = '\n';
	// A log that cannot be written must not stop the daemon.
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

bool dpu_ratelimit_pass(struct dpu_ratelimit *rl, uint32_t burst)
{
	uint64_t now = dpu_now_ns();

	if (rl->window_ns == 0 || now - rl->window_ns >= 1000000000ull) {
		if (rl->held)
			dpu_log(DPU_LOG_WARN, "log: lines held back", "n=%u", rl->held);
		*rl = (struct dpu_ratelimit){ .window_ns = now ? now : 1 };
	}
	if (rl->sent >= burst) {
		rl->held++;
		return false;
	}
	rl->sent++;
	return true;
}
