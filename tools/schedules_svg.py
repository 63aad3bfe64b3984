#!/usr/bin/env python3
"""Draws docs/schedules/NAME.svg, each schedule as quern's own numbers have it.

schedules_svg.py QUERN [--check]

With --check nothing is written; a picture that differs is an error.
"""
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs/schedules"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 130, 44, 12, 10, 24


def thinned(points):
    """As few as draw the curve within 0.2 units (Douglas, Peucker)."""
    (ax, ay), (cx, cy) = points[0], points[-1]
    off = [abs(y - ay - (cy - ay) * (x - ax) / (cx - ax))
           if cx > ax else abs(y - ay) for x, y in points]
    worst = max(range(len(points)), key=off.__getitem__)
    if off[worst] <= 0.2:
        return [points[0], points[-1]]
    return thinned(points[:worst + 1]) + thinned(points[worst:])[1:]


def panel(steps, values, low, high, name, left):
    """One curve with its axes; the text of a group."""
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    points = thinned([
        (round(LEFT + wide * step / steps[-1], 2),
         round(TOP + tall * (high - value) / (high - low), 2))
        for step, value in zip(steps, values)])
    lines = [f'<g transform="translate({left})">']
    for value in (low, (low + high) / 2, high):
        y = TOP + tall * (high - value) / (high - low)
        lines.append(f'<path class="grid" d="M{LEFT} {y:g}h{wide}"/>'
                     f'<text class="end" x="{LEFT - 5}" y="{y + 4:g}">'
                     f'{value:.4g}</text>')
    for epoch in (0, 50, 100):
        x = LEFT + wide * epoch / 100
        text = f"epoch {epoch}" if epoch == 100 else epoch
        place = "end" if epoch == 100 else "middle"
        lines.append(f'<text class="{place}" x="{x:g}" y="{HEIGHT - 8}">'
                     f"{text}</text>")
    curve = " ".join(f"{x:g} {y:g}" for x, y in points)
    # Where no curve of the table comes by.
    x = LEFT + wide * (0.62 if name == "momentum" else 0.98)
    place = "middle" if name == "momentum" else "end"
    lines.append(f'<text class="{place}" x="{x:g}" y="{TOP + 14}">{name}'
                 "</text>")
    lines.append(f'<path class="curve" d="M{curve}"/></g>')
    return "\n".join(lines)


def picture(curve, base):
    momentum = curve["momentum"]
    width = WIDTH * (2 if momentum else 1)
    panels = [panel(curve["step"], curve["lr"], 0, base, "lr", 0)]
    if momentum:
        panels.append(panel(curve["step"], momentum, min(momentum),
                            max(momentum), "momentum", WIDTH))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" \
height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}">
<title>{curve["schedule"]}</title>
<style>text{{font:11px sans-serif;fill:#7a828e}}.end{{text-anchor:end}}\
.middle{{text-anchor:middle}}.grid{{stroke:#7a828e;stroke-opacity:.35}}\
.curve{{fill:none;stroke:#2b8a9e;stroke-width:2;stroke-linejoin:round}}</style>
""" + "\n".join(panels) + "\n</svg>\n"


quern, check = sys.argv[1], "--check" in sys.argv[2:]
told = json.loads(subprocess.run(
    [quern, "list", "schedules", "--plot", "--json"], check=True,
    capture_output=True, text=True).stdout)
wanted = {}
for one in told["schedules"]:
    name = one["schedule"].partition(":")[0]
    wanted[f"{name}.svg"] = picture(one, told["lr"])
faults = []
for name, text in wanted.items():
    path = FOLDER / name
    if check and (not path.is_file() or path.read_text() != text):
        faults.append(f"{path} is not what {sys.argv[0]} draws")
    elif not check:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
if check:
    faults += [f"{path} is of no schedule" for path in FOLDER.glob("*")
               if path.name not in wanted]
print("\n".join(faults) or f"{len(wanted)} pictures")
sys.exit(bool(faults))
