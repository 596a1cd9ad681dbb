// SPDX-License-Identifier: Apache-2.0
/* The card's commands to a guest: each as it must be, and each with everything wrong in turn. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "dpu_log.h"
#include "fake_machine.h"
#include "test.h"

static struct hv_control *c;
static int card; // our end
static uint32_t seq;
static int jail_ret;
static unsigned jailed;
static int spare[4]; // the other ends of what was handed over
static unsigned n_spare;

union any {
	struct hv_rec_hdr h;
	struct hv_rec_hello hello;
	struct hv_rec_create create;
	struct hv_rec_function function;
	struct hv_rec_bytes bytes;
	struct hv_rec_grow grow;
	struct hv_rec_done done;
	struct hv_rec_info info;
	struct hv_rec_counted counted;
	struct hv_rec_log log;
	uint8_t raw[4096];
};

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* What a process that is shut in may not have: the card's images are read by then. */
static bool image_is_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	bool found = false;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char to[64] = "";

		(void)!readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);
		found |= strncmp(to, "/memfd:image", 12) == 0;
	}
	closedir(d);
	return found;
}

static int jail(const struct hv_conf *conf)
{
	assert_false(image_is_open());
	assert_int_equal(conf->mem_mib, 64);
	assert_int_equal(fake_machine.started, 0);
	jailed++;
	return jail_ret;
}

static int memory(const char *bytes, int seals)
{
	int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int one_of_pair(int type)
{
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p), 0);
	assert_true(n_spare < ARRAY_LEN(spare));
	spare[n_spare++] = p[1];
	return p[0];
}

