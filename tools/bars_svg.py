"""Bars as SVG, for the figures of docs/: groups of horizontal bars, each group
with a mark for a limit. Legible on light and dark pages: no background, and
colours that follow the reader's scheme where the viewer knows it.
"""
from html import escape

WIDTH, LEFT, RIGHT, TOP = 830, 112, 58, 92
BAR, GAP, GROUP_GAP = 10, 1, 9
# Readable on white and on near black, even where the scheme is not known.
STYLE = """<style>
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
  fill: #6b7480 }
.title { font-size: 16px; font-weight: 600 }
.small, .value { font-size: 11px }
.grid { stroke: #8b949e; stroke-opacity: .28 }
.bar0 { fill: #2f81c9 } .bar1 { fill: #a3acb6 }
.mark { stroke: #d9822b; stroke-width: 2.5 }
@media (prefers-color-scheme: light) { text { fill: #424a53 } }
@media (prefers-color-scheme: dark) { text { fill: #adb5be }
  .bar0 { fill: #4c9be8 } .bar1 { fill: #6e7681 } }
</style>"""


def steps(most):
    """A round distance of grid lines, four to eight of them."""
    step = 1
    while most / step > 8:
        step *= 2.5 if str(step).startswith("2") else 2
    return step


class Bars:
    def __init__(self, title, note, names, mark):
        self.title, self.note = title, note
        self.names, self.mark = names, mark
        self.groups = []

    def add(self, label, values, limit):
        """A value may be None: there is no such bar."""
        self.groups.append((label, values, limit))

    def legend(self):
        x, parts = LEFT, []
        for i, name in enumerate(self.names):
            parts.append(f'<rect class="bar{i}" x="{x}" y="62" width="14" '
                         f'height="{BAR}"/>')
            parts.append(f'<text class="small" x="{x + 20}" y="71">'
                         f'{escape(name)}</text>')
            x += 40 + 6.3 * len(name)
        parts.append(f'<path class="mark" d="M{x:.0f} 59v16"/>')
        parts.append(f'<text class="small" x="{x + 8:.0f}" y="71">'
                     f'{escape(self.mark)}</text>')
        return parts

    def group(self, y, label, values, limit, scale):
        height = len(values) * (BAR + GAP) - GAP
        parts = [f'<text x="{LEFT - 10}" y="{y + height / 2 + 4.5}" '
                 f'text-anchor="end">{escape(label)}</text>']
        for i, value in enumerate(values):
            if value is None:
                continue
            at, width = y + i * (BAR + GAP), value * scale
            parts.append(f'<rect class="bar{i}" x="{LEFT}" y="{at}" '
                         f'width="{width:.1f}" height="{BAR}" rx="1.5"/>')
            past = limit * scale
            x = LEFT + width + 5
            if past - 32 < width < past + 2:
                x = LEFT + past + 6
            parts.append(f'<text class="value" x="{x:.1f}" y="{at + 9}">'
                         f'{value:.1f}</text>')
        parts.append(f'<path class="mark" d="M{LEFT + limit * scale:.1f} '
                     f'{y - 3}v{height + 6}"/>')
        return parts

    def text(self):
        most = max(v for _, values, limit in self.groups
                   for v in (*values, limit) if v is not None)
        scale = (WIDTH - LEFT - RIGHT) / most
        pitch = len(self.names) * (BAR + GAP) - GAP + GROUP_GAP
        bottom = TOP + pitch * len(self.groups)
        step, value, parts = steps(most), 0, [STYLE]
        parts.append(f'<text class="title" x="16" y="26">'
                     f'{escape(self.title)}</text>')
        parts.append(f'<text class="small" x="16" y="45">'
                     f'{escape(self.note)}</text>')
        parts += self.legend()
        while value <= most:
            x = LEFT + value * scale
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP - 6}'
                         f'V{bottom}"/>')
            parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 14}" '
                         f'text-anchor="middle">{value:g}</text>')
            value += step
        for i, one in enumerate(self.groups):
            parts += self.group(TOP + i * pitch, *one, scale)
        height = bottom + 24
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
                f'height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" '
                f'aria-label="{escape(self.title)}">\n'
                + "\n".join(parts) + "\n</svg>\n")
