#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a program into a C array: embed.py PROGRAM SOURCE."""
import sys

with open(sys.argv[1], "rb") as f:
    data = f.read()
with open(sys.argv[2], "w", encoding="ascii") as f:
    f.write('#include "pager_proto.h"\n\nconst unsigned char pager_image[] = {')
    for i, b in enumerate(data):
        f.write(("\n\t" if i % 16 == 0 else " ") + f"{b},")
    f.write(f"\n}};\nconst size_t pager_image_len = {len(data)};\n")