/* A descriptor by the letter that rows have for it. */
static int make_fd(char kind)
{
	switch (kind) {
	case 'k': // as a kernel must be
		return memory("kernel", F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	case 'w': // may be written
		return memory("kernel", F_SEAL_SHRINK | F_SEAL_GROW);
	case 'g': // may grow
		return memory("kernel", F_SEAL_WRITE | F_SEAL_SHRINK);
	case 'h': // may shrink
		return memory("kernel", F_SEAL_WRITE | F_SEAL_GROW);
	case 'e': // has nothing in it
		return memory("", F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	case 'f':
		return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	case 's': // as a function's connection must be
		return one_of_pair(SOCK_STREAM);
	case 'd':
		return one_of_pair(SOCK_DGRAM);
	case 'q':
		return one_of_pair(SOCK_SEQPACKET);
	case 'n': // nobody is connected to it
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	default:
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
}

static void send_raw(const void *rec, size_t len, const char *fds)
{
	union {
		char room[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} u = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)rec, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t n = strlen(fds);
	int fd[4];

	for (size_t i = 0; i < n; i++)
		assert_true((fd[i] = make_fd(fds[i])) >= 0);
	if (n) {
		msg.msg_control = u.room;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		u.align = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.align), fd, n * sizeof(int));
	}
	assert_int_equal(sendmsg(card, &msg, MSG_NOSIGNAL), len);
	for (size_t i = 0; i < n; i++)
		close(fd[i]);
}

static size_t len_of(unsigned type)
{
	switch (type) {
	case HV_HELLO:
		return sizeof(struct hv_rec_hello);
	case HV_CREATE:
		return sizeof(struct hv_rec_create);
	case HV_ADD:
	case HV_REMOVE:
	case HV_RECONNECT:
		return sizeof(struct hv_rec_function);
	case HV_CONSOLE_IN:
		return sizeof(struct hv_rec_bytes);
	case HV_GROW:
		return sizeof(struct hv_rec_grow);
	default:
		return sizeof(struct hv_rec_hdr);
	}
}

/* A record of that type that is as it must be, the next one of the conversation. */
static void fill(union any *r, unsigned type)
{
	memset(r, 0, sizeof(*r));
	if (type == HV_HELLO)
		r->hello.version = dpu_le16_put(HV_PROTO_VERSION);
	if (type == HV_CREATE) {
		r->create.mem_mib = dpu_le32_put(64);
		r->create.grow_mib = dpu_le32_put(1024);
		r->create.vcpus = dpu_le16_put(2);
		memset(r->create.pin, 0xff, sizeof(r->create.pin));
		r->create.pin[1] = dpu_le16_put(3);
		strcpy(r->create.cmdline, "console=ttyS0");
	}
	if (type == HV_ADD)
		r->function.kind = HV_KIND_BLK;
	if (type == HV_ADD || type == HV_REMOVE || type == HV_RECONNECT)
		r->function.slot = 5;
	if (type == HV_CONSOLE_IN) {
		r->bytes.n = dpu_le16_put(2);
		memcpy(r->bytes.bytes, "hi", 2);
	}
	if (type == HV_GROW)
		r->grow.mem_mib = dpu_le64_put(192);
	r->h = (struct hv_rec_hdr){ dpu_le32_put(HV_PROTO_MAGIC), dpu_le16_put(HV_PROTO_VERSION),
		dpu_le16_put((uint16_t)type), dpu_le32_put((uint32_t)len_of(type)),
		dpu_le32_put(seq) };
}

static bool take(union any *r)
{
	ssize_t n = recv(card, r, sizeof(*r), MSG_DONTWAIT);

	if (n < 0)
		return false;
	assert_true((size_t)n >= sizeof(r->h));
	assert_int_equal(dpu_le32_get(r->h.magic), HV_PROTO_MAGIC);
	assert_int_equal(dpu_le32_get(r->h.len), n);
	return true;
}

/* Let it work until it has nothing to do, and take the one answer, past events. */
static unsigned answer_to(uint32_t number, union any *r)
{
	unsigned type = 0;
	union any got;

	for (int i = 0; i < 3; i++)
		hv_control_turn(c, 0);
	while (take(&got)) {
		unsigned t = dpu_le16_get(got.h.type);

		if (t >= HV_EV_STATE)
			continue;
		assert_int_equal(type, 0);
		assert_int_equal(dpu_le32_get(got.h.seq), number);
		type = t;
		*r = got;
	}
	return type;
}

static unsigned status_of(uint32_t number)
{
	union any r;

	assert_int_equal(answer_to(number, &r), HV_DONE);
	return dpu_le16_get(r.done.status);
}

static unsigned command(unsigned type, const char *fds)
{
	union any r;

	fill(&r, type);
	send_raw(&r, len_of(type), fds);
	return status_of(seq++);
}

static void hello(void)
{
	union any r;

	fill(&r, HV_HELLO);
	send_raw(&r, len_of(HV_HELLO), "");
	assert_int_equal(answer_to(seq++, &r), HV_HELLO_DONE);
	assert_int_equal(dpu_le16_get(r.hello.vcpus_max), HV_PROTO_VCPUS);
}

static void info(struct hv_rec_info *out)
{
	union any r;

	fill(&r, HV_QUERY);
	send_raw(&r, sizeof(r.h), "");
	assert_int_equal(answer_to(seq++, &r), HV_INFO);
	*out = r.info;
}

static int set_up(void **state)
{
	struct hv_control_conf conf = { .jail = jail };
	int p[2];

	(void)state;
	fake_machine_reset();
	jailed = 0;
	jail_ret = 0;
	n_spare = 0;
	seq = 1000;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	card = p[0];
	conf.fd = p[1];
	assert_int_equal(hv_control_create(&conf, &c), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hv_control_destroy(c);
	close(card);
	while (n_spare)
		close(spare[--n_spare]);
	assert_int_equal(fake_machine.alive, 0);
	return 0;
}

/* Bring a guest to a state of enum hv_info_state. */
static void bring_to(unsigned s)
{
	hello();
	if (s >= HV_INFO_CREATED)
		assert_int_equal(command(HV_CREATE, "k"), HV_OK);
	if (s >= HV_INFO_RUNNING)
		assert_int_equal(command(HV_START, ""), HV_OK);
	if (s == HV_INFO_PAUSED)
		assert_int_equal(command(HV_PAUSE, ""), HV_OK);
}

static const struct bad_case {
	const char *name;
	unsigned type;
	unsigned state; // before
	unsigned off, n; // bytes that are set to `value`, little endian
	uint64_t value;
	int len; // bytes more than there should be
	const char *fds;
	unsigned status;
} bad[] = {
#define H(m) offsetof(struct hv_rec_hdr, m)
#define C(m) offsetof(struct hv_rec_create, m)
#define F(m) offsetof(struct hv_rec_function, m)
#define B(m) offsetof(struct hv_rec_bytes, m)
#define G(m) offsetof(struct hv_rec_grow, m)
#define NEW HV_INFO_NONE
#define RUN HV_INFO_RUNNING
	{ "magic", HV_QUERY, NEW, H(magic), 4, 0x5642414e, 0, "", HV_E_MAGIC },
	{ "version 0", HV_QUERY, NEW, H(version), 2, 0, 0, "", HV_E_VERSION },
	{ "version 2", HV_QUERY, NEW, H(version), 2, 2, 0, "", HV_E_VERSION },
	{ "type 0", HV_QUERY, NEW, H(type), 2, 0, 0, "", HV_E_TYPE },
	{ "type beyond the last", HV_QUERY, NEW, H(type), 2, HV_TYPES, 0, "", HV_E_TYPE },
	{ "type 0xffff", HV_QUERY, NEW, H(type), 2, 0xffff, 0, "", HV_E_TYPE },
	{ "type of an answer", HV_QUERY, NEW, H(type), 2, HV_DONE, 0, "", HV_E_TYPE },
	{ "type of an agent's", HV_QUERY, NEW, H(type), 2, HV_AGENT_SPAWN, 0, "", HV_E_TYPE },
	{ "length in the header short", HV_QUERY, NEW, H(len), 4, 15, 0, "", HV_E_LENGTH },
	{ "length in the header long", HV_QUERY, NEW, H(len), 4, 17, 0, "", HV_E_LENGTH },
	{ "length in the header huge", HV_QUERY, NEW, H(len), 4, 0xffffffff, 0, "", HV_E_LENGTH },
	{ "one byte more on the wire", HV_QUERY, NEW, 0, 0, 0, 1, "", HV_E_LENGTH },
	{ "one byte less on the wire", HV_QUERY, NEW, 0, 0, 0, -1, "", HV_E_LENGTH },
	{ "no byte on the wire", HV_QUERY, NEW, 0, 0, 0, -16, "", HV_E_LENGTH },
	{ "no byte, but a descriptor", HV_QUERY, NEW, 0, 0, 0, -16, "k", HV_E_LENGTH },
	{ "create cut", HV_CREATE, NEW, 0, 0, 0, -1, "k", HV_E_LENGTH },
	{ "create and one byte more", HV_CREATE, NEW, 0, 0, 0, 1, "k", HV_E_LENGTH },
	{ "create and much more", HV_CREATE, NEW, 0, 0, 0, 1800, "k", HV_E_LENGTH },
	{ "sequence again", HV_QUERY, NEW, H(seq), 4, 1001, 0, "", HV_E_SEQUENCE },
	{ "sequence skipped", HV_QUERY, NEW, H(seq), 4, 1003, 0, "", HV_E_SEQUENCE },
	{ "sequence 0", HV_QUERY, NEW, H(seq), 4, 0, 0, "", HV_E_SEQUENCE },
	{ "query with a descriptor", HV_QUERY, NEW, 0, 0, 0, 0, "k", HV_E_FD_COUNT },
	{ "hello of another version", HV_HELLO, NEW, 16, 2, 2, 0, "", HV_E_VERSION },
	{ "hello's vCPUs", HV_HELLO, NEW, 18, 2, 1, 0, "", HV_E_FIELD },
	{ "hello's slots", HV_HELLO, NEW, 20, 2, 1, 0, "", HV_E_FIELD },
	{ "hello's reserved bytes", HV_HELLO, NEW, 22, 2, 0x100, 0, "", HV_E_FIELD },
	{ "no memory", HV_CREATE, NEW, C(mem_mib), 8, 0, 0, "k", HV_E_FIELD },
	{ "too much memory", HV_CREATE, NEW, C(mem_mib), 8, (1 << 20) + 1, 0, "k", HV_E_FIELD },
	{ "memory that wraps", HV_CREATE, NEW, C(mem_mib), 8, 1ull << 44, 0, "k", HV_E_FIELD },
	{ "too much memory later", HV_CREATE, NEW, C(grow_mib), 4, 1 << 20, 0, "k", HV_E_FIELD },
	{ "unknown flag", HV_CREATE, NEW, C(flags), 4, 16, 0, "k", HV_E_FIELD },
	{ "no vCPU", HV_CREATE, NEW, C(vcpus), 2, 0, 0, "k", HV_E_FIELD },
	{ "too many vCPUs", HV_CREATE, NEW, C(vcpus), 2, 65, 0, "k", HV_E_FIELD },
	{ "pin of a CPU that is none", HV_CREATE, NEW, C(pin), 2, 8192, 0, "k", HV_E_FIELD },
	{ "pin of a vCPU that is none", HV_CREATE, NEW, C(pin) + 4, 2, 0, 0, "k", HV_E_FIELD },
	{ "command line's end", HV_CREATE, NEW, C(cmdline) + 2047, 1, 'x', 0, "k", HV_E_FIELD },
	{ "bytes after it", HV_CREATE, NEW, C(cmdline) + 20, 1, 'x', 0, "k", HV_E_FIELD },
	{ "no kernel", HV_CREATE, NEW, 0, 0, 0, 0, "", HV_E_FD_COUNT },
	{ "initrd without its flag", HV_CREATE, NEW, 0, 0, 0, 0, "kk", HV_E_FD_COUNT },
	{ "flag without an initrd", HV_CREATE, NEW, C(flags), 4, 1, 0, "k", HV_E_FD_COUNT },
	{ "three descriptors", HV_CREATE, NEW, C(flags), 4, 1, 0, "kkk", HV_E_FD_COUNT },
	{ "four descriptors", HV_CREATE, NEW, C(flags), 4, 1, 0, "kkkk", HV_E_FD_COUNT },
	{ "kernel that is a file", HV_CREATE, NEW, 0, 0, 0, 0, "f", HV_E_FD_KIND },
	{ "kernel that is a socket", HV_CREATE, NEW, 0, 0, 0, 0, "s", HV_E_FD_KIND },
	{ "kernel that can be written", HV_CREATE, NEW, 0, 0, 0, 0, "w", HV_E_FD_KIND },
	{ "kernel that can grow", HV_CREATE, NEW, 0, 0, 0, 0, "g", HV_E_FD_KIND },
	{ "kernel that can shrink", HV_CREATE, NEW, 0, 0, 0, 0, "h", HV_E_FD_KIND },
	{ "kernel without a byte", HV_CREATE, NEW, 0, 0, 0, 0, "e", HV_E_FD_KIND },
	{ "initrd that can be written", HV_CREATE, NEW, C(flags), 4, 1, 0, "kw", HV_E_FD_KIND },
	{ "slot beyond the last", HV_ADD, RUN, F(slot), 1, 32, 0, "s", HV_E_FIELD },
	{ "kind 0", HV_ADD, RUN, F(kind), 1, 0, 0, "s", HV_E_FIELD },
	{ "kind beyond the last", HV_ADD, RUN, F(kind), 1, 3, 0, "s", HV_E_FIELD },
	{ "reserved byte of a function", HV_ADD, RUN, F(reserved) + 5, 1, 1, 0, "s", HV_E_FIELD },
	{ "function without a socket", HV_ADD, RUN, 0, 0, 0, 0, "", HV_E_FD_COUNT },
	{ "function with two", HV_ADD, RUN, 0, 0, 0, 0, "ss", HV_E_FD_COUNT },
	{ "function with a memfd", HV_ADD, RUN, 0, 0, 0, 0, "k", HV_E_FD_KIND },
	{ "function with datagrams", HV_ADD, RUN, 0, 0, 0, 0, "d", HV_E_FD_KIND },
	{ "function with packets", HV_ADD, RUN, 0, 0, 0, 0, "q", HV_E_FD_KIND },
	{ "function that is not connected", HV_ADD, RUN, 0, 0, 0, 0, "n", HV_E_FD_KIND },
	{ "function with TCP", HV_ADD, RUN, 0, 0, 0, 0, "t", HV_E_FD_KIND },
	{ "remove with a kind", HV_REMOVE, RUN, F(kind), 1, 1, 0, "", HV_E_FIELD },
	{ "remove with a socket", HV_REMOVE, RUN, 0, 0, 0, 0, "s", HV_E_FD_COUNT },
	{ "remove of an empty slot", HV_REMOVE, RUN, 0, 0, 0, 0, "", HV_E_SLOT },
	{ "reconnect of an empty slot", HV_RECONNECT, RUN, 0, 0, 0, 0, "s", HV_E_SLOT },
	{ "reconnect with a kind", HV_RECONNECT, RUN, F(kind), 1, 1, 0, "s", HV_E_FIELD },
	{ "no byte typed", HV_CONSOLE_IN, RUN, B(n), 2, 0, 0, "", HV_E_FIELD },
	{ "more bytes than fit", HV_CONSOLE_IN, RUN, B(n), 2, 257, 0, "", HV_E_FIELD },
	{ "bytes after those typed", HV_CONSOLE_IN, RUN, B(bytes) + 2, 1, 1, 0, "", HV_E_FIELD },
	{ "reserved bytes typed", HV_CONSOLE_IN, RUN, B(reserved) + 5, 1, 1, 0, "", HV_E_FIELD },
	{ "memory that shrinks", HV_GROW, RUN, G(mem_mib), 8, 63, 0, "", HV_E_FIELD },
	{ "memory beyond all", HV_GROW, RUN, G(mem_mib), 8, (1 << 20) + 1, 0, "", HV_E_FIELD },
	{ "memory beyond numbers", HV_GROW, RUN, G(mem_mib), 8, UINT64_MAX, 0, "", HV_E_FIELD },
	{ "memory with a descriptor", HV_GROW, RUN, 0, 0, 0, 0, "k", HV_E_FD_COUNT },
	{ "memory cut", HV_GROW, RUN, 0, 0, 0, -8, "", HV_E_LENGTH },
};

static void refused(void **state)
{
	const struct bad_case *t = *state;
	struct hv_rec_info was, is;
	struct fake_machine told;
	unsigned before;
	union any r;

	set_up(NULL);
	bring_to(t->state);
	info(&was);
	told = fake_machine;
	before = open_fds();
	fill(&r, t->type);
	for (unsigned i = 0; i < t->n; i++)
		r.raw[t->off + i] = (uint8_t)(t->value >> 8 * i);
	send_raw(&r, len_of(t->type) + (size_t)t->len, t->fds);
	// What is too short to have a number is answered without one.
	assert_int_equal(
		status_of(
			len_of(t->type) + (size_t)t->len < sizeof(r.h) ? 0 : dpu_le32_get(r.h.seq)),
		t->status);
	while (n_spare)
		close(spare[--n_spare]);
	assert_int_equal(open_fds(), before);
	hello();
	info(&is);
	assert_memory_equal(&was.state, &is.state, sizeof(is) - sizeof(is.h));
	assert_memory_equal(&told, &fake_machine, sizeof(told));
	fill(&r, HV_COUNTERS);
	send_raw(&r, sizeof(r.h), "");
	assert_int_equal(answer_to(seq++, &r), HV_COUNTED);
	for (unsigned i = 0; i < HV_STATUSES; i++)
		assert_int_equal(dpu_le64_get(r.counted.refused[i]), i == t->status);
	tear_down(NULL);
}

/* Which command in which state: 1 where it may be. States are those of enum hv_info_state. */
static const struct state_case {
	const char *name;
	unsigned type;
	const char *fds;
	uint8_t may[4]; // none, created, running, paused
} in_state[] = {
	{ "create", HV_CREATE, "k", { 1, 0, 0, 0 } },
	{ "start", HV_START, "", { 0, 1, 0, 0 } },
	{ "pause", HV_PAUSE, "", { 0, 0, 1, 0 } },
	{ "resume", HV_RESUME, "", { 0, 0, 0, 1 } },
	{ "stop", HV_STOP, "", { 1, 1, 1, 1 } },
	{ "power button", HV_POWER_BUTTON, "", { 0, 0, 1, 0 } },
	{ "add", HV_ADD, "s", { 0, 1, 1, 1 } },
	{ "console input", HV_CONSOLE_IN, "", { 0, 0, 1, 1 } },
	{ "grow", HV_GROW, "", { 0, 0, 1, 1 } },
};

static void only_in_its_states(void **state)
{
	const struct state_case *t = *state;

	for (unsigned s = 0; s < ARRAY_LEN(t->may); s++) {
		set_up(NULL);
		bring_to(s);
		assert_int_equal(command(t->type, t->fds), t->may[s] ? HV_OK : HV_E_STATE);
		tear_down(NULL);
	}
}

static const struct machine_case {
	const char *name;
	unsigned type;
	const char *fds;
	int ret; // of the machine
	unsigned status;
} machine_says[] = {
	{ "create: field", HV_CREATE, "k", -EINVAL, HV_E_FIELD },
	{ "create: image", HV_CREATE, "k", -ENOEXEC, HV_E_IMAGE },
	{ "create: memory", HV_CREATE, "k", -ENOMEM, HV_E_MEMORY },
	{ "create: anything else", HV_CREATE, "k", -EPERM, HV_E_INTERNAL },
	{ "start", HV_START, "", -EIO, HV_E_INTERNAL },
	{ "start: already", HV_START, "", -EALREADY, HV_E_STATE },
	{ "add: taken", HV_ADD, "s", -EEXIST, HV_E_SLOT },
	{ "add: the card said no", HV_ADD, "s", -EPROTO, HV_E_INTERNAL },
	{ "grow: no whole blocks", HV_GROW, "", -EINVAL, HV_E_FIELD },
	{ "grow: more than it was made for", HV_GROW, "", -ENOSPC, HV_E_MEMORY },
	{ "grow: the host has none", HV_GROW, "", -ENOMEM, HV_E_MEMORY },
};

static void machine_refuses(void **state)
{
	const struct machine_case *t = *state;
	unsigned before;
	union any r;

	set_up(NULL);
	bring_to(t->type == HV_CREATE ? HV_INFO_NONE
		 : t->type == HV_GROW ? HV_INFO_RUNNING
				      : HV_INFO_CREATED);
	before = open_fds();
	fake_machine.ret = t->ret;
	fill(&r, t->type);
	send_raw(&r, len_of(t->type), t->fds);
	assert_int_equal(answer_to(seq++, &r), HV_DONE);
	assert_int_equal(dpu_le16_get(r.done.status), t->status);
	assert_int_equal(dpu_le32_get(r.done.detail), -t->ret);
	while (n_spare)
		close(spare[--n_spare]);
	assert_int_equal(open_fds(), before);
	assert_int_equal(fake_machine.memory_mib, 0);
	// And then it can be done.
	assert_int_equal(command(t->type, t->fds), HV_OK);
	tear_down(NULL);
}

static void a_guest_lives(void **state)
{
	struct hv_rec_info i;

	(void)state;
	bring_to(HV_INFO_CREATED);
	assert_int_equal(jailed, 1);
	assert_int_equal(fake_machine.conf.mem_mib, 64);
	assert_int_equal(fake_machine.conf.vcpus, 2);
	assert_int_equal(fake_machine.conf.pin[0], -1);
	assert_int_equal(fake_machine.conf.pin[1], 3);
	assert_int_equal(fake_machine.conf.initrd_fd, -1);
	assert_string_equal(fake_machine.conf.cmdline, "console=ttyS0");
	assert_int_equal(command(HV_ADD, "s"), HV_OK);
	assert_int_equal(fake_machine.kind[5], HV_KIND_BLK);
	assert_int_equal(command(HV_ADD, "s"), HV_E_SLOT);
	assert_int_equal(command(HV_START, ""), HV_OK);
	assert_int_equal(command(HV_RECONNECT, "s"), HV_OK);
	assert_int_equal(command(HV_PAUSE, ""), HV_OK);
	assert_int_equal(command(HV_RESUME, ""), HV_OK);
	assert_int_equal(command(HV_POWER_BUTTON, ""), HV_OK);
	info(&i);
	assert_int_equal(i.state, HV_INFO_RUNNING);
	assert_int_equal(dpu_le32_get(i.functions), 1 << 5);
	assert_int_equal(dpu_le16_get(i.vcpus), 2);
	assert_int_equal(dpu_le64_get(i.mem_mib), 64);
	assert_int_equal(command(HV_REMOVE, ""), HV_OK);
	assert_int_equal(fake_machine.power + fake_machine.paused + fake_machine.resumed, 3);
	assert_int_equal(fake_machine.reconnected + fake_machine.removed, 2);
}

/* It is told how much there is in all: a card that does not know whether it was asks again. */
static void a_guest_grows(void **state)
{
	struct hv_rec_info i;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	assert_int_equal(fake_machine.conf.grow_mib, 1024);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(command(HV_GROW, ""), HV_OK);
		assert_int_equal(fake_machine.memory_mib, 128);
		info(&i);
		assert_int_equal(dpu_le64_get(i.mem_mib), 192);
	}
}

static void what_cannot_be_shut_in_does_not_run(void **state)
{
	(void)state;
	hello();
	jail_ret = -EPERM;
	assert_int_equal(command(HV_CREATE, "k"), HV_E_JAIL);
	assert_int_equal(fake_machine.alive, 0);
	assert_int_equal(command(HV_START, ""), HV_E_STATE);
}

static void nothing_before_hello(void **state)
{
	union any r;

	(void)state;
	fill(&r, HV_QUERY);
	send_raw(&r, sizeof(r.h), "");
	assert_int_equal(status_of(seq), HV_E_SEQUENCE);
	hello();
}

static void a_replay_counts_once(void **state)
{
	union any r;

	(void)state;
	bring_to(HV_INFO_CREATED);
	assert_int_equal(command(HV_START, ""), HV_OK);
	fill(&r, HV_POWER_BUTTON);
	send_raw(&r, sizeof(r.h), "");
	assert_int_equal(status_of(seq++), HV_OK);
	send_raw(&r, sizeof(r.h), "");
	assert_int_equal(status_of(seq - 1), HV_E_SEQUENCE);
	assert_int_equal(fake_machine.power, 1);
}

/* Another card process has the socket: what the one before knew is told again. */
static void a_new_card_is_told(void **state)
{
	unsigned states = 0, wants = 0;
	union any r;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	fake_machine.wants = 1u << 5 | 1u << 31;
	fake_machine_wake();
	for (int round = 0; round < 2; round++) {
		states = wants = 0;
		for (int i = 0; i < 3; i++)
			hv_control_turn(c, 0);
		while (take(&r)) {
			states += dpu_le16_get(r.h.type) == HV_EV_STATE;
			if (dpu_le16_get(r.h.type) == HV_EV_WANT)
				wants |= 1u << r.function.slot;
		}
		assert_int_equal(wants, 1u << 5 | 1u << 31);
		assert_int_equal(states, round);
		seq = 7; // the new one begins where it likes
		fill(&r, HV_HELLO);
		send_raw(&r, len_of(HV_HELLO), "");
	}
}

/* Output in order, none twice; what nobody takes is lost at its end, counted, and holds up none. */
static void console_waits_for_the_card(void **state)
{
	static uint8_t out[1 << 20], got[1 << 20];
	size_t n = 0;
	union any r;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 >> 3);
	for (size_t i = 0; i < sizeof(out); i += 64) {
		fake_machine_print(out + i, 64);
		hv_control_turn(c, 0);
	}
	// The guest's end comes after all of that, and nothing waits for it.
	fake_machine.end = HV_END_OFF;
	fake_machine_wake();
	while (take(&r)) {
		if (dpu_le16_get(r.h.type) == HV_EV_CONSOLE) {
			memcpy(got + n, r.bytes.bytes, dpu_le16_get(r.bytes.n));
			n += dpu_le16_get(r.bytes.n);
		}
		if (n % 4096 == 0)
			hv_control_turn(c, 0);
	}
	assert_true(n > 16384 && n < sizeof(out));
	assert_memory_equal(out, got, n);
	assert_int_equal(hv_control_turn(c, 0), -ESHUTDOWN);
	assert_int_equal(hv_control_end(c), HV_END_OFF);
}

