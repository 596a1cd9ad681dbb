// SPDX-License-Identifier: Apache-2.0
/*
 * Connection tracking: the first byte says what comes. Even: packets of any bytes, each with a
 * header of eight (protocol, direction, action, time, length), through track, commit with and
 * without translation, and rewriting. Odd: a frame of an import, once as it is and once with its
 * sum made right, so that the checks behind it are reached.
 *
 * What the table would say of a packet is what it says then. Afterwards it must be in step with
 * itself: states, zone and dump count the same.
 */
#include <stdlib.h>
#include <string.h>

#include "ct_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void addr(uint8_t a[16], unsigned l3, unsigned v)
{
	memset(a, 0, 16);
	a[0] = 10;
	a[l3 == 4 ? 3 : 15] = (uint8_t)v;
}

static void packet(struct odp_ct *ct, const uint8_t *h, const uint8_t *l4, size_t len, uint64_t now)
{
	static const uint8_t protos[] = { 6, 17, 1, 58, 132, 47, 136, 6 };
	struct odp_ct_nat_conf nat = { .flags = h[2] & 63, .min_port = h[6], .max_port = h[7] };
	struct odp_ct_commit c = { .force = h[2] & 64,
		.mark = h[3],
		.mark_mask = UINT32_MAX,
		.nat = nat.flags & 3 ? &nat : NULL };
	struct odp_ct_pkt p = {
		.l4_len = (uint16_t)len, .l4_total = (uint32_t)len + h[4], .flags = h[5] == 255
	};
	uint8_t ip[40] = { 0 }, *copy = malloc(len + 1);

	if (!copy)
		abort();
	memcpy(copy, l4, len);
	p.l4 = copy;
	p.key.l3 = h[1] & 4 ? 6 : 4;
	p.key.proto = protos[h[0] >> 1 & 7];
	addr(p.key.src, p.key.l3, h[1] & 1 ? 1 : 2);
	addr(p.key.dst, p.key.l3, h[1] & 1 ? 2 : 1);
	addr(nat.min_addr, p.key.l3, h[1] >> 3 & 3);
	addr(nat.max_addr, p.key.l3, h[1] >> 5);
	(void)odp_ct_key_fill(&p.key, copy, len);
	struct odp_ct_pkt asked = p;

	odp_ct_would(ct, &asked, 0, now);
	odp_ct_track(ct, 0, &p, 1, now);
	if (asked.state != p.state || asked.ref.conn != p.ref.conn)
		abort();
	if ((p.state & ODP_CS_INV && p.ref.conn) || !(p.state & ODP_CS_TRK))
		abort();
	if (h[2] & 128 && odp_ct_commit(ct, 0, &p, &c, now) == 0 && !p.ref.conn)
		abort();
	(void)odp_ct_nat_apply(&p, ip, sizeof(ip), copy, len, h[6] & 1);
	if (p.ref.conn)
		(void)odp_ct_again(ct, 0, &p, p.ref, p.dir, now);
	free(copy);
	odp_ct_quiescent(ct, 0);
}

static void packets(struct odp_ct *ct, const uint8_t *d, size_t size)
{
	uint64_t now = 1;

	while (size >= 9) {
		size_t len = d[8] < size - 9 ? d[8] : size - 9;

		now += (uint64_t)d[5] * d[5];
		packet(ct, d, d + 9, len, now);
		(void)odp_ct_sweep(ct, 0, 64, now);
		d += 9 + len;
		size -= 9 + len;
	}
}

static void count(const struct odp_ct_info *i, void *arg)
{
	if (i->state == ODP_CT_NONE || i->state >= ODP_CT_STATE_COUNT)
		abort();
	(*(uint64_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct odp_ct *ct;
	static uint8_t frame[ODP_CT_FRAME_MAX];
	struct odp_ct_conf conf = { .max_conns = 256, .n_workers = 1, .seed = { 1, 2 } };
	const struct odp_ct_stamp stamp = { 0 };
	struct odp_ct_stats s;
	uint64_t seen = 0, at = 0;
	uint32_t from = 0;

	if (size == 0)
		return 0;
	if (!ct && odp_ct_create(&conf, &ct) < 0) // once: a table has 65536 zones
		abort();
	odp_ct_online(ct, 0);
	if (data[0] & 1) {
		for (unsigned honest = 0; honest < 2; honest++) {
			struct odp_ct_import im = { .age_ms = data[0] >> 2, .loose = data[0] & 2 };
			struct odp_ct_import check = { 0 };
			size_t len = size - 1 < sizeof(frame) ? size - 1 : sizeof(frame);
			uint8_t *cut = malloc(len + 1);

			if (!cut)
				abort();
			memcpy(cut, data + 1, len);
			if (honest)
				odp_ct_frame_seal(cut, len);
			int ok = odp_ct_import_check(&check, cut, len);

			if ((odp_ct_import(ct, &im, cut, len, 1) < 0) != (ok < 0))
				abort();
			if (len >= ODP_CT_FRAME_HDR)
				(void)odp_ct_frame_len(cut);
			free(cut);
		}
		packets(ct, data + 1, size - 1);
	} else {
		packets(ct, data, size);
	}
	while (odp_ct_dump(ct, &from, 1000, 0, count, &seen))
		;
	while (odp_ct_export(ct, &at, &stamp, 0, frame, sizeof(frame)) > 0)
		;
	(void)odp_ct_flush(ct, ODP_CT_ALL_ZONES);
	odp_ct_stats(ct, &s);
	if (s.conns != 0 || s.by_state[ODP_CT_EXPECTED] != 0)
		abort();
	for (unsigned i = 0; i < 4; i++) {
		odp_ct_quiescent(ct, 0);
		odp_ct_tick(ct);
	}
	odp_ct_offline(ct, 0);
	return 0;
}
