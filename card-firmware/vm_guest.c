// SPDX-License-Identifier: Apache-2.0
/* One guest's process: made, told, listened to. Nothing that it says is believed unchecked. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device.h"
#include "dpu_clock.h"
#include "dpu_log.h"

#define TYPE_MS 5 // between attempts to type what the guest had no room for
#define WANT_MS 100 // between attempts to reach a function that is not there
#define WANT_MAX_MS 10000 // before a connection that is asked for again and again
#define WANT_CALM_NS 30000000000ull // it was not asked for so long: as the first time

static const char *const status_text[HV_STATUSES] = {
	[HV_OK] = "done",
	[HV_E_MAGIC] = "not a record",
	[HV_E_VERSION] = "another version of the protocol",
	[HV_E_TYPE] = "no such command",
	[HV_E_LENGTH] = "not the length of the command",
	[HV_E_SEQUENCE] = "out of turn",
	[HV_E_STATE] = "not in this state of the guest",
	[HV_E_FD_COUNT] = "not the descriptors of the command",
	[HV_E_FD_KIND] = "a descriptor of another kind",
	[HV_E_FIELD] = "a value that cannot be",
	[HV_E_SLOT] = "the slot is taken, or empty",
	[HV_E_IMAGE] = "kernel or initrd is none that it can load",
	[HV_E_MEMORY] = "the host has not enough memory",
	[HV_E_JAIL] = "could not be shut in",
	[HV_E_INTERNAL] = "KVM or the host failed",
	[HV_E_ID] = "no such guest",
};

const char *card_vm_status_text(enum hv_status status)
{
	return status_text[status];
}

/* ---- functions ---- */

/* A connection to the function's own socket, like any front-end's. */
static int reach(struct card *c, const char *name, enum hv_kind *kind)
{
	struct card_function *f = card_function_find(c, name);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret;

	if (!f)
		return -ENODEV;
	if (f->kind == VHO_DEV_NET ? f->net_conf.client : f->blk_conf.client)
		return -ENOTSUP;
	*kind = f->kind == VHO_DEV_NET ? HV_KIND_NET : HV_KIND_BLK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->socket); // checked when it was made
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int card_vm_guest_function(struct card_vm *v, unsigned slot, enum hv_type type)
{
	struct hv_rec_function rec = { .slot = (uint8_t)slot };
	enum hv_kind kind = HV_KIND_NET;
	int fd, ret;

	if (!v->guest)
		return -ENOTCONN;
	fd = reach(v->vms->card, v->conf.functions[slot], &kind);
	if (fd < 0) {
		dpu_warn_ratelimited("vm: no connection to a function",
			"name=%s slot=%u function=%s err=%d", v->name, slot,
			v->conf.functions[slot], -fd);
		return fd;
	}
	rec.kind = type == HV_ADD ? (uint8_t)kind : 0;
	ret = card_vm_link_send(v->guest, type, slot, &rec, sizeof(rec), &fd, 1);
	if (!ret) {
		v->present |= 1u << slot;
		v->adding |= type == HV_ADD ? 1u << slot : 0;
		v->counters.reconnects += type == HV_RECONNECT;
	}
	return ret;
}

static void give_wanted(void *arg)
{
	struct card_vm *v = arg;
	struct vho_loop *l = &v->vms->card->vho_loop;
	uint64_t now = dpu_now_ns();

	v->want_timer = NULL;
	for (unsigned slot = 0; slot < HV_PROTO_SLOTS; slot++) {
		if (!(v->wants & 1u << slot) || v->want[slot].due_ns > now)
			continue;
		if (!v->conf.functions[slot][0] ||
			card_vm_guest_function(v, slot, HV_RECONNECT) == 0) {
			v->wants &= ~(1u << slot);
			v->want[slot].gave_ns = now;
		}
	}
	if (v->wants && v->guest)
		v->want_timer = l->timer(l->arg, WANT_MS, give_wanted, v);
}

/* ---- making ---- */

static int send_bare(struct card_vm *v, enum hv_type type)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };

	return card_vm_link_send(v->guest, type, 0, &none, sizeof(none), NULL, 0);
}

