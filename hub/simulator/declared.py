"""What every request made by an interface's mapping has: its constants and what it requires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules
from hub.mapping.formats import kind_of_tree

__all__ = ["Declared"]

_DEEPEST = 30


@dataclass(frozen=True, slots=True)
class Declared:
    """``constants``: path -> value; ``required``: paths that are never empty. Only what stands there unconditionally."""

    constants: dict[tuple[str, ...], Any]
    required: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, mappings: MappingLibrary, name: str) -> Self | None:
        """None where the mapping's target is no plain tree, or nothing in it is unconditional."""
        document = mappings.document(name)
        while document is not None and document.steps:
            document = mappings.document(document.steps[-1].text)
        if document is None or kind_of_tree(document.target_codec) != "json" or document.fields is None:
            return None
        constants: dict[tuple[str, ...], Any] = {}
        required: list[tuple[str, ...]] = []
        for path, leaf in _leaves(document, document.fields, mappings, (), 0):
            if leaf.const is not None and leaf.const[0] is not None:
                constants[path] = leaf.const[0]
            elif leaf.required:
                required.append(path)
        return cls(constants, tuple(required)) if constants or required else None

    def missing(self, tree: Any) -> str:
        """What is wrong with a request; "" for nothing. Values are not told."""
        for path, value in self.constants.items():
            if _at(tree, path) != value:
                return t(
                    f"{'.'.join(path)} is not what the contract's mapping always writes",
                    f"{'.'.join(path)} 与契约映射固定写入的值不符",
                )
        for path in self.required:
            if _at(tree, path) in (None, "", [], {}):
                return t(f"{'.'.join(path)} is missing", f"缺少 {'.'.join(path)}")
        return ""


def _leaves(
    document: Document, rules: Rules, mappings: MappingLibrary, path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    if depth > _DEEPEST or isinstance(rules, ListRule):
        return
    if isinstance(rules, Leaf):
        if rules.when is None:
            yield path, rules
        return
    if not isinstance(rules, ObjectRule) or rules.each is not None or rules.when is not None:
        return
    own = {entry.key for entry in rules.fields}
    if rules.include is not None and not rules.without:
        other = mappings.document(rules.include.text)
        if other is not None and other.fields is not None and other.when is None:
            for found, leaf in _leaves(other, other.fields, mappings, path, depth + 1):
                if found[len(path) : len(path) + 1] and found[len(path)] not in own:
                    yield found, leaf
    for entry in rules.fields:
        yield from _leaves(document, entry.rule, mappings, (*path, *entry.key.split(".")), depth + 1)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree
