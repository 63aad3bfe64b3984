#!/usr/bin/env python3
"""Writes files as C byte arrays with an index: embed.py OUT.c NAME=FILE...
Or one file as one array: embed.py --array OUT.c NAME HEADER FILE

A name of the form random123:NAME=philox.h embeds that header with its
#include lines resolved, as OpenCL C sees it.
"""
import re
import sys
from pathlib import Path


def flatten(path, seen):
    """The text of a header with its local includes put in place, once each."""
    if path in seen:
        return ""
    seen.add(path)
    out = []
    for line in path.read_text().splitlines():
        match = re.match(r'\s*#\s*include\s+"(.+)"', line)
        target = path.parent / match[1] if match else None
        if target and target.exists():
            # Only the compiler features of OpenCL are wanted.
            other = re.search(r"(\w+)features\.h$", target.name)
            if other and other[1] not in ("opencl", "compiler"):
                continue
            out.append(flatten(target.resolve(), seen))
        elif not re.match(r"\s*#\s*include", line):
            out.append(line)
    return "\n".join(out) + "\n"


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


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
        if name.startswith("random123:"):
            name = name.split(":", 1)[1]
            text = strip_comments(flatten(Path(path).resolve(), set()))
            data = re.sub(r"\n\s*\n+", "\n", text).encode()
        else:
            data = Path(path).read_bytes()
        lines.append(f"static const unsigned char source_{i}[] = {{")
        lines += byte_lines(data)
        lines.append("};")
        index.append(f'    {{"{name}", source_{i}, sizeof source_{i}}},')
    lines += ["", "const struct qn_source qn_sources[] = {", *index,
              "    {0, 0, 0},", "};", ""]
    Path(out).write_text("\n".join(lines))


main()