static int send_create(struct card_vm *v)
{
	uint64_t grow_mib = v->conf.mem_max_mib - v->conf.mem_mib;
	struct hv_rec_create rec = { .mem_mib = dpu_le32_put((uint32_t)v->conf.mem_mib),
		.grow_mib = dpu_le32_put((uint32_t)grow_mib),
		.flags = dpu_le32_put((v->conf.hugepages ? HV_CREATE_HUGEPAGES : 0) |
				      (v->conf.initrd ? HV_CREATE_INITRD : 0) |
				      (v->conf.flat ? HV_CREATE_FLAT : 0)),
		.vcpus = dpu_le16_put((uint16_t)v->conf.vcpus),
		.cpu_template = dpu_le16_put((uint16_t)v->conf.cpu_template) };
	int fds[2] = { fcntl(v->kernel_fd, F_DUPFD_CLOEXEC, 0), -1 };
	unsigned n = 1;

	for (unsigned i = 0; i < HV_PROTO_VCPUS; i++)
		rec.pin[i] = dpu_le16_put(v->conf.pins[i]);
	card_vm_cmdline(&v->conf, rec.cmdline);
	if (fds[0] < 0)
		return -errno;
	if (v->conf.initrd) {
		fds[1] = fcntl(v->initrd_fd, F_DUPFD_CLOEXEC, 0);
		n = 2;
		if (fds[1] < 0) {
			close(fds[0]);
			return -EMFILE;
		}
	}
	return card_vm_link_send(v->guest, HV_CREATE, 0, &rec, sizeof(rec), fds, n);
}

int card_vm_guest_grow(struct card_vm *v, uint64_t mem_mib)
{
	struct hv_rec_grow rec = { .mem_mib = dpu_le64_put(mem_mib) };
	int ret = card_vm_link_send(v->guest, HV_GROW, 0, &rec, sizeof(rec), NULL, 0);

	if (ret == 0) {
		v->added[0].status = HV_OK; // until it says otherwise
		v->adding |= 1;
	}
	return ret;
}

/* Slots that it has and should not, and the other way round. 0 or -errno. */
static int match_functions(struct card_vm *v)
{
	int ret = 0;

	for (unsigned slot = 0; !ret && slot < HV_PROTO_SLOTS; slot++) {
		bool has = v->present & 1u << slot, should = v->conf.functions[slot][0];
		struct hv_rec_function rec = { .slot = (uint8_t)slot };

		if (should && !has)
			ret = card_vm_guest_function(v, slot, HV_ADD);
		if (ret)
			snprintf(v->reason, sizeof(v->reason), "%s: %s", v->conf.functions[slot],
				ret == -ENODEV	  ? "no such function"
				: ret == -ENOTSUP ? "is in client mode"
						  : strerror(-ret));
		if (has && !should) {
			v->present &= ~(1u << slot);
			ret = card_vm_link_send(
				v->guest, HV_REMOVE, slot, &rec, sizeof(rec), NULL, 0);
		}
	}
	return ret;
}

void card_vm_guest_make(struct card_vm *v)
{
	int ret;

	if (v->kernel_fd < 0) { // of a card process before this one
		card_vm_load(v);
		return;
	}
	v->making = true;
	v->present = 0;
	v->reason[0] = '\0';
	ret = send_create(v);
	if (!ret)
		ret = match_functions(v);
	if (!ret)
		ret = send_bare(v, HV_START);
	if (ret)
		card_vm_fail(v, ret, "%s", v->reason[0] ? v->reason : strerror(-ret));
}

/* ---- what it says ---- */

static void on_running(struct card_vm *v, enum card_vm_state state)
{
	bool ran = v->state == CARD_VM_RUNNING || v->state == CARD_VM_PAUSED;

	v->state = state;
	if (!ran) // it may say so as often as it likes
		card_vm_again_running(v);
	if (!v->ran_ns)
		v->ran_ns = dpu_now_ns();
	if (v->deadline) {
		v->vms->card->vho_loop.timer_cancel(v->vms->card->vho_loop.arg, v->deadline);
		v->deadline = NULL;
	}
	if (v->op.pending && v->op.type == HV_START)
		card_vm_op_end(v, 0, "");
}

static uint32_t slots_of(const struct card_vm *v)
{
	uint32_t slots = 0;

	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		slots |= v->conf.functions[i][0] ? 1u << i : 0;
	return slots;
}

