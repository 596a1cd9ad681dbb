// SPDX-License-Identifier: Apache-2.0
/*
 * A guest whose process ended begins anew, if that is its policy: at once the first time, then
 * after a while that grows with each time that it had not run long. Its agent knows of the end
 * until then, so a card process that comes meanwhile has the same choice. That it waits, or that it
 * runs and is to begin anew if it crashes, is kept in the state directory, too, for a card process
 * that comes together with another agent: nobody else knows of the guest then.
 */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "hex.h"
#include "store.h"

#define AGAIN_MIN_MS 250u // the second time
#define AGAIN_MAX_MS 60000u
#define LOST_MS 2000u // that an agent has to tell of those that it has
#define CALM_NS 60000000000ull // it ran so long: as the first time

/* enum hv_end of host-hv's machine.h, as HV_EV_ENDED has it */
#define END_REBOOT 2
#define END_SHUTDOWN 3
#define END_ERROR 5

/* And the VM's id: it waits; it runs. */
static const char *const kept[] = { "vm-again-", "vm-runs-" };
enum { WAITS, RUNS };

struct kept {
	char name[16 + 2 * HV_PROTO_ID];
};

static struct kept kept_name(const struct card_vm *v, unsigned what)
{
	struct kept k = { 0 };

	memcpy(k.name, kept[what], strlen(kept[what]));
	card_hex_text(v->id, sizeof(v->id), k.name + strlen(kept[what]));
	return k;
}

static void forget(const struct card_vm *v, unsigned what)
{
	const struct kept k = kept_name(v, what);
	int dir = card_store_dir(v->vms->card);

	if (dir >= 0)
		(void)unlinkat(dir, k.name, 0); // most often it is not there
}

/* Not made stable: where a card loses its power, its host and the guests most often do. */
static void keep(const struct card_vm *v, unsigned what)
{
	const struct kept k = kept_name(v, what);
	int dir = card_store_dir(v->vms->card), fd;

	if (dir < 0)
		return;
	fd = openat(dir, k.name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		dpu_warn_ratelimited("vm: another card process will not know that it begins anew",
			"name=%s err=%s", v->name, strerror(errno));
		return; // the other mark says nearly the same
	}
	close(fd);
	forget(v, !what);
}

void card_vm_again_forget(const struct card_vm *v)
{
	forget(v, WAITS);
	forget(v, RUNS);
}

void card_vm_again_running(const struct card_vm *v)
{
	if (v->conf.crash_restarts)
		keep(v, RUNS);
	else
		card_vm_again_forget(v);
}

static bool is_kept(const struct card_vm *v, unsigned what)
{
	const struct kept k = kept_name(v, what);
	int dir = card_store_dir(v->vms->card);

	return dir >= 0 && faccessat(dir, k.name, F_OK, 0) == 0;
}

void card_vm_again_restore(struct card_vms *s)
{
	struct card_vm *v;

	TAILQ_FOREACH (v, &s->list, link) {
		v->again_before = is_kept(v, WAITS);
		v->lost = !v->again_before && is_kept(v, RUNS);
		if (!v->again_before && !v->lost)
			continue;
		v->state = CARD_VM_RESTARTING; // as soon as there is an agent
		dpu_info("vm: begins anew unless an agent has it", "name=%s", v->name);
	}
}

static bool rebooted(const struct card_vm *v)
{
	return v->ended && !v->signal && v->end == END_REBOOT;
}

/* Without a word is a crash, too. One that tried to leave its jail is for people to look at. */
static bool crashed(const struct card_vm *v)
{
	if (!v->ended)
		return true;
	return v->signal ? v->signal != SIGSYS : v->end == END_SHUTDOWN || v->end == END_ERROR;
}

static void again(void *arg)
{
	struct card_vm *v = arg;

	v->again_timer = NULL;
	if (!v->vms->agent_ready)
		return; // as soon as there is one
	if (!v->lost)
		card_vm_begin(v);
	else if (!card_vm_again(v)) // no agent has it: it ended without a word
		card_vm_stopped(v);
}

bool card_vm_again(struct card_vm *v)
{
	struct vho_loop *l = &v->vms->card->vho_loop;
	bool reboot = rebooted(v), crash = crashed(v);
	bool known = v->state == CARD_VM_RESTARTING && !v->lost;
	uint64_t now = dpu_now_ns();

	v->lost = false;
	if (v->down)
		return false;
	if (!known) {
		v->counters.reboots += reboot;
		v->counters.crashes += crash;
	}
	if (!(reboot ? v->conf.reboot_restarts : crash && v->conf.crash_restarts))
		return false;
	if (known)
		return true;
	if (!v->again_before || (v->ran_ns && now - v->ran_ns >= CALM_NS))
		v->again_ms = 0;
	else if (v->again_ms < AGAIN_MIN_MS)
		v->again_ms = AGAIN_MIN_MS;
	else
		v->again_ms = 2 * v->again_ms < AGAIN_MAX_MS ? 2 * v->again_ms : AGAIN_MAX_MS;
	v->again_before = true;
	card_vm_clear(v);
	if (v->op.pending)
		card_vm_op_end(v, -ECONNRESET, "the guest begins anew");
	v->state = CARD_VM_RESTARTING;
	keep(v, WAITS);
	v->again_timer = l->timer(l->arg, v->again_ms, again, v);
	if (!v->again_timer)
		return false;
	dpu_info("vm: begins anew", "name=%s why=%s after_ms=%u", v->name,
		reboot ? "reboot" : "crash", v->again_ms);
	return true;
}

void card_vm_agent_ready(struct card_vms *s)
{
	struct vho_loop *l = &s->card->vho_loop;
	struct card_vm *v;

	// What it knows of them itself comes first
	TAILQ_FOREACH (v, &s->list, link)
		if (v->state == CARD_VM_RESTARTING && !v->again_timer)
			v->again_timer = l->timer(
				l->arg, v->lost ? LOST_MS : AGAIN_MIN_MS, again, v);
}
