// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: what a host sends to the target, over a loopback connection.
 *
 * Input: a choice (1 byte: bits 1:0 how far a good host has come before, bit 2 its header digest),
 * then bytes as the host sends them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "group.h"
#include "nof_tgt.h"
#include "pdu.h"
#include "volume.h"

#define NQN "nqn.2026-11.fuzz:sub"
#define WAIT_NS 10000000000 // that one step may take: others may have the CPU

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct nof_group *group[2]; // control, worker
static struct nof_tgt *tgt;
static uint16_t port;

_Noreturn static void fail(const char *what)
{
	(void)fprintf(stderr, "fuzz_tgt: %s: %s\n", what, strerror(errno));
	abort();
}

static int call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	(void)env;
	(void)idx;
	return fn(arg);
}

static void set_up(void)
{
	const struct nof_group_conf gc = { 0 };
	struct nof_tgt_conf conf = {
		.n_workers = 1, .call = call, .opts = { .pool_bytes = 1 << 20 }
	};
	struct vol *vol;

	dpu_log_level_set(DPU_LOG_ERR);
	if (nof_group_create(&gc, &group[0]) || nof_group_create(&gc, &group[1]))
		fail("groups");
	conf.control = group[0];
	conf.workers = &group[1];
	conf.opts.max_io_bytes = 65536;
	if (nof_tgt_create(&conf, &tgt) ||
		vol_ram_open(&(struct vol_ram_conf){ "ram", 1 << 20, 512, false }, &vol) ||
		nof_tgt_subsys_add(tgt,
			&(struct nof_tgt_subsys_conf){
				.nqn = NQN, .allow_any_host = true, .ana = true }) ||
		nof_tgt_ns_add(tgt, NQN, &(struct nof_tgt_ns_conf){ .vol = vol }, NULL) ||
		nof_tgt_listener_add(tgt, NQN, &(struct nof_tgt_addr){ "127.0.0.1", "0" }))
		fail("the target");
	port = nof_tgt_listener_port(tgt, NQN, &(struct nof_tgt_addr){ "127.0.0.1", "0" });
}

static unsigned turn(void)
{
	return nof_group_poll(group[0]) + nof_group_poll(group[1]);
}

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd up = { .fd = fd, .events = POLLOUT };

	if (fd < 0)
		fail("no socket");
	// libFuzzer's timer interrupts what waits; the connection is made all the same.
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) && errno != EINTR)
		fail("no connection");
	while (poll(&up, 1, (int)(WAIT_NS / 1000000)) < 0 && errno == EINTR)
		;
	if (!(up.revents & POLLOUT) || up.revents & (POLLERR | POLLHUP))
		fail("no connection in time");
	return fd;
}

static void send_all(int fd, const void *p, size_t len)
{
	const uint8_t *at = p;

	for (uint64_t end = dpu_now_ns() + WAIT_NS; len > 0 && dpu_now_ns() < end;) {
		ssize_t n = send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; // it has closed
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		turn();
	}
}

static void hear(int fd, void *p, size_t len)
{
	uint8_t *at = p;

	for (uint64_t end = dpu_now_ns() + WAIT_NS; len > 0 && dpu_now_ns() < end;) {
		ssize_t n = recv(fd, at, len, MSG_DONTWAIT);

		if (!n || (n < 0 && errno != EAGAIN))
			fail(n ? "a good host's read" : "a good host was parted with");
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		turn();
	}
	if (len > 0)
		fail("a good host has no answer");
}

static void send_cmd(int fd, uint8_t dgst, const void *sqe, const void *with, uint32_t len)
{
	uint8_t buf[NOF_PDU_HEAD_MAX + 2048];
	size_t n = nof_pdu_begin(buf, NOF_PDU_CMD, dgst, 0, len);

	memcpy(buf + 8, sqe, 64);
	nof_pdu_seal(buf);
	if (len)
		memcpy(buf + n, with, len);
	send_all(fd, buf, n + len);
}

/* The answer's first doubleword. */
static uint32_t answer(int fd, uint8_t dgst)
{
	struct nof_resp_pdu p;
	uint8_t sum[4];

	hear(fd, &p, sizeof(p));
	if (dgst & NOF_DGST_HEADER)
		hear(fd, sum, 4);
	return dpu_le32_get(p.cqe.dw0);
}

static uint32_t join(int fd, uint8_t dgst, uint16_t qid, uint16_t cntlid)
{
	struct nof_icreq req = { .ch = { 0, 0, 128, 0, dpu_le32_put(128) }, .dgst = dgst };
	struct nof_connect_data d = {
		.cntlid = dpu_le16_put(cntlid), .subnqn = NQN, .hostnqn = "nqn.2026-11.fuzz:host"
	};
	struct nof_connect_sqe c = { .opc = NOF_OPC_FABRICS,
		.flags = NOF_PSDT_SGL,
		.fctype = NOF_FC_CONNECT,
		.qid = dpu_le16_put(qid),
		.sqsize = dpu_le16_put(7) };
	struct nof_icresp resp;

	c.sgl = (struct nof_sgl){ .len = dpu_le32_put(sizeof(d)), .type = NOF_SGL_OFFSET };
	send_all(fd, &req, sizeof(req));
	hear(fd, &resp, sizeof(resp));
	send_cmd(fd, dgst & NOF_DGST_HEADER, &c, &d, sizeof(d));
	return answer(fd, dgst);
}

static void enable(int fd, uint8_t dgst)
{
	struct nof_property_sqe p = { .opc = NOF_OPC_FABRICS,
		.flags = NOF_PSDT_SGL,
		.fctype = NOF_FC_PROPERTY_SET,
		.off = dpu_le32_put(NOF_PROP_CC),
		.value = dpu_le64_put(NOF_CC_ENTRY_SIZES | NOF_CC_EN) };

	send_cmd(fd, dgst & NOF_DGST_HEADER, &p, NULL, 0);
	(void)answer(fd, dgst);
}

static void gone(void)
{
	struct nof_tgt_stats st;

	for (uint64_t end = dpu_now_ns() + WAIT_NS; dpu_now_ns() < end;) {
		nof_tgt_stats(tgt, &st);
		if (!st.conns)
			return;
		turn();
	}
	fail("a connection stays");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct linger now = { 1, 0 };
	int admin, io = -1;
	uint8_t dgst;

	if (!tgt)
		set_up();
	if (len < 1)
		return 0;
	dgst = data[0] >> 2 & NOF_DGST_HEADER; // data digests of a good host: test_tgt_tcp
	admin = dial();
	if (data[0] & 3) {
		uint32_t cntlid = join(admin, dgst, 0, NOF_CNTLID_DYNAMIC);

		enable(admin, dgst);
		if (data[0] & 2) {
			io = dial();
			(void)join(io, dgst, 1, (uint16_t)cntlid);
		}
	}
	send_all(io < 0 ? admin : io, data + 1, len - 1);
	(void)shutdown(io < 0 ? admin : io, SHUT_WR);
	for (unsigned i = 0; i < 8; i++)
		turn();
	(void)setsockopt(admin, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(admin);
	if (io >= 0)
		close(io);
	gone();
	return 0;
}
