// SPDX-License-Identifier: Apache-2.0
/* Builds EAL's arguments from the options, and routes its log to ours. */
#include "eal.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "card.h"
#include "dpu_cli.h"
#include "dpu_log.h"

#define CPU_MAX 1023
#define ARGS_MAX (16 + DPU_OPT_LIST_MAX)
#define POOL_CACHE 256

static int parse_cpu(const char **at)
{
	unsigned v = 0, digits = 0;

	for (; isdigit((unsigned char)**at); (*at)++, digits++) {
		v = v * 10 + (unsigned)(**at - '0');
		if (v > CPU_MAX)
			return -EINVAL;
	}
	return digits ? (int)v : -EINVAL;
}

int card_cores_parse(const char *text, unsigned *cpu, unsigned max)
{
	unsigned n = 0;

	for (const char *at = text;; at++) {
		int first = parse_cpu(&at), last = first;

		if (*at == '-') {
			at++;
			last = parse_cpu(&at);
		}
		if (first < 0 || last < first)
			return -EINVAL;
		for (int i = first; i <= last; i++) {
			if (n == max)
				return -EINVAL;
			cpu[n++] = (unsigned)i;
		}
		if (!*at)
			return (int)n;
		if (*at != ',')
			return -EINVAL;
	}
}

/* EAL's arguments; it copies what it keeps. */
struct args {
	char *v[ARGS_MAX];
	int n;
	char lcores[8192];
	char mem[32];
};

static void append(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

/* "0@(0,1),1@0,2@1": lcore 0 floats over every CPU, each worker has its own. */
static int build_lcores(const struct card_options *opt, char *buf, size_t size)
{
	unsigned cpu[CARD_CORES_MAX], last = 0;
	cpu_set_t allowed;
	int n = 1;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	buf[0] = 0;
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &allowed))
			continue;
		append(buf, size, "%s%u", buf[0] ? "," : "0@(", i);
		last = i;
	}
	append(buf, size, ")");
	cpu[0] = last;
	if (opt->cores)
		n = card_cores_parse(opt->cores, cpu, CARD_CORES_MAX);
	if (n < 0) {
		dpu_err("eal: not a list of CPUs", "cores=%s", opt->cores);
		return n;
	}
	for (int i = 0; i < n; i++) {
		if (!CPU_ISSET(cpu[i], &allowed)) {
			dpu_err("eal: this process may not use the CPU", "cpu=%u", cpu[i]);
			return -EINVAL;
		}
		append(buf, size, ",%d@%u", i + 1, cpu[i]);
	}
	return n;
}

static void arg(struct args *a, const char *text)
{
	char *copy = strdup(text);

	if (copy && a->n < ARGS_MAX)
		a->v[a->n++] = copy;
	else
		free(copy);
} // NOLINT(clang-analyzer-unix.Malloc): args_free() frees it

static void args_free(struct args *a)
{
	while (a->n)
		free(a->v[--a->n]);
}

static void build_args(const struct card_options *opt, struct args *a)
{
	bool debug = dpu_log_level() >= DPU_LOG_DEBUG;

	arg(a, "cardd");
	arg(a, "--lcores");
	arg(a, a->lcores);
	snprintf(a->mem, sizeof(a->mem), "-m%llu", (unsigned long long)opt->mem_mib);
	arg(a, a->mem);
	if (opt->hugepages) {
		arg(a, "--in-memory");
	} else {
		arg(a, "--no-huge");
		arg(a, "--no-shconf"); // as --in-memory, which excludes --no-huge
	}
	arg(a, "--no-telemetry");
	arg(a, "--iova-mode=va");
	// An allow list that names no device: the PCI bus works, and probes only what an uplink
	// names.
	arg(a, "--allow=0000:00:00.0");
	arg(a, debug ? "--log-level=info" : "--log-level=notice");
	if (!debug) // the control thread floats, workers may share a CPU: no news
		arg(a, "--log-level=lib.eal:warning");
	for (unsigned i = 0; opt->eal && i < opt->eal->n; i++)
		arg(a, opt->eal->v[i]);
}

static enum dpu_log_level level_of(int rte_level)
{
	if (rte_level <= (int)RTE_LOG_ERR)
		return DPU_LOG_ERR;
	if (rte_level <= (int)RTE_LOG_WARNING)
		return DPU_LOG_WARN;
	return rte_level <= (int)RTE_LOG_INFO ? DPU_LOG_INFO : DPU_LOG_DEBUG;
}

/* One write is one message of rte_log(), perhaps of several lines. */
static ssize_t log_write(void *cookie, const char *buf, size_t size)
{
	enum dpu_log_level level = level_of(rte_log_cur_msg_loglevel());

	(void)cookie;
	for (size_t off = 0; off < size;) {
		const char *end = memchr(buf + off, '\n', size - off);
		size_t len = end ? (size_t)(end - buf) - off : size - off;

		if (len)
			dpu_log(level, "dpdk:", "%.*s", (int)len, buf + off);
		off += len + 1;
	}
	return (ssize_t)size;
}

static void route_log(void)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = log_write });

	if (f)
		rte_openlog_stream(f); // EAL's for the life of the process
}

/* The mark of lent packets, before a driver is given the same bit. */
static int reserve_mark(void)
{
	const struct rte_mbuf_dynflag mark = { .name = "outboard_lent" };
	int want = (int)rte_bsf64(VHO_NET_F_LENT);
	int ret = rte_mbuf_dynflag_register_bitnum(&mark, (unsigned)want);
	if (ret == want)
		return 0;
	dpu_err("eal: the mark of lent packets is taken", "bit=%d err=%d", want, rte_errno);
	return -EBUSY;
}

int card_eal_start(const struct card_options *opt)
{
	struct args a = { 0 };
	char *argv[ARGS_MAX]; // EAL moves entries about
	int n = build_lcores(opt, a.lcores, sizeof(a.lcores));
	int ret;

	if (n < 0)
		return n;
	route_log();
	build_args(opt, &a);
	memcpy(argv, a.v, sizeof(argv));
	ret = rte_eal_init(a.n, argv);
	args_free(&a);
	if (ret < 0) {
		ret = rte_errno ? -rte_errno : -EINVAL;
		dpu_err("eal: cannot start", "err=%d (%s)", ret, strerror(-ret));
		return ret;
	}
	ret = reserve_mark();
	return ret < 0 ? ret : n;
}

void card_eal_stop(void)
{
	rte_eal_cleanup();
}

int card_pool_create(const struct card_options *opt, struct rte_mempool **out)
{
	unsigned n = (unsigned)opt->mbufs;

	*out = rte_pktmbuf_pool_create("packets", n, n >= 4 * POOL_CACHE ? POOL_CACHE : 0, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!*out) {
		dpu_err("eal: no memory for the packet pool", "mbufs=%u mem_mib=%llu err=%d", n,
			(unsigned long long)opt->mem_mib, rte_errno);
		return -ENOMEM;
	}
	return 0;
}
