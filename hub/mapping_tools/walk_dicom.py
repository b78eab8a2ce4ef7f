"""Walks through mappings whose targets are DICOM data sets: places are told by keyword, and found by keyword or tag."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hub.codecs.dicom_dictionary import TAG, keyword_of, parse_name
from hub.mapping_tools.steps import Step, key_steps, parse_steps
from hub.mapping_tools.walk_plain import PlainWalk

__all__ = ["DicomWalk", "dicom_text"]

#: A tag may hold what is no name in a plain path: the blanks of a private creator.
_STEP = re.compile(rf"\.?({TAG.pattern}|[A-Za-z]\w*)|\[(\d{{1,9}}|\*?)\]", re.ASCII)


def dicom_text(steps: Sequence[Step]) -> str:
    """Steps as a path: ``RequestAttributesSequence[0].CodeValue``, ``(0009,GEMS_IDEN_01,02)``; ``$`` for none."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += "[]" if step is None else f"[{step}]"
    return text or "$"


def _by_keyword(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same place has the same steps, whichever name was written."""
    found: list[Step] = []
    for step in steps:
        name = parse_name(step) if isinstance(step, str) else None
        found.append(keyword_of(name.tag) if name is not None and not name.creator else step)
    return tuple(found)


class DicomWalk(PlainWalk):
    """Elements are members, the items of a sequence entries."""

    def key_steps(self, key: str) -> tuple[Step, ...]:
        return _by_keyword(_tagged(key) or key_steps(key))

    def target_steps(self, path: str) -> tuple[Step, ...]:
        return _by_keyword(_tagged(path.removeprefix("$.")) or parse_steps(path))

    def target_text(self, steps: Sequence[Step]) -> str:
        return dicom_text(steps)


def _tagged(path: str) -> tuple[Step, ...]:
    """The steps of a path of keywords and tags; none for what is written otherwise."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return ()
        index = found[found.re.groups]
        steps.append(found[1] or (int(index) if index not in ("", "*") else None))
        at = found.end()
    return tuple(steps)
