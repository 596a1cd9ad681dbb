// SPDX-License-Identifier: Apache-2.0
/* Commands by a table of types and states; answers and events as there is room for them. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fds.h"
#include "record.h"

#define CONSOLE_TURN 64 // records of console output in one go
#define MEM_MIB_MAX (1ull << 20)
#define CPU_MAX 8192 // of a host
#define IMAGE_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static_assert(HV_VCPUS_MAX == HV_PROTO_VCPUS && HV_CMDLINE_MAX == HV_PROTO_CMDLINE - 1, "limits");
static_assert(HV_INFO_CREATED == HV_CREATED + 1 && HV_INFO_ENDED == HV_ENDED + 1, "states");

struct hv_control {
	struct hv_control_conf conf;
	struct hv_machine *m; // owned; NULL: none yet
	struct hv_talk talk;
	uint64_t mem_mib;
	uint16_t vcpus;
	uint64_t refused[HV_STATUSES];
	uint32_t detail; // of the command that is being obeyed
	enum hv_end end;

	/* What waits for room. */
	uint8_t answer[sizeof(struct hv_rec_create)]; // no answer is longer than that request
	size_t answer_len; // bytes; 0: none
	uint16_t answer_type;
	uint32_t answer_seq;
	bool tell_state;
	uint32_t tell_want; // bits by slot
	uint32_t event_seq;

	/* stderr, as a pipe to ourselves. */
	int log_fd; // owned; -1: none
	struct hv_rec_log line;
	unsigned line_len;
	uint64_t log_lost;

	/* Output of the console, which vCPUs' threads write: as much as a pipe holds may wait. */
	int console[2]; // owned
	struct hv_rec_bytes output; // out of the pipe, and not sent while there are bytes
	_Atomic uint64_t console_lost;
};

/* What a command needs besides what a rule of its record says. */
struct command {
	struct hv_record_rule rule;
	uint8_t states; // bits by enum hv_info_state
	enum hv_status (*run)(struct hv_control *c, struct hv_record *r);
	int (*step)(struct hv_machine *m); // NULL: `run` does it
};

static unsigned state(const struct hv_control *c)
{
	return c->m ? hv_machine_state(c->m) + 1u : HV_INFO_NONE;
}

static void on_ended(void *arg, enum hv_end why)
{
	struct hv_control *c = arg;

	c->end = why;
	c->tell_state = true;
}

static void on_functions(void *arg)
{
	struct hv_control *c = arg;

	c->tell_state = true;
}

static void on_want(void *arg, unsigned slot)
{
	struct hv_control *c = arg;

	c->tell_want |= 1u << slot;
}

static void on_console(void *arg, const uint8_t *bytes, unsigned len)
{
	struct hv_control *c = arg;
	ssize_t n = write(c->console[1], bytes, len);

	atomic_fetch_add(&c->console_lost, n < 0 ? len : len - (size_t)n);
}

static const struct hv_machine_events events = {
	.ended = on_ended, .console = on_console, .want = on_want, .functions = on_functions
};

/* An answer of len bytes; it is sent when there is room. */
static void answer(struct hv_control *c, uint16_t type, uint32_t seq, const void *rec, size_t len)
{
	memcpy(c->answer, rec, len);
	c->answer_len = len;
	c->answer_type = type;
	c->answer_seq = seq;
}

static void fill_info(const struct hv_control *c, struct hv_rec_info *info)
{
	uint32_t present = 0, wanting = 0;

	if (c->m)
		hv_machine_functions(c->m, &present, &wanting);
	*info = (struct hv_rec_info){ .state = (uint8_t)state(c),
		.end = (uint8_t)c->end,
		.vcpus = dpu_le16_put(c->vcpus),
		.functions = dpu_le32_put(present),
		.wanting = dpu_le32_put(wanting),
		.mem_mib = dpu_le64_put(c->mem_mib) };
}

