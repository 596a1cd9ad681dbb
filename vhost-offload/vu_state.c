// SPDX-License-Identifier: Apache-2.0
/*
 * SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE.
 *
 * Reading or writing what a front-end passes as its end of the channel can take for ever: whoever
 * holds a pipe's other end decides, O_NONBLOCK is a flag that both share, and the file may be of a
 * kind that asks a process of theirs. The specification lets the back-end answer with a channel of
 * its own, which the front-end must then use, and ours is a sealed memfd: written or read by one
 * call that never waits. Its size is fixed, so a front-end cannot fill our memory through it.
 */
#include "vu_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_log.h"
#include "state.h"

enum { DIRECTION_SAVE, DIRECTION_LOAD };
#define PHASE_STOPPED 0

/* A memfd of `len` bytes that can change its size no more. The fd, or a negative errno. */
static int channel(size_t len)
{
	int fd = memfd_create("device-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* Where the front-end reads the device's state: the fd, or a negative errno. */
static int save(const struct vho_dev *dev)
{
	uint8_t buf[VHO_STATE_MAX];
	int len = vho_state_save(dev, VHO_STATE_MIGRATE, buf, sizeof(buf));
	int fd, ret;

	if (len < 0)
		return len;
	fd = channel((size_t)len);
	if (fd < 0)
		return fd;
	if (pwrite(fd, buf, (size_t)len, 0) == len)
		return fd;
	ret = errno ? -errno : -EIO;
	close(fd);
	return ret;
}

static void forget(struct vu_session *s)
{
	if (s->state_fd >= 0)
		close(s->state_fd);
	s->state_fd = -1;
	s->state_good = false;
}

int vu_set_device_state_fd(struct vu_session *s, struct vu_msg *m)
{
	const struct vu_transfer *t = &m->p.transfer;
	bool saving = t->direction == DIRECTION_SAVE;
	int fd;

	if (t->direction > DIRECTION_LOAD || t->phase != PHASE_STOPPED)
		return -EINVAL;
	if (vho_dev_any_started(s->dev))
		return -EBUSY;
	forget(s);
	fd = saving ? save(s->dev) : channel(VHO_STATE_MAX);
	if (fd < 0)
		return fd;
	if (saving) {
		m->reply_fd = fd;
		s->state_good = true;
	} else {
		m->reply_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		s->state_fd = fd;
		if (m->reply_fd < 0) {
			int ret = -errno;

			forget(s);
			return ret;
		}
	}
	m->h.size = sizeof(m->p.u64);
	m->p.u64 = 0; // no error, and bit 8 clear: the fd that comes is the one to use
	return 0;
}

/* The front-end has written all that it has: take it over. */
static int load(struct vu_session *s)
{
	uint8_t buf[VHO_STATE_MAX];
	ssize_t n = pread(s->state_fd, buf, sizeof(buf), 0);
	int ret = n < 0 ? -errno : 0;

	forget(s);
	if (ret == 0 && vho_dev_any_started(s->dev))
		ret = -EBUSY;
	if (ret == 0)
		ret = vho_state_load(s->dev, VHO_STATE_MIGRATE, buf, (size_t)n);
	if (ret == 0)
		dpu_info("vhost-user: device state taken over", "dev=%s", s->dev->name);
	return ret;
}

int vu_check_device_state(struct vu_session *s, struct vu_msg *m)
{
	if (s->state_fd >= 0) {
		int ret = load(s);

		if (ret < 0)
			return ret;
		s->state_good = true;
	}
	if (!s->state_good)
		return -EINVAL;
	m->h.size = sizeof(m->p.u64);
	m->p.u64 = 0;
	return 0;
}
