// SPDX-License-Identifier: Apache-2.0
/* vhost-user sockets: listen or connect, one session at a time. */
#include "vho_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "handover.h"
#include "vu_fd.h"
#include "vu_inband.h"
#include "vu_notifier.h"
#include "vu_session.h"

#define BACKLOG 8
#define HOLD_MS 1 // how often requests in flight are looked at, when an answer waits for them
#define HOLD_MAX_MS 5000
#define CHECK_MS 1000 // how often a session's memory is looked at
#define SETTLE_MIN_MS 1
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000

/*
 * A second front-end that connects while the first is there waits in the backlog: the listening
 * socket is watched only between sessions. So a front-end that was killed and comes back is taken
 * as soon as the end of its old session has been read, and nobody can push out a living one.
 */
struct vho_vu {
	/* Fixed after creation. */
	struct vho_dev *dev; // borrowed: outlives us
	const struct vho_loop *loop; // borrowed
	enum vho_vu_mode mode;
	bool adopted; // one session on a socket that we were given
	struct sockaddr_un addr;

	int listen_fd; // owned; -1: not a server
	dev_t sock_dev; // what bind() made, so that only that is removed
	ino_t sock_ino;

	void *listen_watch; // between sessions, server
	void *retry_timer; // between sessions, client
	unsigned backoff_ms;
	unsigned settle_ms; // until descriptors of the last session are looked at again

	struct vu_session session;
	void *watch, *check_timer; // while there is a session
	void *hold_timer; // instead of the watch while the session holds an answer back
	unsigned held_ms;
	uint64_t sessions, dropped;
};

static void wait_for_front_end(struct vho_vu *vu);
static void on_retry(void *arg);

static void unwatch_session(struct vho_vu *vu)
{
	if (vu->watch)
		vu->loop->unwatch(vu->loop->arg, vu->watch);
	if (vu->check_timer)
		vu->loop->timer_cancel(vu->loop->arg, vu->check_timer);
	if (vu->hold_timer)
		vu->loop->timer_cancel(vu->loop->arg, vu->hold_timer);
	vu->watch = NULL;
	vu->check_timer = NULL;
	vu->hold_timer = NULL;
}

static void end_session(struct vho_vu *vu, int why)
{
	bool left = why == -ECONNRESET || why == 0;

	unwatch_session(vu);
	if (!left) {
		vu->dropped++;
		dpu_warn_ratelimited(
			"vhost-user: session dropped", "dev=%s err=%d", vu->dev->name, why);
	} else {
		dpu_info("vhost-user: front-end left", "dev=%s", vu->dev->name);
	}
	if (vu->session.n_messages > 0)
		vu->backoff_ms = BACKOFF_MIN_MS;
	vu_session_close(&vu->session);
}

bool vho_vu_check(struct vho_vu *vu)
{
	if (vu->session.fd < 0 || !vho_dev_faulted(vu->dev))
		return true;
	end_session(vu, -EFAULT);
	wait_for_front_end(vu);
	return false;
}

static void on_check(void *arg)
{
	struct vho_vu *vu = arg;

	vu->check_timer = NULL;
	if (vho_vu_check(vu))
		vu->check_timer = vu->loop->timer(vu->loop->arg, CHECK_MS, on_check, vu);
}

static void on_held(void *arg);

/* Look again soon whether the session's answer can go; the socket is not read until then. */
static void hold(struct vho_vu *vu)
{
	if (vu->watch)
		vu->loop->unwatch(vu->loop->arg, vu->watch);
	vu->watch = NULL;
	vu->hold_timer = vu->loop->timer(vu->loop->arg, HOLD_MS, on_held, vu);
}

static void on_readable(void *arg)
{
	struct vho_vu *vu = arg;
	int ret = vu_session_input(&vu->session);

	if (ret == 0) {
		if (vho_vu_check(vu) && vu->session.held) {
			vu->held_ms = 0;
			hold(vu);
		}
		return;
	}
	end_session(vu, ret);
	wait_for_front_end(vu);
}

