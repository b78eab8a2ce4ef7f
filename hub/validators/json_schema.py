"""Checks plain trees against JSON Schema (drafts 2020-12, 2019-09, 7, 6 and 4), by jsonschema-rs.

References reach files below the schema folders only, relative to the file they stand in. An ``$id`` at the head of a file is ignored: where it
says the file lives on the web is not where it lives here. Formats are checked, not only noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jsonschema_rs
import orjson

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping import Context
from hub.validators.findings import Findings, not_checked
from hub.validators.json_recursion import ambiguous, walk
from hub.validators.json_words import findings_of
from hub.validators.report import Finding
from hub.validators.schema_files import Reference, Source, name_of, uri_of
from hub.yaml_source import KeyPath, key_text, parse

__all__ = ["MAX_NODES", "JsonSchemaValidator", "compile_json", "json_references"]

#: Of a wrong tree with more values than this only the first error is told: the library finds all or one, and a hostile message
#: could have half a million of them (13 µs each).
MAX_NODES = 20_000
#: Of a schema whose alternatives contain themselves, deeper messages are found wrong, but not why.
MAX_AMBIGUOUS_DEPTH = 6
_POINTER = re.compile(r"(?:Pointer|Anchor) '([^']*)'")
_UNKNOWN_FORMAT = "Unknown format"


class JsonSchemaValidator:
    """See :class:`hub.validators.report.Validator`. A valid message of 1.3 KB takes 3 µs."""

    slow = False
    stamp = ""

    def __init__(self, name: str, schema: Any, known: frozenset[str], ambiguous: bool) -> None:
        """``known``: members the schema names; ``ambiguous``: its alternatives can contain themselves."""
        self.name = name
        self._schema = schema
        self._known = known
        self._ambiguous = ambiguous

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        try:
            if self._schema.is_valid(tree):
                return []
            findings = Findings("json")
            if self._ambiguous and _deeper(tree, MAX_AMBIGUOUS_DEPTH):
                text = t(
                    f"does not fit the schema; where, is not looked for below {MAX_AMBIGUOUS_DEPTH} levels of alternatives",
                    f"不符合 schema；其备选可嵌套自身，超过 {MAX_AMBIGUOUS_DEPTH} 层时不查找具体位置",
                )
                return [Finding("json.alternatives", text, "$")]
            if _many_nodes(tree):
                try:
                    self._schema.validate(tree)
                except jsonschema_rs.ValidationError as error:
                    self._take([error], tree, findings)
                why = t(f"more than {MAX_NODES} values, the first error only", f"值超过 {MAX_NODES} 个，仅报告首个错误")
                findings.add(not_checked("json", why))
            else:
                self._take(self._schema.iter_errors(tree), tree, findings)
            return findings.found
        except (ValueError, TypeError, OverflowError, RecursionError):
            return [not_checked("json", t("this tree has values JSON does not have", "其中有 JSON 没有的值"))]

    def _take(self, errors: Iterable[Any], tree: Any, findings: Findings) -> None:
        for error in errors:
            for finding in findings_of(error, tree, self._known):
                if not findings.add(finding):
                    return


def _deeper(tree: Any, limit: int) -> bool:
    level = [tree]
    for _ in range(limit + 1):
        level = [
            item
            for value in level
            if isinstance(value, dict | list | tuple)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _many_nodes(tree: Any) -> bool:
    count, rest = 0, [tree]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            count += len(value)
            rest.extend(value.values())
        elif isinstance(value, list | tuple):
            count += len(value)
            rest.extend(value)
        if count > MAX_NODES:
            return True
    return False


# -- loading -------------------------------------------------------------------------------------------------------------


def json_references(source: Source) -> Iterator[Reference]:
    """The files a schema refers to. Raises :class:`ConfigError` when it is not JSON."""
    for path, uri in _refs(_tree(source)):
        if not uri.startswith("#"):
            yield Reference(uri, partial(_place, source, path))


def compile_json(sources: Sequence[Source]) -> tuple[JsonSchemaValidator | None, list[Problem]]:
    """The validator of the first of the sources, the others being all it refers to, and what is wrong with it."""
    main = sources[0]
    trees = {source.name: _tree(source) for source in sources}
    compiled = partial(
        jsonschema_rs.validator_for,
        trees[main.name],
        base_uri=uri_of(main.name),
        retriever=lambda uri: trees[name_of(uri)],
        validate_formats=True,
    )
    problems: list[Problem] = []
    try:
        schema = compiled(ignore_unknown_formats=False)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
        problem = _problem(error, sources, trees)
        problems.append(problem)
        if problem.severity == "error":
            return None, problems
        schema = compiled()
    known = frozenset(name for tree in trees.values() for name in _members(tree))
    return JsonSchemaValidator(main.name, schema, known, ambiguous(trees)), problems


def _tree(source: Source) -> Any:
    try:
        tree = orjson.loads(source.raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise ConfigError(
            [
                Problem(
                    t(
                        f"not JSON: {error.msg} (column {error.colno})",
                        f"不是 JSON：{error.msg}（第 {error.colno} 列）",
                    ),
                    str(source.path),
                    error.lineno,
                    remedy=t("correct the file; it must be UTF-8", "请更正文件；须为 UTF-8 编码"),
                )
            ]
        ) from None
    if isinstance(tree, dict) and isinstance(tree.get("$id"), str):
        del tree["$id"]
    return tree


def _refs(tree: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for path, value in walk(tree):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(value.get(key), str):
                yield (*path, key), value[key]


def _members(tree: Any) -> Iterator[str]:
    for _, value in walk(tree):
        if isinstance(value.get("properties"), dict):
            yield from value["properties"]
        if isinstance(value.get("required"), list):
            yield from (name for name in value["required"] if isinstance(name, str))


def _place(source: Source, path: KeyPath) -> tuple[int, str]:
    """(line, key); JSON is read as the YAML it nearly always is, the line is 0 where it is not."""
    try:
        return parse(source.raw, source.path).line(path), key_text(path)
    except ConfigError:
        return 0, key_text(path)


def _problem(error: Exception, sources: Sequence[Source], trees: dict[str, Any]) -> Problem:
    main = sources[0]
    message = getattr(error, "message", None) or str(error)
    path: tuple[str | int, ...] = tuple(getattr(error, "instance_path", ()) or ())
    pointer = _POINTER.search(message)
    if pointer is not None:
        for source in sources:
            for place, uri in _refs(trees[source.name]):
                if uri.partition("#")[2] == pointer[1]:
                    text = t(f"{uri} leads nowhere", f"{uri} 指向不存在的位置")
                    remedy = t("correct the part behind #", "请更正 # 之后的部分")
                    return Problem(text, str(source.path), *_place(source, place), remedy)
    line, key = _place(main, path)
    if message.startswith(_UNKNOWN_FORMAT):
        name = message.split("'")[1] if "'" in message else ""
        text = t(f"format {name!r} is not known and not checked", f"未知的 format {name!r}，不会校验")
        return Problem(text, str(main.path), line, key, t("add a pattern", "请另写 pattern"), "warning")
    text = t(f"not a JSON Schema: {message[:300]}", f"不是有效的 JSON Schema：{message[:300]}")
    return Problem(text, str(main.path), line, key, t("correct this keyword", "请更正此关键字"))
