"""What generated code calls to find segments and repetitions of HL7 v2 messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["HL7_RUNTIME"]


def nth(values: Sequence[Any], number: int) -> Any:
    return values[number - 1] if len(values) >= number else None


def nth_text(values: Sequence[str], number: int) -> str:
    return values[number - 1] if len(values) >= number else ""


def filled(values: list[str]) -> list[str]:
    return values if "" not in values else [value for value in values if value]


def names_of(segments: Sequence[Any]) -> list[str]:
    return [segment.name for segment in segments]


def first_named(segments: Sequence[Any], name: str) -> Any:
    for segment in segments:
        if segment.name == name:
            return segment
    return None


def all_named(segments: Sequence[Any], name: str) -> list[Any]:
    return [segment for segment in segments if segment.name == name]


def until_named(segments: Sequence[Any], name: str, stops: tuple[str, ...]) -> list[Any]:
    """Those of a name in front of the first one that is named in ``stops``."""
    found: list[Any] = []
    for segment in segments:
        if segment.name in stops:
            break
        if segment.name == name:
            found.append(segment)
    return found


def segments_before(segments: Sequence[Any], name: str) -> dict[int, Any]:
    """For each segment, by its identity, the last one of a name in front of it with no other of its own name in between."""
    found: dict[int, Any] = {}
    last: Any = None
    between: set[str] = set()
    for segment in segments:
        if last is not None and segment.name not in between:
            found[id(segment)] = last
        between.add(segment.name)
        if segment.name == name:
            last, between = segment, set()
    return found


def in_front(known: dict[int, Any], segment: Any) -> Sequence[Any]:
    found = known.get(id(segment))
    return () if found is None else (found,)


def groups(elements: Sequence[Any], following: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Each segment with those that follow it in ``following`` up to the next one of its name."""
    if not elements:
        return []
    name = elements[0].name
    wanted = {id(element): element for element in elements}
    found: list[tuple[Any, list[Any]]] = []
    members: list[Any] = []
    for segment in following:
        if segment.name == name:
            members = []
            if id(segment) in wanted:
                found.append((segment, members))
        else:
            members.append(segment)
    return found


HL7_RUNTIME: dict[str, Callable[..., Any]] = {
    "nth": nth,
    "nth_text": nth_text,
    "filled": filled,
    "first_named": first_named,
    "all_named": all_named,
    "in_front": in_front,
    "segments_before": segments_before,
    "until_named": until_named,
    "groups": groups,
    "names_of": names_of,
}
