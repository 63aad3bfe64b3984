#!/usr/bin/env python3
"""Exported symbols = the QN_API functions of the headers; all begin with qn_.

check_symbols.py NM SOURCE_ROOT LIBRARY [STATIC_LIBRARY]

The static library holds the same objects with their internal names, which
must not clash with a program's own: these begin with qn_ as well.
"""
import re
import subprocess
import sys
from pathlib import Path

nm, root, library, *static = sys.argv[1:]
problems = []


def symbols(*args):
    out = subprocess.run([nm, *args], check=True, capture_output=True,
                         text=True).stdout
    rows = (line.split() for line in out.splitlines())
    return {row[2].split("@")[0] for row in rows
            if len(row) == 3 and row[1] in "TDBRVW"}


def declared():
    names = set()
    for path in Path(root, "include/quern").glob("*.h"):
        text = re.sub(r"//[^\n]*", "", path.read_text())
        for declaration in re.findall(r"^QN_API\s([^;{]+);", text, re.M):
            names.add(re.search(r"(\w+)\s*\(", declaration)[1])
    return names


wanted = declared()
# Put there by the linker on some systems.
exported = symbols("-D", "--defined-only", library) - {
    "_init", "_fini", "__bss_start", "_edata", "_end"}
for name in sorted(wanted - exported):
    problems.append(f"{name}: declared with QN_API, not exported")
for name in sorted(exported - wanted):
    problems.append(f"{name}: exported, not declared with QN_API")
for name in sorted(wanted):
    if not name.startswith("qn_"):
        problems.append(f"{name}: a public name must begin with qn_")
for archive in static:
    for name in sorted(symbols("-g", "--defined-only", archive)):
        if not name.startswith("qn_") and not name.startswith("__"):
            problems.append(f"{name}: an external name must begin with qn_")

print("\n".join(problems) or f"{len(wanted)} functions, as declared")
sys.exit(bool(problems) or not wanted)
