"""Mappings of several steps: the target tree of one is the source tree of the next, never written out in between."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_set import DicomTree
from hub.errors import CodecError, MappingError, Problem
from hub.i18n import t
from hub.mapping.context import Context
from hub.mapping.document import Document, Text
from hub.mapping.formats import kind_of_tree
from hub.mapping.mapping import CompiledMapping

__all__ = ["MAX_PARTS", "chain_hash", "chained", "check_chain", "readable"]

#: Most mappings that run one after the other, steps of steps included.
MAX_PARTS = 16
_DICOM = DicomCodec()


def check_chain(document: Document, steps: Sequence[tuple[Text, CompiledMapping]]) -> list[Problem]:
    """What keeps compiled steps from running one after the other."""
    problems: list[Problem] = []
    for number in range(1, len(steps)):
        (_, before), (text, after) = steps[number - 1], steps[number]
        if kind_of_tree(before.target_codec) == kind_of_tree(after.source_codec):
            continue
        problems.append(
            Problem(
                t(
                    f"{after.name} reads {after.source_codec}, but {before.name} before it writes {before.target_codec}",
                    f"{after.name} 读取 {after.source_codec}，而其前的 {before.name} 输出 {before.target_codec}",
                ),
                document.file,
                text.line,
                f"steps[{number}]",
                t("choose mappings that fit, or put one between", "请选用相符的映射，或在中间加一步"),
            )
        )
    for number, (text, step) in enumerate(steps):
        if number and step.lookups:
            told = t(
                f"{step.name} has lookups, which only the first step may have",
                f"{step.name} 带有 lookups，仅第一步可用",
            )
            problems.append(Problem(told, document.file, text.line, f"steps[{number}]"))
    if len(_parts(steps)) > MAX_PARTS:
        text_ = t(f"more than {MAX_PARTS} mappings one after the other", f"先后执行的映射超过 {MAX_PARTS} 个")
        problems.append(Problem(text_, document.file, steps[0][0].line, "steps"))
    return problems


def chained(document: Document, steps: Sequence[tuple[Text, CompiledMapping]], hash_: str) -> CompiledMapping:
    """The steps as one mapping; they have passed :func:`check_chain`."""
    parts = _parts(steps)
    first, last = parts[0], parts[-1]
    return CompiledMapping(
        document.name,
        document.file,
        hash_,
        first.source_codec,
        last.target_codec,
        first.types,
        any(part.splits for part in parts),
        "\n\n".join(f"# {part.stamp}\n{part.source}" for part in parts),
        _runner(parts),
        parts,
        first.lookups,
    )


def chain_hash(digest: str, steps: Sequence[tuple[Text, CompiledMapping]]) -> str:
    """The hash, hexadecimal, of a file with this digest and of all its parts."""
    found = hashlib.sha256(digest.encode())
    for part in _parts(steps):
        found.update(f"{part.name}:{part.hash}".encode())
    return found.hexdigest()


def _parts(steps: Sequence[tuple[Text, CompiledMapping]]) -> tuple[CompiledMapping, ...]:
    return tuple(part for _, step in steps for part in (step.parts or (step,)))


def _runner(parts: tuple[CompiledMapping, ...]) -> Callable[[Any, Context], list[Any]]:
    first, *others = parts

    def run(tree: Any, context: Context) -> list[Any]:
        trees = first.run(tree, context)
        for part in others:
            trees = [made for one in trees for made in part.run(readable(part, one), context)]
        return trees

    return run


def readable(part: CompiledMapping, tree: Any) -> Any:
    """The target tree of the step before as the source of this one.

    Messages, documents and plain trees are read as they are. Only data sets are written and decoded first: what a mapping makes of them
    is a list of changes, or plain values that DICOM has rules for.
    """
    if part.source_codec != "dicom" or (isinstance(tree, DicomTree) and not tree.changes and not tree.removed):
        return tree
    try:
        return _DICOM.decode(_DICOM.encode(tree))
    except CodecError as error:
        raise MappingError(error.text, file=part.file, code=error.code, remedy=error.remedy, target="from") from None
