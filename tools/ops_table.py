#!/usr/bin/env python3
"""Writes docs/ops.md: every operation, and how well it is tested.

ops_table.py [--build FOLDER] [--describe | --check]

Formula, source and gradient come from `quern list ops`; the rest is measured
by the tests of the build, with both families of kernels on the device at hand:
units in the last place (test_ulp), cases (test_op), the ONNX test suite
(test_onnx, with QUERN_TEST_DATA) and PyTorch's golden files (test_golden).
That takes some minutes.

  --describe  runs no test: keeps what was measured before
  --check     writes nothing; fails where the table and the library differ in
              names, formulas, sources or gradients. Needs no device.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/ops.md"
DESCRIBED = ["name", "formula", "source", "gradient"]
MEASURED = ["ulps", "cases", "gradients", "onnx", "pytorch"]
TITLES = ["Operation", "Formula", "Source", "Gradient", "Max ULP", "Cases",
          "Gradient cases", "ONNX", "PyTorch"]
HEAD = """# Operations

Every row of the table of operations. `tools/ops_table.py` writes this page from
`quern list ops` and from what the tests report; a test compares the two.

- *Max ULP*: the largest error met in float32 with PoCL, in units in the last
  place, against a reference in double; pointwise rows over 2^24 inputs of all
  sizes, others over 2^24 elements of lines (`test_ulp`). 0 is correctly
  rounded. Results below the smallest normal number count in units of its last
  place.
- *Cases*: cases of `test_op` whose graph holds the row: float32 and float64
  against the reference, fused and not. *Gradient cases*: those whose gradients
  are compared with central differences, and float32's with float64's.
- *ONNX*: cases of the ONNX backend test suite that hold the row, all of which
  pass at rtol 1e-5 (see [onnx.md](onnx.md)). *PyTorch*: golden cases of layers
  and losses that hold it, forward or backward, all of which agree with
  PyTorch.

Both families of kernels are tried; a number is the worse one's. A dash: no
such test for this row.

"""


def run(build, test, *arguments, variant="cpu", **more):
    env = dict(os.environ, CK_FORK="no", QUERN_CACHE="0",
               QUERN_VARIANT=variant, **more)
    done = subprocess.run([build / "tests" / test, *arguments], env=env,
                          capture_output=True, text=True)
    if done.returncode not in (0, 77):
        sys.exit(f"{test} fails:\n{done.stdout}{done.stderr}")
    return done.stdout


def describe(build):
    out = subprocess.run([build / "tools/quern", "list", "ops", "--json"],
                         check=True, capture_output=True, text=True).stdout
    return {row["name"]: {key: row[key] for key in DESCRIBED}
            for row in json.loads(out)["ops"]}


def measure_cases(build, rows):
    for line in run(build, "test_op", "list").splitlines():
        if line.startswith("{"):
            seen = json.loads(line)
            rows[seen["op"]].update(cases=seen["cases"] or "-",
                                    gradients=seen["gradients"] or "-")


def measure_ulps(build, rows, variant, folder):
    report = folder / f"ulps-{variant}"
    run(build, "test_ulp", "--report", report, variant=variant)
    for line in report.read_text().splitlines():
        seen = json.loads(line)
        if seen["op"] in rows:
            row = rows[seen["op"]]
            row["ulps"] = max(row.get("ulps", 0), seen["ulps"])


def measure_judge(build, rows, judge, test, variant, folder):
    """A line a case: name, verdict, the rows of its graph."""
    report = folder / f"{judge}-{variant}"
    run(build, test, "--report", report, variant=variant)
    passed = {}
    for line in report.read_text().splitlines() if report.exists() else ():
        _, verdict, ops = line.split("\t")
        for op in ops.split():
            passed[op] = passed.get(op, 0) + (verdict == "passed")
    for name, row in rows.items():
        count = passed.get(name, 0)
        row[judge] = min(row.get(judge, count), count)


def measure(build, rows):
    if not os.environ.get("QUERN_TEST_DATA"):
        sys.exit("set QUERN_TEST_DATA: the ONNX cases are there")
    measure_cases(build, rows)
    with tempfile.TemporaryDirectory() as folder:
        for variant in ("cpu", "gpu"):
            measure_ulps(build, rows, variant, Path(folder))
            measure_judge(build, rows, "onnx", "test_onnx", variant,
                          Path(folder))
            measure_judge(build, rows, "pytorch", "test_golden", variant,
                          Path(folder))
    for row in rows.values():
        row["ulps"] = f"{row['ulps']:.2f}" if "ulps" in row else "-"
        for judge in ("onnx", "pytorch"):
            row[judge] = f"{row[judge]} pass" if row[judge] else "-"


def cell(value):
    return str(value).replace("|", "\\|")


def read_page():
    """name -> cells, of the page as it is."""
    rows = {}
    for line in PAGE.read_text().splitlines() if PAGE.exists() else ():
        cells = re.split(r" (?<!\\)\| ", line.strip()[2:-2])
        if line.startswith("| `"):
            cells[0] = cells[0].strip("`")
            rows[cells[0]] = dict(zip(DESCRIBED + MEASURED, cells))
    return rows


def write_page(rows):
    lines = ["| " + " | ".join(TITLES) + " |",
             "| " + " | ".join(["---"] * len(TITLES)) + " |"]
    for row in rows.values():
        cells = [cell(row.get(key, "?")) for key in DESCRIBED + MEASURED]
        cells[0] = f"`{cells[0]}`"
        lines.append("| " + " | ".join(cells) + " |")
    PAGE.write_text(HEAD + "\n".join(lines) + "\n")


def check(rows):
    page, problems = read_page(), []
    for name in sorted(rows.keys() - page.keys()):
        problems.append(f"{name}: not in docs/ops.md")
    for name in sorted(page.keys() - rows.keys()):
        problems.append(f"{name}: in docs/ops.md, but no operation")
    for name in sorted(page.keys() & rows.keys()):
        for key in DESCRIBED[1:]:
            if page[name][key] != cell(rows[name][key]):
                problems.append(f"{name}: {key} differs in docs/ops.md")
    if problems:
        problems.append("run tools/ops_table.py (--describe: without tests)")
    print("\n".join(problems) or f"{len(rows)} operations, as in docs/ops.md")
    sys.exit(bool(problems) or not rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--describe", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    rows = describe(args.build.resolve())
    if args.check:
        check(rows)
    if args.describe:
        for name, row in read_page().items():
            if name in rows:
                rows[name].update({k: row[k].replace("\\|", "|")
                                   for k in MEASURED if k in row})
    else:
        measure(args.build.resolve(), rows)
    write_page(rows)


if __name__ == "__main__":
    main()
