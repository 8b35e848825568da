"""One check of a record as a drawing: who said what to whom, in order, as a standalone SVG.

Time flows down. Peers are vertical lines on the left; the student's program is a bar in the middle, with one
line for each of its threads when several have made calls; stdout and stderr are on the right. Each row is one
event, so texts never meet: what is long is wrapped, and then left out in the middle (the tooltip has all of it).
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from ..harness.wire import count
from .lanes import CLOCK, HALF_BAR, MARGIN, OTHERS, WIDTH, Bar, Lane, Row, cast, give_places, in_times, is_program, rows_of
from .lettering import EM, MONO, SANS, around, cell_count, clean, elide, folded, line_width, within, wrapped

FIRST_ROWS, LAST_ROWS = 12, 26  # of a long exchange: the failure is at its end
KEPT = 400  # events in a record: then there were more
PAUSE = 0.5  # seconds without an event that are worth a word

INK, GREY, PALE, PAPER = "#1b2430", "#5a6675", "#c3ccd6", "#ffffff"
THEIRS, OURS, WRONG = "#1d5fa6", "#8a4b08", "#b3261e"  # peers, the student's program, what went wrong
BAR, BAR_EDGE, SOFT = "#fbf1e2", "#d9a860", "#f5f7fa"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"


def draw(check: dict) -> str:
    """The drawing of one check of a record, as the text of an SVG file."""
    return _Drawing(check).text()


class _Drawing:
    """Builds the SVG from top to bottom; `y` is where the next thing begins."""

    def __init__(self, check: dict) -> None:
        self.check = {key: clean(check.get(key)) for key in ("id", "title", "cause", "pattern", "verdict")}
        self.state = [clean(line) for line in check.get("state") or []]
        self.difference = check.get("difference")
        rows = rows_of(check.get("events") or [])
        self.left_out = max(0, len(rows) - FIRST_ROWS - LAST_ROWS)
        at_least = "at least " if len(check.get("events") or []) >= KEPT else ""
        self.middle = f"{at_least}{self.left_out} more events"
        self.rows = rows if not self.left_out else [*rows[:FIRST_ROWS], *rows[-LAST_ROWS:]]
        self.stage = cast(self.rows, " ".join([self.check["cause"], self.check["pattern"], *self.state]),
                           [name for row in rows for name in (row.who, row.to)])
        give_places(self.stage)
        self.y = 0.0
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "version": "1.1", "role": "img"})
        self.into = self.root

    def text(self) -> str:
        """The whole drawing."""
        self._names()
        paper = self._add("rect", x=0.5, y=0.5, rx=8, fill=PAPER, stroke=PALE)
        self._title()
        if self.rows:
            self._exchange()
        self._comparison()
        self._explanation()
        height = round(self.y + MARGIN)
        paper.attrib |= {"width": str(WIDTH - 1), "height": str(height - 1)}
        self.root.attrib |= {"width": str(WIDTH), "height": str(height), "viewBox": f"0 0 {WIDTH} {height}"}
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(self.root, encoding="unicode") + "\n"

    # -- elements ---------------------------------------------------------------

    def _add(self, tag: str, **attributes: object) -> ET.Element:
        return ET.SubElement(self.into, tag, {key.replace("_", "-"): f"{value:g}" if isinstance(value, float) else str(value)
                                              for key, value in attributes.items()})

    def _write(self, x: float, y: float, *pieces: tuple[str, dict] | str, size: float = 12, font: str = SANS,
               fill: str = INK, **more: object) -> ET.Element:
        """One line of text; pieces with attributes of their own become tspans."""
        element = self._add("text", x=round(x, 1), y=round(y, 1), font_family=font, font_size=size, fill=fill,
                            direction="ltr", unicode_bidi="bidi-override", **more)
        element.set(SPACE, "preserve")
        for piece in pieces:
            text, attributes = (piece, {}) if isinstance(piece, str) else piece
            ET.SubElement(element, "tspan", attributes).text = text
        return element

    def _paragraph(self, text: str, size: float, *, x: float = MARGIN, most: int = 6, **more: object) -> None:
        for line in wrapped(text, WIDTH - MARGIN - x, size * (1.08 if "font_weight" in more else 1), most):
            self.y += size * 1.4
            self._write(x, self.y, line, size=size, **more)

    def _group(self, name: str, tooltip: str = "") -> ET.Element:
        group = self._add("g")
        group.set("class", name)
        if tooltip:
            ET.SubElement(group, "title").text = tooltip
        return group

    # -- above and below the exchange -------------------------------------------

    def _names(self) -> None:
        key = re.sub(r"[^A-Za-z0-9]+", "-", self.check["id"]).strip("-") or "check"
        self.root.set("aria-labelledby", f"{key}-title {key}-desc")
        self._add("title", id=f"{key}-title").text = self.check["title"] or self.check["id"] or "A check"
        told = [self.check["cause"], *(row.sentence() for row in self.rows)]
        if self.left_out:
            told.insert(1 + FIRST_ROWS, f"{self.middle}.")
        told += [self.check["pattern"], *self.state]
        self._add("desc", id=f"{key}-desc").text = "\n".join(line for line in told if line)

    def _title(self) -> None:
        self.y = MARGIN - 4
        above = " \u00b7 ".join(word for word in (self.check["id"], self.check["title"]) if word)
        if above and self.check["cause"]:
            self._paragraph(above, 11, most=2, fill=GREY)
            self.y += 4
        self._paragraph(self.check["cause"] or self.check["title"] or "Nothing to tell.", 16, font_weight="bold",
                        fill=WRONG if self.check["verdict"] == "failed" else INK)
        if not self.rows:
            self._paragraph("No exchange was noted.", 12, fill=GREY)
        self.y += 18

    def _comparison(self) -> None:
        if not self.difference:
            return
        expected, got = clean(self.difference.get("expected")), clean(self.difference.get("got"))
        column, byte = int(self.difference.get("column") or 0), int(self.difference.get("byte") or 0)
        size, step = 13, 19
        columns = int((WIDTH - 2 * MARGIN - 40) / (size * EM)) - len("expected  ")
        lines = [("expected", around(expected, column, columns)), ("got", around(got, column, columns))]
        self.y += 10
        box = self._group("difference")
        outer, self.into = self.into, box
        self._add("rect", x=MARGIN, y=self.y, width=WIDTH - 2 * MARGIN, height=3 * step + 16, rx=6, fill=SOFT, stroke=PALE)
        self.y += 4
        x = MARGIN + 16
        for name, (before, letter, after) in lines:
            self.y += step
            colour = WRONG if name == "got" else THEIRS
            self._write(x, self.y, (f"{name:>8}  ", {"fill": GREY}), before,
                        (letter, {"fill": colour, "font-weight": "bold", "text-decoration": "underline"}), after,
                        size=size, font=MONO)
        self.y += step - 2
        before = " " * (10 + cell_count(lines[1][1][0]))
        words = f"byte {byte} is the first wrong one"
        if (len(before) + 2 + len(words)) * size * EM > WIDTH - 2 * MARGIN - 32:
            before, words = before[: -len(words) - 1] + words + " ", ""
        self._write(x, self.y, before, ("^ " + words, {"font-weight": "bold"}), size=size, font=MONO, fill=WRONG)
        self.y += 14
        self.into = outer

    def _explanation(self) -> None:
        if self.check["pattern"]:
            self.y += 6
            self._paragraph(self.check["pattern"], 13, font_weight="bold")
        if self.state:
            self.y += 4
            for line in self.state:
                self._paragraph(line, 12, most=3, fill=GREY)

    # -- the exchange -----------------------------------------------------------

    def _exchange(self) -> None:
        lanes = self._group("lanes")
        top = self._headings()
        before = self.rows[0].seconds
        shown = ""
        for number, row in enumerate(self.rows):
            if self.left_out and number == FIRST_ROWS:
                self._break(self.middle, "more")
            elif row.seconds - before >= PAUSE:
                self._break(f"{row.seconds - before:.1f} s later", "pause")
            clock = f"{row.seconds:.3f}"
            before = row.seconds
            self._row(row, clock if clock != shown else "")
            shown = clock
        self.y += 10
        self._lines(lanes, top, self.y)
        self.y += 4

    def _headings(self) -> float:
        """Writes who is who; returns where the lanes begin."""
        headings = [(lane, wrapped(lane.heading, max(lane.room - 8, 40), 12, 3))
                    for lane in [*self.stage.peers.values(), *self.stage.outputs.values()]]
        rows = max([len(lines) for _lane, lines in headings] + [1])
        threads = any(not bar.single for bar in self.stage.bars.values())
        height = max(15 * rows + 10, 42 if threads else 0)
        for lane, lines in headings:
            self._heading(lane.x, lines, height, PAPER, THEIRS if lane.heading not in self.stage.outputs else GREY)
        for bar in self.stage.bars.values():
            if bar.single:
                self._heading(bar.lane(0).x, [bar.name], height, BAR, OURS)
            else:
                self._add("rect", x=bar.left, y=self.y, width=bar.right - bar.left, height=height, rx=5, fill=BAR, stroke=BAR_EDGE)
                middle = (bar.left + bar.right) / 2
                self._write(middle, self.y + 16, bar.name, size=11.5, fill=OURS, font_weight="bold", text_anchor="middle")
                for lane in bar.threads.values():
                    self._write(lane.x, self.y + height - 8, lane.heading, size=round(min(11, lane.room / line_width(lane.heading, 1)), 1),
                                fill=OURS, text_anchor="middle")
        self._write(MARGIN + CLOCK - 22, self.y + height - 5, "seconds", size=10, fill=GREY, text_anchor="end")
        self.y += height
        top = self.y
        self.y += 6
        return top

    def _heading(self, x: float, lines: list[str], height: float, fill: str, ink: str) -> None:
        width = max(line_width(line, 11.8) for line in lines) + 12
        own = 15 * len(lines) + 10
        group, outer = self._group("heading"), self.into
        self.into = group
        self._add("rect", x=round(x - width / 2, 1), y=round(self.y + height - own, 1), width=round(width, 1), height=own, rx=5, fill=fill, stroke=ink)
        for number, line in enumerate(lines, 1):
            self._write(x, self.y + height - own + 15 * number + 1, line, size=11.5, fill=ink, font_weight="bold", text_anchor="middle")
        self.into = outer

    def _lines(self, into: ET.Element, top: float, bottom: float) -> None:
        outer, self.into = self.into, into
        for bar in self.stage.bars.values():
            self._add("rect", x=round(bar.left, 1), y=top, width=round(bar.right - bar.left, 1), height=round(bottom - top, 1),
                      rx=3, fill=BAR, stroke=BAR_EDGE)
        for lane in self.stage.lanes():
            line = self._add("line", x1=round(lane.x, 1), y1=top, x2=round(lane.x, 1), y2=round(bottom, 1), stroke=PALE, stroke_width=1.5)
            line.set("class", "lane")
            if any(lane in bar.threads.values() for bar in self.stage.bars.values()):
                line.set("stroke", BAR_EDGE)
        self.into = outer

    def _break(self, words: str, name: str) -> None:
        """The lanes are interrupted: something is left out, or time passes."""
        outer, self.into = self.into, self._group(name)
        left = MARGIN + CLOCK - 10
        height = 24
        self._add("rect", x=left, y=self.y + 4, width=WIDTH - 4 - left, height=height - 6, fill=PAPER)
        for edge in (self.y + 4, self.y + height - 2):
            self._add("line", x1=left, y1=edge, x2=WIDTH - MARGIN, y2=edge, stroke=PALE, stroke_dasharray="2 5")
        self._write((left + WIDTH - MARGIN) / 2, self.y + height / 2 + 5, words, size=11, fill=GREY, font_style="italic", text_anchor="middle")
        self.y += height + 2
        self.into = outer

    def _row(self, row: Row, clock: str) -> None:
        source, target = self.stage.at(row.who), self.stage.at(row.to) if row.to else None
        arrow = target is not None and target is not source
        outer, self.into = self.into, self._group("arrow" if arrow else "note", row.sentence())
        start = self.y
        if arrow:
            self._arrow(row, source, target)
        else:
            self._note(row, source)
        if clock:
            self._write(MARGIN + CLOCK - 22, self.y - 7 if arrow else start + 14, clock, size=10, font=MONO, fill=GREY, text_anchor="end")
        self.into = outer

    def _arrow(self, row: Row, source: Lane | Bar, target: Lane | Bar) -> None:
        colour = WRONG if row.end == "reset" else OURS if is_program(row.who) else THEIRS
        right = target.middle > source.middle
        start, end = source.edge(right), target.edge(not right)
        lines = self._label(row, colour, (start + end) / 2)
        self.y += 15 * lines + 14
        y = round(self.y - 9, 1)
        way = 1 if right else -1
        head = end - way * (9 if row.end in ("", "half") else 0)
        shaft = self._add("line", x1=round(start, 1), y1=y, x2=round(head, 1), y2=y, stroke=colour, stroke_width=1.6)
        if row.end:
            shaft.set("stroke-dasharray", "6 4")
        self._head(row.end, end, y, way, colour)

    def _head(self, kind: str, x: float, y: float, way: int, colour: str) -> None:
        """A filled point for bytes; a bar for a close, a cross for a reset, half a point for a half-close."""
        back = x - 10 * way
        if kind == "close":
            path = f"M{x - 2 * way:g} {y - 6:g}V{y + 6:g}M{x - 6 * way:g} {y - 6:g}V{y + 6:g}"
        elif kind == "reset":
            path = f"M{back:g} {y - 5:g}L{x:g} {y + 5:g}M{back:g} {y + 5:g}L{x:g} {y - 5:g}"
        elif kind == "half":
            path = f"M{back:g} {y - 5:g}L{x:g} {y:g}H{back:g}"
        else:
            path = f"M{back:g} {y - 4.5:g}L{x:g} {y:g}L{back:g} {y + 4.5:g}Z"
        self._add("path", d=path, fill=colour if not kind else "none", stroke=colour, stroke_width=1 if not kind else 1.8)

    def _label(self, row: Row, colour: str, middle: float) -> int:
        """Writes the label of an arrow above it; returns the number of its lines."""
        size, most = 11.5, 78
        who = row.who if self.stage.at(row.who) is self.stage.peers.get(OTHERS) else \
            row.to if self.stage.at(row.to) is self.stage.peers.get(OTHERS) else ""
        after = f"  {count(row.size)}" if row.size else ""
        after += f"  ({within(who, 150, size)})" if who else ""
        if row.data:
            lines = folded(row.data, most, 2)
        else:
            lines = [within(row.what, 560, size)]
        font = MONO if row.data else SANS
        extra = line_width(after, 10.5)
        width = max([line_width(line, size, font) for line in lines[:-1]] + [line_width(lines[-1], size, font) + extra])
        left = min(max(middle - width / 2, MARGIN + CLOCK - 8), WIDTH - MARGIN - width)
        self._clear(left - 4, left + width + 4, 15 * len(lines))
        for number, line in enumerate(lines, 1):
            pieces: list = [(line, {} if row.data else {"font-style": "italic"})]
            if number == len(lines) and after:
                pieces.append((after, {"font-family": SANS, "font-size": "10.5", "fill": GREY}))
            x, anchor = (left + width / 2, "middle") if len(lines) == 1 else (left, "start")
            self._write(x, self.y + 15 * number - 2, *pieces, size=size, font=font, fill=colour, text_anchor=anchor)
        return len(lines)

    def _clear(self, left: float, right: float, height: float) -> None:
        """Interrupts the lanes behind a text; bars keep their colour."""
        cuts = sorted({left, right, *(x for bar in self.stage.bars.values() for x in (bar.left + 0.6, bar.right - 0.6) if left < x < right)})
        for a, b in zip(cuts, cuts[1:]):
            inside = any(bar.left < (a + b) / 2 < bar.right for bar in self.stage.bars.values())
            self._add("rect", x=round(a, 1), y=round(self.y + 2, 1), width=round(b - a, 1), height=height, fill=BAR if inside else PAPER)

    def _note(self, row: Row, source: Lane | Bar) -> None:
        """A small remark beside a lane, on the side where it has room."""
        size = 10.5
        lane = source.lane(row.thread) if isinstance(source, Bar) else source
        aside = HALF_BAR + 6 if isinstance(source, Bar) and source.single else 9
        colour = WRONG if " failed" in row.what or row.what.startswith("ended: SIG") else INK
        who = ""
        if source is self.stage.peers.get(OTHERS):
            who = f"{within(row.who, 150, size)}: "
        elif isinstance(source, Bar) and lane.heading == "more threads" and row.thread:
            who = f"thread {row.thread}: "
        what = within(who + row.what, 410, size) + in_times(row.times)
        where = "   " + within(row.where, 160, size) if row.where else ""
        x, y = lane.x, self.y
        if isinstance(source, Bar) and not source.single and not row.thread:
            x, aside = source.left, 8
        left = x + aside
        width = line_width(what, size) + line_width(where, size)
        room = int((WIDTH - MARGIN - 5 - left - width) / (size * EM)) - 1
        data = " " + elide(row.data, 34 if room < 8 else min(room, 34)) if row.data else ""
        width += line_width(data, size, MONO)
        if left + width > WIDTH - MARGIN - 5:
            left = x - aside - width
        left = min(max(left, MARGIN + CLOCK - 8), WIDTH - MARGIN - width)
        self._clear(left - 3, left + width + 3, 16)
        covered = left < lane.x < left + width
        if not covered and (row.thread or not isinstance(source, Bar) or source.single):
            self._add("circle", cx=round(lane.x, 1), cy=round(y + 10, 1), r=3, fill=OURS if isinstance(source, Bar) else THEIRS)
        anchored_right = left < x
        self._write(left + width if anchored_right else left, y + 14, (what, {"fill": colour}), (data, {"font-family": MONO, "fill": OURS}), (where, {"fill": GREY}),
                    size=size, text_anchor="end" if anchored_right else "start")
        self.y += 20
