// SPDX-License-Identifier: Apache-2.0
/* Reads the wear of eMMC and UFS devices from sysfs. */
#include "vol_wear.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The n numbers of an attribute, hexadecimal as these are. 0, or -ENODATA. */
static int read_numbers(const char *dir, const char *name, unsigned n, unsigned long out[])
{
	char path[PATH_MAX], text[64], *at = text, *end;
	ssize_t len;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return -ENODATA;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ENODATA;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return -ENODATA;
	text[len] = '\0';
	for (unsigned i = 0; i < n; i++, at = end) {
		out[i] = strtoul(at, &end, 16);
		if (end == at)
			return -ENODATA;
	}
	return 0;
}

/* Numbers beyond those that are defined say nothing. */
static uint16_t defined(unsigned long v, unsigned max)
{
	return v <= max ? (uint16_t)v : 0;
}

int vol_wear_read(const char *sys, struct vol_wear *out)
{
	/* JESD84-B51, EXT_CSD[267] to [269]; JESD220, 14.1.4.5. The last two: of a partition. */
	static const struct {
		const char *pre_eol, *life_a, *life_b; // life_b NULL: the second number of life_a
	} places[] = {
		{ "device/pre_eol_info", "device/life_time", NULL },
		{ "device/../../../health_descriptor/eol_info",
			"device/../../../health_descriptor/life_time_estimation_a",
			"device/../../../health_descriptor/life_time_estimation_b" },
		{ "../device/pre_eol_info", "../device/life_time", NULL },
		{ "../device/../../../health_descriptor/eol_info",
			"../device/../../../health_descriptor/life_time_estimation_a",
			"../device/../../../health_descriptor/life_time_estimation_b" },
	};

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unsigned long pre_eol, life[2];

		if (read_numbers(sys, places[i].pre_eol, 1, &pre_eol) ||
			read_numbers(sys, places[i].life_a, places[i].life_b ? 1 : 2, life) ||
			(places[i].life_b && read_numbers(sys, places[i].life_b, 1, &life[1])))
			continue;
		*out = (struct vol_wear){
			.pre_eol = defined(pre_eol, VOL_PRE_EOL_MAX),
			.life_a = defined(life[0], VOL_LIFE_MAX),
			.life_b = defined(life[1], VOL_LIFE_MAX),
		};
		return out->pre_eol || out->life_a || out->life_b ? 0 : -ENODATA;
	}
	return -ENODATA;
}
