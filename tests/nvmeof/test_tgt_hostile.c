// SPDX-License-Identifier: Apache-2.0
/* The target against PDUs and connections that break the rules: the catalogue's rows NT. */
#include "test.h"

#include "dpu_log.h"
#include "tgt_check.h"

static uint8_t data[1 << 17];

/* ---- PDUs as bytes ---- */

enum where { FIRST, ADMIN, IO };

static size_t pdu_cmd(uint8_t *out, const struct nof_sqe *c, const void *with, uint32_t len)
{
	size_t n = nof_pdu_begin(out, NOF_PDU_CMD, 0, 0, len);

	memcpy(out + 8, c, sizeof(*c));
	if (len)
		memcpy(out + n, with, len);
	return n + len;
}

/* A read of one block and its PDU, as it should be. */
static size_t good_read(struct host *h, uint8_t *out)
{
	struct nof_sqe c = host_rw_sqe(h, NOF_NVM_READ, 1, 0, 1);

	sgl_transport(&c, 512);
	return pdu_cmd(out, &c, NULL, 0);
}

static size_t good_write(struct host *h, uint8_t *out, uint32_t len)
{
	struct nof_sqe c = host_rw_sqe(h, NOF_NVM_WRITE, 1, 0, len / 512);

	sgl_capsule(&c, len);
	return pdu_cmd(out, &c, data, len);
}

struct header_row {
	const char *name;
	enum where where;
	bool write; // a write with data in its capsule, else a read
	unsigned off; // of the byte that is changed
	uint8_t value;
	enum nof_fes fes;
	int fei;
};
static const struct header_row header_rows[] = {
	{ "NT-01 capsule first", FIRST, false, 0, 4, NOF_FES_SEQUENCE, -1 },
	{ "NT-06 pdo 0 with data", IO, true, 3, 0, NOF_FES_HEADER, 3 },
	{ "NT-06 pdo below header", IO, true, 3, 71, NOF_FES_HEADER, 3 },
	{ "NT-06 pdo not aligned", IO, true, 3, 73, NOF_FES_HEADER, 3 },
	{ "NT-06 pdo 255", IO, true, 3, 255, NOF_FES_HEADER, 3 },
	{ "NT-07 type 08", IO, false, 0, 0x08, NOF_FES_HEADER, 0 },
	{ "NT-07 type 0A", IO, false, 0, 0x0a, NOF_FES_HEADER, 0 },
	{ "NT-07 type FF", IO, false, 0, 0xff, NOF_FES_HEADER, 0 },
	{ "NT-07 ICResp", IO, false, 0, 1, NOF_FES_HEADER, 0 },
	{ "NT-07 C2HTermReq", IO, false, 0, 3, NOF_FES_HEADER, 0 },
	{ "NT-07 CapsuleResp", IO, false, 0, 5, NOF_FES_HEADER, 0 },
	{ "NT-07 C2HData", IO, false, 0, 7, NOF_FES_HEADER, 0 },
	{ "NT-07 R2T", IO, false, 0, 9, NOF_FES_HEADER, 0 },
	{ "NT-02 second ICReq", IO, false, 0, 0, NOF_FES_SEQUENCE, -1 },
	{ "NT-03 hlen 0", IO, false, 2, 0, NOF_FES_HEADER, 2 },
	{ "NT-03 hlen 255", IO, false, 2, 255, NOF_FES_HEADER, 2 },
	{ "NT-04 plen 0", IO, false, 4, 0, NOF_FES_HEADER, -1 },
	{ "NT-04 plen one less", IO, false, 4, 71, NOF_FES_HEADER, -1 },
	{ "NT-04 plen of 4 GiB", IO, false, 7, 255, NOF_FES_HEADER, -1 },
	{ "NT-04 plen over the capsule's limit", IO, true, 5, 255, NOF_FES_HEADER, 4 },
	{ "NT-12 hdgst flag without digest", IO, false, 1, NOF_F_HDGST, NOF_FES_HEADER, 1 },
	{ "NT-12 ddgst flag without digest", IO, true, 1, NOF_F_DDGST, NOF_FES_HEADER, 1 },
};

