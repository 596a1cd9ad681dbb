// SPDX-License-Identifier: Apache-2.0
/* Between DPDK's memif driver and its peer: sockets, and messages with descriptors. */
#include "port_memif.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_kvargs.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"

#define MSG_SIZE 128u // of every memif message
#define STRANGERS_MAX 16u // sent away before the driver is looked for another time
#define JOIN_NS 200000000u // the control thread waits that long for a peer that has connected
#define PART_NS 1000000000u // and that long for the driver to let go of one

struct odp_memif {
	bool is_server;
	char path[108]; // the peer's: of the file, or an abstract name
	bool is_abstract;
	char dir[96]; // ours alone, or empty: none yet
	char private[108]; // in it: between us and the driver
	int listen_fd; // owned; a server's for its peers, a client's for the driver
	int peer_fd, dev_fd; // owned; -1: none
};

static socklen_t address(const char *name, bool is_abstract, struct sockaddr_un *to)
{
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(to->sun_path + is_abstract, sizeof(to->sun_path) - is_abstract, "%s", name);
	if (!is_abstract)
		return sizeof(*to);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(to->sun_path + 1));
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int dial(const char *name, bool is_abstract)
{
	struct sockaddr_un to;
	socklen_t len = address(name, is_abstract, &to);
	int fd = new_socket();

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, len) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

static int serve(const char *name, bool is_abstract)
{
	struct sockaddr_un at;
	socklen_t len = address(name, is_abstract, &at);
	int fd = new_socket();

	if (fd >= 0 && (bind(fd, (const struct sockaddr *)&at, len) < 0 || listen(fd, 1) < 0)) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Is this process at the other end? */
static bool is_own(int fd)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0 && c.pid == getpid() &&
	       c.uid == geteuid();
}

/* The driver among those who wait at a client's private socket; all before it are sent away. */
static int accept_driver(int listen_fd)
{
	for (unsigned i = 0; i < STRANGERS_MAX; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 || is_own(fd))
			return fd;
		close(fd);
	}
	return -1;
}

/* A server's driver, unless somebody else listens there. */
static int dial_driver(const char *private)
{
	int fd = dial(private, false);

	if (fd >= 0 && !is_own(fd))
		hang_up(&fd);
	return fd;
}

/*
 * A folder that other users cannot enter. The name in it is used once: the driver never closes the
 * socket that it listened on.
 */
static int private_dir(struct odp_memif *w)
{
	const char *tmp = getenv("TMPDIR");

	if (snprintf(w->dir, sizeof(w->dir), "%s/outboard-XXXXXX", tmp && *tmp ? tmp : "/tmp") >=
		(int)sizeof(w->dir)) {
		w->dir[0] = '\0';
		return -ENAMETOOLONG;
	}
	if (!mkdtemp(w->dir)) {
		w->dir[0] = '\0';
		return -errno;
	}
	snprintf(w->private, sizeof(w->private), "%s/driver", w->dir);
	return 0;
}

/* The socket file of a server that was killed: the next one could not listen. */
static void clear_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = dial(path, false);
	if (fd >= 0)
		close(fd);
	else if (fd == -ECONNREFUSED && unlink(path) == 0)
		dpu_info("uplink: removed the socket of a server that is gone", "path=%s", path);
}

/* The driver's arguments: all but the socket's, which becomes ours. */
static int rewrite(const struct rte_kvargs *kv, const char *devargs, const char *private, char *out,
	size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%.*s,socket=%s,socket-abstract=no",
		(int)strcspn(devargs, ","), devargs, private);

	for (unsigned i = 0; i < kv->count && n < size; i++)
		if (strcmp(kv->pairs[i].key, "socket") != 0 &&
			strcmp(kv->pairs[i].key, "socket-abstract") != 0)
			n += (size_t)snprintf(
				out + n, size - n, ",%s=%s", kv->pairs[i].key, kv->pairs[i].value);
	return n < size ? 0 : -EINVAL;
}

static bool is(const struct rte_kvargs *kv, const char *key, const char *value)
{
	const char *v = rte_kvargs_get(kv, key);

	return v && !strcmp(v, value);
}

static int wire_open(struct odp_memif *w, const struct rte_kvargs *kv)
{
	const char *path = rte_kvargs_get(kv, "socket");
	int len, ret;

	w->listen_fd = w->peer_fd = w->dev_fd = -1;
	w->is_server = is(kv, "role", "server") || is(kv, "role", "master");
	w->is_abstract = !is(kv, "socket-abstract", "no");
	len = snprintf(w->path, sizeof(w->path), "%s", path ? path : "/run/memif.sock");
	if (len >= (int)sizeof(w->path) - 1)
		return -EINVAL;
	ret = private_dir(w);
	if (ret < 0)
		return ret;
	if (w->is_server && !w->is_abstract)
		clear_stale(w->path);
	w->listen_fd = w->is_server ? serve(w->path, w->is_abstract) : serve(w->private, false);
	return w->listen_fd < 0 ? w->listen_fd : 0;
}

