// SPDX-License-Identifier: Apache-2.0
/* Puts the fakes together for tests of the vhost-user transport. */
#include "fake_rig.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void connect_pair(struct fake_rig *r)
{
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	r->f.fd = pair[0];
	assert(vho_vu_adopt(&r->d.dev, pair[1], &r->h.host, &r->vu) == 0);
}

void rig_open(struct fake_rig *r, enum vho_dev_kind kind)
{
	fake_host_init(&r->h);
	assert(fake_dev_init(&r->d, &r->h, kind, RIG_QUEUES) == 0);
	front_init(&r->f, &r->h);
	connect_pair(r);
}

void rig_reopen(struct fake_rig *r)
{
	if (r->f.fd >= 0)
		close(r->f.fd);
	fake_host_run(&r->h);
	vho_vu_destroy(r->vu);
	connect_pair(r);
}

void rig_close(struct fake_rig *r)
{
	vho_vu_destroy(r->vu);
	front_fini(&r->f);
	fake_dev_fini(&r->d);
}

void rig_negotiate(struct fake_rig *r, uint64_t more)
{
	uint64_t protocol = front_get(&r->f, VU_GET_PROTOCOL_FEATURES);

	assert(front_call_u64(&r->f, VU_SET_PROTOCOL_FEATURES, protocol) == 0);
	assert(front_call(&r->f, VU_SET_OWNER, NULL, 0, NULL, 0) == 0);
	assert(front_call_u64(&r->f, VU_SET_FEATURES,
		       1ull << VU_F_PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1 | more) == 0);
}

void rig_run_ring(struct fake_rig *r)
{
	int kick = rig_eventfd();

	rig_negotiate(r, 0);
	assert(front_mem_table(&r->f) == 0);
	assert(front_ring(&r->f, 0, 64) == 0);
	assert(front_call_fd(&r->f, VU_SET_VRING_KICK, 0, kick) == 0);
	assert(front_call_state(&r->f, VU_SET_VRING_ENABLE, 0, 1) == 0);
	assert(r->h.running[0]);
	close(kick);
}

int rig_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert(fd >= 0);
	return fd;
}

uint64_t rig_eventfd_take(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

unsigned rig_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned lines = 0;
	int c;

	assert(maps);
	while ((c = fgetc(maps)) != EOF)
		lines += c == '\n';
	fclose(maps);
	return lines;
}