static void header(void **state)
{
	const struct header_row *row = *state;
	static struct host admin, h;
	uint8_t pdu[8192] = { 0 };
	struct rig g;
	size_t n;

	rig_create(&g);
	host_admin(&admin, &g, 0);
	if (row->where == FIRST) {
		host_open(&h, &g);
	} else {
		host_io(&h, &admin, 1, 0);
	}
	n = row->write ? good_write(&h, pdu, 4096) : good_read(&h, pdu);
	pdu[row->off] = row->value;
	(void)host_send(&h, pdu, n);
	expect_term(&h, row->fes, row->fei);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	others_go_on(&g);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- H2CData ---- */

struct h2c_row {
	const char *name;
	uint32_t datao, datal; // of 4096 asked for
	uint32_t len; // that really come
	uint32_t first; // come before, as they should
	uint8_t flags;
	int ttag_add, cid_add;
	enum nof_fes fes;
};
static const struct h2c_row h2c_rows[] = {
	{ "NT-10 datao not the next", 512, 3584, 3584, 0, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 datao again", 0, 2048, 2048, 2048, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 more than asked for", 0, 8192, 8192, 0, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 more than is left", 2048, 4096, 4096, 2048, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 sum wraps", 2048, 0xfffff801U, 2048, 2048, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 datal 0", 0, 0, 4096, 0, NOF_F_LAST, 0, 0, NOF_FES_RANGE },
	{ "NT-10 over maxh2cdata", 0, 131080, 131080, 0, NOF_F_LAST, 0, 0, NOF_FES_LIMIT },
	{ "NT-11 ttag unknown", 0, 4096, 4096, 0, NOF_F_LAST, 1, 0, NOF_FES_HEADER },
	{ "NT-11 ttag out of range", 0, 4096, 4096, 0, NOF_F_LAST, 0x7fff, 0, NOF_FES_HEADER },
	{ "NT-11 cccid of another", 0, 4096, 4096, 0, NOF_F_LAST, 0, 1, NOF_FES_HEADER },
	{ "NT-12 last is missing", 0, 4096, 4096, 0, 0, 0, 0, NOF_FES_HEADER },
	{ "NT-12 last too early", 0, 2048, 2048, 0, NOF_F_LAST, 0, 0, NOF_FES_HEADER },
};

static void ask_to_write(struct host *h, uint32_t len)
{
	struct nof_sqe c = host_rw_sqe(h, NOF_NVM_WRITE, 1, 0, len / 512);

	sgl_transport(&c, len);
	assert_true(host_capsule(h, &c, NULL, 0));
	assert_true(host_pdu(h));
	assert_int_equal(h->pdu.ch.type, NOF_PDU_R2T);
	assert_int_equal(dpu_le32_get(h->pdu.r2t.r2tl), len);
}

static bool send_h2c(struct host *h, const struct h2c_row *row, uint16_t ttag)
{
	static uint8_t big[1 << 18];
	struct nof_data_pdu p;

	nof_pdu_begin((uint8_t *)&p, NOF_PDU_H2C_DATA, 0, 0, row->len);
	p.ch.flags = row->flags;
	p.cccid = dpu_le16_put((uint16_t)(h->cid + row->cid_add));
	p.ttag = dpu_le16_put((uint16_t)(ttag + row->ttag_add));
	p.datao = dpu_le32_put(row->datao);
	p.datal = dpu_le32_put(row->datal);
	return host_send(h, &p, sizeof(p)) && host_send(h, big, row->len);
}

static void h2c(void **state)
{
	const struct h2c_row *row = *state;
	static struct host admin, h;
	uint16_t ttag;
	struct rig g;

	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	assert_int_equal(host_write(&h, IN_CAPSULE, 1, 0, 8, 512, data), 0);
	ask_to_write(&h, 4096);
	ttag = dpu_le16_get(h.pdu.r2t.ttag);
	if (row->first)
		assert_true(send_h2c(
			&h, &(struct h2c_row){ .datal = row->first, .len = row->first }, ttag));
	(void)send_h2c(&h, row, ttag);
	expect_term(&h, row->fes, -1);
	host_close(&h);
	// Nothing of it was written.
	host_io(&h, &admin, 2, 0);
	assert_int_equal(host_read(&h, 1, 0, 8, 512), 0);
	assert_memory_equal(h.data, data, 4096);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- digests ---- */

/* NT-14: every bit of a header under its digest. */
static void header_digest_bits(void **state)
{
	static struct host admin, h;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	for (unsigned bit = 8 * 8; bit < 76 * 8; bit += 7) { // behind the common header
		uint8_t pdu[NOF_PDU_HEAD_MAX];
		struct nof_sqe c;
		size_t n;

		host_io(&h, &admin, 1, NOF_DGST_HEADER);
		c = host_rw_sqe(&h, NOF_NVM_WRITE_ZEROES, 1, 0, 8);
		n = nof_pdu_begin(pdu, NOF_PDU_CMD, NOF_DGST_HEADER, 0, 0);
		memcpy(pdu + 8, &c, sizeof(c));
		nof_pdu_seal(pdu);
		pdu[bit / 8] ^= (uint8_t)(1 << bit % 8);
		(void)host_send(&h, pdu, n);
		expect_term(&h, NOF_FES_HDGST, -1);
		host_close(&h);
		settle(&g, 1);
	}
	host_close(&admin);
	rig_destroy(&g);
}

/* A data digest that is wrong fails its command, which was not executed; the queue goes on. */
static void data_digest(void **state)
{
	static struct host admin, h;
	struct nof_tgt_stats st;
	uint8_t pdu[8192];
	struct nof_sqe c;
	struct rig g;
	size_t n;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, NOF_DGST_DATA);
	assert_int_equal(host_write(&h, IN_CAPSULE, 1, 0, 8, 512, data), 0);
	c = host_rw_sqe(&h, NOF_NVM_WRITE, 1, 0, 8);
	sgl_capsule(&c, 4096);
	n = nof_pdu_begin(pdu, NOF_PDU_CMD, NOF_DGST_DATA, 0, 4096);
	memcpy(pdu + 8, &c, sizeof(c));
	memset(pdu + n, 0x5a, 4096);
	memset(pdu + n + 4096, 0, 4);
	assert_true(host_send(&h, pdu, n + 4100));
	assert_int_equal(host_wait(&h, NULL, NULL), NOF_SC_TRANSIENT);
	assert_int_equal(host_read(&h, 1, 0, 8, 512), 0);
	assert_memory_equal(h.data, data, 4096);
	nof_tgt_stats(g.t, &st);
	assert_int_equal(st.bad_ddgst, 1);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- what an SGL may say: NT-16 ---- */

struct sgl_row {
	const char *name;
	uint8_t opc;
	uint8_t type;
	uint64_t addr;
	uint32_t len; // in the SGL, for 8 blocks
	uint32_t with; // bytes in the capsule
	uint8_t flags;
	enum nof_sc sc;
};
#define W NOF_NVM_WRITE
#define R NOF_NVM_READ
static const struct sgl_row sgl_rows[] = {
	{ "NT-16 longer than the data", W, 0x01, 0, 4096, 2048, 0x40, NOF_SC_SGL_LENGTH },
	{ "NT-16 longer than the blocks", W, 0x5a, 0, 8192, 0, 0x40, NOF_SC_SGL_LENGTH },
	{ "NT-16 shorter than the blocks", W, 0x5a, 0, 512, 0, 0x40, NOF_SC_SGL_LENGTH },
	{ "NT-16 offset", W, 0x01, 4, 4096, 4096, 0x40, NOF_SC_SGL_OFFSET },
	{ "NT-16 data with a read", R, 0x01, 0, 4096, 4096, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 keyed", W, 0x40, 0, 4096, 0, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 keyed with data", W, 0x40, 0, 4096, 4096, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 address", R, 0x00, 0, 4096, 0, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 offset without data", W, 0x01, 0, 4096, 0, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 data with a flush", NOF_NVM_FLUSH, 0x01, 0, 512, 512, 0x40, NOF_SC_SGL_TYPE },
	{ "NT-16 PRPs", R, 0x5a, 0, 4096, 0, 0x00, NOF_SC_INVALID_FIELD },
	{ "NT-17 length of 4 GiB", R, 0x5a, 0, 0xffffffffU, 0, 0x40, NOF_SC_SGL_LENGTH },
};

static void sgl(void **state)
{
	const struct sgl_row *row = *state;
	static struct host admin, h;
	struct rig g;

	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	for (unsigned i = 0; i < 200; i++) {
		struct nof_sqe c = host_rw_sqe(&h, row->opc, 1, 0, 8);

		c.flags = row->flags;
		c.sgl.type = row->type;
		c.sgl.addr = dpu_le64_put(row->addr);
		c.sgl.len = dpu_le32_put(row->len);
		assert_true(host_capsule(&h, &c, data, row->with));
		assert_int_equal(host_wait(&h, NULL, NULL), row->sc | NOF_SC_DNR);
	}
	assert_int_equal(host_read(&h, 1, 0, 8, 512), 0);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* NT-16: 8193 bytes in an admin capsule, and more commands than the queue has entries. */
static void limits(void **state)
{
	static struct host admin, h;
	uint8_t pdu[16384] = { 0 };
	struct nof_sqe c;
	struct rig g;
	size_t n;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	c = host_sqe(&admin, NOF_ADM_IDENTIFY, 0);
	n = pdu_cmd(pdu, &c, data, 8193);
	(void)host_send(&admin, pdu, n);
	expect_term(&admin, NOF_FES_HEADER, 4);
	host_close(&admin);
	assert_false(host_pdu(&h)); // its association has ended
	host_close(&h);
	settle(&g, 0);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	for (unsigned i = 0; i < 65; i++) { // of 64 entries, each waiting for data
		c = host_rw_sqe(&h, NOF_NVM_WRITE, 1, 0, 8);
		sgl_transport(&c, 4096);
		(void)host_capsule(&h, &c, NULL, 0);
	}
	expect_term(&h, NOF_FES_LIMIT, -1);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- hosts that stop ---- */

/* NT-25: an RST behind each byte from ICReq to Connect. */
static void reset_anywhere(void **state)
{
	const struct linger now = { 1, 0 };
	struct nof_connect_data d = {
		.cntlid = dpu_le16_put(NOF_CNTLID_DYNAMIC), .subnqn = RIG_NQN, .hostnqn = RIG_HOST
	};
	struct nof_connect_sqe c = { .opc = NOF_OPC_FABRICS,
		.flags = NOF_PSDT_SGL,
		.fctype = NOF_FC_CONNECT,
		.sqsize = dpu_le16_put(31) };
	struct nof_icreq req = { .ch = { NOF_PDU_ICREQ, 0, 128, 0, dpu_le32_put(128) } };
	uint8_t bytes[128 + 72 + 1024];
	static struct host h;
	struct nof_sqe sqe;
	struct rig g;

	(void)state;
	memcpy(bytes, &req, 128);
	memcpy(&sqe, &c, sizeof(sqe));
	sgl_capsule(&sqe, sizeof(d));
	(void)pdu_cmd(bytes + 128, &sqe, &d, sizeof(d));
	rig_create(&g);
	for (size_t n = 1; n <= sizeof(bytes); n++) {
		host_open(&h, &g);
		(void)host_send(&h, bytes, n);
		(void)setsockopt(h.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		host_close(&h);
		rig_poll(&g);
	}
	settle(&g, 0);
	others_go_on(&g);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* NT-30: 64 reads of 128 KiB and no byte of them taken; others go on; the timeout ends it. */
static void never_reads(void **state)
{
	struct nof_tgt_opts o = { .pool_bytes = 4 << 20 };
	static struct host admin, h[4];
	struct nof_tgt_stats st;
	struct rig g;
	uint64_t v = 0;

	(void)state;
	rig_create_with(&g, &o);
	host_admin(&admin, &g, 0);
	for (unsigned i = 0; i < ARRAY_LEN(h); i++) {
		host_io(&h[i], &admin, (uint16_t)(i + 1), 0);
		for (unsigned n = 0; n < 63; n++) {
			struct nof_sqe c = host_rw_sqe(&h[i], NOF_NVM_READ, 1, 0, 256);

			sgl_transport(&c, 131072);
			assert_true(host_capsule(&h[i], &c, NULL, 0));
		}
	}
	for (unsigned i = 0; i < 2000; i++)
		rig_poll(&g);
	nof_tgt_stats(g.t, &st);
	assert_true(st.waits > 0);
	others_go_on(&g);
	// Keep alive: 100 ms, and no command any more.
	struct nof_sqe c = host_sqe(&admin, NOF_ADM_SET_FEATURES, 0);
	c.cdw10 = dpu_le32_put(NOF_FEAT_KATO);
	c.cdw11 = dpu_le32_put(100);
	assert_true(host_capsule(&admin, &c, NULL, 0));
	assert_int_equal(host_wait(&admin, NULL, &v), 0);
	settle(&g, 0);
	nof_tgt_stats(g.t, &st);
	assert_int_equal(st.kato, 1);
	for (unsigned i = 0; i < ARRAY_LEN(h); i++)
		host_close(&h[i]);
	host_close(&admin);
	check_pools(&g);
	rig_destroy(&g);
}

/* The same by one that goes on saying that it lives: what it does not take ends its connections. */
static void never_reads_and_lives(void **state)
{
	struct nof_tgt_opts o = { .pool_bytes = 4 << 20, .stall_ms = 300 };
	static struct host admin, h;
	struct nof_tgt_stats st;
	struct rig g;
	uint64_t conns, end;

	(void)state;
	rig_create_with(&g, &o);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	nof_tgt_stats(g.t, &st);
	conns = st.conns;
	for (unsigned n = 0; n < 31; n++) {
		struct nof_sqe c = host_rw_sqe(&h, NOF_NVM_READ, 1, 0, 256);

		sgl_transport(&c, 131072);
		assert_true(host_capsule(&h, &c, NULL, 0));
	}
	end = dpu_now_ns() + 20000000000;
	do {
		rig_poll(&g);
		nof_tgt_stats(g.t, &st);
	} while (st.conns == conns && dpu_now_ns() < end);
	assert_int_equal(st.conns, conns - 1);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* A command that takes a volume several turns, and in the same bytes the end of its connection. */
static void ends_with_work(void **state)
{
	static struct host admin, h;
	uint8_t pdu[512];
	struct nof_sqe c;
	struct rig g;
	size_t n;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	c = host_rw_sqe(&h, NOF_NVM_WRITE_ZEROES, 1, 0, 8192);
	n = pdu_cmd(pdu, &c, NULL, 0);
	memset(pdu + n, 0xff, 8);
	assert_true(host_send(&h, pdu, n + 8));
	expect_term(&h, NOF_FES_HEADER, 0);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- one byte of each PDU changed ---- */

static const uint8_t changes[] = { 0x00, 0x01, 0x02, 0x04, 0x7f, 0x80, 0xff };

/* Whatever it makes of that: the target stands, and gives back all it took. */
static void mutate(void **state)
{
	static struct host admin, h;
	uint8_t good[8192], pdu[8192];
	struct rig g;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	for (unsigned kind = 0; kind < 3; kind++) {
		for (unsigned off = 0; off < (kind == 2 ? 24U : 72U); off++) {
			for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
				size_t n;

				if (kind == 2) {
					ask_to_write(&h, 512);
					struct nof_data_pdu *p = (struct nof_data_pdu *)good;

					n = nof_pdu_begin(good, NOF_PDU_H2C_DATA, 0, 0, 512) + 512;
					p->ch.flags = NOF_F_LAST;
					p->cccid = dpu_le16_put(h.cid);
					p->ttag = h.pdu.r2t.ttag;
					p->datal = dpu_le32_put(512);
				} else {
					n = kind ? good_write(&h, good, 4096) : good_read(&h, good);
				}
				memcpy(pdu, good, n);
				pdu[off] ^= changes[i];
				(void)host_send(&h, pdu, n);
				(void)shutdown(h.fd, SHUT_WR);
				while (host_pdu(&h))
					;
				host_close(&h);
				settle(&g, 1);
				host_io(&h, &admin, 1, 0);
			}
		}
	}
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	others_go_on(&g);
	settle(&g, 0);
	rig_destroy(&g);
}

static void mutate_icreq(void **state)
{
	static struct host h;
	struct rig g;

	(void)state;
	rig_create(&g);
	for (unsigned off = 0; off < 128; off++) {
		for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
			struct nof_icreq req = { .ch = { NOF_PDU_ICREQ, 0, 128, 0,
							 dpu_le32_put(128) } };

			((uint8_t *)&req)[off] ^= changes[i];
			host_open(&h, &g);
			(void)host_send(&h, &req, sizeof(req));
			(void)shutdown(h.fd, SHUT_WR);
			while (host_pdu(&h))
				;
			host_close(&h);
		}
	}
	settle(&g, 0);
	others_go_on(&g);
	settle(&g, 0);
	rig_destroy(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_digest_bits),
		cmocka_unit_test(data_digest),
		cmocka_unit_test(limits),
		cmocka_unit_test(reset_anywhere),
		cmocka_unit_test(never_reads),

		cmocka_unit_test(never_reads_and_lives),
		cmocka_unit_test(ends_with_work),
		cmocka_unit_test(mutate),
		cmocka_unit_test(mutate_icreq),
	};
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	RUN_ROWS(header_rows, header, failed);
	RUN_ROWS(h2c_rows, h2c, failed);
	RUN_ROWS(sgl_rows, sgl, failed);
	failed |= cmocka_run_group_tests_name("hostile hosts", tests, NULL, NULL);
	return failed;
}
