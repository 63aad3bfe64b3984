#!/usr/bin/env python3
"""Shows what tools/demo trained: show.py RESULT.json RUN_FOLDER

RESULT.json is what `quern train --json` printed. Draws the test accuracy by
epoch and eight test digits with the answers of `quern predict`. Fails if the
accuracy is below 0.97.
"""
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WANTED = 0.97
SHOWN = 8
colours = (sys.stdout.isatty() and "NO_COLOR" not in os.environ
           or "CLICOLOR_FORCE" in os.environ)


def paint(codes, text):
    return f"\x1b[{codes}m{text}\x1b[0m" if colours else text


def curve(values, low, high, height=4):
    """Columns of eighths of a character, `height` characters high."""
    lines = []
    for level in reversed(range(height)):
        line = ""
        for value in values:
            filled = (value - low) / (high - low) * height - level
            line += " ▁▂▃▄▅▆▇█"[max(0, min(8, round(8 * filled)))] * 2
        lines.append(paint("36", line))
    return lines


def print_curve(run):
    epochs = [json.loads(line) for line in
              (run / "metrics.jsonl").read_text().splitlines()]
    values = [epoch["test_accuracy"] for epoch in epochs][-30:]
    low = min(0.8, min(values))
    for i, line in enumerate(curve(values, low, 1)):
        label = {0: "100 %", 3: f"{100 * low:3.0f} %"}.get(i, "")
        print(f"  {label:>5} {paint('2', '┤')}{line}")
    print(f"        {paint('2', 'test accuracy, epoch 1 to ')}"
          f"{paint('2', str(len(epochs)))}\n")


def test_digits():
    """Pixels and labels of the test part, split as lib/data/digits.c does."""
    text = gzip.decompress((ROOT / "lib/data/digits.csv.gz").read_bytes())
    rows = [[int(float(v)) for v in line.split(",")]
            for line in text.decode().split()]
    chosen = set()
    for label in range(10):
        at = [i for i, row in enumerate(rows) if row[64] == label]
        chosen |= {at[(2 * j + 1) * len(at) // 72] for j in range(36)}
    return [rows[i] for i in sorted(chosen)]


def draw(pixels):
    """Four lines of eight half blocks."""
    lines = []
    for y in range(0, 8, 2):
        line = ""
        for x in range(8):
            top, bottom = (pixels[8 * (y + k) + x] for k in (0, 1))
            if colours:
                a, b = (min(232 + 3 * v // 2, 255) for v in (top, bottom))
                line += f"\x1b[38;5;{a}m\x1b[48;5;{b}m▀"
            else:
                line += " ░▒▓█"[min(4, (top + bottom) // 7)]
        lines.append(line + ("\x1b[0m" if colours else ""))
    return lines


def print_digits(run):
    drawn = [draw(sample) for sample in test_digits()[:SHOWN]]
    for lines in zip(*drawn):
        print("  " + "  ".join(lines))
    labels = []
    for guess, share, label in predict(run, SHOWN):
        right = guess == label
        text = f"{guess} {'✓' if right else '✗'} {100 * share:3.0f}%"
        labels.append(paint("32" if right else "31", text))
    print("  " + "  ".join(labels) + "\n")


def predict(run, count):
    """(class, probability, label) of the first test digits."""
    out = subprocess.run(
        [ROOT / "build/tools/quern", "predict", run, f"digits:0-{count - 1}",
         "--json", "--quiet"], check=True, capture_output=True).stdout
    return [(p["class"], p["probability"], p["label"])
            for p in json.loads(out)["predictions"]]


def main():
    result = json.loads(Path(sys.argv[1]).read_text())
    run = Path(sys.argv[2])
    accuracy = result["test_accuracy"]
    print()
    print(paint("1", f"  Quern trained {result['model']} on handwritten "
                     f"digits.") + "\n")
    print_curve(run)
    print_digits(run)
    facts = {
        "test accuracy": f"{100 * accuracy:.2f} %",
        "device": result["device"],
        "training": f"{result['epochs']} epochs in {result['seconds']:.1f} s,"
                    f" {result['parameters']:,} parameters",
        "run folder": result["run"],
    }
    for name, value in facts.items():
        print(f"  {paint('2', f'{name:16}')}{value}")
    print()
    if accuracy < WANTED:
        sys.exit(f"demo: the accuracy should be at least {WANTED}")


main()