static void on_held(void *arg)
{
	struct vho_vu *vu = arg;
	int ret;

	vu->hold_timer = NULL;
	vu->held_ms += HOLD_MS;
	if (vu_session_held(&vu->session, vu->held_ms >= HOLD_MAX_MS, &ret)) {
		hold(vu);
		return;
	}
	vu->watch = vu->loop->watch(vu->loop->arg, vu->session.fd, on_readable, vu);
	if (ret == 0 && !vu->watch)
		ret = -ENOMEM;
	if (ret == 0)
		return;
	end_session(vu, ret);
	wait_for_front_end(vu);
}

/* fd becomes ours. 0, or -ENOMEM with fd closed. */
static int begin_session(struct vho_vu *vu, int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	vu->watch = vu->loop->watch(vu->loop->arg, fd, on_readable, vu);
	if (!vu->watch) {
		close(fd);
		return -ENOMEM;
	}
	vu->sessions++;
	vu->check_timer = vu->loop->timer(vu->loop->arg, CHECK_MS, on_check, vu);
	dpu_info("vhost-user: front-end attached", "dev=%s pid=%d", vu->dev->name, (int)cred.pid);
	vu_session_open(&vu->session, vu->dev, fd);
	return 0;
}

static void on_connection(void *arg)
{
	struct vho_vu *vu = arg;
	int fd = accept4(vu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	vu->loop->unwatch(vu->loop->arg, vu->listen_watch);
	vu->listen_watch = NULL;
	// Out of file descriptors or memory: the waiting front-end must not spin this thread
	if (fd < 0 || begin_session(vu, fd) < 0)
		vu->retry_timer = vu->loop->timer(vu->loop->arg, BACKOFF_MAX_MS, on_retry, vu);
}

/* Connecting to a Unix socket succeeds or fails at once; a full backlog is a failure too. */
static int try_connect(struct vho_vu *vu)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&vu->addr, sizeof(vu->addr))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return begin_session(vu, fd);
}

static void wait_for_front_end(struct vho_vu *vu)
{
	if (vu->adopted)
		return;
	// Who left us descriptors that do not close gets no chance to send more of them. A channel
	// of usual front-ends is closed by the time we look again.
	if (vu->mode == VHO_VU_SERVER && vu_fd_pending(vu->dev)) {
		vu->retry_timer = vu->loop->timer(vu->loop->arg, vu->settle_ms, on_retry, vu);
		vu->settle_ms = vu->settle_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
								   : vu->settle_ms * 2;
		return;
	}
	vu->settle_ms = SETTLE_MIN_MS;
	if (vu->mode == VHO_VU_SERVER) {
		vu->listen_watch = vu->loop->watch(vu->loop->arg, vu->listen_fd, on_connection, vu);
		if (!vu->listen_watch)
			dpu_err("vhost-user: no memory to listen", "dev=%s", vu->dev->name);
		return;
	}
	// Also after a good session: a front-end that drops us at once must not spin this thread
	vu->retry_timer = vu->loop->timer(vu->loop->arg, vu->backoff_ms, on_retry, vu);
	vu->backoff_ms *= 2;
	if (vu->backoff_ms > BACKOFF_MAX_MS)
		vu->backoff_ms = BACKOFF_MAX_MS;
}

static void on_retry(void *arg)
{
	struct vho_vu *vu = arg;

	vu->retry_timer = NULL;
	if (vu->mode == VHO_VU_SERVER || vu_fd_pending(vu->dev) || try_connect(vu) < 0)
		wait_for_front_end(vu);
}

/* Does a living process listen at the path? 1, 0 (nobody), or a negative errno. */
static int probe(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	close(fd);
	if (ret == -ECONNREFUSED)
		return 0;
	return ret == 0 || ret == -EAGAIN ? 1 : ret;
}

/*
 * Make room at the path when a dead process left its socket there. Nothing else is ever removed:
 * what is found is moved aside, looked at again, and put back if it is not what was probed.
 */
static int remove_stale(const struct sockaddr_un *addr)
{
	char aside[sizeof(addr->sun_path) + 24];
	struct stat st, moved;
	int ret;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	ret = probe(addr);
	if (ret != 0)
		return ret > 0 ? -EADDRINUSE : ret;
	snprintf(aside, sizeof(aside), "%s.stale.%d", addr->sun_path, (int)getpid());
	if (renameat2(AT_FDCWD, addr->sun_path, AT_FDCWD, aside, RENAME_NOREPLACE))
		return errno == ENOENT ? 0 : -errno;
	if (lstat(aside, &moved))
		return -errno;
	if (moved.st_dev == st.st_dev && moved.st_ino == st.st_ino)
		return unlink(aside) ? -errno : 0;
	if (renameat2(AT_FDCWD, aside, AT_FDCWD, addr->sun_path, RENAME_NOREPLACE))
		return -errno;
	return -EADDRINUSE;
}

