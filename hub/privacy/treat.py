"""What becomes of each value of one message under a view."""

from __future__ import annotations

import re
from collections.abc import Callable

from hub.masking import SECRET
from hub.privacy.detect import detect, person_like, value_class
from hub.privacy.masks import CJK, masked, shape
from hub.privacy.model import Act, Policy, View
from hub.privacy.pseudonyms import Pseudonyms

__all__ = ["Treatment"]

#: Names and numbers that are looked for in the rest of the message as well.
_SPREADS = re.compile(rf"(?:[{CJK}·]{{2,10}}|(?=.{{0,20}}\d)[A-Z0-9]{{8,24}})\Z")
_SPREAD_CLASSES = frozenset(
    ("name", "id_number", "phone", "paper_number", "insurance_number", "bank_card", "driver_licence")
)
_MOST_SPREAD = 200
#: A value that begins so and is this long may hold a message: CDATA in SOAP, JSON in JSON.
_INNER_STARTS = ("{", "[", "<", "M")
_SHORTEST_INNER = 8


class Treatment:
    """One message's values, each asked for once. Not to be shared between messages: it remembers what it has seen."""

    __slots__ = (
        "_acts",
        "_pseudonyms",
        "_seen",
        "_shapes",
        "depth",
        "inner",
        "person",
        "policy",
        "seen_birth",
        "seen_number",
        "spread",
        "view",
    )

    def __init__(self, policy: Policy, view: View, pseudonyms: Pseudonyms | None = None, person: str = "") -> None:
        self.policy = policy
        self.view = view
        self.inner: Callable[[str, Treatment], str | None] | None = None  # treats a message inside a value
        self.depth = 0
        self.person = person
        self.spread: dict[str, str] = {}
        self.seen_birth = ""
        self.seen_number = ""
        self._pseudonyms = pseudonyms
        self._seen: dict[tuple[str, str, str], str] = {}
        self._shapes = view.others is not Act.CLEAR
        self._acts = {name: _act(view, kind.level, name) for name, kind in policy.classes.items()}

    def value(self, kind: str, text: str, part: str = "") -> str:
        """What is shown of a value of a class; one of ``identifier`` … has been told apart before."""
        key = (kind, text, part)
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = self._treated(kind, text, part)
        return found

    def other(self, text: str) -> str:
        """What is shown of a value in no class: what it contains is treated by its form."""
        if len(text) > _SHORTEST_INNER and text.lstrip()[:1] in _INNER_STARTS and self.inner is not None:
            shown = self.inner(text, self)
            if shown is not None:
                return shown
        return self.plain(text)

    def plain(self, text: str) -> str:
        """The same of text that holds no message."""
        if self._shapes:
            return shape(text)
        if len(text) < 5:
            return text
        return detect(text, self.value)

    def loose(self, text: str) -> str:
        """The same where nothing is known about what stands there: what looks like a name is one."""
        if not self._shapes and person_like(text):
            return self.value("name", text)
        return self.other(text)

    def number(self, text: str, types: tuple[str, ...], fallback: str = "patient_number") -> str:
        """A number whose kind is told by type or system, else by its form."""
        return self.value(self.number_class(text, types, fallback), text)

    def number_class(self, text: str, types: tuple[str, ...], fallback: str = "patient_number") -> str:
        known = self.policy.identifiers
        told = next((known[one] for one in types if one in known), "")
        return told or value_class(text) or fallback

    def treated(self) -> dict[str, str]:
        """Every value that is not shown as it is, with what is shown."""
        return {text: shown for (_, text, _), shown in self._seen.items() if shown != text}

    def swept(self, text: str) -> str:
        """The text without the names and numbers that were treated where they belong and stand elsewhere as well."""
        for value in sorted(self.spread, key=len, reverse=True):
            if value in text:
                text = text.replace(value, self.spread[value])
        return text

    def _treated(self, kind: str, text: str, part: str) -> str:
        if kind == "birth_date" and not self.seen_birth:
            self.seen_birth = re.sub(r"\D", "", text)[:8]
        elif kind in ("id_number", "patient_number") and not self.seen_number:
            self.seen_number = text
        act = self._acts.get(kind, Act.HIDE)
        if act is Act.CLEAR:
            return text if self.view.others is Act.CLEAR else shape(text)
        if not text or text.isspace() or text == '""':
            return text
        if act is Act.MASK:
            shown = masked(self.policy.classes[kind], text, part)
        elif act is Act.PSEUDONYM and self._pseudonyms is not None:
            shown = self._pseudonyms.of(self.policy.classes[kind], text, part, self.person)
            if kind == "birth_date":
                shown = self._pseudonyms.of(self.policy.classes[kind], text, part)
        elif act is Act.SHAPE:
            shown = shape(text)
        else:
            shown = SECRET
        if kind in _SPREAD_CLASSES and len(self.spread) < _MOST_SPREAD and _SPREADS.match(text):
            self.spread[text] = shown
        return shown


def _act(view: View, level: int, name: str) -> Act:
    return view.classes.get(name) or (view.do if level >= view.level else Act.CLEAR)
