"""Small SVG charts, drawn without any library: lines over time, and bars."""
import math
import re
from html import escape

COLOURS = ("#2e6fb7", "#c77f1a", "#2e7d5b", "#b3372f", "#7a4ea3", "#5b6770", "#a0527f", "#3f8f8f")


def nice(top):
    """The smallest of 1, 2, 5 times a power of ten that is not below 'top'."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= top * 0.999)


def text_of(value):
    if value >= 1000000:
        return "%gM" % (value / 1000000)
    return "%gk" % (value / 1000) if value >= 10000 else "%g" % round(value, 4)


def number(text):
    m = re.match(r"[\d.,]+", text)
    return float(m[0].replace(",", "")) if m else None


def part_of_budget(value, budget):
    """ "140 ms" of "0.1 s" is 1.4; of a rate, how often the budget holds it. None when one of them is no number."""
    got, want = number(value), number(budget)
    if got is None or not want:
        return None
    units = value.split(" ", 1)[-1].strip(), budget.split(" ", 1)[-1].strip()
    if units[0] == "s" and units[1] == "ms":
        got *= 1000
    elif units[0] == "ms" and units[1].split()[0] == "s":
        got /= 1000
    if budget.endswith("/s"):
        return want / got if got else None
    return got / want


class Panel:
    """One chart: lines [(name, [(x, y), …])]; 'log': powers of ten on the y axis, values below 'least' are drawn there."""

    def __init__(self, title, lines, log=False, least=0.1):
        self.title, self.lines, self.log, self.least = title, [l for l in lines if l[1]], log, least

    def draw(self, out, x, y, width, height, x_top, marks):
        top = max((v for _, points in self.lines for _, v in points), default=1)
        if self.log:
            low = math.floor(math.log10(self.least))
            high = max(low + 1, math.ceil(math.log10(max(top, self.least))))
            ticks = [10.0 ** e for e in range(low, high + 1)]

            def place(v):
                return y + height - (math.log10(max(v, self.least)) - low) / (high - low) * height
        else:
            high = nice(top)
            ticks = [high * i / 4 for i in range(5)]

            def place(v):
                return y + height - v / high * height
        out.append('<text x="%g" y="%g" fill="#222" font-weight="bold">%s</text>' % (x, y - 8, escape(self.title)))
        for tick in ticks:
            out.append('<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end" fill="#555">%s</text>'
                       % (x, place(tick), x + width, place(tick), x - 6, place(tick) + 4, text_of(tick)))
        for at, name in marks:
            px = x + at / x_top * width
            out.append('<line x1="%.1f" y1="%g" x2="%.1f" y2="%g" stroke="#999" stroke-dasharray="3 3"/>' % (px, y, px, y + height))
        for i in range(6):
            out.append('<text x="%.1f" y="%g" text-anchor="middle" fill="#555">%s</text>'
                       % (x + width * i / 5, y + height + 15, text_of(x_top * i / 5)))
        for i, (name, points) in enumerate(self.lines):
            colour = COLOURS[i % len(COLOURS)]
            path = " ".join("%.1f,%.1f" % (x + px / x_top * width, place(v)) for px, v in thin(points))
            out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.6"/>' % (path, colour))
            out.append('<rect x="%g" y="%g" width="10" height="10" fill="%s"/><text x="%g" y="%g" fill="#222">%s</text>'
                       % (x + width + 10, y + 4 + 18 * i, colour, x + width + 25, y + 13 + 18 * i, escape(name)))


def thin(points, most=400):
    step = max(1, len(points) // most)
    return points[::step] + ([points[-1]] if (len(points) - 1) % step else [])


def lines(panels, marks=(), caption=""):
    """Panels above one another over one x axis of seconds; 'marks': (second, name) of what happened."""
    width, height, left, gap = 760, 170, 60, 62
    x_top = nice(max((p[0] for panel in panels for _, points in panel.lines for p in points), default=1)) or 1
    longest = max((p[0] for panel in panels for _, points in panel.lines for p in points), default=1)
    x_top = math.ceil(longest / 5) * 5 if longest < x_top else x_top
    total = 60 + len(panels) * (height + gap)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 %d" font-family="sans-serif" font-size="12">' % total,
           '<rect width="100%" height="100%" fill="#ffffff"/>', '<text x="10" y="20" fill="#444">%s</text>' % escape(caption)]
    for i, panel in enumerate(panels):
        panel.draw(out, left, 66 + i * (height + gap), width, height, x_top, marks)
    for at, name in marks:
        out.append('<text x="%.1f" y="40" fill="#666" font-size="11">%s</text>' % (left + at / x_top * width, escape(name)))
    return "\n".join(out + ["</svg>"]) + "\n"


def pairs(rows, caption, unit="", line=1.0, line_text="equal"):
    """Bars of ratios on a scale of powers of two: (name, ratio, text). Left of the line: less than the peer."""
    left, width, row = 360, 430, 22
    far = max([1.0] + [abs(math.log2(r)) for _, r, _ in rows if r > 0])
    middle = left + width / 2
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 %d" font-family="sans-serif" font-size="12">' % (60 + row * len(rows)),
           '<rect width="100%" height="100%" fill="#ffffff"/>', '<text x="10" y="20" fill="#444">%s</text>' % escape(caption)]
    for i, (name, ratio, text) in enumerate(rows):
        y = 36 + row * i
        length = math.log2(ratio / line) / far * width / 2 if ratio > 0 else 0
        out.append('<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>' % (left - 8, y + 14, escape(name)))
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>' % (min(middle, middle + length), y + 3, max(abs(length), 1),
                                                                           row - 7, COLOURS[2] if length <= 0 else COLOURS[3]))
        out.append('<text x="%d" y="%d" fill="#222">%s%s</text>' % (left + width + 10, y + 14, escape(text), unit))
    out.append('<line x1="%g" y1="30" x2="%g" y2="%d" stroke="#222" stroke-dasharray="4 3"/>' % (middle, middle, 40 + row * len(rows)))
    return "\n".join(out + ["</svg>"]) + "\n"
