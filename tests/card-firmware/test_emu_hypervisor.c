// SPDX-License-Identifier: Apache-2.0
/* Which hypervisor a guest of the emulator runs on, and what the operator is told. */
#include "test.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor.h"
#include "topology.h"

static const struct emu_machine good = { .kvm_boots = true, .host_hv = true };

struct rack {
	struct emu_function functions[3];
	struct emu_card_conf card[2];
	struct emu_guest_conf guests[2];
	struct emu_topology t;
	char line[200];
};

static void rack_make(struct rack *r)
{
	*r = (struct rack){
		.functions = { [1] = { .client = true }, [2] = { .host_notifier = true } },
		.guests = { { .name = "a", .nic = { 0, 0, true } },
			{ .name = "b", .nic = { 0, 0, true } } }
	};
	for (unsigned i = 0; i < 2; i++)
		r->card[i] = (struct emu_card_conf){ .functions = r->functions, .n_functions = 3 };
	r->t = (struct emu_topology){
		.cards = r->card, .n_cards = 2, .guests = r->guests, .n_guests = 2
	};
}

static void expect(struct rack *r, enum emu_hypervisor asked, const struct emu_machine *m, int ret,
	const char *line)
{
	assert_int_equal(emu_hypervisor_choose(&r->t, asked, m, r->line, sizeof(r->line)), ret);
	assert_string_equal(r->line, line);
}

static void test_machine(void **state)
{
	struct emu_machine m = good;
	struct rack r;

	(void)state;
	rack_make(&r);
	expect(&r, EMU_HV_AUTO, &m, 0, "guests run on host-hv");
	assert_int_equal(r.guests[1].hypervisor, EMU_HV_HOST);
	rack_make(&r);
	expect(&r, EMU_HV_QEMU, &m, 0, "guests run under QEMU with KVM: it was asked for");
	assert_int_equal(r.guests[1].hypervisor, EMU_HV_QEMU);
	rack_make(&r);
	m.kvm_boots = false;
	expect(&r, EMU_HV_AUTO, &m, 0,
		"guests run under QEMU's TCG: KVM here does not run kernels");
	rack_make(&r);
	expect(&r, EMU_HV_HOST, &m, 0, "guests run on host-hv"); // who asks knows better
	rack_make(&r);
	m.no_kvm = "no /dev/kvm";
	expect(&r, EMU_HV_AUTO, &m, 0, "guests run under QEMU's TCG: no /dev/kvm");
	rack_make(&r);
	expect(&r, EMU_HV_HOST, &m, -ENOTSUP, "guest a cannot run on host-hv: no /dev/kvm");
	rack_make(&r);
	m = (struct emu_machine){ .kvm_boots = true, .host_hv = true, .no_jail = "no jail" };
	expect(&r, EMU_HV_AUTO, &m, 0, "guests run under QEMU with KVM: no jail");
	rack_make(&r);
	expect(&r, EMU_HV_HOST, &m, -ENOTSUP, "guest a cannot run on host-hv: no jail");
	rack_make(&r);
	m.host_hv = false;
	expect(&r, EMU_HV_AUTO, &m, 0, "guests run under QEMU with KVM: host-hv is not built");
}

static void test_guest(void **state)
{
	struct rack r;

	(void)state;
	rack_make(&r);
	r.guests[1].iommu = true;
	expect(&r, EMU_HV_AUTO, &good, 0,
		"guests run on host-hv, 1 of 2 under QEMU with KVM: b has an IOMMU");
	assert_int_equal(r.guests[0].hypervisor, EMU_HV_HOST);
	assert_int_equal(r.guests[1].hypervisor, EMU_HV_QEMU);
	rack_make(&r);
	strcpy(r.guests[0].disk_options, "x=y");
	expect(&r, EMU_HV_HOST, &good, -ENOTSUP,
		"guest a cannot run on host-hv: it has options of a QEMU device "
		"(disk_options)");
	rack_make(&r);
	r.guests[0].hypervisor = EMU_HV_QEMU; // the topology comes before the option
	expect(&r, EMU_HV_HOST, &good, 0,
		"guests run on host-hv, 1 of 2 under QEMU with KVM: it was asked for");
}

static void test_qemu_only(void **state)
{
	struct rack r;

	(void)state;
	rack_make(&r);
	assert_null(emu_qemu_only(&r.t, &r.guests[0]));
	r.guests[0].nic.item = 1;
	assert_non_null(strstr(emu_qemu_only(&r.t, &r.guests[0]), "client"));
	r.guests[0].nic.item = 2;
	assert_non_null(strstr(emu_qemu_only(&r.t, &r.guests[0]), "host_notifier"));
	r.guests[0].nic.item = 0;
	r.guests[0].disk = (struct emu_end){ 1, 0, true };
	assert_non_null(strstr(emu_qemu_only(&r.t, &r.guests[0]), "two cards"));
	r.guests[0].nic.set = r.guests[0].disk.set = false;
	assert_non_null(strstr(emu_qemu_only(&r.t, &r.guests[0]), "no function"));
}

/* Who has changed its root may make no user namespace. */
static void test_jail(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (emu_jail_missing())
		skip();
	pid = fork();
	if (pid == 0) {
		_exit(chroot("/tmp") < 0 || chdir("/") < 0 || !emu_jail_missing());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_guest),
		cmocka_unit_test(test_qemu_only),
		cmocka_unit_test(test_jail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
