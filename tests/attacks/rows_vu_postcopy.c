// SPDX-License-Identifier: Apache-2.0
/* Front-ends in postcopy that give pages late, never, or only to take them back. */
#include "atk.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PF_PAGEFAULT 8
#define POSTCOPY_ADVISE 28
#define POSTCOPY_LISTEN 29
#define MEM_SIZE (4u << 20)
#define BUFFER (2u << 20) // where in the memory nothing was touched yet
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct late {
	struct drv_mem mem;
	struct drv_ring ring;
	struct drv_vu vu;
	int uffd; // -1: none
};

static void leave(struct late *l)
{
	drv_vu_close(&l->vu);
	// The descriptor is ours longer than the session: it must hold nothing up
	if (l->uffd >= 0)
		close(l->uffd);
	drv_ring_fini(&l->ring);
	drv_mem_fini(&l->mem);
}

/* Up to where rings may start: 0, ATK_NOT_APPLICABLE, or negative. */
static int shake_hands(struct atk_env *e, struct late *l)
{
	struct drv_vu *vu = &l->vu;
	struct drv_msg m;
	int ret;

	drv_vu_call(vu, DRV_SET_OWNER, &m, 0, NULL, 0);
	ret = drv_vu_call(vu, DRV_GET_PROTOCOL_FEATURES, &m, 0, NULL, 0);
	ATK_CHECK(e, !ret, "no protocol features: %s", strerror(-ret));
	if (!(m.p.u64 & DRV_BIT(PF_PAGEFAULT))) {
		atk_fail(e, "no userfaultfd here");
		return ATK_NOT_APPLICABLE;
	}
	vu->pf = DRV_BIT(DRV_PF_REPLY_ACK);
	vu->features = DRV_BIT(VIRTIO_F_VERSION_1) | DRV_F_PROTOCOL;
	ret = drv_vu_set_u64(vu, DRV_SET_PROTOCOL_FEATURES, vu->pf | DRV_BIT(PF_PAGEFAULT));
	if (!ret)
		ret = drv_vu_set_u64(vu, DRV_SET_FEATURES, vu->features);
	if (!ret)
		ret = drv_vu_send(vu, (enum drv_req)POSTCOPY_ADVISE, &m, 0, 0, NULL, 0);
	if (!ret)
		ret = drv_vu_recv(vu, &m, ATK_REPLY_MS);
	ATK_CHECK(e, !ret && m.n_fds == 1, "no userfaultfd in the answer");
	l->uffd = m.fds[0];
	ret = drv_vu_call(vu, (enum drv_req)POSTCOPY_LISTEN, &m, 0, NULL, 0);
	ATK_CHECK(e, !ret, "LISTEN refused");
	m.p.mem.n = 1;
	m.p.mem.r[0] = (struct drv_wire_region){ l->mem.r[0].gpa, l->mem.r[0].size,
		(uintptr_t)l->mem.r[0].host, 0 };
	ret = drv_vu_send(vu, DRV_SET_MEM_TABLE, &m, 8 + 32, 0, &l->mem.r[0].fd, 1);
	if (!ret)
		ret = drv_vu_recv(vu, &m, ATK_REPLY_MS);
	ATK_CHECK(e, !ret && m.hdr.size == 8 + 32, "memory table not answered");
	ret = drv_vu_set_u64(vu, DRV_SET_MEM_TABLE, 0);
	ATK_CHECK(e, !ret, "the ack was refused");
	return 0;
}

static int enter(struct atk_env *e, struct late *l)
{
	struct drv_ring_conf rc = { .size = 64 };
	int ret = drv_mem_init(&l->mem, 1, MEM_SIZE);

	ATK_CHECK(e, !ret, "no memory");
	l->uffd = -1;
	l->vu = (struct drv_vu){ .inflight_fd = -1, .backend_fd = -1, .mem = &l->mem };
	ret = drv_ring_init(&l->ring, &l->mem, &rc);
	l->vu.fd = ret ? ret : drv_connect(atk_path(e, ATK_BLK), ATK_REPLY_MS);
	if (l->vu.fd < 0)
		ret = atk_fail(e, "no session");
	else
		ret = shake_hands(e, l);
	if (ret)
		leave(l);
	return ret;
}

static int punch(struct late *l, uint64_t off, uint64_t len)
{
	return fallocate(
		l->mem.r[0].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
}

/* A read of 4 KiB into a page, with header and status in the one before. */
static void submit(struct late *l, uint64_t off)
{
	uint64_t at = l->mem.r[0].gpa + off;

	drv_ring_add(&l->ring,
		(struct drv_seg[3]){ { at - 4096, 16 }, { at, 4096 }, { at - 512, 1 } }, 1, 2,
		NULL);
	drv_ring_kick_always(&l->ring);
}

/* Nobody gives the ring's own pages, or a request's. */
static int never(struct atk_env *e, bool ring_too, bool stay)
{
	struct pollfd p;
	struct late l;
	int64_t base;
	int ret = enter(e, &l);

	if (ret)
		return ret;
	submit(&l, BUFFER);
	if (ring_too)
		ret = punch(&l, 0, MEM_SIZE);
	if (!ret)
		ret = drv_vu_ring_start_at(&l.vu, 0, &l.ring, 0);
	if (ret)
		ret = atk_fail(e, "the ring was refused");
	p = (struct pollfd){ l.uffd, POLLIN, 0 };
	if (!ret && poll(&p, 1, ATK_REPLY_MS) != 1)
		ret = atk_fail(e, "no page was asked for");
	if (!ret && stay) // the victim is judged meanwhile
		(void)poll(NULL, 0, (int)e->race_s * 1000);
	base = ret ? 0 : drv_vu_ring_stop(&l.vu, 0);
	if (base < 0)
		ret = atk_fail(e, "GET_VRING_BASE: %s", strerror((int)-base));
	leave(&l);
	return ret;
}

static int pages_that_never_come(struct atk_env *e)
{
	unsigned n = atk_times(e, 50);
	int ret = 0;

	for (unsigned k = 0; !ret && k < n; k++)
		ret = never(e, k % 2, k + 2 >= n);
	return ret;
}

/* Requests whose page is there when they are seen, and gone when they are served. */
static int pages_taken_back(struct atk_env *e)
{
	for (unsigned k = 0; k < atk_times(e, 20); k++) {
		struct late l;
		int ret = enter(e, &l);

		if (ret)
			return ret;
		memset(l.mem.r[0].host + BUFFER - 4096, 0, 8192);
		ret = drv_vu_ring_start(&l.vu, 0, &l.ring);
		for (unsigned i = 0; !ret && i < 20; i++) {
			submit(&l, BUFFER);
			for (unsigned j = 0; j < 50; j++) {
				(void)punch(&l, BUFFER, 4096);
				l.mem.r[0].host[BUFFER] = 1;
			}
		}
		leave(&l);
		ATK_CHECK(e, !ret, "the ring was refused");
	}
	return 0;
}

static const struct atk_row rows[] = {
	{ "VU-PC", "postcopy: pages that never come", pages_that_never_come },
	{ "VU-PC", "postcopy: pages taken back", pages_taken_back },
};
const struct atk_group atk_vu_postcopy_rows = { rows, COUNT(rows) };
