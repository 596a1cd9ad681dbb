// SPDX-License-Identifier: Apache-2.0
/* Messages and doorbells in this machine's KVM: GSIs are taken and given back, routes change. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "irq.h"
#include "test.h"

#define MSI_ADDR 0xfee00000

static const struct row {
	const char *name;
	bool split;
} rows[] = { { "all of it in KVM", false }, { "local APICs only", true } };

static void routes(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm;
	uint64_t n;

	assert_int_equal(hv_vm_init(&vm, 2 << 20, false), 0);
	assert_int_equal(hv_irq_init(&vm, r->split), 0);
	assert_int_equal(hv_irq_line(&vm, 5, true), r->split ? -EINVAL : 0);
	assert_int_equal(hv_irq_line(&vm, HV_IRQ_PINS, true), -EINVAL);

	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 1), -EINVAL); // nobody's
	assert_int_equal(hv_irq_msi_get(&vm, 0), -EINVAL);
	assert_int_equal(hv_irq_msi_get(&vm, HV_IRQ_MSIS + 1), -ENOSPC);
	assert_int_equal(hv_irq_msi_get(&vm, 3), 24);
	assert_int_equal(hv_irq_msi_get(&vm, HV_IRQ_MSIS - 3), 27);
	assert_int_equal(hv_irq_msi_get(&vm, 1), -ENOSPC);
	hv_irq_msi_put(&vm, 30, 2);
	assert_int_equal(hv_irq_msi_get(&vm, 3), -ENOSPC);
	assert_int_equal(hv_irq_msi_get(&vm, 2), 30);

	n = hv_irq_updates(&vm);
	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_msi_route(&vm, 26, MSI_ADDR, 0x32), 0);
	assert_int_equal(hv_irq_updates(&vm), n + 2);
	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_updates(&vm), n + 2); // nothing new
	// KVM refuses the table, and the route stays as it was
	assert_int_equal(hv_irq_msi_route(&vm, 23, MSI_ADDR, 0x31), -EINVAL);
	assert_int_equal(hv_irq_line(&vm, 5, false), r->split ? -EINVAL : 0);
	hv_irq_msi_put(&vm, 24, 1);
	assert_int_equal(hv_irq_updates(&vm), n + 3);
	hv_irq_msi_put(&vm, 25, 1); // had no route
	assert_int_equal(hv_irq_updates(&vm), n + 3);
	hv_irq_fini(&vm);
	hv_vm_fini(&vm);
}

static void eventfds(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm;
	uint64_t n = 1;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), gsi;

	assert_int_equal(hv_vm_init(&vm, 2 << 20, false), 0);
	assert_int_equal(hv_irq_init(&vm, r->split), 0);
	gsi = hv_irq_msi_get(&vm, 1);
	assert_int_equal(hv_irq_msi_route(&vm, (unsigned)gsi, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, file), -EINVAL);
	// What was written before is not lost, and is KVM's from then on
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, fd), 0);
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, fd), -EBUSY);
	assert_int_equal(hv_irq_detach(&vm, (unsigned)gsi, fd), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), -1);

	assert_int_equal(hv_irq_doorbell(&vm, 0xc0000000, fd), 0);
	assert_int_equal(hv_irq_doorbell(&vm, 0xc0000000, fd), -EEXIST);
	assert_int_equal(hv_irq_no_doorbell(&vm, 0xc0000004, fd), -ENOENT);
	assert_int_equal(hv_irq_no_doorbell(&vm, 0xc0000000, fd), 0);
	hv_irq_fini(&vm);
	hv_vm_fini(&vm);
	close(fd);
	close(file);
}

int main(void)
{
	int failed = 0;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	RUN_ROWS(rows, routes, failed);
	RUN_ROWS(rows, eventfds, failed);
	return failed;
}
