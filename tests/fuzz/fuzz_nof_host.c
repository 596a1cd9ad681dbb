// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: what a controller sends to our host, in pieces, while a read, a write and a flush
 * are out: every command ends once, no byte is written beside the buffer of the read, and a read
 * that succeeds has all of its data.
 *
 * Input: digests (1 byte), size of a piece (1 byte), what the controller sends after its ICResp.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp.h"

#define READ_LEN 2048U
#define WRITE_LEN 16384U
#define GUARD 64U
#define CANARY 0x5c
#define COMMANDS 3U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct run {
	struct nof_group *g;
	struct nof_qpair *q;
	int fd;
	bool down;
	unsigned done[COMMANDS];
	uint8_t in[READ_LEN + GUARD], out[WRITE_LEN];
	struct iovec iov[COMMANDS];
};

static void done(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct run *r = s->arg;

	if (r->done[s->arg2]++)
		abort();
	if (s->arg2 != 0 || err || nof_cqe_status(cqe) != 0)
		return;
	if (s->moved != READ_LEN)
		abort();
}

static void send_command(struct run *r, unsigned i, uint8_t opc, enum nof_dir dir)
{
	struct nof_slot *s = nof_qpair_take(r->q);

	if (!s)
		abort();
	s->sqe.opc = opc;
	s->dir = (uint8_t)dir;
	s->iov = &r->iov[i];
	s->n_iov = dir != NOF_NO_DATA;
	s->len = (uint32_t)(dir != NOF_NO_DATA ? r->iov[i].iov_len : 0);
	s->done = done;
	s->arg = r;
	s->arg2 = i;
	nof_qpair_submit(s);
}

static void up(struct nof_qpair *q)
{
	struct run *r = q->arg;

	r->q = q;
	send_command(r, 0, NOF_NVM_READ, NOF_FROM_CTRL);
	send_command(r, 1, NOF_NVM_WRITE, NOF_TO_CTRL);
	send_command(r, 2, NOF_NVM_FLUSH, NOF_NO_DATA);
}

static void down(struct nof_qpair *q, int err)
{
	struct run *r = q->arg;

	r->down = true;
	nof_qpair_abort(q, err);
}

static void drain(int fd)
{
	uint8_t buf[4096];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void feed(struct run *r, const uint8_t *data, size_t len, size_t piece)
{
	while (len > 0 && !r->down) {
		size_t part = len < piece ? len : piece;

		if (send(r->fd, data, part, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)part)
			return;
		data += part;
		len -= part;
		nof_group_poll(r->g);
		drain(r->fd);
	}
	nof_group_poll(r->g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct nof_qpair_owner owner = { up, down };
	static struct run r;
	struct nof_tcp_conf conf = {
		.qid = 1, .depth = 4, .capsule_max = 4096, .owner = &owner, .arg = &r
	};
	struct nof_icresp ic;
	int fds[2];

	if (len < 2)
		return 0;
	r = (struct run){ .iov = { { r.in, READ_LEN }, { r.out, WRITE_LEN } } };
	memset(r.in + READ_LEN, CANARY, GUARD);
	conf.dgst = data[0] & 3;
	if (nof_group_create(&(struct nof_group_conf){ .rx_size = 16384 }, &r.g) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
		abort();
	r.fd = fds[1];
	if (nof_tcp_on_socket(fds[0], &conf, r.g, &r.q))
		abort();
	nof_group_poll(r.g);
	(void)nof_pdu_begin((uint8_t *)&ic, NOF_PDU_ICRESP, 0, 0, 0);
	ic.dgst = conf.dgst;
	ic.maxh2cdata = dpu_le32_put(8192);
	feed(&r, (const uint8_t *)&ic, sizeof(ic), sizeof(ic));
	feed(&r, data + 2, len - 2, data[1] * 8u + 1u);
	if (!r.down)
		nof_qpair_abort(r.q, -1);
	for (unsigned i = 0; i < COMMANDS; i++)
		if (r.done[i] != 1)
			abort();
	for (unsigned i = 0; i < GUARD; i++)
		if (r.in[READ_LEN + i] != CANARY)
			abort();
	nof_qpair_destroy(r.q);
	close(r.fd);
	nof_group_destroy(r.g);
	return 0;
}
