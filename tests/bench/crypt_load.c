// SPDX-License-Identifier: Apache-2.0
/*
 * AES-256-XTS on one CPU: an encrypted volume on a null volume, and the same calls of OpenSSL by
 * themselves. Requests are written, from their buffer into another one, and read, decrypted where
 * they lie, in turn.
 *
 * crypt_load MODE UNIT REQUEST MS [CPU]: MODE is volume or openssl; UNIT 512 or 4096 bytes, REQUEST
 * bytes. Prints one line: bytes a second.
 */
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "group.h"
#include "nof_key.h"
#include "volume.h"

#define SIZE (64ULL << 20)
#define WINDOW 32U
#define REQUEST_MAX (128U << 10)
#define WARM_MS 100ULL

static uint8_t *data[WINDOW], *sealed[WINDOW];
static uint32_t unit, request;
static uint64_t seed = 88172645463325252ULL;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "crypt_load: %s\n", what);
	exit(1);
}

static uint64_t next_off(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % (SIZE / request) * request;
}

/* ---- OpenSSL alone ---- */

static EVP_CIPHER_CTX *ctx[2];

static void openssl_start(void)
{
	uint8_t key[NOF_KEY_LEN];

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (int dir = 0; dir < 2; dir++) {
		ctx[dir] = EVP_CIPHER_CTX_new();
		must(ctx[dir] && EVP_CipherInit_ex(
					 ctx[dir], EVP_aes_256_xts(), NULL, key, NULL, dir) == 1,
			"cipher");
	}
}

/* A window of requests, each unit by itself. */
static void openssl_turn(void)
{
	for (unsigned i = 0; i < WINDOW; i++) {
		bool write = i & 1;
		uint64_t first = next_off() / unit;
		uint8_t *to = write ? sealed[i] : data[i];

		for (uint32_t at = 0; at < request; at += unit, first++) {
			uint64_t tweak[2] = { first, 0 };
			int n;

			must(EVP_CipherInit_ex(ctx[write], NULL, NULL, NULL, (const uint8_t *)tweak,
				     -1) == 1 &&
					EVP_CipherUpdate(ctx[write], to + at, &n, data[i] + at,
						(int)unit) == 1,
				"cipher");
		}
	}
}

/* ---- the volume ---- */

static struct vol_chan *chan;
static struct vol_io io[WINDOW];
static struct iovec iov[WINDOW];
static unsigned answers;

static void done(struct vol_io *unused, int err)
{
	(void)unused;
	must(err == 0, "request");
	answers++;
}

static void volume_start(void)
{
	const struct nof_group_conf gc = { 0 };
	struct vol_null_conf nc = { "n", SIZE, unit };
	struct vol_crypt_conf cc = { .name = "c", .unit = unit };
	static struct nof_group *g; // to the end
	struct vol *v;

	must(vol_null_open(&nc, &cc.lower) == 0, "null volume");
	must(nof_key_generate(&cc.key) == 0, "key");
	must(vol_crypt_open(&cc, &v) == 0, "volume");
	must(nof_group_create(&gc, &g) == 0, "group");
	must(vol_chan_open(v, g, &chan) == 0, "channel");
	for (unsigned i = 0; i < WINDOW; i++) {
		iov[i] = (struct iovec){ data[i], request };
		io[i] = (struct vol_io){ .op = i & 1 ? VOL_WRITE : VOL_READ,
			.len = request,
			.iov = &iov[i],
			.n_iov = 1,
			.done = done };
	}
}

/* What a worker does for a window of requests. */
static void volume_turn(void)
{
	answers = 0;
	for (unsigned i = 0; i < WINDOW; i++) {
		io[i].off = next_off();
		vol_submit(chan, &io[i]);
	}
	vol_chan_kick(chan);
	while (answers < WINDOW)
		vol_chan_poll(chan);
}

/* ---- */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0, "affinity");
}

static double measure(void (*turn)(void), uint64_t ms)
{
	uint64_t now = dpu_now_ns(), start = now + WARM_MS * 1000000, end = start + ms * 1000000;
	uint64_t n = 0;

	for (; now < end; now = dpu_now_ns()) {
		turn();
		n = now < start ? 0 : n + 1;
	}
	return (double)n * WINDOW * request * 1e9 / (double)(now - start);
}

int main(int argc, char **argv)
{
	bool volume;

	if (argc != 5 && argc != 6) {
		fprintf(stderr, "Usage: crypt_load MODE UNIT REQUEST MS [CPU]\n");
		return 2;
	}
	volume = !strcmp(argv[1], "volume");
	unit = (uint32_t)atoi(argv[2]);
	request = (uint32_t)atoi(argv[3]);
	if (unit == 0 || request < unit || request % unit || request > REQUEST_MAX)
		return 2;
	if (argc == 6)
		pin(atoi(argv[5]));
	for (unsigned i = 0; i < WINDOW; i++) {
		data[i] = aligned_alloc(4096, REQUEST_MAX);
		sealed[i] = aligned_alloc(4096, REQUEST_MAX);
		must(data[i] && sealed[i], "memory");
		memset(data[i], (int)i, REQUEST_MAX);
		memset(sealed[i], 0, REQUEST_MAX);
	}
	if (volume)
		volume_start();
	else
		openssl_start();
	printf("%s unit=%u request=%u per_s=%.0f\n", argv[1], unit, request,
		measure(volume ? volume_turn : openssl_turn, (uint64_t)atoi(argv[4])));
	return 0;
}
