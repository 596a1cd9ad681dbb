/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target with all its groups on this thread, and a host of a few lines that talks to it over
 * loopback: every byte of what it sends is the test's.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "dpu_clock.h"
#include "group.h"
#include "nof_tgt.h"
#include "pdu.h"
#include "spec.h"
#include "volume.h"

#define RIG_NQN "nqn.2026-11.test:sub"
#define RIG_HOST "nqn.2026-11.test:host"
#define RIG_WORKERS 2U
#define RIG_WAIT_NS 20000000000ULL // longer than anything takes: then the test fails
#define RIG_RAM (8ULL << 20)

struct rig {
	struct nof_group *control, *workers[RIG_WORKERS];
	struct nof_tgt *t;
	struct vol *ram, *null;
	struct nof_tgt_addr at;
	uint16_t port;
};

static inline void rig_poll(struct rig *g)
{
	nof_group_poll(g->control);
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		nof_group_poll(g->workers[i]);
}

static inline int rig_call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	(void)env;
	(void)idx;
	return fn(arg);
}

static inline void rig_must(int ret)
{
	assert_int_equal(ret, 0);
}

static inline void rig_create_with(struct rig *g, const struct nof_tgt_opts *opts)
{
	const struct nof_group_conf gc = { 0 };
	const struct nof_tgt_subsys_conf sc = { .nqn = RIG_NQN,
		.serial = "SER1",
		.model = "MODEL1",
		.allow_any_host = true,
		.ana = true };
	struct nof_tgt_conf conf = { .n_workers = RIG_WORKERS, .call = rig_call, .env = g };

	*g = (struct rig){ .at = { "127.0.0.1", "0" } };
	rig_must(nof_group_create(&gc, &g->control));
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		rig_must(nof_group_create(&gc, &g->workers[i]));
	conf.control = g->control;
	conf.workers = g->workers;
	if (opts)
		conf.opts = *opts;
	rig_must(nof_tgt_create(&conf, &g->t));
	rig_must(vol_ram_open(&(struct vol_ram_conf){ "ram", RIG_RAM, 512, false }, &g->ram));
	rig_must(vol_null_open(&(struct vol_null_conf){ "null", RIG_RAM, 4096 }, &g->null));
	rig_must(nof_tgt_subsys_add(g->t, &sc));
	rig_must(nof_tgt_ns_add(g->t, RIG_NQN, &(struct nof_tgt_ns_conf){ .vol = g->ram }, NULL));
	rig_must(nof_tgt_ns_add(
		g->t, RIG_NQN, &(struct nof_tgt_ns_conf){ .vol = g->null, .nsid = 2 }, NULL));
	rig_must(nof_tgt_listener_add(g->t, RIG_NQN, &g->at));
	g->port = nof_tgt_listener_port(g->t, RIG_NQN, &g->at);
	assert_true(g->port > 0);
}

static inline void rig_create(struct rig *g)
{
	rig_create_with(g, &(struct nof_tgt_opts){ .pool_bytes = 4 << 20 });
}

static inline void rig_destroy(struct rig *g)
{
	nof_tgt_destroy(g->t);
	vol_close(g->ram);
	vol_close(g->null);
	nof_group_destroy(g->control);
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		nof_group_destroy(g->workers[i]);
}

/* ---- the host ---- */

struct host {
	struct rig *g; // borrowed
	int fd;
	uint8_t dgst, pda;
	uint16_t cid, cntlid;
	bool no_flow;
	union nof_pdu pdu; // the last one that came
	uint8_t data[1 << 20]; // its data
	uint32_t data_len;
	bool bad_digest;
};

