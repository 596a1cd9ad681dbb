// SPDX-License-Identifier: Apache-2.0
/*
 * A target alone, for hosts of other makes: one subsystem with a volume of 64 MiB (nsid 1), in
 * memory or in a file that outlives it, a null volume (nsid 2) and two listeners.
 *
 * tgt_serve ADDR PORT PORT [FILE]: until its input ends. Lines of input: "ana PORT STATE",
 * "resize MIB", "add NSID", "del NSID", "stats".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group.h"
#include "nof_tgt.h"
#include "volume.h"

#define NQN "nqn.2026-11.test:serve"
#define MIB (1ULL << 20)
#define SPIN 20000U
#define PATIENCE_MS 2000U

struct serve {
	struct nof_group *control, *worker;
	struct nof_tgt *t;
	struct vol *ram, *null;
	const char *addr, *file; // file NULL: in memory
};

static int call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	(void)env;
	(void)idx;
	return fn(arg);
}

static void must(int ret, const char *what)
{
	if (ret == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	exit(1);
}

static int open_first(struct serve *s)
{
	const struct vol_file_conf file = {
		.name = "file", .path = s->file, .block_size = 512, .create_size = 64 * MIB
	};

	// The last one of us was killed: what it had under way holds the file a little longer.
	for (unsigned i = 0; s->file; i++) {
		int ret = vol_file_open(&file, &s->ram);

		if (ret != -EBUSY || i == PATIENCE_MS)
			return ret;
		fprintf(stderr, "waiting for the file\n");
		usleep(1000);
	}
	return vol_ram_open(&(struct vol_ram_conf){ "ram", 64 * MIB, 512, false }, &s->ram);
}

static void make(struct serve *s, char *const ports[2])
{
	const struct nof_group_conf gc = { 0 };
	const struct nof_tgt_subsys_conf sc = { .nqn = NQN, .allow_any_host = true, .ana = true };
	struct nof_tgt_conf conf = { .n_workers = 1, .call = call };

	must(nof_group_create(&gc, &s->control), "group");
	must(nof_group_create(&gc, &s->worker), "group");
	conf.control = s->control;
	conf.workers = &s->worker;
	must(nof_tgt_create(&conf, &s->t), "target");
	must(open_first(s), "volume");
	must(vol_null_open(&(struct vol_null_conf){ "null", 64 * MIB, 4096 }, &s->null), "null");
	must(nof_tgt_subsys_add(s->t, &sc), "subsystem");
	must(nof_tgt_ns_add(s->t, NQN, &(struct nof_tgt_ns_conf){ .vol = s->ram }, NULL), "ns");
	must(nof_tgt_ns_add(
		     s->t, NQN, &(struct nof_tgt_ns_conf){ .vol = s->null, .anagrpid = 2 }, NULL),
		"ns");
	for (unsigned i = 0; i < 2; i++)
		must(nof_tgt_listener_add(s->t, NQN, &(struct nof_tgt_addr){ s->addr, ports[i] }),
			"listener");
}

static void print_stats(struct serve *s)
{
	struct nof_tgt_stats st;

	nof_tgt_stats(s->t, &st);
	printf("conns=%lu ctrls=%lu reads=%lu writes=%lu others=%lu waits=%lu",
		(unsigned long)st.conns, (unsigned long)st.ctrls, (unsigned long)st.reads,
		(unsigned long)st.writes, (unsigned long)st.others, (unsigned long)st.waits);
#define X(name, help) printf(" " #name "=%lu", (unsigned long)st.name);
	NOF_TGT_REASONS(X)
#undef X
	printf("\n");
}

static void command(struct serve *s, const char *line)
{
	char port[8];
	unsigned n;
	int ret = 0;

	if (sscanf(line, "ana %7s %u", port, &n) == 2)
		ret = nof_tgt_ana_set(
			s->t, NQN, &(struct nof_tgt_addr){ s->addr, port }, 0, (enum nof_tgt_ana)n);
	else if (sscanf(line, "resize %u", &n) == 1) {
		ret = vol_resize(s->ram, n * MIB);
		nof_tgt_vol_resized(s->t, s->ram);
	} else if (sscanf(line, "add %u", &n) == 1)
		ret = nof_tgt_ns_add(
			s->t, NQN, &(struct nof_tgt_ns_conf){ .vol = s->null, .nsid = n }, NULL);
	else if (sscanf(line, "del %u", &n) == 1)
		ret = nof_tgt_ns_del(s->t, NQN, n);
	else
		print_stats(s);
	printf("%d\n", ret);
	fflush(stdout);
}

/* False: the input has ended. */
static bool input(struct serve *s, char *buf, size_t size, size_t *len)
{
	ssize_t n = read(0, buf + *len, size - 1 - *len);
	char *end;

	if (n == 0)
		return false;
	if (n < 0)
		return true;
	*len += (size_t)n;
	buf[*len] = '\0';
	while ((end = strchr(buf, '\n')) != NULL) {
		*end = '\0';
		command(s, buf);
		*len -= (size_t)(end + 1 - buf);
		memmove(buf, end + 1, *len + 1);
	}
	return *len < size - 1;
}

int main(int argc, char **argv)
{
	struct serve s = { .addr = argc > 1 ? argv[1] : NULL };
	char buf[256];
	size_t len = 0;
	unsigned empty = 0;

	if (argc != 4 && argc != 5) {
		fprintf(stderr, "Usage: tgt_serve ADDR PORT PORT [FILE]\n");
		return 2;
	}
	s.file = argv[4];
	make(&s, argv + 2);
	printf("ready\n");
	fflush(stdout);
	(void)fcntl(0, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p[] = { { 0, POLLIN, 0 }, { nof_group_fd(s.control), POLLIN, 0 },
			{ nof_group_fd(s.worker), POLLIN, 0 } };

		empty = nof_group_poll(s.control) + nof_group_poll(s.worker) ? 0 : empty + 1;
		if (empty % 256 == 255 && !input(&s, buf, sizeof(buf), &len))
			break;
		if (empty > SPIN && nof_group_arm(s.control) && nof_group_arm(s.worker))
			(void)poll(p, 3, 1);
	}
	nof_tgt_destroy(s.t);
	vol_close(s.ram);
	vol_close(s.null);
	nof_group_destroy(s.control);
	nof_group_destroy(s.worker);
	return 0;
}