/* What our own errors are for the card. */
static enum hv_status status_of(struct hv_control *c, int ret)
{
	static const struct {
		int ret;
		enum hv_status status;
	} statuses[] = { { 0, HV_OK }, { -EINVAL, HV_E_FIELD }, { -EALREADY, HV_E_STATE },
		{ -EEXIST, HV_E_SLOT }, { -ENOENT, HV_E_SLOT }, { -ENOEXEC, HV_E_IMAGE },
		{ -ENOMEM, HV_E_MEMORY }, { -ENOSPC, HV_E_MEMORY } };

	c->detail = ret < 0 ? (uint32_t)-ret : 0;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].ret == ret)
			return statuses[i].status;
	return HV_E_INTERNAL;
}

static bool is_image(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & IMAGE_SEALS) == IMAGE_SEALS && fstat(fd, &st) == 0 &&
	       st.st_size > 0;
}

static bool is_connection(int fd)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(peer), size = sizeof(int);
	int type = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX;
}

static bool read_conf(const struct hv_rec_create *rec, struct hv_conf *conf)
{
	uint32_t flags = dpu_le32_get(rec->flags);
	size_t len = strnlen(rec->cmdline, sizeof(rec->cmdline));

	*conf = (struct hv_conf){ .mem_mib = dpu_le32_get(rec->mem_mib),
		.grow_mib = dpu_le32_get(rec->grow_mib),
		.vcpus = dpu_le16_get(rec->vcpus),
		.hugepages = flags & HV_CREATE_HUGEPAGES,
		.split_irqchip = flags & HV_CREATE_SPLIT_IRQCHIP,
		.flat = flags & HV_CREATE_FLAT,
		.cpu_template = dpu_le16_get(rec->cpu_template) };
	if (flags & ~HV_CREATE_FLAGS || conf->vcpus == 0 || conf->vcpus > HV_VCPUS_MAX ||
		conf->mem_mib == 0 || conf->mem_mib + conf->grow_mib > MEM_MIB_MAX ||
		len == sizeof(rec->cmdline) ||
		!dpu_is_zero(rec->cmdline + len, sizeof(rec->cmdline) - len))
		return false;
	memcpy(conf->cmdline, rec->cmdline, len);
	for (unsigned i = 0; i < HV_VCPUS_MAX; i++) {
		uint16_t pin = dpu_le16_get(rec->pin[i]);

		if (pin != HV_PIN_NONE && (i >= conf->vcpus || pin >= CPU_MAX))
			return false;
		conf->pin[i] = pin == HV_PIN_NONE ? -1 : (int16_t)pin;
	}
	return true;
}

static enum hv_status do_create(struct hv_control *c, struct hv_record *r)
{
	const struct hv_rec_create *rec = (const void *)r->bytes;
	struct hv_conf conf;
	struct hv_machine *m;
	int ret;

	if (!read_conf(rec, &conf))
		return HV_E_FIELD;
	if (r->n_fds != (dpu_le32_get(rec->flags) & HV_CREATE_INITRD ? 2 : 1))
		return HV_E_FD_COUNT;
	for (unsigned i = 0; i < r->n_fds; i++)
		if (!is_image(r->fd[i]))
			return HV_E_FD_KIND;
	conf.kernel_fd = r->fd[0];
	conf.initrd_fd = r->fd[1];
	conf.confine = c->conf.confine;
	ret = hv_machine_create(&conf, &events, c, &m);
	if (ret)
		return status_of(c, ret);
	// Nothing but the machine's own descriptors may be left in a process that is shut in.
	hv_record_close(r);
	ret = c->conf.jail ? c->conf.jail(&conf) : 0;
	if (ret) {
		hv_machine_destroy(m);
		c->detail = (uint32_t)-ret;
		return HV_E_JAIL;
	}
	c->m = m;
	c->mem_mib = conf.mem_mib;
	c->vcpus = (uint16_t)conf.vcpus;
	c->tell_state = true;
	return HV_OK;
}

static enum hv_status take_step(struct hv_control *c, int (*step)(struct hv_machine *m))
{
	int ret = 0;

	if (c->m)
		ret = step(c->m);
	else
		c->end = HV_END_STOPPED; // HV_STOP, the only one without a machine
	c->tell_state |= ret == 0 && step != hv_machine_power_button;
	return status_of(c, ret);
}

