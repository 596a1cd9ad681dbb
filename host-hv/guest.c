// SPDX-License-Identifier: Apache-2.0
/* One guest's process, from its socket to its end. */
#include "guest.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "control.h"
#include "dpu_log.h"
#include "sandbox.h"

static int shut_in(const struct hv_conf *conf)
{
	int ret = hv_sandbox_process(conf->mem_mib + conf->grow_mib, conf->vcpus);

	return ret ? ret : hv_sandbox_thread(HV_THREAD_MAIN);
}

static int shut_in_vcpu(void)
{
	return hv_sandbox_thread(HV_THREAD_VCPU);
}

enum hv_end hv_guest_run(void)
{
	const struct hv_control_conf conf = {
		.fd = HV_JAIL_FD, .jail = shut_in, .confine = shut_in_vcpu, .log = true
	};
	struct hv_control *c;
	int ret;

#ifdef M_ARENA_MAX // one heap for all threads: a vCPU's may not map one of its own
	mallopt(M_ARENA_MAX, 1);
#endif
	ret = hv_sandbox_begin();
	if (ret == 0)
		ret = hv_control_create(&conf, &c);
	if (ret) {
		dpu_err("guest: cannot begin", "err=%s", strerror(-ret));
		return HV_END_ERROR;
	}
	do
		ret = hv_control_turn(c, -1);
	while (ret == 0);
	// Nothing is taken down: the process ends, and all that it has with it.
	if (ret == -ESHUTDOWN)
		return hv_control_end(c);
	return ret == -ECONNRESET ? HV_END_STOPPED : HV_END_ERROR;
}
