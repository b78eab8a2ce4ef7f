"""Examples of a contract as text: what comes in, and what is made of it for the other side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from hub.contract import Interface
from hub.errors import HubError
from hub.handbook.subject import Subject, sample_settings
from hub.i18n import t
from hub.mapping_tools.workbench import Circumstances, Workbench

__all__ = ["Example", "examples"]

#: Longest example that is shown, bytes; most that are shown of one interface.
MAX_SHOWN, MOST = 64 << 10, 12
#: The moment of examples that are mapped, so that a page is the same at every run: 2026-01-05T09:00:00+08:00.
_NOW_US = 1_767_574_800_000_000


@dataclass(frozen=True, slots=True)
class Example:
    """``raw`` are the bytes; ``text`` as a person reads it; ``tree`` what JSON it is, None for other formats."""

    file: str
    text: str
    language: str
    raw: bytes
    tree: Any = None
    sent: str = ""  # what the mapping makes of it, before it is signed and encrypted
    sent_tree: Any = None
    sent_language: str = ""


def examples(subject: Subject, interface: Interface, bench: Workbench) -> list[Example]:
    """Those that can be read, in the order of the contract."""
    found = []
    folders = [subject.plugin.folder.resolve(), *(one.folder.resolve() for one in subject.plugin.profiles)]
    for name in interface.examples[:MOST]:
        path = (subject.plugin.folder / name).resolve()
        if not any(path.is_relative_to(folder) for folder in folders) or not path.is_file():
            continue
        raw = path.read_bytes()
        text, language, tree = _shown(raw, interface.encoding)
        sent = _sent(subject, interface, bench, raw) if interface.direction == "out" and interface.mapping else None
        made = _shown(sent, interface.encoding) if sent is not None else ("", "", None)
        found.append(Example(Path(name).name, text, language, raw, tree, made[0], made[2], made[1]))
    return found


def _sent(subject: Subject, interface: Interface, bench: Workbench, raw: bytes) -> bytes | None:
    """What would be sent, with sample settings; None where that needs more than the example (a look-up, another mapping)."""
    try:
        mapping = bench.library.get(interface.mapping)
        around = Circumstances(settings=sample_settings(subject), now_us=_NOW_US, received_at=_NOW_US, source="example")
        options = interface.format if mapping.source_codec == interface.codec else None
        given = bench.input(mapping, raw, around, encoding=interface.encoding, options=_plain(options))
        outputs = bench.outputs(
            mapping, given, _plain(interface.format) if mapping.target_codec == interface.codec else None
        )
    except (HubError, ValueError, TypeError, KeyError):
        return None
    return outputs[0] if outputs else None


def _plain(options: Any) -> Any:
    return None if not options or "${" in str(options) else options


def _shown(raw: bytes, encoding: str) -> tuple[str, str, Any]:
    """Text, name of the language, and the tree of JSON."""
    if len(raw) > MAX_SHOWN:
        kilobytes = len(raw) >> 10
        return t(f"({kilobytes} KB, not shown)", f"（{kilobytes} KB，略）"), "", None
    if raw[:1].isspace() or raw[:1] in (b"{", b"["):
        try:
            tree = orjson.loads(raw)
        except orjson.JSONDecodeError:
            tree = None
        if tree is not None:
            return orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode(), "json", tree
    try:
        text = raw.decode(encoding if encoding and "${" not in encoding else "utf-8")
    except (UnicodeDecodeError, LookupError):
        return " ".join(f"{byte:02x}" for byte in raw[:256]) + (" …" if len(raw) > 256 else ""), "", None
    if text.startswith(("MSH|", "FHS|", "BHS|")):
        return text.replace("\r\n", "\n").replace("\r", "\n"), "", None
    return text, "xml" if text.lstrip().startswith("<") else "", None