static enum hv_status do_function(struct hv_control *c, struct hv_record *r)
{
	const struct hv_rec_function *f = (const void *)r->bytes;
	bool add = hv_record_type(r) == HV_ADD;
	int ret;

	if (f->slot >= HV_PROTO_SLOTS || !dpu_is_zero(f->reserved, sizeof(f->reserved)) ||
		(add ? f->kind != HV_KIND_NET && f->kind != HV_KIND_BLK : f->kind != 0))
		return HV_E_FIELD;
	if (r->n_fds && !is_connection(r->fd[0]))
		return HV_E_FD_KIND;
	if (hv_record_type(r) == HV_REMOVE)
		return status_of(c, hv_machine_remove(c->m, f->slot));
	ret = add ? hv_machine_add(c->m, f->slot, (enum hv_kind)f->kind, r->fd[0])
		  : hv_machine_reconnect(c->m, f->slot, r->fd[0]);
	if (ret == 0) {
		r->fd[0] = -1; // the machine's now
		c->tell_want &= ~(1u << f->slot);
	}
	return status_of(c, ret);
}

static enum hv_status do_input(struct hv_control *c, struct hv_record *r)
{
	const struct hv_rec_bytes *b = (const void *)r->bytes;
	unsigned n = dpu_le16_get(b->n);

	if (n == 0 || n > sizeof(b->bytes) ||
		!dpu_is_zero(b->bytes + n, sizeof(b->bytes) - n + sizeof(b->reserved)))
		return HV_E_FIELD;
	c->detail = n - hv_machine_console_input(c->m, b->bytes, n);
	return HV_OK;
}

/* Those that have an answer of their own leave it in c->answer. */
static enum hv_status do_hello(struct hv_control *c, struct hv_record *r)
{
	struct hv_rec_hello h;
	struct hv_rec_info info;
	enum hv_status status = hv_record_hello(r, &h);

	if (status != HV_OK)
		return status;
	// A card that has just come has to be told what the one before was told.
	fill_info(c, &info);
	c->tell_want = dpu_le32_get(info.wanting);
	c->tell_state = true;
	answer(c, HV_HELLO_DONE, hv_record_seq(r), &h, sizeof(h));
	return HV_OK;
}

static enum hv_status do_query(struct hv_control *c, struct hv_record *r)
{
	struct hv_rec_info info;

	fill_info(c, &info);
	answer(c, HV_INFO, hv_record_seq(r), &info, sizeof(info));
	return HV_OK;
}

static enum hv_status do_counters(struct hv_control *c, struct hv_record *r)
{
	struct hv_machine_counters m = { 0 };
	struct hv_rec_counted n = { .log_lost = dpu_le64_put(c->log_lost) };

	if (c->m)
		hv_machine_counters(c->m, &m);
	for (unsigned i = 0; i < HV_STATUSES; i++)
		n.refused[i] = dpu_le64_put(c->refused[i]);
	n.exits = dpu_le64_put(m.exits);
	n.missed = dpu_le64_put(m.missed);
	n.console_lost = dpu_le64_put(atomic_load(&c->console_lost));
	answer(c, HV_COUNTED, hv_record_seq(r), &n, sizeof(n));
	return HV_OK;
}

static enum hv_status do_grow(struct hv_control *c, struct hv_record *r)
{
	const struct hv_rec_grow *rec = (const void *)r->bytes;
	uint64_t mib = dpu_le64_get(rec->mem_mib);
	int ret = 0;

	if (mib < c->mem_mib || mib > MEM_MIB_MAX)
		return HV_E_FIELD;
	if (mib > c->mem_mib)
		ret = hv_machine_add_memory(c->m, mib - c->mem_mib);
	if (ret == 0) {
		c->mem_mib = mib;
		c->tell_state = true;
	}
	return status_of(c, ret);
}

#define NONE (1u << HV_INFO_NONE)
#define MADE (1u << HV_INFO_CREATED)
#define RUNS (1u << HV_INFO_RUNNING)
#define HELD (1u << HV_INFO_PAUSED)
#define LIVE (MADE | RUNS | HELD)
#define ANY (NONE | LIVE)

