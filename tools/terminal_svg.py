#!/usr/bin/env python3
"""Draws what a terminal shows as SVG: COMMAND | terminal_svg.py TITLE > OUT.svg

Understands colours and bold (SGR); blocks become rectangles, so that the
picture does not depend on a font. The demo's picture was made by

    CLICOLOR_FORCE=1 tools/demo | tools/terminal_svg.py tools/demo > docs/demo.svg
"""
import re
import sys
from html import escape

CELL_W, CELL_H, SIZE, PAD, BAR = 8.4, 18, 14, 18, 34
BACK, FRONT, DIM = "#15181e", "#d7dae0", "#8a919e"
BASIC = ["#3b4048", "#e06c75", "#8cc265", "#d5b06b",
         "#61a8ef", "#c678dd", "#56b6c2", "#d7dae0"]
# Character -> the part of its cell that is filled: x, y, width, height.
BLOCKS = {"█": (0, 0, 1, 1), "▀": (0, 0, 1, .5), "▄": (0, .5, 1, .5)}
BLOCKS |= {c: (0, 1 - (i + 1) / 8, 1, (i + 1) / 8)
           for i, c in enumerate("▁▂▃▄▅▆▇")}
BLOCKS |= {c: (0, 0, (7 - i) / 8, 1) for i, c in enumerate("▉▊▋▌▍▎▏")}


def colour(codes):
    """The colour of an extended SGR sequence, which it consumes."""
    if codes.pop(0) == 2:
        return "#%02x%02x%02x" % tuple(codes.pop(0) for _ in range(3))
    n = codes.pop(0)
    if n < 16:
        return BASIC[n % 8]
    if n >= 232:
        return "#" + "%02x" % (8 + 10 * (n - 232)) * 3
    levels = [0, 95, 135, 175, 215, 255]
    n -= 16
    return "#%02x%02x%02x" % tuple(levels[n // d % 6] for d in (36, 6, 1))


def apply(style, codes):
    while codes:
        n = codes.pop(0)
        if n == 0:
            style.update(front=FRONT, back=None, bold=False)
        elif n == 1:
            style["bold"] = True
        elif n == 2:
            style["front"] = DIM
        elif n == 38:
            style["front"] = colour(codes)
        elif n == 48:
            style["back"] = colour(codes)
        elif 30 <= n <= 37 or 90 <= n <= 97:
            style["front"] = BASIC[n % 10]
        elif n == 39:
            style["front"] = FRONT
        elif n == 49:
            style["back"] = None


def cells(text):
    """Rows of (character, front, back, bold)."""
    style = dict(front=FRONT, back=None, bold=False)
    rows = []
    for line in text.rstrip("\n").split("\n"):
        row = []
        for part in re.split(r"(\x1b\[[\d;]*m)", line.split("\r")[-1]):
            if part.startswith("\x1b"):
                apply(style, [int(n or 0) for n in part[2:-1].split(";")])
            else:
                row += [(c, *style.values()) for c in part]
        rows.append(row)
    return rows


def rectangle(x, y, w, h, fill):
    return (f'<rect x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" '
            f'height="{h:.2f}" fill="{fill}"/>')


def draw_row(row, top, out):
    run, at, look = "", 0, None
    for i, (c, front, back, bold) in enumerate(row + [(" ", None, None, 0)]):
        x = PAD + i * CELL_W
        if back:
            out.append(rectangle(x, top, CELL_W + .1, CELL_H + .1, back))
        if c in BLOCKS:
            bx, by, bw, bh = BLOCKS[c]
            out.append(rectangle(x + bx * CELL_W, top + by * CELL_H,
                                 bw * CELL_W + .1, bh * CELL_H + .1, front))
        text = c if c not in BLOCKS else " "
        if look != (front, bold) or text == " ":
            if run:
                weight = ' font-weight="bold"' if look[1] else ""
                out.append(
                    f'<text x="{PAD + at * CELL_W:.2f}" y="{top + 13.5:.2f}" '
                    f'fill="{look[0]}"{weight} textLength="'
                    f'{len(run) * CELL_W:.2f}">{escape(run)}</text>')
            run, at, look = "", i, (front, bold)
        if text != " ":
            if not run:
                at = i
            run += text


def main():
    rows = cells(sys.stdin.read())
    width = 2 * PAD + CELL_W * max(80, *map(len, rows))
    height = BAR + PAD + CELL_H * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,'
        f'monospace" font-size="{SIZE}" shape-rendering="crispEdges">',
        f'<rect width="100%" height="100%" rx="9" fill="{BACK}"/>',
    ]
    out += [f'<circle cx="{PAD + 4 + 19 * i}" cy="17" r="5.5" fill="{fill}" '
            'shape-rendering="auto"/>'
            for i, fill in enumerate(("#e0605a", "#e0b04a", "#62b85a"))]
    out.append(f'<text x="50%" y="21" fill="{DIM}" text-anchor="middle" '
               f'font-size="12">{escape(" ".join(sys.argv[1:]))}</text>')
    for i, row in enumerate(rows):
        draw_row(row, BAR + i * CELL_H, out)
    print("\n".join(out + ["</svg>"]))


main()