/* bind(2) follows no symlink at the last component and replaces nothing. */
static int listen_at(struct vho_vu *vu)
{
	struct stat st;
	int ret = remove_stale(&vu->addr);

	if (ret < 0)
		return ret;
	vu->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (vu->listen_fd < 0)
		return -errno;
	// Before bind(2): the file then appears with this mode
	if (fchmod(vu->listen_fd, 0600))
		return -errno;
	if (bind(vu->listen_fd, (struct sockaddr *)&vu->addr, sizeof(vu->addr)))
		return -errno;
	if (lstat(vu->addr.sun_path, &st))
		return -errno;
	vu->sock_dev = st.st_dev;
	vu->sock_ino = st.st_ino;
	return listen(vu->listen_fd, BACKLOG) ? -errno : 0;
}

static void unlisten(struct vho_vu *vu)
{
	struct stat st;

	if (vu->listen_fd < 0)
		return;
	vu_fd_close_listener(vu->listen_fd, vu->dev);
	if (vu->sock_ino != 0 && lstat(vu->addr.sun_path, &st) == 0 && st.st_dev == vu->sock_dev &&
		st.st_ino == vu->sock_ino)
		unlink(vu->addr.sun_path);
}

static struct vho_vu *alloc(struct vho_dev *dev, const struct vho_host *host)
{
	struct vho_vu *vu = dpu_calloc(1, sizeof(*vu));

	if (!vu)
		return NULL;
	vu->dev = dev;
	vu->loop = host->loop;
	vu->listen_fd = -1;
	vu->session.dev = dev;
	vu->session.fd = vu->session.backend_fd = vu->session.state_fd = -1;
	vu->backoff_ms = BACKOFF_MIN_MS;
	vu->settle_ms = SETTLE_MIN_MS;
	vu_fd_start();
	return vu;
}

int vho_vu_create(struct vho_dev *dev, const char *path, enum vho_vu_mode mode,
	const struct vho_host *host, struct vho_vu **out)
{
	struct vho_vu *vu;
	size_t len = strlen(path);
	int ret = 0;

	if (len == 0 || len >= sizeof(vu->addr.sun_path))
		return -ENAMETOOLONG;
	vu = alloc(dev, host);
	if (!vu)
		return -ENOMEM;
	vu->mode = mode;
	vu->addr.sun_family = AF_UNIX;
	memcpy(vu->addr.sun_path, path, len);
	if (mode == VHO_VU_SERVER) {
		ret = listen_at(vu);
		if (ret == 0)
			wait_for_front_end(vu);
		if (ret == 0 && !vu->listen_watch)
			ret = -ENOMEM;
	} else if (try_connect(vu) < 0) {
		wait_for_front_end(vu);
		if (!vu->retry_timer)
			ret = -ENOMEM;
	}
	if (ret < 0) {
		vho_vu_destroy(vu);
		return ret;
	}
	*out = vu;
	return 0;
}

int vho_vu_adopt(struct vho_dev *dev, int fd, const struct vho_host *host, struct vho_vu **out)
{
	struct vho_vu *vu = alloc(dev, host);
	int ret;

	if (!vu) {
		close(fd);
		return -ENOMEM;
	}
	vu->adopted = true;
	ret = begin_session(vu, fd);
	if (ret < 0) {
		free(vu);
		return ret;
	}
	*out = vu;
	return 0;
}

