"""Tables and forms, text to text: columns and parameters by their names."""

from __future__ import annotations

import csv
import io
import re
import urllib.parse

from hub.privacy.treat import Treatment

__all__ = ["treat_form", "treat_multipart", "treat_table"]

_DELIMITERS = ",\t;|"
_MOST_COLUMNS = 2000
_PART_NAME = re.compile(r'name="([^"\r\n]{0,200})"', re.IGNORECASE)


def treat_table(text: str, treatment: Treatment) -> str | None:
    """CSV with a row of names somewhere in its first lines; columns without one are looked at value by value. None for no table."""
    lines = text.splitlines(keepends=True)
    head = "".join(lines[:5])
    delimiter = max(_DELIMITERS, key=head.count)
    if not head.count(delimiter):
        return None
    kinds: list[str] | None = None
    number = 0
    out = []
    for raw in _records(lines):
        body = raw.rstrip("\r\n")
        end = raw[len(body) :]
        try:
            cells = next(csv.reader([body], delimiter=delimiter, strict=False), [])
        except csv.Error:
            cells = body.split(delimiter)
        number += 1
        if kinds is None and number <= 5:
            found = [treatment.policy.class_of_key(cell) for cell in cells[:_MOST_COLUMNS]]
            if any(found):
                kinds = found
                out.append(raw)
                continue
        out.append(_row(body, cells, kinds or [], delimiter, treatment) + end)
    return "".join(out)


def _records(lines: list[str]) -> list[str]:
    """Lines joined where a quoted cell goes on; at most 50 of them."""
    out: list[str] = []
    held, count = "", 0
    for line in lines:
        held += line
        count += 1
        if held.count('"') % 2 == 0 or count >= 50:
            out.append(held)
            held, count = "", 0
    if held:
        out.append(held)
    return out


def _row(body: str, cells: list[str], kinds: list[str], delimiter: str, treatment: Treatment) -> str:
    shown = []
    for at, cell in enumerate(cells):
        kind = kinds[at] if at < len(kinds) else ""
        if kind == "id_number":
            kind = treatment.number_class(cell.strip(), (), "id_number")
        shown.append(treatment.value(kind, cell) if kind else treatment.loose(cell) if len(cell) > 1 else cell)
    if shown == cells:
        return body
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="", quoting=csv.QUOTE_MINIMAL).writerow(shown)
    return buffer.getvalue()


def treat_form(text: str, treatment: Treatment, *, readable: bool = True) -> str:
    """``application/x-www-form-urlencoded``; ``readable``: values are shown as text, not percent-encoded."""
    out = []
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        key, plain = urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(value)
        kind = treatment.policy.class_of_key(key)
        shown = treatment.value(kind, plain) if kind else treatment.loose(plain)
        if shown == plain:
            out.append(pair if not readable else f"{key}{equals}{plain}")
        else:
            out.append(f"{key}{equals}{shown}" if readable else f"{name}{equals}{urllib.parse.quote_plus(shown)}")
    return "&".join(out)


def treat_multipart(text: str, treatment: Treatment) -> str:
    """Parts by the ``name`` of their headers."""
    first = text.split("\n", 1)[0].rstrip("\r")
    if not first.startswith("--") or len(first) < 4:
        return treatment.other(text)
    parts = text.split(first)
    for at, part in enumerate(parts):
        head, blank, body = part.partition("\r\n\r\n" if "\r\n\r\n" in part else "\n\n")
        if not blank:
            continue
        found = _PART_NAME.search(head)
        kind = treatment.policy.class_of_key(found[1]) if found else ""
        content = body.rstrip("\r\n-")
        shown = treatment.value(kind, content) if kind else treatment.loose(content)
        parts[at] = treatment.other(head) + blank + shown + body[len(content) :]
    return first.join(parts)
