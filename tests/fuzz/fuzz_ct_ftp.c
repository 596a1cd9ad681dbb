// SPDX-License-Identifier: Apache-2.0
/*
 * FTP's helper: the first byte says who speaks and how many bytes the segment is short of; what
 * follows is read as a line by itself, and as a segment of a control connection. What is expected
 * then is between the two hosts of that connection, and at a port that is no service's.
 */
#include <stdlib.h>
#include <string.h>

#include "ct_ftp.h"
#include "ct_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tcp(struct odp_ct_pkt *p, uint8_t *l4, size_t len, bool from_server, uint8_t flags)
{
	memset(l4, 0, 20);
	l4[from_server ? 1 : 3] = 21;
	l4[from_server ? 2 : 0] = 16;
	l4[7] = 1; // sequence number
	l4[11] = flags == 2 ? 0 : 1;
	l4[12] = 5 << 4;
	l4[13] = flags;
	l4[14] = 0xff;
	*p = (struct odp_ct_pkt){ .key = { .l3 = 4, .proto = 6 },
		.l4 = l4,
		.l4_len = 20,
		.l4_total = (uint32_t)(20 + len) };
	p->key.src[0] = p->key.dst[0] = 10;
	p->key.src[3] = from_server ? 2 : 1;
	p->key.dst[3] = from_server ? 1 : 2;
	(void)odp_ct_key_fill(&p->key, l4, 20);
}

static void judge(struct odp_ct *ct)
{
	for (uint32_t i = 0; i < ct->n_fresh; i++) {
		const struct odp_conn *c = &ct->conns[i];

		if (ct_life(c) != CT_LIVE || !(CT_GET(c->flags) & CT_F_EXPECT))
			continue;
		if (dpu_be16_get(c->key0.dport) < 1024 || c->key0.src[3] + c->key0.dst[3] != 3 ||
			c->key0.src[0] != 10 || c->key0.dst[0] != 10)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct odp_ct *ct;
	struct odp_ct_conf conf = { .max_conns = 256, .n_workers = 1, .seed = { 1, 2 } };
	struct odp_ct_commit k = { .helper = (uint8_t)odp_ct_helper_find("ftp") };
	struct ct_ftp_ask ask;
	struct odp_ct_pkt p;
	uint8_t syn[20], *l4;

	if (size < 2)
		return 0;
	bool from_server = data[0] & 1;
	size_t len = size - 1, there = len - (data[0] >> 1) % (len + 1);

	if (!ct && odp_ct_create(&conf, &ct) < 0)
		abort();
	odp_ct_online(ct, 0);
	tcp(&p, syn, 0, false, 2);
	syn[7] = 0;
	odp_ct_track(ct, 0, &p, 1, 1);
	if (odp_ct_commit(ct, 0, &p, &k, 1) < 0)
		abort();
	tcp(&p, syn, 0, true, 0x12);
	syn[7] = 0;
	odp_ct_track(ct, 0, &p, 1, 1);
	odp_ct_help(ct, 0, &p, &(struct odp_ct_payload){ syn, 20, 0 }, 1);
	l4 = malloc(20 + there);
	if (!l4)
		abort();
	memcpy(l4 + 20, data + 1, there);
	(void)odp_ct_ftp_line(from_server, l4 + 20, there, &ask);
	tcp(&p, l4, len, from_server, 0x10);
	odp_ct_track(ct, 0, &p, 1, 1);
	odp_ct_help(ct, 0, &p, &(struct odp_ct_payload){ l4, 20 + there, data[size - 1] }, 1);
	free(l4);
	judge(ct);
	(void)odp_ct_flush(ct, ODP_CT_ALL_ZONES);
	for (unsigned i = 0; i < 4; i++) {
		odp_ct_quiescent(ct, 0);
		odp_ct_tick(ct);
	}
	odp_ct_offline(ct, 0);
	return 0;
}
