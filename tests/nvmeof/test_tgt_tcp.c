// SPDX-License-Identifier: Apache-2.0
/* The target over loopback: what works. */
#include "test.h"

#include "tgt_rig.h"

static uint8_t pattern[256 << 10];

static void fill(uint8_t seed)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
}

struct way {
	const char *name;
	uint8_t dgst;
	bool flow; // SQ flow control
};
static const struct way ways[] = {
	{ "plain", 0, false },
	{ "sq flow control", 0, true },
	{ "header digest", NOF_DGST_HEADER, false },
	{ "data digest", NOF_DGST_DATA, false },
	{ "both digests", NOF_DGST_HEADER | NOF_DGST_DATA, true },
};

static void roundtrip(struct host *io, enum host_way how, uint64_t slba, uint32_t n, uint8_t seed)
{
	fill(seed);
	assert_int_equal(host_write(io, how, 1, slba, n, 512, pattern), 0);
	memset(io->data, 0, n * 512);
	assert_int_equal(host_read(io, 1, slba, n, 512), 0);
	assert_int_equal(io->data_len, n * 512);
	assert_memory_equal(io->data, pattern, n * 512);
}

static void reads_and_writes(void **state)
{
	const struct way *w = *state;
	static struct host admin, io;
	struct nof_tgt_stats st;
	struct rig g;

	rig_create(&g);
	host_admin(&admin, &g, w->dgst);
	host_open(&io, &g);
	io.no_flow = !w->flow;
	host_icreq(&io, w->dgst, 3);
	io.cntlid = admin.cntlid;
	assert_int_equal(host_connect(&io, 1, 63, RIG_NQN, RIG_HOST, NULL), 0);
	roundtrip(&io, IN_CAPSULE, 0, 1, 1);
	roundtrip(&io, IN_CAPSULE, 100, 8, 2);
	roundtrip(&io, BY_TRANSPORT, 8, 8, 3);
	roundtrip(&io, BY_TRANSPORT, 16000, 256, 4);
	assert_int_equal(host_read(&io, 2, 0, 32, 4096), 0);
	assert_int_equal(io.data_len, 131072);
	nof_tgt_stats(g.t, &st);
	assert_int_equal(st.reads, 5);
	assert_int_equal(st.writes, 4);
	assert_int_equal(st.conns, 2);
	assert_int_equal(st.ctrls, 1);
	host_close(&io);
	host_close(&admin);
	rig_destroy(&g);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(ways, reads_and_writes, failed);
	return failed;
}
