/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines of the form "LEVEL area: message key=value ...", to stderr, one write each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum dpu_log_level { DPU_LOG_ERR, DPU_LOG_WARN, DPU_LOG_INFO, DPU_LOG_DEBUG };

/* Lines above `level` are not written. Any thread. The default is DPU_LOG_INFO. */
void dpu_log_level_set(enum dpu_log_level level);
enum dpu_log_level dpu_log_level(void);

/*
 * Level from its name ("err", "warn", "info", "debug").
 * Returns 0, or -EINVAL with *out untouched.
 */
int dpu_log_level_parse(const char *name, enum dpu_log_level *out);

/*
 * Write one line. Control characters that came in through an argument are written as \xNN, so that
 * no foreign string can forge a line or move a terminal. Any thread; not from a worker's turn.
 */
void dpu_log(enum dpu_log_level level, const char *msg, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* At most `burst` lines a second from one place; the next line tells how many were held back. */
struct dpu_ratelimit {
	uint64_t window_ns; // start of the current second
	uint32_t sent;
	uint32_t held;
};

/* True when a line may be written now. Control thread only. */
bool dpu_ratelimit_pass(struct dpu_ratelimit *rl, uint32_t burst);

#define dpu_err(msg, ...) dpu_log(DPU_LOG_ERR, msg, __VA_ARGS__)
#define dpu_warn(msg, ...) dpu_log(DPU_LOG_WARN, msg, __VA_ARGS__)
#define dpu_info(msg, ...) dpu_log(DPU_LOG_INFO, msg, __VA_ARGS__)
#define dpu_debug(msg, ...) dpu_log(DPU_LOG_DEBUG, msg, __VA_ARGS__)

/*
 * For what a guest or a peer can trigger: counted by the caller first, logged ten times a second.
 */
#define dpu_warn_ratelimited(msg, ...)                           \
	do {                                                     \
		static struct dpu_ratelimit rl_;                 \
		if (dpu_ratelimit_pass(&rl_, 10))                \
			dpu_log(DPU_LOG_WARN, msg, __VA_ARGS__); \
	} while (0)
