// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: a session that another process hands over. Input: number of descriptors, what kind
 * each is (two bits), then the body. What is taken over is started.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>

#include "dpu_cur.h"
#include "dpu_log.h"
#include "fake_rig.h"
#include "handover.h"

#define FDS 16 // two bits of `which` each
#define FILE_BYTES 0x10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int kinds[4]; // socket, file, eventfd, nothing useful
static struct fake_host host;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int pair[2];

	(void)argc;
	(void)argv;
	dpu_log_level_set(DPU_LOG_ERR);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return 1;
	kinds[0] = pair[0];
	kinds[1] = memfd_create("fuzz", MFD_CLOEXEC);
	kinds[2] = rig_eventfd();
	kinds[3] = open("/", O_PATH | O_CLOEXEC);
	if (ftruncate(kinds[1], FILE_BYTES))
		return 1;
	fake_host_init(&host);
	return vho_mem_guard_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct handover h;
	struct dpu_cur in = dpu_cur_init(data, size);
	unsigned n = dpu_cur_u8(&in) % (FDS + 1);
	uint32_t which = dpu_cur_le32(&in);
	struct vu_session s = { .fd = -1 };
	struct fake_dev d;
	int listen_fd;

	if (in.bad || in.left > sizeof(h.bytes))
		return 0;
	h = (struct handover){ .len = in.left, .owned = true, .kind = VHO_DEV_BLK, .n_queues = 2 };
	dpu_cur_copy(&in, h.bytes, h.len);
	for (; h.n_fds < n; h.n_fds++)
		h.fds[h.n_fds] = fcntl(kinds[which >> 2 * h.n_fds & 3], F_DUPFD_CLOEXEC, 0);
	if (fake_dev_init(&d, &host, VHO_DEV_BLK, 2))
		return 0;
	if (handover_load(&s, &d.dev, &h, &listen_fd) == 0)
		vho_dev_start_all(&d.dev);
	if (listen_fd >= 0)
		close(listen_fd);
	vu_session_close(&s);
	handover_free(&h);
	fake_dev_fini(&d);
	return 0;
}
