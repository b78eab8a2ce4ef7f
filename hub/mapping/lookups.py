"""Lookups of a mapping, compiled: what is asked, and what is read from the answer. Who asks and answers is no business of the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.context import Context
from hub.mapping.document import Document, ObjectRule, Rules
from hub.mapping.document_lookups import Lookup
from hub.mapping.formats import kind_of_tree
from hub.mapping.functions.base import Function
from hub.mapping.mapping import Compilation, CompiledLookup, compile_mapping
from hub.mapping.tables import CodeTable

__all__ = ["compile_lookups"]


def compile_lookups(
    document: Document,
    find: Callable[[str], Document | None],
    find_table: Callable[[str], CodeTable | None],
    functions: Mapping[str, Function],
    *,
    budget: int = 0,
) -> tuple[tuple[CompiledLookup, ...], list[Compilation], list[Problem]]:
    """(the lookups of a mapping, what came of compiling their rules, what else is wrong with them)."""
    lookups: list[CompiledLookup] = []
    compilations: list[Compilation] = []
    problems: list[Problem] = []

    def compiled(rules: Rules, lookup: Lookup, **changes: Any) -> Callable[[Any, Context], list[Any]] | None:
        part = replace(
            document,
            **{
                "target_codec": "json",
                "target_namespaces": {},
                "base": False,
                "remove": [],
                "split": None,
                "when": None,
                "variables": {},
                "lookups": {},
                "problems": [],
                "fields": rules,
                "fields_line": lookup.line,
                **changes,
            },
        )
        result = compile_mapping(part, find, find_table, functions, budget=budget)
        compilations.append(result)
        return result.run

    for lookup in document.lookups.values():
        if lookup.ask is None:  # the serial of the message under way
            lookups.append(_own_serial(lookup, document.file))
            continue
        key = f"lookups.{lookup.name}"
        codec = lookup.codec or ("json" if lookup.system else document.source_codec)
        if lookup.name in document.variables:
            text = t("there is a variable of that name in vars:", "vars: 中已有同名变量")
            problems.append(Problem(text, document.file, lookup.line, key, t("rename one", "请改名")))
        keys: tuple[str, ...] = ()
        if lookup.store:
            keys = tuple(entry.key for entry in lookup.ask.fields) if isinstance(lookup.ask, ObjectRule) else ()
            if not keys:
                text = t("business keys and where their values come from expected", "此处应为业务键及其取值")
                problems.append(Problem(text, document.file, lookup.line, f"{key}.keys", "keys: {patient_id: PID-3.1}"))
        if lookup.read is None and kind_of_tree(codec) != "json":
            text = t(f"what is read from {codec} must be said", f"须写明从 {codec} 中读取的内容")
            problems.append(Problem(text, document.file, lookup.line, f"{key}.read", "read: {name: PID-5.1}"))
        changes = {"when": lookup.when, "target_codec": codec if lookup.system else "json"}
        ask = compiled(lookup.ask, lookup, **changes)
        read: Callable[[Any, Context], list[Any]] | None = None
        if lookup.read is not None:
            same = codec == document.source_codec
            names = document.source_namespaces if same else {}
            known = {"serial": lookup} if lookup.serial else {}
            read = compiled(
                lookup.read, lookup, source_codec=codec, source_namespaces=names, empty_absent=False, lookups=known
            )
        same_for: Callable[[Any, Context], list[Any]] | None = None
        if lookup.cache_by is not None:
            same_for = compiled(lookup.cache_by, lookup)
        sound = (same_for is not None or lookup.cache_by is None) and (read is not None or lookup.read is None)
        if ask is not None and sound:
            lookups.append(
                CompiledLookup(
                    lookup.name,
                    document.file,
                    lookup.line,
                    lookup.system,
                    lookup.store,
                    lookup.source,
                    codec,
                    keys,
                    lookup.cache,
                    lookup.required,
                    ask,
                    read,
                    same_for,
                    lookup.serial,
                )
            )
    return tuple(lookups), compilations, problems


def _own_serial(lookup: Lookup, file: str) -> CompiledLookup:
    return CompiledLookup(
        lookup.name, file, lookup.line, "", "", "", "json", (), 0.0, True, lambda tree, context: [{}], None, None, True
    )
