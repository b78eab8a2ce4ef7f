"""What is about to be shown, in one place: business keys, bodies, errors, parameters and differences under a view."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from hub.diff import Change
from hub.masking import mask
from hub.privacy import site
from hub.privacy.fhir import treat_fhir
from hub.privacy.members import is_thing, treat_json
from hub.privacy.message import MOST_SHOWN, hidden_values, mask_message, show_message
from hub.privacy.model import Policy, View, plain_key
from hub.privacy.search import HASHED
from hub.privacy.segments import treat_hl7
from hub.privacy.treat import Treatment

__all__ = ["Screen", "screen", "screen_for"]

#: Business keys that are no personal data, by the beginning of their names.
_OPEN_KEYS = ("patient_id", "visit", "order", "waybill", "document")
_HL7_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[\d+\])?(?:-(\d+)(?:\[\d+\])?(?:\.(\d+))?)?")
_STEP = re.compile(r"[^\W\d][\w-]*")
_MARK = secrets.token_bytes(16)


def screen(clear: bool = False) -> Screen:
    """The screen of somebody who sees everything, or of whom nothing is known."""
    policy = site.policy()
    return Screen(policy, policy.view("clear" if clear else ""))


def screen_for(roles: Collection[str]) -> Screen:
    """The screen of somebody with these roles; without any that of whom nothing is known."""
    policy = site.policy()
    return Screen(policy, policy.view_for(roles))


class Screen:
    """What one person sees."""

    def __init__(self, policy: Policy, view: View) -> None:
        self.policy = policy
        self.view = view
        self._hidden: dict[str, str] = {}
        self._spread: list[str] = []

    def know(self, codec: str, raw: bytes) -> None:
        """What a message hides is hidden as well where a body made from it has it under names nobody knows."""
        if self.view.open or len(raw) > MOST_SHOWN:
            return
        self._hidden |= hidden_values(self.policy, codec, raw, self.view)
        self._spread = _spreading(self._hidden)

    def keys(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Business keys; the hashes of protected ones say nothing and stay."""
        if self.view.open:
            return dict(keys)
        treatment = Treatment(self.policy, self.view)
        return {name: self._key(treatment, name, value) for name, value in keys.items()}

    def _key(self, treatment: Treatment, name: str, value: str) -> str:
        if value.startswith(HASHED):
            return value
        kind = self.policy.class_of_key(name)
        if kind:
            return treatment.value(kind, value)
        return treatment.other(value) if name.startswith(_OPEN_KEYS) else mask(value)

    def body(self, data: bytes | None, codec: str = "") -> dict[str, str] | None:
        """A message or the body of a call: ``text``, or ``withheld`` with the reason; None where there is none."""
        if data is None:
            return None
        shown = show_message(self.policy, codec, data, self.view).as_dict()
        return {key: _swept(text, self._hidden, self._spread) for key, text in shown.items()}

    def text(self, text: str) -> str:
        """An error or remark."""
        return text if self.view.open or not text else Treatment(self.policy, self.view).plain(text)

    def params(self, text: str) -> str:
        """The parameters of a call, JSON."""
        if self.view.open or not text:
            return text
        return mask_message(self.policy, "json", text.encode("utf-8", "replace"), self.view) or ""

    def changes(self, changes: Iterable[Change], codec: str = "", bodies: Iterable[bytes] = ()) -> list[Change]:
        """Differences between ``bodies``, which say what their values are.

        Two values that look the same once they are masked carry a mark that tells them apart and nothing else.
        """
        if self.view.open:
            return list(changes)
        hidden: dict[str, str] = {}
        for body in bodies:
            if len(body) <= MOST_SHOWN:
                hidden |= hidden_values(self.policy, codec, body, self.view)
        spread = _spreading(hidden)
        return [self._change(change, hidden, spread) for change in changes]

    def _change(self, change: Change, hidden: Mapping[str, str], spread: Sequence[str]) -> Change:
        old, new = (self._without(change.path, value, hidden, spread) for value in (change.old, change.new))
        if change.kind == "changed" and old == new:
            old, new = f"{old} #{_mark(change.old)}", f"{new} #{_mark(change.new)}"
        return Change(change.path, change.kind, old, new)

    def _without(self, path: str, value: Any, hidden: Mapping[str, str], spread: Sequence[str]) -> Any:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            known = hidden.get(str(value))
            if known is not None:
                return known
        return _swept(self._changed(path, value), hidden, spread)

    def _changed(self, path: str, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        treatment = Treatment(self.policy, self.view)
        if isinstance(value, dict | list):
            within = _steps(path)[-1:]
            if (isinstance(value, dict) and "resourceType" in value) or path.startswith("entry"):
                return treat_fhir(value, treatment)
            return treat_json({within[0]: value}, treatment)[within[0]] if within else treat_json(value, treatment)
        text = value if isinstance(value, str) else str(value)
        if len(text) > MOST_SHOWN:
            return mask(text)
        place = _HL7_PLACE.fullmatch(re.sub(r"^\[\d+\] ", "", path))
        if place:
            return self._hl7(treatment, place, text)
        if text.lstrip()[:1] in ("<", "{", "["):
            return mask_message(self.policy, "", text.encode("utf-8", "replace"), self.view) or ""
        kind = self._kind(path)
        if kind:
            shown = treatment.value({"identifier": "id_number", "contact": "phone"}.get(kind, kind), text)
        else:
            shown = treatment.loose(text)
        return value if shown == text else shown

    def _kind(self, path: str) -> str:
        steps = _steps(path)
        for at in range(len(steps) - 1, max(-1, len(steps) - 4), -1):
            within = plain_key(steps[at - 1]) if at else ""
            kind = self.policy.pairs.get((within, steps[at])) or self.policy.class_of_key(steps[at])
            if kind and not (plain_key(steps[at]) == "name" and is_thing(self.policy, within)):
                return kind
            if steps[at] in ("extension", "family", "given", "line", "text", "value", "display", "div"):
                continue
        if any(step in ("name", "family", "given", "contact") for step in steps):
            return "name"
        return "note" if any(step in ("div", "section") for step in steps) else ""

    def _hl7(self, treatment: Treatment, place: re.Match[str], text: str) -> str:
        segment, field, component = place[1], int(place[2] or 0), int(place[3] or 1)
        if not field:
            return text if segment in ("MSH", "FHS", "BHS") else _segment(text, treatment)
        if segment in ("MSH", "FHS", "BHS"):
            return treatment.plain(text)
        line = f"{segment}{'|' * field}{'^' * (component - 1)}{text}"
        return _segment(line, treatment).split("|", field)[-1][component - 1 :]


def _spreading(hidden: Mapping[str, str]) -> list[str]:
    """Values long enough to be looked for inside others, the longest first."""
    return sorted((v for v in hidden if len(v) >= (6 if v.isascii() else 2)), key=len, reverse=True)


def _swept(value: Any, hidden: Mapping[str, str], spread: Sequence[str]) -> Any:
    """A value without what is hidden elsewhere, also inside longer texts."""
    if isinstance(value, dict):
        return {key: _swept(one, hidden, spread) for key, one in value.items()}
    if isinstance(value, list):
        return [_swept(one, hidden, spread) for one in value]
    if isinstance(value, str):
        if value in hidden:
            return hidden[value]
        for one in spread:
            if one in value:
                value = value.replace(one, hidden[one])
    return value


def _segment(line: str, treatment: Treatment) -> str:
    """One segment, as if in a message with the usual delimiters."""
    return (treat_hl7(f"MSH|^~\\&|\r{line}", treatment) or "\r***").split("\r", 1)[1]


def _steps(path: str) -> list[str]:
    return _STEP.findall(path)


def _mark(value: Any) -> str:
    """Differs for values that differ; means nothing outside this process."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return hmac.digest(_MARK, text.encode("utf-8", "surrogatepass"), "sha256")[:3].hex()