int vho_vu_give(struct vho_vu *vu, int sock)
{
	struct handover *h = dpu_calloc(1, sizeof(*h));
	const struct vho_host *host = vu->dev->host;
	int ret;

	if (!h)
		return -ENOMEM;
	// The front-end knows this process's pager, or is about to answer it about a page
	if (vu->dev->postcopy || vu_notifier_asks(&vu->session)) {
		free(h);
		return -EBUSY;
	}
	vho_dev_stop_all(vu->dev);
	(void)vu_session_held(&vu->session, true, &ret); // nothing is in flight any more
	if (host->settled && !host->settled(host->arg, vu->dev))
		ret = -EBUSY;
	else
		ret = handover_save(&vu->session, vu->listen_fd, h);
	if (!ret)
		ret = handover_send(sock, h);
	handover_free(h);
	free(h);
	if (ret) {
		vho_dev_start_all(vu->dev); // still ours
		return ret;
	}
	dpu_info("vhost-user: session given away", "dev=%s", vu->dev->name);
	unwatch_session(vu);
	vu_session_forget(&vu->session);
	if (vu->listen_fd >= 0)
		close(vu->listen_fd);
	vu->listen_fd = -1; // and what stands at the path is the other process's now
	vho_vu_destroy(vu);
	return 0;
}

/* Watch what was taken over. 0 or -ENOMEM. */
static int go_on(struct vho_vu *vu)
{
	if (vu->session.fd < 0) {
		wait_for_front_end(vu);
		return vu->listen_watch || vu->retry_timer || vu->adopted ? 0 : -ENOMEM;
	}
	vu->watch = vu->loop->watch(vu->loop->arg, vu->session.fd, on_readable, vu);
	vu->check_timer = vu->loop->timer(vu->loop->arg, CHECK_MS, on_check, vu);
	if (!vu->watch || !vu->check_timer)
		return -ENOMEM;
	vu->sessions++;
	return vu_inband_resume(&vu->session);
}

int vho_vu_take(struct vho_dev *dev, int sock, const char *path, enum vho_vu_mode mode,
	const struct vho_host *host, struct vho_vu **out)
{
	struct handover *h = dpu_calloc(1, sizeof(*h));
	struct vho_vu *vu = alloc(dev, host);
	size_t len = path ? strlen(path) : 0;
	struct stat st;
	int ret = h && vu ? 0 : -ENOMEM;

	if (!ret && len >= sizeof(vu->addr.sun_path))
		ret = -ENAMETOOLONG;
	if (ret)
		goto out;
	vu->mode = mode;
	vu->adopted = !path;
	vu->addr.sun_family = AF_UNIX;
	if (path)
		memcpy(vu->addr.sun_path, path, len);
	ret = handover_recv(sock, h);
	if (!ret)
		ret = handover_load(&vu->session, dev, h, &vu->listen_fd);
	if (!ret && path && mode == VHO_VU_SERVER && vu->listen_fd < 0)
		ret = -EPROTO;
	if (!ret)
		ret = go_on(vu);
	if (ret == 0 && vu->listen_fd >= 0 && lstat(vu->addr.sun_path, &st) == 0) {
		vu->sock_dev = st.st_dev;
		vu->sock_ino = st.st_ino;
	}
	if (ret != -ECONNRESET)
		handover_answer(sock, ret);
	if (!ret) {
		vho_dev_start_all(dev);
		vu_notifier_run(&vu->session);
	}
out:
	if (h)
		handover_free(h);
	free(h);
	if (ret) {
		vho_vu_destroy(vu);
		return ret;
	}
	*out = vu;
	return 0;
}

void vho_vu_destroy(struct vho_vu *vu)
{
	if (!vu)
		return;
	if (vu->session.fd >= 0)
		end_session(vu, 0);
	if (vu->listen_watch)
		vu->loop->unwatch(vu->loop->arg, vu->listen_watch);
	if (vu->retry_timer)
		vu->loop->timer_cancel(vu->loop->arg, vu->retry_timer);
	unlisten(vu);
	free(vu);
}

void vho_vu_stats(const struct vho_vu *vu, struct vho_vu_stats *out)
{
	*out = (struct vho_vu_stats){
		.sessions = vu->sessions,
		.messages = vu->session.messages,
		.dropped_sessions = vu->dropped,
	};
	for (unsigned i = 0; i < VHO_VU_REJECT_COUNT; i++) {
		out->rejects[i] = vu->session.rejects[i];
		out->rejected += vu->session.rejects[i];
	}
}

int vho_vu_config_changed(struct vho_vu *vu)
{
	return vu_session_config_changed(&vu->session);
}