int odp_memif_open(const char *devargs, char *out, size_t size, struct odp_memif **wire)
{
	const char *args = strchr(devargs, ',');
	struct rte_kvargs *kv;
	struct odp_memif *w;
	int ret;

	*wire = NULL;
	if (strncmp(devargs, "net_memif", 9) != 0)
		return snprintf(out, size, "%s", devargs) < (int)size ? 0 : -EINVAL;
	kv = rte_kvargs_parse(args ? args + 1 : "", NULL);
	if (!kv)
		return -EINVAL;
	w = dpu_calloc(1, sizeof(*w));
	ret = w ? wire_open(w, kv) : -ENOMEM;
	if (ret == 0)
		ret = rewrite(kv, devargs, w->private, out, size);
	rte_kvargs_free(kv);
	if (ret == 0)
		*wire = w;
	else if (w)
		odp_memif_close(w);
	return ret;
}

void odp_memif_close(struct odp_memif *wire)
{
	if (!wire)
		return;
	hang_up(&wire->peer_fd);
	hang_up(&wire->dev_fd);
	if (wire->listen_fd >= 0 && wire->is_server && !wire->is_abstract)
		(void)unlink(wire->path);
	hang_up(&wire->listen_fd);
	if (wire->dir[0]) {
		(void)unlink(wire->private);
		(void)rmdir(wire->dir);
	}
	free(wire);
}

bool odp_memif_reach(struct odp_memif *wire)
{
	if (wire->is_server)
		wire->peer_fd = accept4(wire->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	else
		wire->peer_fd = dial(wire->path, wire->is_abstract);
	return wire->peer_fd >= 0;
}

/* One message with at most one descriptor. False: nothing more will come from there. */
static bool pass_on(int from, int to)
{
	uint8_t body[MSG_SIZE];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int)) * 4];
	} control;
	struct iovec v = { body, sizeof(body) };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	bool ok;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	v.iov_len = (size_t)n;
	ok = n > 0 && !(m.msg_flags & MSG_TRUNC) && sendmsg(to, &m, MSG_NOSIGNAL) == n;
	for (struct cmsghdr *c = m.msg_controllen ? CMSG_FIRSTHDR(&m) : NULL; c;
		c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
				close(fd);
			}
	return ok;
}

static bool link_is_up(uint16_t port_id)
{
	struct rte_eth_link link = { 0 };

	return rte_eth_link_get_nowait(port_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

bool odp_memif_join(struct odp_memif *wire, uint16_t port_id)
{
	uint64_t end = dpu_now_ns() + JOIN_NS;

	if (rte_eth_dev_start(port_id) < 0)
		return false;
	wire->dev_fd = wire->is_server ? dial_driver(wire->private)
				       : accept_driver(wire->listen_fd);
	while (wire->dev_fd >= 0 && dpu_now_ns() < end) {
		struct pollfd p[2] = { { wire->peer_fd, POLLIN, 0 }, { wire->dev_fd, POLLIN, 0 } };
		int n = poll(p, 2, 2);

		if (n > 0 && ((p[0].revents && !pass_on(wire->peer_fd, wire->dev_fd)) ||
				     (p[1].revents && !pass_on(wire->dev_fd, wire->peer_fd))))
			return false;
		// Up and nothing left to say: the driver's last message has been passed on.
		if (n == 0 && link_is_up(port_id))
			return true;
	}
	return false;
}

bool odp_memif_alive(const struct odp_memif *wire)
{
	struct pollfd p = { wire->peer_fd, POLLIN, 0 };
	int n;

	// DPDK's TAP driver works by signals: one may come just now.
	do {
		n = poll(&p, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n == 0;
}

/*
 * The driver parts in its own thread, which may have a message in hand and looks again at what
 * rte_eth_dev_stop() takes away (DPDK 22.11, memif_disconnect()). It closes its end when it is
 * through.
 */
static void let_go(int dev_fd)
{
	uint64_t end = dpu_now_ns() + PART_NS;
	struct pollfd p = { dev_fd, 0, 0 };

	if (dev_fd < 0)
		return;
	(void)shutdown(dev_fd, SHUT_WR);
	while (!(p.revents & POLLHUP) && dpu_now_ns() < end)
		(void)poll(&p, 1, 10);
}

void odp_memif_part(struct odp_memif *wire, uint16_t port_id)
{
	hang_up(&wire->peer_fd);
	let_go(wire->dev_fd);
	(void)rte_eth_dev_stop(port_id);
	hang_up(&wire->dev_fd);
}
