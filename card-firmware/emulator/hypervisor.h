/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hypervisor runs a guest: host-hv where KVM can run its kernel and the guest asks for
 * nothing that only QEMU has, else QEMU. Pure, but for what looks at the machine: emu_kvm_missing()
 * and emu_jail_missing().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emu_guest_conf;
struct emu_topology;

enum emu_hypervisor { EMU_HV_AUTO, EMU_HV_QEMU, EMU_HV_HOST };

/* What there is here for a guest. */
struct emu_machine {
	const char *no_kvm; // why /dev/kvm cannot be used; NULL: it can
	const char *no_jail; // why host-hv cannot shut a guest's process in; NULL: it can
	bool kvm_boots; // a kernel came up with it, as the image's file "accel" has it
	bool host_hv; // the program is there
};

/* Their names, NULL at the end; the index is enum emu_hypervisor. */
extern const char *const emu_hypervisor_names[];

/*
 * Why this guest is for QEMU alone, as the end of a sentence whose subject is the guest; NULL: it
 * is not. The topology is checked, but for this.
 */
const char *emu_qemu_only(const struct emu_topology *t, const struct emu_guest_conf *g);

/*
 * Give each guest of t whose hypervisor is EMU_HV_AUTO the one that `asked` says, or that suits the
 * machine. Writes one line for the operator, how the guests run and why not on host-hv, or what is
 * wrong. 0, or -ENOTSUP: a guest is to run on host-hv and cannot.
 */
int emu_hypervisor_choose(struct emu_topology *t, enum emu_hypervisor asked,
	const struct emu_machine *m, char *line, size_t size);

/* no_kvm of this machine. Opens /dev/kvm for a moment. */
const char *emu_kvm_missing(void);

/*
 * no_jail of this machine: a process of ours tries it, in namespaces of its own. Before there are
 * threads or other children to wait for.
 */
const char *emu_jail_missing(void);
