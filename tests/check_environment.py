#!/usr/bin/env python3
"""Every QUERN_ variable that is read is documented, and the other way round.

check_environment.py SOURCE_ROOT
"""
import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
NAME = re.compile(r"\bQUERN_[A-Z_]+[A-Z]\b")


def names(text):
    return {n for n in NAME.findall(text) if not n.endswith("_H")}


def read_by_code(*folders):
    """Names in string literals of C, and as $NAME in shell scripts."""
    found = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h"):
                text = " ".join(re.findall(r'"((?:\\.|[^"\\\n])*)"',
                                           path.read_text()))
            elif path.parent == root / "tools" and path.suffix in ("", ".sh"):
                text = " ".join(re.findall(r"\$\{?(\w+)", path.read_text()))
            else:
                continue
            for name in names(text):
                found.setdefault(name, path.relative_to(root))
    return found


header = (root / "include/quern/device.h").read_text()
table = names(header.split("#ifndef")[0])
readme = names((root / "README.md").read_text())
code = read_by_code("lib", "tools")
tests = read_by_code("tests")  # these have names of their own beside
tested = names(" ".join(p.read_text() for p in (root / "tests").rglob("*.c")))

problems = [f"{path}: {name} is in neither table (device.h, README.md)"
            for name, path in code.items() if name not in table | readme]
problems += [f"README.md: {name} of device.h is missing"
             for name in sorted(table - readme)]
problems += [f"{name} is documented, but nobody reads it"
             for name in sorted((table | readme) - code.keys() - tested)]
print("\n".join(problems) or f"{len(code)} variables")
sys.exit(bool(problems) or not code)