static bool on_state(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_info info;
	bool first = !v->met;

	memcpy(&info, r->bytes, sizeof(info));
	if (info.state > HV_INFO_ENDED || dpu_le32_get(info.reserved))
		return false;
	v->met = true;
	v->process.mem_mib = dpu_le64_get(info.mem_mib);
	// A slot that was emptied counts until the guest has let go of what was in it.
	v->present = dpu_le32_get(info.functions) | (first ? 0 : v->present & slots_of(v));
	switch ((enum hv_info_state)info.state) {
	case HV_INFO_NONE:
		if (first && !v->stopping)
			card_vm_guest_make(v);
		break;
	case HV_INFO_CREATED:
		if (!first)
			break;
		v->making = true; // by a card that did not come to its end
		if (match_functions(v) || send_bare(v, HV_START))
			card_vm_fail(v, -EIO, "could not be taken over");
		break;
	case HV_INFO_RUNNING:
	case HV_INFO_PAUSED:
		if (first)
			(void)match_functions(v);
		if (first && v->process.mem_mib < v->conf.mem_mib) // changed while it was away
			(void)card_vm_guest_grow(v, v->conf.mem_mib);
		on_running(v, info.state == HV_INFO_RUNNING ? CARD_VM_RUNNING : CARD_VM_PAUSED);
		break;
	case HV_INFO_ENDED:
		v->end = info.end;
		v->signal = 0;
		v->ended = true;
		break;
	}
	return true;
}

/* ---- input ---- */

static void type_again(void *arg)
{
	struct card_vm *v = arg;

	v->type_timer = NULL;
	card_vm_guest_type(v);
}

void card_vm_guest_type(struct card_vm *v)
{
	struct hv_rec_bytes b = { .n = { { 0 } } };
	unsigned n = v->n_typed < sizeof(b.bytes) ? v->n_typed : (unsigned)sizeof(b.bytes);

	if (v->typing || v->type_timer || !n || !v->guest)
		return;
	b.n = dpu_le16_put((uint16_t)n);
	memcpy(b.bytes, v->typed, n);
	v->typing = card_vm_link_send(v->guest, HV_CONSOLE_IN, n, &b, sizeof(b), NULL, 0) == 0;
}

/* What the guest left over of n bytes is typed again, in a while. False: more than there were. */
static bool on_typed(struct card_vm *v, unsigned n, unsigned left)
{
	struct vho_loop *l = &v->vms->card->vho_loop;

	if (left > n || n > v->n_typed)
		return false;
	v->typing = false;
	v->n_typed -= n - left;
	memmove(v->typed, v->typed + (n - left), v->n_typed);
	if (left)
		v->type_timer = l->timer(l->arg, TYPE_MS, type_again, v);
	else
		card_vm_guest_type(v);
	return true;
}

static bool on_done(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_done d;
	char text[128];
	unsigned status;

	memcpy(&d, r->bytes, sizeof(d));
	status = dpu_le16_get(d.status);
	if (dpu_le16_get(d.type) != r->asked || status >= HV_STATUSES)
		return false;
	v->counters.refused += status != HV_OK;
	snprintf(text, sizeof(text), "%s (errno %u)", status_text[status], dpu_le32_get(d.detail));
	if (!status && (r->asked == HV_CREATE || r->asked == HV_GROW))
		v->process.mem_mib = v->conf.mem_mib; // it says so itself, but later
	switch (r->asked) {
	case HV_CREATE:
	case HV_START:
		if (status)
			card_vm_fail(v, -EIO, "%s", text);
		else if (r->asked == HV_START && v->state == CARD_VM_STARTING)
			on_running(v, CARD_VM_RUNNING); // it may end before it says so
		break;
	case HV_ADD:
		v->adding &= ~(1u << r->cookie);
		v->added[r->cookie].status = (enum hv_status)status;
		v->added[r->cookie].detail = dpu_le32_get(d.detail);
		if (status && v->state == CARD_VM_STARTING)
			card_vm_fail(v, -EIO, "slot %u: %s", (unsigned)r->cookie, text);
		if (status)
			v->present &= ~(1u << r->cookie);
		break;
	case HV_GROW:
		v->adding &= ~1u;
		v->added[0].status = (enum hv_status)status;
		v->added[0].detail = dpu_le32_get(d.detail);
		break;
	case HV_COUNTERS:
		v->counting = false;
		break;
	case HV_CONSOLE_IN:
		return on_typed(v, (unsigned)r->cookie, status ? 0 : dpu_le32_get(d.detail));
	case HV_PAUSE:
	case HV_RESUME:
	case HV_POWER_BUTTON:
		if (v->op.pending && v->op.type == r->asked)
			card_vm_op_end(v, status ? -EIO : 0, text);
		break;
	default:
		break;
	}
	if (status && v->state != CARD_VM_STOPPED)
		snprintf(v->reason, sizeof(v->reason), "command %u: %s", r->asked, text);
	return true;
}

static bool on_console(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_bytes b;
	unsigned n;

	memcpy(&b, r->bytes, sizeof(b));
	n = dpu_le16_get(b.n);
	if (n == 0 || n > sizeof(b.bytes))
		return false;
	for (unsigned i = 0; i < n; i++)
		v->console[(v->console_put + i) % CARD_VM_CONSOLE] = b.bytes[i];
	v->console_put += n;
	v->counters.console_bytes += n;
	return true;
}

