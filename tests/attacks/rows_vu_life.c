// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VU, sessions: messages in any order, front-ends that end at any point. */
#include "atk.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drv_hist.h"

#define REQUESTS 44 // those of the specification and one more
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- VU-21 ---- */

static int out_of_order(struct atk_env *e)
{
	struct drv_vu vu = { .inflight_fd = -1, .backend_fd = -1 };
	struct drv_msg m;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	for (unsigned i = 0; i < 3; i++) {
		vu.fd = drv_connect(atk_path(e, ATK_BLK), ATK_REPLY_MS);
		ATK_CHECK(e, vu.fd >= 0, "no connection");
		m.p.u64 = 0;
		if (i == 0)
			drv_vu_send(&vu, DRV_SET_VRING_KICK, &m, 8, 0, &fd, 1);
		m.p.state.index = 0;
		m.p.state.num = 1;
		if (i == 1)
			drv_vu_send(&vu, DRV_SET_VRING_ENABLE, &m, 8, 0, NULL, 0);
		m.p.state.index = 0;
		drv_vu_send(&vu, DRV_GET_VRING_BASE, &m, 8, 0, NULL, 0);
		drv_vu_recv(&vu, &m, ATK_REPLY_MS); // an answer or the end: both will do
		drv_vu_close(&vu);
	}
	close(fd);
	return 0;
}

static int reset_owner(struct atk_env *e)
{
	struct drv_blk_conf c = { 0 };
	struct drv_blk_io io[16];
	struct drv_blk b;
	struct drv_msg m;
	int ret = atk_blk_open(e, ATK_BLK, &c, &b);

	if (ret)
		return ret;
	for (size_t i = 0; i < COUNT(io); i++)
		if (!drv_blk_io_init(&b, &io[i], 65536, 0))
			drv_blk_submit(&b, 0, &io[i], VIRTIO_BLK_T_IN, 0, 65536);
	drv_ring_kick(&b.rings[0]);
	ret = drv_vu_call(&b.vu, DRV_RESET_OWNER, &m, 0, NULL, 0);
	drv_blk_close(&b);
	ATK_CHECK(e, ret != -ETIMEDOUT, "RESET_OWNER: no answer");
	return 0;
}

/* One random message: any id, a payload of small or random numbers, sometimes descriptors. */
static int random_message(struct drv_vu *vu, struct drv_mem *mem, int event, uint64_t *rng)
{
	uint64_t r = drv_rand(rng);
	uint32_t size = (uint32_t)(r >> 16) % 65;
	struct drv_msg m;
	int fds[2] = { r & 1 ? event : mem->r[0].fd, mem->r[1].fd };

	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = drv_rand(rng);
		uint64_t word = v & 1 ? v >> 60 : v & 2 ? mem->r[0].gpa + (v >> 44) : v;

		memcpy(m.p.raw + 8 * i, &word, 8);
	}
	if (r & 2)
		size = 8;
	return drv_vu_send(vu, (enum drv_req)(1 + (r >> 32) % REQUESTS), &m, size,
		r & 4 ? DRV_FLAG_NEED_REPLY : 0, fds, (unsigned)(r >> 48) % 3);
}

static void drain(struct drv_vu *vu)
{
	struct drv_msg m;

	while (drv_vu_recv(vu, &m, 0) == 0)
		drv_msg_close_fds(&m);
}

static int vu21(struct atk_env *e)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned left = atk_times(e, 100000);
	uint64_t rng = 21;
	int ret = out_of_order(e);

	if (!ret)
		ret = reset_owner(e);
	while (!ret && left) {
		struct drv_mem mem;
		struct drv_vu vu;

		ret = atk_vu_open(e, drv_rand(&rng) & 1 ? ATK_BLK : ATK_NET, &vu, &mem);
		if (ret)
			break;
		for (unsigned i = 0; left && i < 200; i++, left--) {
			if (random_message(&vu, &mem, event, &rng))
				break;
			drain(&vu);
		}
		left -= left > 0;
		drv_vu_close(&vu);
		drv_mem_fini(&mem);
	}
	close(event);
	return ret;
}

/* ---- VU-27 ---- */

