// SPDX-License-Identifier: Apache-2.0
/*
 * A kernel image of any bytes, for a guest of 64 MiB: what is taken lies within the file, within
 * the memory, above what the boot structures are in, and apart from the initrd.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image.h"
#include "layout.h"

#define LOW (64ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct hv_image image;
	const char *why = NULL;
	uint64_t gpa;

	if (fd < 0)
		fd = memfd_create("image", MFD_CLOEXEC);
	check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	if (hv_image_plan(&(struct hv_file){ fd, size }, LOW, &image, &why) < 0) {
		check(why != NULL);
		return 0;
	}
	check(image.n_segs > 0 && image.n_segs <= HV_SEGS_MAX);
	check(image.setup_len <= HV_SETUP_MAX);
	check(image.base >= HV_IMAGE_MIN && image.end > image.base && image.end <= LOW);
	check(image.entry >= image.base && image.entry < image.end);
	for (unsigned i = 0; i < image.n_segs; i++) {
		const struct hv_image_seg *s = &image.segs[i];

		check(s->off <= size && s->len <= size - s->off && s->len <= s->mem_len);
		check(s->gpa >= image.base && s->mem_len <= image.end - s->gpa);
	}
	if (hv_image_place_initrd(&image, size, LOW, &gpa, &why) == 0)
		check(gpa >= HV_IMAGE_MIN && gpa + size <= LOW &&
			(gpa >= image.end || gpa + size <= image.base));
	return 0;
}
