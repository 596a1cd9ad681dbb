// SPDX-License-Identifier: Apache-2.0
/* The choice between host-hv and QEMU. */
#include "hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"
#include "topology.h"

const char *const emu_hypervisor_names[] = { "auto", "qemu", "host-hv", NULL };

static const struct emu_function *function(const struct emu_topology *t, const struct emu_end *e)
{
	return &t->cards[e->card].functions[e->item];
}

const char *emu_qemu_only(const struct emu_topology *t, const struct emu_guest_conf *g)
{
	const struct emu_end *ends[] = { &g->nic, &g->disk };

	if (g->nic_options[0])
		return "has options of a QEMU device (nic_options)";
	if (g->disk_options[0])
		return "has options of a QEMU device (disk_options)";
	if (g->iommu)
		return "has an IOMMU";
	for (unsigned i = 0; i < 2; i++) {
		if (!ends[i]->set)
			continue;
		if (function(t, ends[i])->client)
			return "listens for its card (client)";
		if (function(t, ends[i])->host_notifier)
			return "has a function with host_notifier";
	}
	if (g->nic.set && g->disk.set && g->nic.card != g->disk.card)
		return "has functions of two cards";
	return g->nic.set || g->disk.set ? NULL : "has no function of a card";
}

/* NULL: nothing. Forced: whether kernels boot is not asked. */
static const char *hinders(const struct emu_machine *m, bool forced)
{
	if (!m->host_hv)
		return "host-hv is not built";
	if (m->no_kvm)
		return m->no_kvm;
	if (m->no_jail)
		return m->no_jail;
	return m->kvm_boots || forced ? NULL : "KVM here does not run kernels";
}

struct verdict {
	const char *guest; // whose own reason it is; NULL: of all
	const char *why; // not on host-hv; NULL: on host-hv
};

/* 0 or -ENOTSUP. */
static int choose_one(const struct emu_topology *t, struct emu_guest_conf *g,
	enum emu_hypervisor asked, const struct emu_machine *m, struct verdict *v)
{
	enum emu_hypervisor want = g->hypervisor == EMU_HV_AUTO
					   ? asked
					   : (enum emu_hypervisor)g->hypervisor;
	const char *machine = hinders(m, want == EMU_HV_HOST), *own = emu_qemu_only(t, g);

	if (want == EMU_HV_QEMU)
		*v = (struct verdict){ NULL, "it was asked for" };
	else
		*v = (struct verdict){ machine || !own ? NULL : g->name, machine ? machine : own };
	g->hypervisor = v->why ? EMU_HV_QEMU : EMU_HV_HOST;
	return want == EMU_HV_HOST && v->why ? -ENOTSUP : 0;
}

int emu_hypervisor_choose(struct emu_topology *t, enum emu_hypervisor asked,
	const struct emu_machine *m, char *line, size_t size)
{
	const char *qemu = m->kvm_boots && !m->no_kvm ? "QEMU with KVM" : "QEMU's TCG";
	struct verdict first = { NULL, NULL }, v;
	char some[32] = "";
	size_t n_qemu = 0;

	for (size_t i = 0; i < t->n_guests; i++) {
		struct emu_guest_conf *g = &t->guests[i];

		if (choose_one(t, g, asked, m, &v)) {
			emu_text(line, size, "guest %s cannot run on host-hv: %s%s", g->name,
				v.guest ? "it " : "", v.why);
			return -ENOTSUP;
		}
		if (v.why && !n_qemu++)
			first = v;
	}
	if (n_qemu && n_qemu < t->n_guests)
		emu_text(some, sizeof(some), "on host-hv, %zu of %zu ", n_qemu, t->n_guests);
	if (!n_qemu)
		emu_text(line, size, "guests run on host-hv");
	else
		emu_text(line, size, "guests run %sunder %s: %s%s%s", some, qemu,
			first.guest ? first.guest : "", first.guest ? " " : "", first.why);
	return 0;
}

const char *emu_kvm_missing(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? "no /dev/kvm" : "/dev/kvm cannot be opened";
	close(fd);
	return NULL;
}

enum { JAIL_MADE, JAIL_NO_NAMESPACES, JAIL_NO_ROOT, JAIL_UNKNOWN };

/* What host-hv does to a guest's process before that has a guest. */
static int try_jail(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
		    CLONE_NEWUTS) < 0)
		return JAIL_NO_NAMESPACES;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/dev", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k") < 0 ||
		chdir("/dev") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return JAIL_NO_ROOT;
	return JAIL_MADE;
}

const char *emu_jail_missing(void)
{
	static const char *const why[] = { [JAIL_MADE] = NULL,
		[JAIL_NO_NAMESPACES] = "no right to make namespaces for host-hv's jail",
		[JAIL_NO_ROOT] = "host-hv's jail cannot have a root of its own "
				 "(is this one an initial RAM disk?)",
		[JAIL_UNKNOWN] = "host-hv's jail cannot be tried" };
	int status = 0, ret = JAIL_UNKNOWN;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_jail());
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return why[JAIL_UNKNOWN];
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) < JAIL_UNKNOWN)
		ret = WEXITSTATUS(status);
	return why[ret];
}
