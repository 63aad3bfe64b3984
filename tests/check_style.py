#!/usr/bin/env python3
"""The part of docs/contributing.md that a machine can judge.

check_style.py SOURCE_ROOT
"""
import re
import subprocess
import sys
from pathlib import Path

LINE = 100      # columns in .c, .h and .cl
FILE = 700      # lines
FUNCTION = 60   # lines from { to }
TEXT = {".c", ".h", ".cl", ".cc", ".py", ".sh", ".md", ".build", ".txt",
        ".wrap", ".json", ".supp", ""}
CODE = {".c", ".h", ".cl", ".cc"}

root = Path(sys.argv[1])
problems = []


def complain(path, line, text):
    problems.append(f"{path.relative_to(root)}:{line}: {text}")


def tracked():
    """Files under version control, or all of them outside of it."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-z"],
                             check=True, capture_output=True).stdout
        names = out.decode().split("\0")[:-1]
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        names = [p.relative_to(root).as_posix()
                 for folder in ("lib", "cl", "include", "tests", "tools")
                 for p in (root / folder).rglob("*") if p.is_file()]
    return [root / name for name in names if (root / name).is_file()]


def check_text(path, text):
    for i, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            complain(path, i, "tab")
        if line != line.rstrip():
            complain(path, i, "trailing blanks")
        if re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", line):
            complain(path, i, "invisible character")
    if text and not text.endswith("\n"):
        complain(path, text.count("\n") + 1, "no newline at the end")
    if text.endswith("\n\n"):
        complain(path, text.count("\n"), "empty line at the end")


def check_code(path, text):
    lines = text.split("\n")
    for i, line in enumerate(lines, 1):
        if len(line) > LINE:
            complain(path, i, f"{len(line)} columns, at most {LINE}")
    if len(lines) > FILE:
        complain(path, len(lines), f"more than {FILE} lines: split it")
    start = None
    for i, line in enumerate(lines, 1):
        if line == "{":
            start = i
        elif line == "}" and start:
            if i - start > FUNCTION:
                complain(path, start, f"function of {i - start} lines, at "
                                      f"most {FUNCTION}")
            start = None


def check_headers(path, text):
    if path.parent == root / "include/quern":
        if not text.startswith("// SPDX-License-Identifier: MIT\n"):
            complain(path, 1, "no SPDX line")
    elif path.suffix in (".c", ".cl") and path.parts[len(root.parts)] in (
            "lib", "cl") and not text.startswith("//"):
        complain(path, 1, "must begin with what it owns, as a comment")
    if path.suffix == ".h" and not re.search(
            r"^#ifndef (\w+_H)\n#define \1\n", text, re.M):
        complain(path, 1, "no include guard")


files = tracked()
for path in files:
    if path.suffix not in TEXT or "packagefiles" in path.parts:
        continue
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        if path.suffix:
            complain(path, 1, "not UTF-8")
        continue
    check_text(path, text)
    if path.suffix in CODE:
        check_code(path, text)
        check_headers(path, text)

print("\n".join(problems) or f"{len(files)} files")
sys.exit(bool(problems) or not files)
