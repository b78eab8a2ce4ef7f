"""A flow as a picture: SVG, coloured by the state of an instance. No script, no fonts, no other files."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from hub.flows.definition import Definition
from hub.flows.model import Step
from hub.flows.state import Instance, Record
from hub.i18n import t

__all__ = ["COLOURS", "diagram"]

#: State -> (fill, edge); readable in print: the state stands in the box as well.
COLOURS = {
    "": ("#ffffff", "#9aa5b1"),
    "active": ("#fff3c4", "#cb6e17"),
    "done": ("#d9f2df", "#2f8f46"),
    "held": ("#ffd9d6", "#c22f25"),
    "failed": ("#ffd9d6", "#c22f25"),
    "skipped": ("#eef1f4", "#9aa5b1"),
    "dropped": ("#eef1f4", "#9aa5b1"),
    "undone": ("#e4defa", "#6b4fc1"),
}
_WIDTH, _HEIGHT, _GAP, _PAD = 190, 50, 26, 16


def _words(state: str) -> str:
    words = {
        "active": t("at it", "进行中"),
        "done": t("done", "完成"),
        "held": t("held", "挂起"),
        "failed": t("failed", "失败"),
        "skipped": t("left out", "跳过"),
        "dropped": t("dropped", "放弃"),
        "undone": t("undone", "已补偿"),
    }
    return words.get(state, "")


_KINDS = {"send": "→", "wait": "⌛", "manual": "✎", "choose": "◇", "set": "=", "delay": "⏱", "end": "●"}


@dataclass(slots=True)
class _Canvas:
    instance: Instance | None
    definition: Definition
    parts: list[str] = field(default_factory=list)
    boxes: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # step -> right edge, middle, top

    # -- sizes ---------------------------------------------------------------------------------------------------

    def size(self, steps: list[Step]) -> tuple[float, float]:
        """(width, height) of a list from top to bottom."""
        sizes = [self.step_size(step) for step in steps]
        height = sum(h for _, h in sizes) + _GAP * max(0, len(sizes) - 1)
        return max((w for w, _ in sizes), default=_WIDTH), height

    def step_size(self, step: Step) -> tuple[float, float]:
        inner = _inner(step)
        if not inner:
            return _WIDTH, _HEIGHT
        sizes = [self.size(steps) for _, steps in inner]
        width = sum(w for w, _ in sizes) + _PAD * (len(sizes) + 1)
        return max(width, _WIDTH + 2 * _PAD), max(h for _, h in sizes) + _HEIGHT + _PAD * 2 + 14

    # -- drawing -------------------------------------------------------------------------------------------------

    def list_at(self, steps: list[Step], x: float, y: float, width: float) -> None:
        """Steps below each other, centred in a column."""
        before: float | None = None
        ends = False
        middle = x + width / 2
        for step in steps:
            w, h = self.step_size(step)
            if before is not None and not ends:
                self.parts.append(f'<path class="way" d="M{middle:g} {before:g}V{y:g}"/>')
            self.step_at(step, middle - w / 2, y, w, h)
            before, ends = y + h, step.end is not None
            y += h + _GAP

    def step_at(self, step: Step, x: float, y: float, width: float, height: float) -> None:
        record = self.instance.steps.get(step.id) if self.instance is not None else None
        fill, edge = COLOURS.get(record.state if record is not None else "", COLOURS[""])
        inner = _inner(step)
        tone = f'fill="{fill}" stroke="{edge}"'
        if inner:
            self.parts.append(
                f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" {tone} fill-opacity="0.35"/>'
            )
            self._label(step, record, x + width / 2, y)
            at = x + (width - sum(self.size(s)[0] for _, s in inner) - _PAD * (len(inner) - 1)) / 2
            for name, steps in inner:
                w, _ = self.size(steps)
                self.parts.append(
                    f'<text class="small" x="{at + w / 2:g}" y="{y + _HEIGHT + 12:g}">{escape(name)}</text>'
                )
                self.list_at(steps, at, y + _HEIGHT + 14 + _PAD / 2, w)
                at += w + _PAD
        else:
            self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" {tone}/>')
            self._label(step, record, x + width / 2, y)
        self.boxes[step.id] = (x + width, y + min(height, _HEIGHT) / 2, y)

    def _label(self, step: Step, record: Record | None, middle: float, y: float) -> None:
        mark = _KINDS.get(step.kind, "∥" if step.kind == "parallel" else "↻")
        title = _short(step.name or step.id, 14 if _wide(step.name) else 24)
        state = _words(record.state) if record is not None else ""
        again = f" ×{record.run}" if record is not None and record.run > 1 else ""
        self.parts.append(f'<text x="{middle:g}" y="{y + 21:g}">{mark} {escape(title)}</text>')
        below = escape(f"{step.id} {state}{again}".strip())
        self.parts.append(f'<text class="small" x="{middle:g}" y="{y + 38:g}">{below}</text>')

    def jumps(self) -> float:
        """Where steps may lead besides the next one; returns the width this took."""
        right = max((edge for edge, _, _ in self.boxes.values()), default=0.0)
        lane = 0
        for step, then, _ in self.definition.thens():
            goto = getattr(then, "goto", "")
            if not step or not goto or goto not in self.boxes or step not in self.boxes:
                continue
            lane += 1
            x = right + 10 * lane
            edge, middle, _ = self.boxes[step]
            to, target, _ = self.boxes[goto]
            self.parts.append(f'<path class="jump" d="M{edge:g} {middle:g}H{x:g}V{target:g}H{to:g}"/>')
        return right + 10 * lane + 2 * _PAD


def _inner(step: Step) -> list[tuple[str, list[Step]]]:
    if step.parallel is not None:
        return list(step.parallel.branches.items())
    if step.repeat is not None:
        return [("↻", step.repeat.steps)]
    if step.choose is not None:
        return [(case.when or "…", case.steps) for case in step.choose if case.steps]
    return []


def _wide(text: str) -> bool:
    return any(ord(char) > 0x2E80 for char in text)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def diagram(definition: Definition, instance: Instance | None = None) -> str:
    """The picture of a flow, or of one instance of it."""
    canvas = _Canvas(instance, definition)
    width, height = canvas.size(definition.model.steps)
    canvas.list_at(definition.model.steps, _PAD, 2 * _PAD + 20, width)
    whole = max(canvas.jumps(), width + 2 * _PAD)
    title = escape(definition.model.name or definition.flow)
    if instance is not None:
        title += f" · {escape(instance.id)} · {escape(instance.state)}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {height + 4 * _PAD + 20:g}" '
        f'width="{whole:g}" height="{height + 4 * _PAD + 20:g}" role="img">'
        "<style>text{font:14px sans-serif;text-anchor:middle;fill:#1f2933}.small{font-size:11px;fill:#52606d}"
        "rect{stroke-width:1.5}.way,.jump{fill:none;stroke:#7b8794;stroke-width:1.5;marker-end:url(#a)}"
        ".jump{stroke-dasharray:4 3}.title{text-anchor:start;font-weight:bold}</style>"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7b8794"/></marker></defs>'
        f'<text class="title" x="{_PAD}" y="24">{title}</text>'
    )
    return head + "".join(canvas.parts) + "</svg>"