static const struct command commands[HV_TYPES] = {
	[HV_HELLO] = { { sizeof(struct hv_rec_hello), 0, 0 }, ANY, do_hello },
	[HV_CREATE] = { { sizeof(struct hv_rec_create), 1, 2 }, NONE, do_create },
	[HV_START] = { { sizeof(struct hv_rec_hdr), 0, 0 }, MADE, .step = hv_machine_start },
	[HV_PAUSE] = { { sizeof(struct hv_rec_hdr), 0, 0 }, RUNS, .step = hv_machine_pause },
	[HV_RESUME] = { { sizeof(struct hv_rec_hdr), 0, 0 }, HELD, .step = hv_machine_resume },
	[HV_STOP] = { { sizeof(struct hv_rec_hdr), 0, 0 }, ANY, .step = hv_machine_stop },
	[HV_POWER_BUTTON] = { { sizeof(struct hv_rec_hdr), 0, 0 }, RUNS,
		.step = hv_machine_power_button },
	[HV_ADD] = { { sizeof(struct hv_rec_function), 1, 1 }, LIVE, do_function },
	[HV_REMOVE] = { { sizeof(struct hv_rec_function), 0, 0 }, LIVE, do_function },
	[HV_RECONNECT] = { { sizeof(struct hv_rec_function), 1, 1 }, LIVE, do_function },
	[HV_QUERY] = { { sizeof(struct hv_rec_hdr), 0, 0 }, ANY, do_query },
	[HV_COUNTERS] = { { sizeof(struct hv_rec_hdr), 0, 0 }, ANY, do_counters },
	[HV_CONSOLE_IN] = { { sizeof(struct hv_rec_bytes), 0, 0 }, RUNS | HELD, do_input },
	[HV_GROW] = { { sizeof(struct hv_rec_grow), 0, 0 }, RUNS | HELD, do_grow },
};

static void obey(struct hv_control *c, struct hv_record *r)
{
	uint16_t type = hv_record_type(r);
	const struct command *cmd = &commands[type < HV_TYPES ? type : 0]; // 0: none
	struct hv_rec_done done;
	enum hv_status status = hv_record_judge(r, &cmd->rule, &c->talk);

	c->detail = 0;
	if (status == HV_OK)
		status = !(cmd->states & 1u << state(c)) ? HV_E_STATE
			 : cmd->step			 ? take_step(c, cmd->step)
							 : cmd->run(c, r);
	c->refused[status] += status != HV_OK;
	if (c->answer_len)
		return;
	hv_record_done(r, status, c->detail, &done);
	answer(c, HV_DONE, hv_record_seq(r), &done, sizeof(done));
}

static int send_answer(struct hv_control *c)
{
	int ret = hv_record_send(c->conf.fd, c->answer_type, c->answer_seq,
		(struct hv_rec_hdr *)c->answer, c->answer_len, -1);

	if (ret != -EAGAIN)
		c->answer_len = 0;
	return ret;
}

static int send_event(struct hv_control *c, enum hv_type type, struct hv_rec_hdr *rec, size_t len)
{
	int ret = hv_record_send(c->conf.fd, type, c->event_seq, rec, len, -1);

	c->event_seq += ret == 0;
	return ret;
}

static int send_wants(struct hv_control *c)
{
	while (c->tell_want) {
		unsigned slot = (unsigned)__builtin_ctz(c->tell_want);
		struct hv_rec_function f = { .slot = (uint8_t)slot };
		int ret = send_event(c, HV_EV_WANT, &f.h, sizeof(f));

		if (ret)
			return ret;
		c->tell_want &= ~(1u << slot);
	}
	return 0;
}

static int send_console(struct hv_control *c)
{
	struct hv_rec_bytes *b = &c->output;
	int ret = 0;

	// All of it after the end; before that a guest that floods holds up nothing else.
	for (unsigned i = 0; ret == 0 && (i < CONSOLE_TURN || c->end != HV_END_NONE); i++) {
		ssize_t n = dpu_le16_get(b->n);

		if (n == 0)
			n = read(c->console[0], b->bytes, sizeof(b->bytes));
		if (n <= 0)
			return 0;
		b->n = dpu_le16_put((uint16_t)n);
		ret = send_event(c, HV_EV_CONSOLE, &b->h, sizeof(*b));
		if (ret == 0)
			memset(b, 0, sizeof(*b));
	}
	return ret;
}