/* Message `i` of an honest session; `steps` is how many there will be. */
static int step(struct drv_vu *vu, struct drv_ring *r, unsigned i, unsigned steps)
{
	struct drv_mem *mem = vu->mem;
	struct drv_msg m;
	int ret = 0;

	memset(&m.p, 0, sizeof(m.p.mem));
	switch (i) {
	case 0:
		ret = drv_vu_call(vu, DRV_SET_OWNER, &m, 0, NULL, 0);
		break;
	case 1:
		ret = drv_vu_call(vu, DRV_GET_FEATURES, &m, 0, NULL, 0);
		vu->offered = m.p.u64;
		break;
	case 2:
		ret = drv_vu_call(vu, DRV_GET_PROTOCOL_FEATURES, &m, 0, NULL, 0);
		vu->pf_offered = m.p.u64;
		break;
	case 3:
		ret = drv_vu_set_u64(vu, DRV_SET_PROTOCOL_FEATURES,
			vu->pf_offered & (DRV_BIT(DRV_PF_MQ) | DRV_BIT(DRV_PF_CONFIG) |
						 DRV_BIT(DRV_PF_INFLIGHT_SHMFD)));
		break;
	case 4:
		ret = drv_vu_call(vu, DRV_GET_QUEUE_NUM, &m, 0, NULL, 0);
		break;
	case 5:
		vu->features = vu->offered & (DRV_BIT(VIRTIO_F_VERSION_1) | DRV_F_PROTOCOL);
		ret = drv_vu_set_u64(vu, DRV_SET_FEATURES, vu->features);
		break;
	case 6:
		m.p.config.size = 8;
		ret = drv_vu_call(vu, DRV_GET_CONFIG, &m, 20, NULL, 0);
		break;
	case 7:
		ret = drv_vu_set_mem(vu);
		break;
	case 8:
		vu->pf = DRV_BIT(DRV_PF_INFLIGHT_SHMFD);
		ret = drv_vu_inflight(vu, 1, 64);
		vu->pf = 0;
		break;
	case 9:
		ret = drv_vu_set_state(vu, DRV_SET_VRING_NUM, 0, 64);
		break;
	case 10:
		ret = drv_vu_set_state(vu, DRV_SET_VRING_BASE, 0, 0);
		break;
	case 11:
		ret = drv_vu_set_fd(vu, DRV_SET_VRING_ERR, 0, r->err_fd);
		break;
	case 12:
		ret = drv_vu_set_fd(vu, DRV_SET_VRING_CALL, 0, r->call_fd);
		break;
	case 13:
		ret = drv_vu_ring_start(vu, 0, r);
		break;
	case 14:
		ret = drv_vu_set_state(vu, DRV_SET_VRING_ENABLE, 0, 0);
		break;
	case 15:
		ret = drv_vu_set_state(vu, DRV_SET_VRING_ENABLE, 0, 1);
		break;
	case 16: // a request that nobody waits for
		drv_ring_add(r,
			(struct drv_seg[2]){
				{ mem->r[0].gpa, 16 }, { mem->r[0].gpa + 65536, 513 } },
			1, 1, NULL);
		drv_ring_kick_always(r);
		break;
	case 17:
		ret = drv_vu_send(vu, DRV_GET_VRING_BASE, &m, 8, 0, NULL, 0);
		break;
	default: // half a header, half a payload
		ret = drv_vu_send_raw(
			vu, &(uint32_t[4]){ 5, 1, 40, 1 }, steps == 19 ? 6 : 16, &mem->r[0].fd, 1);
		break;
	}
	return ret;
}

/*
 * The first `steps` messages of an honest session, then none. With a pipe: say so there and wait to
 * be killed.
 */
static int partial(struct atk_env *e, unsigned steps, int pipe_fd)
{
	struct drv_vu vu = { .inflight_fd = -1, .backend_fd = -1 };
	struct drv_ring_conf rc = { .size = 64 };
	struct drv_mem mem;
	struct drv_ring r;
	int ret = drv_mem_init(&mem, 1, 1 << 20);

	ATK_CHECK(e, !ret, "no memory");
	ret = drv_ring_init(&r, &mem, &rc);
	vu.mem = &mem;
	vu.fd = drv_connect(atk_path(e, ATK_BLK), ATK_REPLY_MS);
	if (vu.fd < 0)
		ret = vu.fd;
	for (unsigned i = 0; !ret && i < steps; i++)
		ret = step(&vu, &r, i, steps);
	if (!ret && pipe_fd >= 0 && write(pipe_fd, "", 1) == 1)
		for (;;)
			pause();
	drv_vu_close(&vu);
	drv_ring_fini(&r);
	drv_mem_fini(&mem);
	ATK_CHECK(e, !ret, "after %u steps: %s", steps, strerror(-ret));
	return 0;
}

/* The same in a process of its own, which is killed where it stands. */
static int killed(struct atk_env *e, unsigned steps)
{
	int ready[2], status;
	char c = 0;
	pid_t pid;

	ATK_CHECK(e, !pipe(ready), "no pipe");
	pid = fork();
	ATK_CHECK(e, pid >= 0, "no process");
	if (pid == 0) {
		close(ready[0]);
		_exit(partial(e, steps, ready[1]) ? 1 : 0);
	}
	close(ready[1]);

	ssize_t n = read(ready[0], &c, 1); // 0: it ended before it was ready

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	ATK_CHECK(e, n == 1, "after %u steps: the front-end ended by itself", steps);
	return 0;
}

static int vu27_killed(struct atk_env *e)
{
	for (unsigned k = 0; k < atk_times(e, 20); k++)
		for (unsigned steps = 0; steps < 20; steps++) {
			int ret = killed(e, steps);

			if (ret)
				return ret;
		}
	return 0;
}

static int vu27(struct atk_env *e)
{
	for (unsigned k = 0; k < atk_times(e, 100); k++)
		for (unsigned steps = 0; steps < 20; steps++) {
			int ret = partial(e, steps, -1);

			if (ret)
				return ret;
		}
	return 0;
}

static const struct atk_row rows[] = {
	{ "VU-21", "messages in any order", vu21 },
	{ "VU-27", "front-end gone in each of 20 states", vu27 },
	{ "VU-27", "front-end killed in each of 20 states", vu27_killed },
};
const struct atk_group atk_vu_life_rows = { rows, COUNT(rows) };
