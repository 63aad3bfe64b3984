#!/usr/bin/env python3
"""Reads every #include and fails on an arrow that points upward.

The tables below are the whole truth: a room may use the rooms in its row and
itself, and the system headers of its row beside those of standard C.
"""
import re
import sys
from pathlib import Path

# room -> rooms it may use
ROOMS = {
    "base": set(),
    "tensor": {"base"},
    "device": {"base", "tensor"},
    "graph": {"base", "tensor"},
    "op": {"base", "tensor", "graph"},
    "onnx": {"base", "tensor", "graph", "op"},
    "plan": {"base", "tensor", "graph", "device"},
    "nn": {"base", "tensor", "graph", "device", "op", "plan"},
    "data": {"base", "tensor"},
    "train": {"base", "tensor", "graph", "device", "op", "plan", "nn",
              "data"},
}

# The room that a public header belongs to: the one of its name, but for these.
PUBLIC = {"status": "base", "version": "base", "opencl": "device",
          "optim": "nn", "schedule": "nn", "minimize": "nn"}

STANDARD = {f"{name}.h" for name in (
    "assert ctype errno float inttypes limits locale math setjmp signal "
    "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib string "
    "time").split()}

# room -> patterns of further headers in angle brackets
SYSTEM = {
    "base": [r"Random123/philox\.h"],
    "device": [r"CL/\w+\.h", r"clblast_c\.h"],
    "onnx": [r"protobuf-c/protobuf-c\.h"],
    "nn": [r"jansson\.h"],
    "data": [r"zlib\.h"],
    "train": [r"jansson\.h"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")', re.M)
OPENCL_NAME = re.compile(r"\b(?:cl[A-Z]\w*|cl_\w+|CL_[A-Z]\w+)\b")

root = Path(sys.argv[1])
problems = []


def room_of(include):
    """The room of an include written from the library root, or None."""
    folder, _, name = include.partition("/")
    if folder == "quern":
        noun = name.removesuffix(".h")
        return PUBLIC.get(noun, noun)
    return folder if folder in ROOMS else None


def code_of(path):
    """The text without comments and string contents."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'(?<!include )"(?:\\.|[^"\\\n])*"', '""', text)


def includes_of(path):
    for match in INCLUDE.finditer(path.read_text()):
        yield match[1], match[2]


def complain(path, text):
    problems.append(f"{path.relative_to(root)}: {text}")


def check_room_file(path, room):
    systemic = path.name in ("os_posix.c", "os_windows.c")
    for system, local in includes_of(path):
        if system:
            allowed = system in STANDARD or systemic or any(
                re.fullmatch(p, system) for p in SYSTEM.get(room, []))
            if not allowed:
                complain(path, f"<{system}> is not for room {room}")
            continue
        target = room_of(local)
        if local == "quern/quern.h" or target is None:
            complain(path, f'"{local}" is not a path from the library root')
        elif target != room and target not in ROOMS[room]:
            complain(path, f"arrow {room} -> {target} ({local})")
    if room != "device":
        for name in sorted(set(OPENCL_NAME.findall(code_of(path)))):
            complain(path, f"{name}: only lib/device speaks OpenCL")


def check_outside_file(path, allowed, why):
    """`allowed` is a pattern of includes in quotes."""
    for _, local in includes_of(path):
        if local and not re.fullmatch(allowed, local):
            complain(path, f'"{local}": {why}')


rooms = {p.name for p in (root / "lib").iterdir() if p.is_dir()}
for extra in sorted(rooms - ROOMS.keys()):
    problems.append(f"lib/{extra}: a room that is not in the table")

count = 0
for room in sorted(rooms & ROOMS.keys()):
    for path in sorted((root / "lib" / room).rglob("*.[ch]")):
        check_room_file(path, room)
        count += 1
for path in sorted((root / "include/quern").glob("*.h")):
    if path.stem != "quern":
        check_room_file(path, room_of(f"quern/{path.name}"))
        count += 1
for path in sorted((root / "tools").rglob("*.[ch]")):
    check_outside_file(path, r"quern/\w+\.h|[\w]+\.h",
                       "tools use public headers and their own only")
    count += 1
for path in sorted((root / "tests/ref").rglob("*.[ch]")):
    check_outside_file(path, r"(?!qn_|quern)[\w/]+\.h",
                       "a reference shares nothing with the library")
    count += 1
listed = (root / "cl/meson.build").read_text()
for path in sorted((root / "cl").glob("*.cl")):
    if f"files('{path.name}')" not in listed:
        complain(path, "not in cl/meson.build, so nobody embeds it")

print("\n".join(problems) or f"{count} files, no arrow points upward")
sys.exit(bool(problems) or count == 0)