/* However much of it waits: who is told of the end has no more to expect. */
static void the_end_comes_after_all_output(void **state)
{
	static const uint8_t line[100] = { 'x' };
	bool ended = false;
	size_t n = 0;
	union any r;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	for (int i = 0; i < 400; i++)
		fake_machine_print(line, sizeof(line));
	fake_machine.end = HV_END_OFF;
	fake_machine_wake();
	while (hv_control_turn(c, 0) == 0)
		;
	while (take(&r)) {
		ended |= dpu_le16_get(r.h.type) == HV_EV_STATE && r.info.state == HV_INFO_ENDED;
		if (dpu_le16_get(r.h.type) != HV_EV_CONSOLE)
			continue;
		assert_false(ended);
		n += dpu_le16_get(r.bytes.n);
	}
	assert_true(ended);
	assert_int_equal(n, 400 * sizeof(line));
}

static void the_end_is_told(void **state)
{
	union any r;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	fill(&r, HV_STOP);
	send_raw(&r, sizeof(r.h), "");
	while (hv_control_turn(c, 0) == 0)
		;
	assert_int_equal(hv_control_end(c), HV_END_STOPPED);
	assert_true(take(&r));
	assert_int_equal(dpu_le16_get(r.h.type), HV_DONE);
	while (take(&r))
		assert_int_equal(dpu_le16_get(r.h.type), HV_EV_STATE);
	assert_int_equal(r.info.state, HV_INFO_ENDED);
	assert_int_equal(r.info.end, HV_END_STOPPED);
}