static inline void host_open(struct host *h, struct rig *g)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(g->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	memset(h, 0, offsetof(struct host, pdu));
	h->g = g;
	h->no_flow = true;
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(h->fd >= 0);
	rig_must(connect(h->fd, (struct sockaddr *)&a, sizeof(a)));
	rig_must(setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
}

static inline void host_close(struct host *h)
{
	close(h->fd);
}

/* All of it, with the target having its turns. False: the target has closed. */
static inline bool host_send(struct host *h, const void *p, size_t len)
{
	uint64_t end = dpu_now_ns() + RIG_WAIT_NS;
	const uint8_t *at = p;

	while (len > 0) {
		ssize_t n = send(h->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		assert_true(dpu_now_ns() < end);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		rig_poll(h->g);
	}
	return true;
}

/* False: the target has closed before. */
static inline bool host_recv(struct host *h, void *p, size_t len)
{
	uint64_t end = dpu_now_ns() + RIG_WAIT_NS;
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = recv(h->fd, at, len, MSG_DONTWAIT);

		assert_true(dpu_now_ns() < end);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		rig_poll(h->g);
	}
	return true;
}

/* The next PDU, into h->pdu and h->data. False: closed. */
static inline bool host_pdu(struct host *h)
{
	struct nof_ch *ch = &h->pdu.ch;
	uint8_t rest[256];
	uint32_t plen, at;
	dpu_le32 dgst;

	h->data_len = 0;
	h->bad_digest = false;
	if (!host_recv(h, ch, sizeof(*ch)))
		return false;
	assert_true(ch->hlen >= sizeof(*ch) && ch->hlen <= sizeof(h->pdu));
	if (!host_recv(h, h->pdu.bytes + sizeof(*ch), ch->hlen - sizeof(*ch)))
		return false;
	plen = dpu_le32_get(ch->plen);
	at = ch->hlen;
	if (ch->flags & NOF_F_HDGST && ch->type != NOF_PDU_C2H_TERM) {
		if (!host_recv(h, &dgst, 4))
			return false;
		at += 4;
		h->bad_digest |= dpu_le32_get(dgst) != nof_crc32c(0, &h->pdu, ch->hlen);
	}
	if (ch->type == NOF_PDU_C2H_TERM) {
		h->data_len = plen - at;
		return host_recv(h, h->data, h->data_len);
	}
	if (plen == at)
		return true;
	assert_true(ch->pdo >= at && ch->pdo < plen);
	if (!host_recv(h, rest, ch->pdo - at))
		return false;
	h->data_len = plen - ch->pdo - (ch->flags & NOF_F_DDGST ? 4 : 0);
	assert_true(h->data_len <= sizeof(h->data));
	if (!host_recv(h, h->data, h->data_len))
		return false;
	if (ch->flags & NOF_F_DDGST) {
		if (!host_recv(h, &dgst, 4))
			return false;
		h->bad_digest |= dpu_le32_get(dgst) != nof_crc32c(0, h->data, h->data_len);
	}
	return true;
}

static inline void host_icreq(struct host *h, uint8_t dgst, uint8_t hpda)
{
	struct nof_icreq req = {
		.ch = { NOF_PDU_ICREQ, 0, 128, 0, dpu_le32_put(128) }, .hpda = hpda, .dgst = dgst
	};

	assert_true(host_send(h, &req, sizeof(req)));
	assert_true(host_pdu(h));
	assert_int_equal(h->pdu.ch.type, NOF_PDU_ICRESP);
	assert_int_equal(h->pdu.icresp.dgst, dgst);
	h->dgst = dgst;
	h->pda = h->pdu.icresp.cpda;
}

/* A PDU with its digests and data; hdr is its header. */
static inline bool host_send_pdu(
	struct host *h, union nof_pdu *hdr, enum nof_pdu_type type, const void *data, uint32_t len)
{
	uint8_t buf[NOF_PDU_HEAD_MAX];
	struct nof_ch ch;
	dpu_le32 dgst = dpu_le32_put(nof_crc32c(0, data, len));
	size_t off = nof_pdu_begin(buf, type, h->dgst, h->pda, len);
	size_t head;

	memcpy(&ch, buf, sizeof(ch));
	head = ch.hlen;
	ch.flags |= hdr->ch.flags;
	memcpy(buf, &ch, sizeof(ch));
	memcpy(buf + sizeof(ch), hdr->bytes + sizeof(ch), head - sizeof(ch));
	nof_pdu_seal(buf);
	if (!host_send(h, buf, off) || !host_send(h, data, len))
		return false;
	return !len || !(h->dgst & NOF_DGST_DATA) || host_send(h, &dgst, 4);
}

/* A command whose data, if it has any, come with it. */
static inline bool host_capsule(
	struct host *h, const struct nof_sqe *sqe, const void *data, uint32_t len)
{
	union nof_pdu p = { .cmd = { .sqe = *sqe } };

	return host_send_pdu(h, &p, NOF_PDU_CMD, data, len);
}

static inline struct nof_sqe host_sqe(struct host *h, uint8_t opc, uint32_t nsid)
{
	struct nof_sqe c = { .opc = opc, .flags = NOF_PSDT_SGL };

	c.cid = dpu_le16_put(++h->cid);
	c.nsid = dpu_le32_put(nsid);
	return c;
}

static inline void sgl_capsule(struct nof_sqe *c, uint32_t len)
{
	c->sgl = (struct nof_sgl){ .len = dpu_le32_put(len), .type = NOF_SGL_OFFSET };
}

static inline void sgl_transport(struct nof_sqe *c, uint32_t len)
{
	c->sgl = (struct nof_sgl){ .len = dpu_le32_put(len), .type = NOF_SGL_TRANSPORT };
}

/*
 * Until the answer of the command that was sent last: collects its data in h->data, sends `data` as
 * it is asked for. Its status; the result in *result.
 */
static inline uint16_t host_wait(struct host *h, const uint8_t *data, uint64_t *result)
{
	uint32_t got = 0;

	for (;;) {
		const union nof_pdu *p = &h->pdu;

		assert_true(host_pdu(h));
		assert_false(h->bad_digest);
		if (p->ch.type == NOF_PDU_RESP) {
			if (result)
				*result = dpu_le32_get(p->resp.cqe.dw0) |
					  (uint64_t)dpu_le32_get(p->resp.cqe.dw1) << 32;
			assert_int_equal(dpu_le16_get(p->resp.cqe.cid), h->cid);
			h->data_len = got ? got : h->data_len;
			return (uint16_t)(dpu_le16_get(p->resp.cqe.status) >> 1);
		}
		if (p->ch.type == NOF_PDU_R2T) {
			union nof_pdu d = { .data = { .cccid = p->r2t.cccid,
						    .ttag = p->r2t.ttag,
						    .datao = p->r2t.r2to,
						    .datal = p->r2t.r2tl } };

			assert_non_null(data);
			d.ch.flags = NOF_F_LAST;
			assert_true(host_send_pdu(h, &d, NOF_PDU_H2C_DATA,
				data + dpu_le32_get(p->r2t.r2to), dpu_le32_get(p->r2t.r2tl)));
			continue;
		}
		assert_int_equal(p->ch.type, NOF_PDU_C2H_DATA);
		got = h->data_len;
		if (p->ch.flags & NOF_F_SUCCESS)
			return 0;
	}
}

/* Connect. Its status. */
static inline uint16_t host_connect(struct host *h, uint16_t qid, uint16_t sqsize,
	const char *subnqn, const char *hostnqn, uint64_t *result)
{
	struct nof_connect_data d = { .hostid = { 1, 2, 3 } };
	struct nof_connect_sqe c = { .opc = NOF_OPC_FABRICS,
		.flags = NOF_PSDT_SGL,
		.fctype = NOF_FC_CONNECT,
		.cattr = h->no_flow ? NOF_CATTR_NO_SQ_FLOW : 0 };
	struct nof_sqe sqe;

	d.cntlid = dpu_le16_put(qid ? h->cntlid : NOF_CNTLID_DYNAMIC);
	snprintf(d.subnqn, sizeof(d.subnqn), "%s", subnqn);
	snprintf(d.hostnqn, sizeof(d.hostnqn), "%s", hostnqn);
	c.cid = dpu_le16_put(++h->cid);
	c.qid = dpu_le16_put(qid);
	c.sqsize = dpu_le16_put(sqsize);
	memcpy(&sqe, &c, sizeof(sqe));
	sgl_capsule(&sqe, sizeof(d));
	assert_true(host_capsule(h, &sqe, &d, sizeof(d)));
	return host_wait(h, NULL, result);
}

static inline uint16_t host_property(
	struct host *h, enum nof_fctype type, uint32_t off, uint8_t size, uint64_t *value)
{
	struct nof_property_sqe p = { .opc = NOF_OPC_FABRICS,
		.flags = NOF_PSDT_SGL,
		.fctype = (uint8_t)type,
		.attrib = size,
		.off = dpu_le32_put(off),
		.value = dpu_le64_put(*value) };
	struct nof_sqe sqe;

	p.cid = dpu_le16_put(++h->cid);
	memcpy(&sqe, &p, sizeof(sqe));
	assert_true(host_capsule(h, &sqe, NULL, 0));
	return host_wait(h, NULL, value);
}

static inline uint16_t host_enable(struct host *h)
{
	uint64_t cc = NOF_CC_ENTRY_SIZES | NOF_CC_EN;

	return host_property(h, NOF_FC_PROPERTY_SET, NOF_PROP_CC, NOF_PROP_4, &cc);
}

/* An admin queue that is enabled. */
static inline void host_admin(struct host *h, struct rig *g, uint8_t dgst)
{
	uint64_t result = 0;

	host_open(h, g);
	host_icreq(h, dgst, 0);
	assert_int_equal(host_connect(h, 0, 31, RIG_NQN, RIG_HOST, &result), 0);
	h->cntlid = (uint16_t)result;
	assert_int_equal(host_enable(h), 0);
}

/* An I/O queue of that controller. */
static inline void host_io(struct host *h, const struct host *admin, uint16_t qid, uint8_t dgst)
{
	host_open(h, admin->g);
	host_icreq(h, dgst, 0);
	h->cntlid = admin->cntlid;
	assert_int_equal(host_connect(h, qid, 63, RIG_NQN, RIG_HOST, NULL), 0);
}

enum host_way { IN_CAPSULE, BY_TRANSPORT };

static inline struct nof_sqe host_rw_sqe(
	struct host *h, uint8_t opc, uint32_t nsid, uint64_t slba, uint32_t n_blocks)
{
	struct nof_sqe c = host_sqe(h, opc, nsid);

	c.cdw10 = dpu_le32_put((uint32_t)slba);
	c.cdw11 = dpu_le32_put((uint32_t)(slba >> 32));
	c.cdw12 = dpu_le32_put(n_blocks - 1);
	return c;
}

static inline uint16_t host_read(
	struct host *h, uint32_t nsid, uint64_t slba, uint32_t n, uint32_t bs)
{
	struct nof_sqe c = host_rw_sqe(h, NOF_NVM_READ, nsid, slba, n);

	sgl_transport(&c, n * bs);
	assert_true(host_capsule(h, &c, NULL, 0));
	return host_wait(h, NULL, NULL);
}

static inline uint16_t host_write(struct host *h, enum host_way way, uint32_t nsid, uint64_t slba,
	uint32_t n, uint32_t bs, const uint8_t *data)
{
	struct nof_sqe c = host_rw_sqe(h, NOF_NVM_WRITE, nsid, slba, n);

	if (way == IN_CAPSULE)
		sgl_capsule(&c, n * bs);
	else
		sgl_transport(&c, n * bs);
	assert_true(host_capsule(h, &c, data, way == IN_CAPSULE ? n * bs : 0));
	return host_wait(h, data, NULL);
}
