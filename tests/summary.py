#!/usr/bin/env python3
"""Prints the closing line of every libcheck suite, then totals.

summary.py TESTLOG.json...

Fails if a log is missing, if nothing was checked, or if all was skipped.
"""
import json
import re
import sys
from pathlib import Path

CLOSING = re.compile(r"^\d+%: Checks: (\d+), .*$", re.M)

checks = 0
results = {"OK": 0, "SKIP": 0}
missing = []

for log in map(Path, sys.argv[1:]):
    if not log.exists():
        missing.append(log)
        continue
    folder = log.parent.parent.name
    for line in log.read_text().splitlines():
        test = json.loads(line)
        name, result = test["name"].split(" / ")[-1], test["result"]
        results[result] = results.get(result, 0) + 1
        closings = list(CLOSING.finditer(test.get("stdout", "")))
        for closing in closings:
            checks += int(closing[1])
            print(f"{folder + '/' + name:32} {closing[0]}")
        if result == "SKIP" or (result == "OK" and not closings):
            lines = test.get("stdout", "").strip().splitlines()
            print(f"{folder + '/' + name:32} {lines[-1] if lines else 'passed'}"
                  f"{' (skipped)' if result == 'SKIP' else ''}")

bad = sum(n for r, n in results.items() if r not in ("OK", "SKIP"))
print(f"{results['OK']} tests passed with {checks} checks, {bad} failed, "
      f"{results['SKIP']} skipped")
for log in missing:
    print(f"no log {log}: its tests did not run")
sys.exit(bool(missing) or bad > 0 or results["OK"] == 0)
