/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC32C, the checksum of NVMe/TCP's digests (TCP 3.3.1; RFC 3720, appendix B.4), by the best
 * instructions that this CPU has. Which those are is found out at the first call.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The checksum of bytes whose beginning has the checksum `crc` (0: nothing came before) and whose
 * last `len` are at p. Any thread.
 */
uint32_t nof_crc32c(uint32_t crc, const void *p, size_t len);

/* The same of what is copied from src to dst, which do not overlap. */
uint32_t nof_crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len);

/* ---- for tests and benchmarks: one way of doing it ---- */
struct nof_crc32c_way {
	const char *name;
	uint32_t (*sum)(uint32_t crc, const void *p, size_t len);
	uint32_t (*copy)(uint32_t crc, void *dst, const void *src, size_t len);
};
/*
 * The ways that this CPU has, best first, "plain" last. Fills at most max, returns how many there
 * are.
 */
unsigned nof_crc32c_ways(const struct nof_crc32c_way **out, unsigned max);
