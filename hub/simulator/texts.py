"""Replies as a contract writes them under ``simulate``: a mapping, a file, a tree of expressions, a text with places."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from hub.codecs.base import Codec
from hub.codecs.json_codec import JsonCodec
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context, MappingLibrary, compile_expression
from hub.mapping.functions.base import Function

__all__ = ["Making", "Writer", "context_of"]

#: From the opened request and the context: the body of a reply.
Making = Callable[[Any, Context], bytes]
_PLACE = re.compile(r"\{([^{}]+)\}")
_DEEPEST = 30
#: Codecs of bytes nobody looks into: what stands there as a tree is JSON.
_BYTES = frozenset(("binary", "text"))
_LARGEST = 4 << 20


def context_of(settings: Mapping[str, Any], variables: Mapping[str, Any]) -> Context:
    """For the expressions of one call."""
    return Context(settings=settings, now_us=int(time.time() * 1e6), variables=variables)


class Writer:
    """Compiles what stands under ``answer``, ``refusal`` and ``body`` of one interface."""

    def __init__(
        self, source: str, target: Codec, encoding: str, folder: Path, mappings: MappingLibrary, place: str
    ) -> None:
        self._source, self._encoding = source, encoding
        self._target: Codec = JsonCodec() if target.name in _BYTES else target
        self._folder, self._mappings, self._place = folder, mappings, place
        self._functions: Mapping[str, Function] = mappings.functions

    def expression(self, text: str, key: str) -> Callable[[Any, Context], Any]:
        """Raises :class:`~hub.errors.MappingError` for one that can't be understood."""
        return compile_expression(text, self._source, key=f"{self._place}.simulate.{key}", functions=self._functions)

    def making(self, given: Any, key: str) -> Making:
        """Raises :class:`HubError` for what is none of the four."""
        if not isinstance(given, str):
            make = self._tree(given, key, 0)
            return lambda tree, context: self._target.encode(make(tree, context), encoding=self._encoding)
        if "\n" in given or given.lstrip().startswith(("<", "MSH")):
            return self._text(given, key)
        file = self._folder / given
        if "." in given and file.is_file() and file.resolve().is_relative_to(self._folder.resolve()):
            body = file.read_bytes()[:_LARGEST]
            return lambda tree, context: body
        if given in self._mappings.names():
            return self._mapped(given)
        raise HubError(
            t(
                f"{self._place}.simulate.{key}: {given!r} is neither a mapping nor a file of the plugin",
                f"{self._place}.simulate.{key}：{given!r} 既不是映射，也不是插件目录中的文件",
            ),
            code="simulate.answer",
            remedy=t("write the tree itself, or a text of several lines", "请直接写出结构，或写多行文本"),
        )

    def _mapped(self, name: str) -> Making:
        mapping = self._mappings.get(name)

        def make(tree: Any, context: Context) -> bytes:
            found = mapping.run(tree, context)
            if not found:
                raise HubError(
                    t(f"the mapping {name} makes no reply", f"映射 {name} 未产生应答"), code="simulate.answer"
                )
            return self._target.encode(found[0], encoding=self._encoding)

        return make

    def _text(self, text: str, key: str) -> Making:
        parts = _PLACE.split(text.strip("\n"))
        reads = [self.expression(part, key) for part in parts[1::2]]
        quote = escape if text.lstrip().startswith("<") else str
        if text.lstrip().startswith("MSH"):
            parts[::2] = [part.replace("\n", "\r") for part in parts[::2]]

        def make(tree: Any, context: Context) -> bytes:
            filled = list(parts)
            for at, read in enumerate(reads):
                value = read(tree, context)
                filled[2 * at + 1] = quote("" if value is None else str(value))
            return "".join(filled).encode(self._encoding or "utf-8", "replace")

        return make

    def _tree(self, given: Any, key: str, depth: int) -> Callable[[Any, Context], Any]:
        if depth > _DEEPEST:
            raise HubError(t(f"{key} is nested too deeply", f"{key} 嵌套过深"), code="simulate.answer")
        if isinstance(given, str):
            return self.expression(given, key)
        if isinstance(given, dict):
            members = {name: self._tree(value, f"{key}.{name}", depth + 1) for name, value in given.items()}
            return lambda tree, context: {name: make(tree, context) for name, make in members.items()}
        if isinstance(given, list):
            items = [self._tree(value, f"{key}[{n}]", depth + 1) for n, value in enumerate(given)]
            return lambda tree, context: [make(tree, context) for make in items]
        return lambda tree, context: given
