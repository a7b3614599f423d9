"""Flame graphs out of what `perf script` prints: stacks are added up, and drawn as an SVG that needs no scripts.

A frame's colour is the room of the house (src/NAME) that its function stands in; libraries and the kernel have greys and browns of their own.
Where a function stands is looked up in the sources; a name that several files have is told apart by the binary's symbol table.
"""
import bisect
import glob
import os
import re
import subprocess
from html import escape

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOM_COLOURS = {
    "base": "#b8c4d6", "api": "#7fb2e5", "net": "#8fd0c4", "nft": "#a7d8a0", "pki": "#d9c58b", "store": "#f0a35e", "client": "#9fc5e8", "auth": "#e6a0b4",
    "component": "#cfd8c0", "kinds": "#c3b1e1", "apiserver": "#e98b7a", "controllers": "#e3b778", "scheduler": "#9ccf6f", "kubelet": "#d59ad0",
    "proxy": "#8bd3dd", "cluster": "#cdb99c", "cmd": "#dddddd",
}
LIBRARIES = (("libcrypto", "OpenSSL", "#a08f7a"), ("libssl", "OpenSSL", "#a08f7a"), ("libsqlite3", "SQLite", "#b59a80"), ("libnghttp2", "nghttp2", "#93a59b"),
             ("libhttp_parser", "http-parser", "#93a59b"), ("libz.", "zlib", "#999999"), ("libc.", "C library", "#a9a9b0"), ("ld-linux", "loader", "#9a9aa6"),
             ("[kernel", "kernel", "#8a8f99"), ("[vdso]", "kernel", "#8a8f99"))
OTHER = ("other", "#bbbbbb")
THREAD = "#eeeeee"
WIDTH, ROW, MARGIN = 1200, 17, 10
LEAST = 0.003  # of the whole: what is narrower is not drawn


class Sources:
    """Function -> room."""

    def __init__(self, binary):
        self.files = {}  # function -> paths
        for path in glob.glob(ROOT + "/src/**/*.c", recursive=True):
            if not re.match(r"(test|fuzz|bench)-", os.path.basename(path)):
                with open(path) as f:
                    for name in re.findall(r"^[a-zA-Z_][\w \t*]*?\b(\w+)\(", f.read(), re.M):
                        self.files.setdefault(name, []).append(os.path.relpath(path, ROOT))
        self.at, self.names = [], []  # local functions by address, with the file of each
        source, rows = "", []
        for line in subprocess.run(["readelf", "-sW", binary], capture_output=True, text=True, check=True).stdout.splitlines():
            words = line.split()
            if len(words) == 8 and words[3] == "FILE":
                source = words[7]
            elif len(words) == 8 and words[3] == "FUNC" and words[4] == "LOCAL":
                rows.append((int(words[1], 16), source))
        for address, source in sorted(rows):
            self.at.append(address)
            self.names.append(source)

    def room(self, name, address):
        paths = self.files.get(name.split(".")[0], [])
        if len(paths) > 1:
            i = bisect.bisect_right(self.at, address) - 1
            paths = [p for p in paths if i >= 0 and os.path.basename(p) == self.names[i]] or paths
        rooms = {p.split("/")[1] for p in paths}
        return rooms.pop() if len(rooms) == 1 else None


class Node:
    def __init__(self, name, group, colour):
        self.name, self.group, self.colour, self.n, self.own, self.kids = name, group, colour, 0, 0, {}

    def kid(self, name, group, colour):
        key = (name, group)
        if key not in self.kids:
            self.kids[key] = Node(name, group, colour)
        return self.kids[key]