static void typed_bytes_that_do_not_fit_are_told(void **state)
{
	union any r;

	(void)state;
	bring_to(HV_INFO_RUNNING);
	fill(&r, HV_CONSOLE_IN);
	r.bytes.n = dpu_le16_put(HV_PROTO_CONSOLE);
	memset(r.bytes.bytes, 'y', HV_PROTO_CONSOLE);
	send_raw(&r, sizeof(r.bytes), "");
	assert_int_equal(answer_to(seq++, &r), HV_DONE);
	assert_int_equal(dpu_le16_get(r.done.status), HV_OK);
	assert_int_equal(dpu_le32_get(r.done.detail), HV_PROTO_CONSOLE - fake_machine.n_typed);
}

static void gone_when_nobody_can_command_it(void **state)
{
	(void)state;
	bring_to(HV_INFO_RUNNING);
	shutdown(card, SHUT_RDWR);
	assert_int_equal(hv_control_turn(c, 0), -ECONNRESET);
}

static void lines_of_stderr_reach_the_card(void **state)
{
	struct hv_control_conf conf = { .log = true };
	int p[2], old = dup(STDERR_FILENO);
	struct hv_control *mine;
	union any r;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	conf.fd = p[1];
	assert_int_equal(hv_control_create(&conf, &mine), 0);
	dpu_err("vcpu: odd", "n=%d", 3);
	hv_control_turn(mine, 0);
	assert_true(dup2(old, STDERR_FILENO) >= 0);
	assert_true(recv(p[0], &r, sizeof(r), MSG_DONTWAIT) == sizeof(r.log));
	assert_int_equal(dpu_le16_get(r.h.type), HV_EV_LOG);
	assert_non_null(strstr(r.log.text, "vcpu: odd n=3"));
	hv_control_destroy(mine);
	close(p[0]);
	close(old);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(a_guest_lives), T(a_guest_grows),
		T(what_cannot_be_shut_in_does_not_run), T(nothing_before_hello),
		T(a_replay_counts_once), T(a_new_card_is_told), T(console_waits_for_the_card),
		T(the_end_comes_after_all_output), T(the_end_is_told),
		T(typed_bytes_that_do_not_fit_are_told), T(gone_when_nobody_can_command_it),
		cmocka_unit_test(lines_of_stderr_reach_the_card) };
	int failed;

	dpu_log_level_set(DPU_LOG_ERR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(bad, refused, failed);
	RUN_ROWS(machine_says, machine_refuses, failed);
	RUN_ROWS(in_state, only_in_its_states, failed);
	return failed;
}
