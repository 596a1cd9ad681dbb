/* SPDX-License-Identifier: Apache-2.0 */
/* Action lists as text, put together at random; not all of them are valid. By rand(). */
#pragma once

#include <stdio.h>
#include <stdlib.h>

struct list_words {
	const char *const *plain;
	const char *const (*open)[2]; // what stands around a list
	unsigned n_plain, n_open;
};

/* Returns the length of a list of at most five actions, some of which hold such lists. */
static inline size_t random_list(const struct list_words *w, char *t, size_t size, unsigned depth)
{
	size_t n = 0;

	for (unsigned left = 1 + (unsigned)rand() % 5; left > 0 && n + 200 < size; left--) {
		const char *sep = n ? "," : "";

		if (depth < 4 && rand() % 4 == 0) {
			unsigned i = (unsigned)rand() % w->n_open;

			n += (size_t)sprintf(t + n, "%s%s", sep, w->open[i][0]);
			n += random_list(w, t + n, size - n, depth + 1);
			n += (size_t)sprintf(t + n, "%s", w->open[i][1]);
		} else {
			n += (size_t)sprintf(
				t + n, "%s%s", sep, w->plain[(unsigned)rand() % w->n_plain]);
		}
	}
	return n;
}
