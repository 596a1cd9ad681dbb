// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: what a controller says of itself: Identify structures, descriptors, ANA logs and
 * discovery logs of any content.
 *
 * Input: which of them (1 byte), its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "discovery.h"
#include "ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void group(void *arg, uint32_t grpid, enum nof_ana state)
{
	if (grpid == 0 || grpid > 32 || state == 0)
		abort();
	++*(unsigned *)arg;
}

static void ctrl(const uint8_t page[4096])
{
	struct nof_ident id;

	if (nof_ident_ctrl((const struct nof_id_ctrl *)page, 12, "nqn.fuzz", &id) < 0)
		return;
	if (id.transfer_max < 4096 || id.transfer_max > NOF_TRANSFER_MAX ||
		id.capsule_max > NOF_TRANSFER_MAX)
		abort();
}

static void ns(const uint8_t page[4096])
{
	struct nof_ns_ident id;

	if (nof_ident_ns((const struct nof_id_ns *)page, &id) < 0)
		return;
	if (id.blocks == 0 || id.blocks << id.lba_shift >> id.lba_shift != id.blocks)
		abort();
}

static void disc(const uint8_t *data, size_t len)
{
	static uint8_t buf[8192];
	struct nof_disc d = { 0 };
	uint64_t off;
	uint32_t want;
	int ret;

	nof_disc_begin(&d);
	do {
		nof_disc_next(&d, sizeof(buf), &off, &want);
		if (want > sizeof(buf))
			abort();
		memset(buf, 0, sizeof(buf));
		for (uint32_t i = 0; len > 0 && i < want; i++) // the same bytes again and again
			buf[i] = data[(off + i) % len];
		ret = nof_disc_take(&d, buf);
		if (d.n > NOF_DISC_MAX)
			abort();
	} while (ret == 1);
	free(d.entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t page[4096];
	struct nof_ns_ident id = { 0 };
	unsigned n = 0;

	if (len < 1)
		return 0;
	memset(page, 0, sizeof(page));
	memcpy(page, data + 1, len - 1 < sizeof(page) ? len - 1 : sizeof(page));
	switch (data[0] % 5) {
	case 0:
		ctrl(page);
		break;
	case 1:
		ns(page);
		break;
	case 2:
		nof_ident_desc(page, &id);
		break;
	case 3:
		(void)nof_ident_ana(data + 1, len - 1, 32, group, &n);
		if (n > len / 32)
			abort();
		break;
	default:
		disc(data + 1, len - 1);
		break;
	}
	return 0;
}