static int send_state(struct hv_control *c)
{
	struct hv_rec_info info;
	int ret;

	if (!c->tell_state)
		return 0;
	fill_info(c, &info);
	ret = send_event(c, HV_EV_STATE, &info.h, sizeof(info));
	c->tell_state = ret != 0;
	return ret;
}

/* As much as there is room for. 0: all of it. */
static int flush(struct hv_control *c)
{
	int ret = c->answer_len ? send_answer(c) : 0;

	// The end comes after what was printed before it, everything else goes first.
	if (ret == 0 && c->end != HV_END_NONE)
		ret = send_console(c);
	ret = ret ? ret : send_state(c);
	ret = ret ? ret : send_wants(c);
	return ret ? ret : send_console(c);
}

static void send_line(struct hv_control *c)
{
	if (c->line_len && send_event(c, HV_EV_LOG, &c->line.h, sizeof(c->line)))
		c->log_lost++;
	memset(c->line.text, 0, sizeof(c->line.text));
	c->line_len = 0;
}

/* What was written to stderr, a line a record; one that is too long is cut into several. */
static void read_log(struct hv_control *c)
{
	char buf[1024];
	ssize_t n = read(c->log_fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != '\n')
			c->line.text[c->line_len++] = buf[i];
		if (buf[i] == '\n' || c->line_len == sizeof(c->line.text) - 1)
			send_line(c);
	}
}

static int take_one(struct hv_control *c)
{
	struct hv_record r;
	int ret = hv_record_recv(c->conf.fd, &r);

	if (ret <= 0)
		return ret == -EAGAIN ? 0 : -ECONNRESET;
	obey(c, &r);
	hv_record_close(&r);
	return 0;
}

int hv_control_turn(struct hv_control *c, int timeout_ms)
{
	bool full = flush(c) == -EAGAIN;
	struct pollfd p[] = {
		// A command is taken only when its answer has room to wait in.
		{ .fd = c->conf.fd,
			.events = (short)((c->answer_len ? 0 : POLLIN) | (full ? POLLOUT : 0)) },
		{ .fd = full ? -1 : c->console[0], .events = POLLIN },
		{ .fd = c->log_fd, .events = POLLIN },
		{ .fd = c->m ? hv_machine_fd(c->m) : -1, .events = POLLIN },
	};
	int ret = 0;

	if (c->end != HV_END_NONE)
		return -ESHUTDOWN;
	if (poll(p, sizeof(p) / sizeof(p[0]), timeout_ms) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[2].revents)
		read_log(c);
	if (p[3].revents)
		hv_machine_turn(c->m);
	if (p[0].revents & POLLIN)
		ret = take_one(c);
	else if (p[0].revents & (POLLHUP | POLLERR))
		ret = -ECONNRESET;
	flush(c);
	return ret;
}

enum hv_end hv_control_end(const struct hv_control *c)
{
	return c->end;
}

static int take_stderr(struct hv_control *c)
{
	int p[2], ret;

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	c->log_fd = p[0];
	ret = dup2(p[1], STDERR_FILENO) < 0 ? -errno : 0;
	close(p[1]);
	return ret;
}

int hv_control_create(const struct hv_control_conf *conf, struct hv_control **out)
{
	struct hv_control *c = calloc(1, sizeof(*c));
	int ret;

	if (!c) {
		close(conf->fd);
		return -ENOMEM;
	}
	c->conf = *conf;
	c->log_fd = c->console[0] = c->console[1] = -1;
	ret = pipe2(c->console, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
	if (ret == 0 && conf->log)
		ret = take_stderr(c);
	if (ret) {
		hv_control_destroy(c);
		return ret;
	}
	*out = c;
	return 0;
}

void hv_control_destroy(struct hv_control *c)
{
	if (!c)
		return;
	hv_machine_destroy(c->m);
	hv_fd_close(&c->log_fd);
	hv_fd_close(&c->console[0]);
	hv_fd_close(&c->console[1]);
	hv_fd_close(&c->conf.fd);
	free(c);
}
