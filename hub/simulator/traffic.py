"""Messages to drive an ``in`` interface with: examples of the plugin, each time with fresh numbers and times."""

from __future__ import annotations

import itertools
import re
import secrets
import string
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.api import Bound, Codec
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import MappingLibrary, compile_expression
from hub.mapping.formats import kind_of_tree
from hub.simulator.made_up import made_up
from hub.simulator.solve import parsed, plain_paths, put
from hub.simulator.texts import context_of

__all__ = ["Traffic"]

_LARGEST = 16 << 20
#: Characters of a number that differ from message to message.
_CHANGED = 10
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,3})(?:\.(\d{1,3}))?")
_KEY = re.compile(r"[^.\[\]]+|\[\d+\]")


class Traffic:
    """The messages of one ``in`` interface, one after another."""

    def __init__(self, bound: Bound, folder: Path, mappings: MappingLibrary, schemas: list[Path]) -> None:
        self._bound = bound
        contract = bound.contract
        self._codec: Codec = bound.codec
        self._kind = kind_of_tree(bound.codec.name)
        self._number = itertools.count(1)
        self._run = secrets.token_hex(3)
        functions = mappings.functions
        self._vary = {
            path: compile_expression(text, bound.codec.name, key=f"{bound.place}.simulate.vary", functions=functions)
            for path, text in contract.simulate.vary.items()
            if not path.startswith("$")  # of the call, not of the message: the adapter's
        }
        self._examples: list[bytes] = [
            file.read_bytes()[:_LARGEST] for name in contract.examples if (file := folder / name).is_file()
        ]
        if not self._examples and (body := made_up(bound, schemas)) is not None:
            self._examples.append(body)
        self._turn: Iterator[tuple[int, bytes]] = itertools.cycle(enumerate(self._examples))
        self._instances: dict[str, str] = {}  # of DICOM: SOP instance of an example -> the one of this round

    @property
    def examples(self) -> list[bytes]:
        """All of them, as they are."""
        return list(self._examples)

    def next(self, *, fresh: bool = True) -> bytes:
        """The next example; ``fresh``: with a control id of its own. Raises :class:`HubError` where there is none."""
        if not self._examples:
            raise HubError(
                t(
                    f"{self._bound.interface_id}: there is no example, and no JSON schema to make one from",
                    f"{self._bound.interface_id}：没有示例，也没有可用于生成的 JSON Schema",
                ),
                code="simulate.example",
                remedy=t(
                    "write examples: [examples/….json] into the contract", "请在契约中写 examples: [examples/….json]"
                ),
            )
        at, body = next(self._turn)
        if not at:
            self._instances.clear()
        return self._fresh(body) if fresh else body

    def _fresh(self, body: bytes) -> bytes:
        number = next(self._number)
        if self._kind == "hl7v2":
            return self._fresh_hl7(body, number)
        if self._kind == "dicom":
            return self._fresh_dicom(body, number)
        if self._kind != "json":
            return body
        contract = self._bound.contract
        try:
            tree = self._codec.decode(body, encoding=contract.encoding)
        except HubError:
            return body
        context = context_of(self._bound.settings, {"count": number, "id": secrets.token_hex(8)})
        for path, make in self._vary.items():
            tree = put(tree, _keys(path), make(tree, context))
        for node in plain_paths(parsed(contract.control_id, self._codec.name)):
            known = compile_expression(node.text, self._codec.name)(tree, context)
            if node.text not in self._vary and isinstance(known, str) and known:
                tree = _replaced(tree, known, self._like(known))
                break
        return self._codec.encode(tree, encoding=contract.encoding)

    @staticmethod
    def _like(known: str) -> str:
        """Another value of the same form: its last letters and digits are others of their kind."""
        changed = list(known)
        places = [at for at, char in enumerate(known) if char.isascii() and char.isalnum()]
        for at in places[-_CHANGED:]:
            char = known[at]
            kind = string.digits if char.isdigit() else "abcdef" if char in "abcdef" else string.ascii_uppercase
            changed[at] = secrets.choice(kind if char.isdigit() or char in "abcdef" or char.isupper() else kind.lower())
        return "".join(changed)

    def _fresh_dicom(self, body: bytes, number: int) -> bytes:
        """Another instance; examples that tell of one instance, as those of a procedure step do, tell of one again."""
        try:
            tree = self._codec.decode(body, encoding=self._bound.contract.encoding)
            old = str(tree.get("SOPInstanceUID") or "")
            context = context_of(self._bound.settings, {"count": number, "id": secrets.token_hex(8)})
            changes = {path: make(tree, context) for path, make in self._vary.items()}
            changes.setdefault("SOPInstanceUID", self._instances.setdefault(old, f"2.25.{uuid.uuid4().int}"))
            return self._codec.encode(tree.changed(changes))
        except HubError:
            return body

    def _fresh_hl7(self, body: bytes, number: int) -> bytes:
        encoding = self._bound.contract.encoding or "utf-8"
        segments = body.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r")
        now = datetime.now().strftime("%Y%m%d%H%M%S")
        changes: dict[str, Any] = {"MSH-7": now, "MSH-10": f"{self._run.upper()}{number:08}"}
        context = context_of(self._bound.settings, {"count": number, "id": secrets.token_hex(8)})
        if self._vary:
            tree = self._codec.decode(body, encoding=self._bound.contract.encoding)
            changes |= {path: make(tree, context) for path, make in self._vary.items()}
        for path, value in changes.items():
            _set_field(segments, path, str(value).encode(encoding, "replace"))
        return b"\r".join(segments)


def _set_field(segments: list[bytes], path: str, value: bytes) -> None:
    found = _FIELD.fullmatch(path)
    if found is None:
        raise HubError(
            t(f"vary: {path!r} is not a field", f"vary：{path!r} 不是字段"),
            code="simulate.vary",
            remedy=t("write e.g. PID-3 or PID-3.1", "例如 PID-3 或 PID-3.1"),
        )
    name, field, component = found[1].encode(), int(found[2]), int(found[3] or 0)
    separator = segments[0][3:4] or b"|"
    within = segments[0][4:5] or b"^"
    at = field - 1 if name == b"MSH" else field
    for number, segment in enumerate(segments):
        if segment[:3] != name:
            continue
        fields = segment.split(separator)
        fields += [b""] * (at + 1 - len(fields))
        if component:
            parts = fields[at].split(within)
            parts += [b""] * (component - len(parts))
            parts[component - 1] = value
            fields[at] = within.join(parts)
        else:
            fields[at] = value
        segments[number] = separator.join(fields)
        return


def _replaced(tree: Any, known: str, value: str) -> Any:
    """Wherever the number stands as a whole value."""
    if isinstance(tree, dict):
        return {name: _replaced(member, known, value) for name, member in tree.items()}
    if isinstance(tree, list):
        return [_replaced(member, known, value) for member in tree]
    return value if tree == known else tree


def _keys(path: str) -> list[str | int]:
    return [int(part[1:-1]) if part.startswith("[") else part for part in _KEY.findall(path)]
