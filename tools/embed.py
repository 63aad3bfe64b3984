#!/usr/bin/env python3
"""Writes files as C byte arrays with an index: embed.py OUT.c NAME=FILE...
Or one file as one array: embed.py --array OUT.c NAME HEADER FILE
"""
import sys
from pathlib import Path


def byte_lines(data):
    return ["    " + "".join(f"{b}," for b in data[at:at + 20])
            for at in range(0, len(data), 20)]


def write_array(out, name, header, path):
    """`name` and `name`_size, as `header` declares them."""
    data = Path(path).read_bytes()
    Path(out).write_text("\n".join([
        f"// Generated from {Path(path).name} by tools/embed.py.",
        f'#include "{header}"', "",
        f"const unsigned char {name}[] = {{", *byte_lines(data), "};",
        f"const size_t {name}_size = sizeof {name};", ""]))


def main():
    if sys.argv[1] == "--array":
        return write_array(*sys.argv[2:])
    out, entries = sys.argv[1], sys.argv[2:]
    lines = ["// Generated from cl/ by tools/embed.py.",
             '#include "device/sources.h"', ""]
    index = []
    for i, entry in enumerate(entries):
        name, path = entry.split("=", 1)
        lines.append(f"static const unsigned char source_{i}[] = {{")
        lines += byte_lines(Path(path).read_bytes())
        lines.append("};")
        index.append(f'    {{"{name}", source_{i}, sizeof source_{i}}},')
    lines += ["", "const struct qn_source qn_sources[] = {", *index,
              "    {0, 0, 0},", "};", ""]
    Path(out).write_text("\n".join(lines))


main()