/* The first connection is given at once, one that is asked for soon after it ever later. */
static void want(struct card_vm *v, unsigned slot)
{
	uint64_t now = dpu_now_ns(), gave = v->want[slot].gave_ns;
	unsigned ms = v->want[slot].wait_ms;

	if (!gave || now - gave > WANT_CALM_NS)
		ms = 0;
	else if (ms < WANT_MS)
		ms = WANT_MS;
	else
		ms = 2 * ms < WANT_MAX_MS ? 2 * ms : WANT_MAX_MS;
	v->want[slot].wait_ms = ms;
	v->want[slot].due_ns = now + ms * 1000000ull;
	v->wants |= 1u << slot;
	v->counters.wants_held += ms > 0;
	if (!v->want_timer)
		give_wanted(v);
}

static bool on_want(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_function f;

	memcpy(&f, r->bytes, sizeof(f));
	if (f.slot >= HV_PROTO_SLOTS || f.kind || !dpu_is_zero(f.reserved, sizeof(f.reserved)))
		return false;
	if (!(v->wants & 1u << f.slot)) // once is enough
		want(v, f.slot);
	return true;
}

static bool on_log(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_log l;

	memcpy(&l, r->bytes, sizeof(l));
	if (!memchr(l.text, 0, sizeof(l.text)))
		return false;
	for (char *c = l.text; *c; c++) // it cannot move anybody's terminal
		if (*c < ' ' || *c > '~' || *c == '"')
			*c = '?';
	v->counters.log_lines++;
	dpu_warn_ratelimited("vm: guest's process says", "name=%s text=\"%s\"", v->name, l.text);
	return true;
}

void card_vm_guest_count(struct card_vm *v)
{
	if (v->guest && v->met && !v->counting)
		v->counting = send_bare(v, HV_COUNTERS) == 0;
}

static void on_counted(struct card_vm *v, const struct card_vm_record *r)
{
	struct hv_rec_counted n;

	memcpy(&n, r->bytes, sizeof(n));
	v->counting = false;
	v->process.exits = dpu_le64_get(n.exits);
	v->process.missed = dpu_le64_get(n.missed);
	v->process.console_lost = dpu_le64_get(n.console_lost);
	v->process.log_lost = dpu_le64_get(n.log_lost);
	v->process.refused = 0;
	for (unsigned i = 0; i < HV_STATUSES; i++)
		v->process.refused += dpu_le64_get(n.refused[i]);
}

static bool on_record(void *arg, struct card_vm_record *r)
{
	struct card_vm *v = arg;

	switch (r->type) {
	case HV_HELLO_DONE:
		return true;
	case HV_DONE:
		return r->asked != HV_HELLO && on_done(v, r);
	case HV_EV_STATE:
		return on_state(v, r);
	case HV_EV_CONSOLE:
		return on_console(v, r);
	case HV_EV_WANT:
		return on_want(v, r);
	case HV_EV_LOG:
		return on_log(v, r);
	case HV_COUNTED:
		on_counted(v, r);
		return true;
	default:
		return false;
	}
}

static void on_closed(void *arg, enum card_vm_close why)
{
	struct card_vm *v = arg;

	v->vms->closed[CARD_VM_GUEST][why]++;
	v->guest = NULL;
	if (why != CARD_VM_GONE) {
		dpu_err("vm: a guest's process is not to be trusted", "name=%s why=%s", v->name,
			card_vm_close_name(why));
		card_vm_fail(
			v, -EBADMSG, "its process broke the protocol: %s", card_vm_close_name(why));
		return;
	}
	if (v->agent_knows) // and tells how it ended
		return;
	if (!card_vm_again(v)) // its agent is another one, or away
		card_vm_stopped(v);
}

static const struct card_vm_link_ops guest_ops = { .record = on_record, .closed = on_closed };

void card_vm_guest_open(struct card_vm *v, int fd)
{
	card_vm_link_close(v->guest);
	v->guest = NULL;
	v->making = v->met = v->typing = v->counting = false;
	v->present = v->wants = v->adding = 0;
	if (v->state == CARD_VM_RESTARTING)
		card_vm_clear(v);
	if ((v->state == CARD_VM_STOPPED || v->state == CARD_VM_RESTARTING) && !v->stopping)
		v->state = CARD_VM_STARTING; // until it says what it is
	if (card_vm_link_open(v->vms->card->loop, fd, CARD_VM_GUEST, &guest_ops, v, &v->guest))
		v->guest = NULL;
}
