// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: vhost-user messages of a front-end, over a real socket, with descriptors.
 *
 * Input: for each message one byte each of request, flags, number of fds, kind of fds, payload
 * length, then the payload. What the input says is sent as it is; the session is opened again when
 * it was closed, so that one input tries several.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_cur.h"
#include "dpu_log.h"
#include "fake_rig.h"

#define MESSAGES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int fd_kind[4]; // eventfd, guest memory's stand-in, socket, nothing useful

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	dpu_log_level_set(DPU_LOG_ERR);
	fd_kind[0] = rig_eventfd();
	fd_kind[1] = memfd_create("fuzz", MFD_CLOEXEC);
	if (ftruncate(fd_kind[1], FRONT_MEM_SIZE))
		return 1;
	fd_kind[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fd_kind[3] = open("/", O_PATH | O_CLOEXEC);
	return vho_mem_guard_init();
}

static void one_message(struct fake_rig *r, struct dpu_cur *in)
{
	uint8_t request = dpu_cur_u8(in), flags = dpu_cur_u8(in), n_fds = dpu_cur_u8(in) % 10;
	uint8_t kind = dpu_cur_u8(in), len = dpu_cur_u8(in);
	uint8_t payload[256];
	int fds[10];

	if (len > in->left)
		len = (uint8_t)in->left;
	dpu_cur_copy(in, payload, len);
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = kind % 4 == 1 ? r->f.mem_fd : fd_kind[kind % 4];
	front_send(&r->f, request, flags, payload, len, fds, n_fds);
	if (front_closed(&r->f))
		rig_reopen(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_rig r; // large; opened and closed for each input
	struct dpu_cur in = dpu_cur_init(data, size);

	if (size == 0)
		return 0;
	rig_open(&r, data[0] & 1 ? VHO_DEV_NET : VHO_DEV_BLK);
	if (data[0] & 2)
		rig_negotiate(&r, 0);
	if (data[0] & 4)
		rig_run_ring(&r);
	dpu_cur_skip(&in, 1);
	for (unsigned i = 0; i < MESSAGES_MAX && in.left > 0; i++)
		one_message(&r, &in);
	rig_close(&r);
	return 0;
}
