"""Reading YAML files that people write: fast, bounded, and able to say on which line something stands.

The tree is built from libyaml's event stream. PyYAML's own composer recurses in C and crashes the process on deep
nesting, keeps the last of two equal keys, and follows YAML 1.1, where ``off`` is false and ``012`` is ten. Here:

* scalars follow the YAML 1.2 core schema (10.3.2), except that a number with leading zeros, or with more than 18
  digits, stays text: it is a code, and arithmetic would damage it; hexadecimal and octal numbers are text too;
* keys are always text, as written;
* a key that stands twice, a merge key, a tag, several documents in one file, and anything beyond the limits is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from yaml import CSafeLoader, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from hub.errors import ConfigError, Problem
from hub.i18n import t

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Document", "KeyPath", "Place", "key_text", "load", "parse"]

#: Largest file, bytes.
MAX_BYTES = 4 << 20
#: Deepest nesting of one file.
MAX_DEPTH = 64
#: Values in one file, each alias counted as everything it stands for.
MAX_NODES = 400_000

KeyPath = Sequence[str | int]

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = frozenset("tTfFnN~")
_DIGITS = frozenset("-+.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,18}|(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,2})?")
_STRING_TAGS = frozenset(("!", "tag:yaml.org,2002:str"))


def key_text(path: KeyPath) -> str:
    """A key path as people write it: ``systems.his.listen.allow[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Document:
    """One file, read. ``data`` is plain dicts, lists, text, numbers, booleans and None."""

    __slots__ = ("_lines", "_raw", "data", "path")

    def __init__(self, path: Path, raw: bytes, data: Any) -> None:
        self.path = path
        self.data = data
        self._raw = raw
        self._lines: dict[tuple[str | int, ...], int] | None = None

    @property
    def raw(self) -> bytes:
        """What ``data`` was read from: the file may be another by now."""
        return self._raw

    def line(self, path: KeyPath) -> int:
        """The line, from 1, of a key or list item; of its nearest parent when it isn't there itself."""
        if self._lines is None:
            self._lines = {(): 1}
            _Builder(self._raw, self._lines).build()
        wanted = tuple(path)
        while wanted not in self._lines:
            wanted = wanted[:-1]
        return self._lines[wanted]

    def place(self, *path: str | int) -> Place:
        return Place(self, path)

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        """A problem with the key at ``path``."""
        return Problem(text, str(self.path), self.line(path), key_text(path), remedy, severity)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a document; key paths are relative to it."""

    document: Document
    path: tuple[str | int, ...] = ()

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return self.document.problem(text, (*self.path, *path), remedy=remedy, severity=severity)


class _FaultError(Exception):
    def __init__(self, text: str, line: int, remedy: str) -> None:
        super().__init__(text)
        self.text, self.line, self.remedy = text, line, remedy


def load(path: str | os.PathLike[str]) -> Document:
    """Read a file; raises :class:`ConfigError` with one problem when it can't be read or isn't acceptable YAML."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        text = t(f"can't be read: {reason}", f"无法读取：{reason}")
        remedy = t("check the path and its permissions", "请检查路径及权限")
        raise ConfigError([Problem(text, str(file), remedy=remedy)]) from None
    return parse(raw, file)


def parse(raw: bytes, path: str | os.PathLike[str]) -> Document:
    """Read the bytes of a file; ``path`` is named in problems. Raises as :func:`load`."""
    try:
        if len(raw) > MAX_BYTES:
            text = t(f"larger than {MAX_BYTES >> 20} MB", f"超过 {MAX_BYTES >> 20} MB")
            raise _FaultError(text, 0, t("split it into several files", "请拆分为多个文件"))
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            remedy = t("save the file as UTF-8", "请将文件另存为 UTF-8 编码")
            raise _FaultError(t("not UTF-8", "不是 UTF-8 编码"), line, remedy) from None
        return Document(Path(path), raw, _Builder(raw, None).build())
    except _FaultError as fault:
        raise ConfigError([Problem(fault.text, str(path), fault.line, remedy=fault.remedy)]) from None


def _scalar(event: ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0]:
        if event.tag is not None and event.tag not in _STRING_TAGS:
            raise _tag_fault(event)
        return text
    if not text:
        return None
    first = text[0]
    if first in _DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    elif first in _WORDS:
        if text in _NULLS:
            return None
        return _BOOLEANS.get(text, text)
    return text


def _line(event: Any) -> int:
    return cast(int, event.start_mark.line) + 1


def _tag_fault(event: Any) -> _FaultError:
    remedy = t("leave the tag out; put text in quotes", "请去掉标签；文本请加引号")
    return _FaultError(t("tags are not supported", "不支持标签"), _line(event), remedy)


class _Builder:
    """Builds the tree of one file without recursion; notes the line of every key when asked to."""

    def __init__(self, raw: bytes, lines: dict[tuple[str | int, ...], int] | None) -> None:
        self._raw = raw
        self._lines = lines
        self._nodes = 0
        self._anchors: dict[str, tuple[Any, int]] = {}

    def build(self) -> Any:
        parser = CSafeLoader(self._raw)
        try:
            return self._read(parser.get_event)
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "invalid")
            text = t(f"not valid YAML: {reason}", f"YAML 语法错误：{reason}")
            remedy = t("check indentation, quotes and brackets near this line", "请检查此行附近的缩进、引号和括号")
            raise _FaultError(text, mark.line + 1 if mark else 0, remedy) from None
        finally:
            parser.dispose()

    def _read(self, next_event: Any) -> Any:
        result: Any = None
        documents = 0
        # One entry per open container: (container, anchor, nodes before it, key of it in its parent).
        stack: list[tuple[Any, str | None, int, str | None]] = []
        container: Any = None
        is_mapping = False
        key: str | None = None
        while True:
            event = next_event()
            kind = type(event)
            if kind is ScalarEvent:
                if is_mapping and key is None:
                    key = self._key(event, container, stack)
                    continue
                value = _scalar(event)
                self._count(1, event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                if is_mapping and key is None:
                    raise _FaultError(
                        t("a key must be plain text", "键必须是文本"),
                        _line(event),
                        t("put text with braces or brackets in quotes", "含括号的文本请加引号"),
                    )
                if event.tag is not None:
                    raise _tag_fault(event)
                if len(stack) >= MAX_DEPTH:
                    text = t(f"nested more than {MAX_DEPTH} levels deep", f"嵌套超过 {MAX_DEPTH} 层")
                    raise _FaultError(text, _line(event), t("make it flatter", "请减少嵌套"))
                self._note(stack, container, key, event)
                self._count(1, event)
                stack.append((container, event.anchor, self._nodes - 1, key))
                is_mapping = kind is MappingStartEvent
                container = {} if is_mapping else []
                key = None
                continue
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                value = container
                container, anchor, before, key = stack.pop()
                is_mapping = type(container) is dict
                if anchor is not None:
                    self._anchors[anchor] = (value, self._nodes - before)
                if is_mapping:
                    container[key] = value
                    key = None
                elif container is not None:
                    container.append(value)
                else:
                    result = value
                continue
            elif kind is AliasEvent:
                if is_mapping and key is None:
                    remedy = t("write the key out", "请直接写出键名")
                    raise _FaultError(t("an alias can't be a key", "别名不能作键"), _line(event), remedy)
                value = self._alias(event)
            elif kind is StreamEndEvent:
                return result
            elif kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    text = t("several documents in one file", "一个文件中有多个文档")
                    raise _FaultError(text, _line(event), t("remove the line ---", "请删除 --- 行"))
                continue
            else:
                continue
            self._note(stack, container, key, event)
            if is_mapping:
                container[key] = value
                key = None
            elif container is not None:
                container.append(value)
            else:
                result = value

    def _key(self, event: ScalarEvent, container: dict[str, Any], stack: list[Any]) -> str:
        key: str = event.value
        if key in container:
            text = t(f"key {key!r} stands twice", f"键 {key!r} 重复")
            raise _FaultError(text, _line(event), t("remove one of the two", "请删除其中一个"))
        if key == "<<" and event.implicit[0]:
            text = t("merge keys (<<) are not supported", "不支持合并键（<<）")
            raise _FaultError(text, _line(event), t("write the keys out", "请直接写出各键"))
        if self._lines is not None:
            self._lines[(*_path(stack, container), key)] = _line(event)
        return key

    def _note(self, stack: list[Any], container: Any, key: str | None, event: Any) -> None:
        """The line of a list item; that of a mapping's value is the line of its key."""
        if self._lines is not None and type(container) is list:
            self._lines[(*_path(stack, container), len(container))] = _line(event)

    def _alias(self, event: AliasEvent) -> Any:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            text = t(f"alias *{event.anchor} stands for nothing yet", f"别名 *{event.anchor} 尚未定义")
            remedy = t(
                f"write &{event.anchor} before a complete value above it", f"请在其上方用 &{event.anchor} 定义完整的值"
            )
            raise _FaultError(text, _line(event), remedy)
        self._count(found[1], event)
        return found[0]

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            text = t(f"more than {MAX_NODES} values", f"超过 {MAX_NODES} 个值")
            raise _FaultError(text, _line(event), t("split the file; use fewer aliases", "请拆分文件或减少别名"))


def _path(stack: list[tuple[Any, str | None, int, str | None]], container: Any) -> tuple[str | int, ...]:
    """The key path of the open container."""
    path: list[str | int] = []
    for parent, _, _, key in stack:
        if type(parent) is dict:
            path.append(cast(str, key))
        elif type(parent) is list:
            path.append(len(parent))
    return tuple(path)
