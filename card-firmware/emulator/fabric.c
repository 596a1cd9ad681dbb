// SPDX-License-Identifier: Apache-2.0
/*
 * Links between uplinks: a veth pair under af_packet, or memif (shared memory), which needs no
 * rights. Kernel devices live in a network namespace of the emulator's own and go away with it,
 * however it ends.
 */
#include "emu.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"
#include "text.h"

static size_t count(const struct emu_topology *t, enum emu_link_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_links; i++)
		n += t->links[i].kind == kind;
	return n;
}

static bool needs_kernel(const struct emu_topology *t)
{
	if (count(t, EMU_LINK_VETH))
		return true;
	for (size_t i = 0; i < t->n_cards; i++)
		for (size_t k = 0; k < t->cards[i].n_uplinks; k++)
			if (!strncmp(t->cards[i].uplinks[k].devargs, "net_tap", 7))
				return true;
	return false;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

/* "0 ID 1": we are root there. */
static int write_map(const char *path, unsigned id)
{
	char text[64];

	emu_text(text, sizeof(text), "0 %u 1", id);
	return write_file(path, text);
}

/* Without root: be root in a user namespace of our own, where the system permits that. */
static int isolate_unprivileged(void)
{
	unsigned uid = geteuid(), gid = getegid();
	int ret;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	ret = write_file("/proc/self/setgroups", "deny");
	if (!ret)
		ret = write_map("/proc/self/uid_map", uid);
	if (!ret)
		ret = write_map("/proc/self/gid_map", gid);
	return ret;
}

static int loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int isolate(void)
{
	int ret = 0;

	if (unshare(CLONE_NEWNET) < 0)
		ret = errno == EPERM ? isolate_unprivileged() : -errno;
	if (ret)
		return ret;
	// A wire says nothing of its own. There may be no IPv6 at all.
	(void)write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return loopback_up();
}

int emu_fabric_isolate(const struct emu_topology *t)
{
	return needs_kernel(t) ? isolate() : 0;
}

/* Run ip(8) and wait for it: only while coming up. What it complains of goes to `log`. */
static int ip(const char *log, const char *args)
{
	struct emu_argv a = { 0 };
	char copy[256], *save = NULL;
	int status, ret;
	pid_t pid;

	emu_text(copy, sizeof(copy), "%s", args);
	emu_argv_add(&a, "ip");
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		emu_argv_add(&a, "%s", w);
	ret = emu_spawn(&a, log, &pid);
	emu_argv_fini(&a);
	if (ret)
		return ret;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/*
 * DPDK's af_packet names its fanout group by process id xor interface index, within the namespace.
 * Far apart indexes keep cards with neighbouring process ids from naming the same one.
 */
static int veth_create(const char *log, unsigned link)
{
	unsigned index = (2 * link + 1) << 8;
	char text[160];
	int ret;

	emu_text(text, sizeof(text),
		"link add ob%ua index %u mtu 9000 type veth peer name ob%ub index %u mtu 9000",
		link, index, link, index + (1 << 8));
	ret = ip(log, text);
	for (char side = 'a'; side <= 'b' && !ret; side++) {
		emu_text(text, sizeof(text), "link set ob%u%c up", link, side);
		ret = ip(log, text);
	}
	return ret;
}

/* Whether this user may have kernel links: a child of ours makes one, in a namespace of its own. */
static bool may_use_kernel(void)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(isolate() < 0 || veth_create("/dev/null", 0) < 0 ||
			socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) < 0);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void emu_fabric_choose(struct emu_topology *t)
{
	bool kernel;

	if (!count(t, EMU_LINK_AUTO))
		return;
	kernel = may_use_kernel();
	for (size_t i = 0; i < t->n_links; i++)
		if (t->links[i].kind == EMU_LINK_AUTO)
			t->links[i].kind = kernel ? EMU_LINK_VETH : EMU_LINK_MEMIF;
	fprintf(stderr, "card-emulator: links are %s\n",
		kernel ? "veth pairs in a network namespace"
		       : "memif: no right to make a network namespace and veth pairs");
}

int emu_fabric_create(struct emu *e)
{
	int ret = 0;

	for (size_t i = 0; i < e->topo->n_links && !ret; i++)
		if (e->topo->links[i].kind == EMU_LINK_VETH)
			ret = veth_create("/dev/stderr", (unsigned)i);
	return ret;
}

void emu_fabric_devargs(const struct emu *e, size_t card, size_t uplink, char *out, size_t size)
{
	const struct emu_topology *t = e->topo;
	const struct emu_uplink *u = &t->cards[card].uplinks[uplink];

	emu_text(out, size, "%s", u->devargs);
	for (unsigned i = 0; i < t->n_links; i++)
		for (unsigned k = 0; k < 2; k++) {
			const struct emu_end *end = &t->links[i].ends[k];

			if (end->card != card || end->item != uplink)
				continue;
			if (t->links[i].kind == EMU_LINK_VETH)
				emu_text(out, size, "net_af_packet%u,iface=ob%u%c", i, i,
					k ? 'b' : 'a');
			else
				emu_text(out, size,
					"net_memif%u,role=%s,id=%u,socket=%s/link%u,"
					"socket-abstract=no,rsize=11",
					i, k ? "client" : "server", i, e->dir, i);
		}
}
