// SPDX-License-Identifier: Apache-2.0
#include "dpu_id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "dpu_wire.h"

static void mark(uint8_t id[16], unsigned version)
{
	id[6] = (uint8_t)(version << 4 | (id[6] & 15));
	id[8] = (uint8_t)(0x80 | (id[8] & 63));
}

int dpu_uuid_new(uint8_t out[16])
{
	if (getrandom(out, 16, 0) != 16)
		return -EIO;
	mark(out, 4);
	return 0;
}

void dpu_uuid_of(uint64_t high, uint64_t low, uint8_t out[16])
{
	const dpu_be64 half[2] = { dpu_be64_put(high), dpu_be64_put(low) };

	memcpy(out, half, sizeof(half));
	mark(out, 8);
}
