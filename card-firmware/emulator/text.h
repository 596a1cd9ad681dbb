/* SPDX-License-Identifier: Apache-2.0 */
/* Text into fixed buffers where being cut is harmless or was ruled out by a check before. */
#pragma once

#include <stddef.h>

/* Format; what does not fit is cut, the result is always terminated. */
void emu_text(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
