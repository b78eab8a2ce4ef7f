"""What an ``include:`` leaves out of the mapping it includes: ``without: [name, address.zip]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hub.mapping.document import Document, Field, ObjectRule, Rules, Text

__all__ = ["without"]

#: What may follow a key in a longer one: ``a.b``, ``a[0]``, ``a/@b``, ``PID-5``.
_ENDS = (".", "[", "/", "-")


def without(document: Document, names: Sequence[Text]) -> tuple[Document, list[Text]]:
    """(the mapping without these fields and all below them; the names it has no field for).

    A field is named by its key as the mapping writes it, or by the keys that lead to it. What the mapping includes in turn is asked for
    what it has not itself.
    """
    missing: list[Text] = []
    fields = document.fields
    for name in names:
        found = _without(fields, name)
        if found is None:
            missing.append(name)
        else:
            fields = found
    return replace(document, fields=fields), missing


def _without(rules: Rules | None, name: Text) -> Rules | None:
    """The rules without a field; None when there is no such field."""
    if not isinstance(rules, ObjectRule):
        return None
    kept = [entry for entry in rules.fields if not _begins(entry.key, name.text)]
    if len(kept) < len(rules.fields):
        return replace(rules, fields=kept)
    for number, entry in enumerate(rules.fields):
        if _begins(name.text, entry.key):
            rest = Text(name.text[len(entry.key) :].lstrip("./"), name.line)
            inner = _without(entry.rule, rest)
            if inner is not None:
                return replace(
                    rules,
                    fields=[*rules.fields[:number], Field(entry.key, entry.line, inner), *rules.fields[number + 1 :]],
                )
    return replace(rules, without=[*rules.without, name]) if rules.include is not None else None


def _begins(key: str, name: str) -> bool:
    """Whether a key is a name or leads to something below it."""
    return key == name or (key.startswith(name) and key[len(name) :].startswith(_ENDS))