def read(text, binary, keep=lambda comm: True):
    """The tree of the stacks in the output of perf script -F comm,tid,ip,sym,dso. Below the functions stands the thread's name."""
    sources, root = Sources(binary), Node("all samples", None, THREAD)
    for sample in text.split("\n\n"):
        lines = sample.strip("\n").split("\n")
        head = re.match(r"(\S.*?)\s+\d+\s*$", lines[0].rstrip(": ")) if lines[0] else None
        if not head or not keep(head[1]):
            continue
        frames = [m.groups() for m in (re.match(r"\s+([0-9a-f]+)\s+(.*?)\s+\((.*?)\)\s*$", l) for l in lines[1:]) if m]
        root.n += 1
        node = root.kid(head[1], None, THREAD)
        node.n += 1
        for ip, name, dso in reversed(frames):
            name = re.sub(r"\.(part|constprop|isra|cold)\b.*", "", name)
            if name in ("_start", "__libc_start_main", "__libc_start_call_main", "__libc_start_main_impl", "start_thread", "clone3", "__GI___clone3",
                        "__libc_start_main@@GLIBC_2.34"):
                continue
            group, colour = OTHER
            if os.path.realpath(dso) == os.path.realpath(binary):
                room = sources.room(name, int(ip, 16))
                group, colour = (room, ROOM_COLOURS.get(room, "#cccccc")) if room else OTHER
            else:
                base = os.path.basename(dso)
                group, colour = next(((g, c) for start, g, c in LIBRARIES if base.startswith(start)), OTHER)
                if name == "[unknown]":
                    name = group
            if node.name == name and node.group == group:
                continue  # recursion is drawn once
            node = node.kid(name, group, colour)
            node.n += 1
        node.own += 1
    return root


def shares(root):
    """Group -> part of all samples whose innermost frame is in it, largest first."""
    found, stack = {}, [root]
    while stack:
        node = stack.pop()
        if node.group:
            found[node.group] = found.get(node.group, 0) + node.own
        stack += node.kids.values()
    return sorted(((n / root.n, g) for g, n in found.items() if n), reverse=True)


def colour_of(group):
    return ROOM_COLOURS.get(group) or next((c for _, g, c in LIBRARIES if g == group), OTHER[1])


def draw(root, title, notes):
    """The SVG. Callers are below what they call; the widest stands left."""
    cells, depth = [], 0

    def walk(node, x, level):
        nonlocal depth
        depth = max(depth, level)
        cells.append((node, x, level))
        for kid in sorted(node.kids.values(), key=lambda k: -k.n):
            if kid.n >= root.n * LEAST:
                walk(kid, x, level + 1)
                x += kid.n

    walk(root, 0, 0)
    legend = [(s, g) for s, g in shares(root) if s >= 0.005]
    per_line, scale = 7, (WIDTH - 2 * MARGIN) / root.n
    top = 62 + 18 * -(-len(legend) // per_line)
    height = top + (depth + 1) * ROW + MARGIN
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">' % (WIDTH, height),
           '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="%d" y="20" font-size="15" font-weight="bold">%s</text>' % (MARGIN, escape(title)),
           '<text x="%d" y="38" fill="#555">%s</text>' % (MARGIN, escape(notes))]
    for i, (share, group) in enumerate(legend):
        x, y = MARGIN + i % per_line * (WIDTH - 2 * MARGIN) / per_line, 50 + i // per_line * 18
        out.append('<rect x="%d" y="%d" width="11" height="11" fill="%s"/><text x="%d" y="%d">%s %.1f %%</text>'
                   % (x, y, colour_of(group), x + 16, y + 10, escape(group), share * 100))
    for node, x, level in cells:
        width, y = node.n * scale, top + (depth - level) * ROW
        room = int((width - 4) / 6.1)
        where = " (%s)" % (node.group if node.group not in ROOM_COLOURS else "src/" + node.group) if node.group else ""
        label = node.name if len(node.name) <= room else node.name[:room - 1] + "\u2026" if room >= 4 else ""
        out.append('<g><title>%s%s: %.2f %%, of its own %.2f %%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>%s</g>'
                   % (escape(node.name), where, node.n * 100 / root.n, node.own * 100 / root.n, MARGIN + x * scale, y, max(width - 0.4, 0.3), ROW - 1,
                      node.colour, '<text x="%.1f" y="%d">%s</text>' % (MARGIN + x * scale + 3, y + 12, escape(label)) if label else ""))
    out.append("</svg>\n")
    return "\n".join(out)
