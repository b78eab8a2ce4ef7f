"""What the classes of personal data are, what a person may see of them, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

__all__ = ["Act", "PersonalClass", "Policy", "Rule", "View", "as_rule", "plain_key"]

_NOISE = str.maketrans("", "", "_-. \t")
_LONGEST_KEY = 64


class Act(StrEnum):
    """What becomes of a value."""

    CLEAR = "clear"
    MASK = "mask"
    HIDE = "hide"
    PSEUDONYM = "pseudonym"
    SHAPE = "shape"


@dataclass(frozen=True, slots=True)
class PersonalClass:
    """One class of personal data. ``mask``: a word, or the characters kept at the beginning and at the end."""

    id: str
    title: str
    title_zh: str
    level: int
    mask: str | tuple[int, int]
    pseudonym: str = "hide"
    search: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What somebody sees: classes from ``level`` on are treated by ``do``, those in ``classes`` as it says there."""

    name: str
    level: int
    do: Act = Act.MASK
    classes: Mapping[str, Act] = field(default_factory=dict)
    others: Act = Act.CLEAR
    bodies: bool = True

    @property
    def open(self) -> bool:
        """Whether everything is shown."""
        return self.bodies and self.level > 4 and not self.classes and self.others is Act.CLEAR


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field holds: a class or a type, in these components; none: in all."""

    kind: str
    components: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything ``classes.yaml`` and a site's ``privacy.yaml`` say, ready for use. Immutable."""

    classes: Mapping[str, PersonalClass]
    views: Mapping[str, View]
    roles: Mapping[str, str]
    default: str
    identifiers: Mapping[str, str]  # type of a number -> class
    hl7v2: Mapping[str, Mapping[int, Rule]]
    astm: Mapping[str, Mapping[int, Rule]]
    fhir: Mapping[str, str]  # Resource.element or *.element -> class
    hl7v3: Mapping[
        str, tuple[tuple[tuple[str, ...], str], ...]
    ]  # element, @attribute or element* -> (ancestors, kind), longest first
    names: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    things: frozenset[str]
    staff: frozenset[str]
    dicom: Mapping[str, str]
    pairs: Mapping[tuple[str, str], str]  # (member, member in it) of the canonical types -> class
    keys: Mapping[str, str]  # end of the name of a business key -> class, of those only a hash is indexed

    def view(self, name: str = "") -> View:
        """A view by its name; without one the default. Raises ``KeyError``."""
        return self.views[name or self.default]

    def view_for(self, roles: Iterable[str], rights: Iterable[str] = ()) -> View:
        """What a person sees: everything with the right ``personal.read``, else the most open view of the roles."""
        if "personal.read" in rights:
            return self.views["clear"]
        found = [self.views[self.roles[role]] for role in roles if role in self.roles]
        return max(found, key=_openness, default=self.view())

    def class_of_key(self, key: str) -> str:
        """The class of a member, column, parameter or element by its name alone; ``""`` for none."""
        return _class_of_key(self, key[:_LONGEST_KEY])

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _openness(view: View) -> tuple[bool, int, bool, bool]:
    return view.bodies, view.level, view.do is Act.MASK, view.others is Act.CLEAR


def plain_key(key: str) -> str:
    """The form in which names of members are compared: small letters, no ``_``, ``-``, dots or blanks."""
    return key.translate(_NOISE).lower()


@lru_cache(maxsize=20_000)
def _class_of_key(policy: Policy, key: str) -> str:
    plain = plain_key(key)
    found = policy.names.get(plain)
    if found is None:
        found = next((kind for pattern, kind in policy.patterns if pattern.search(plain)), "")
    return found


def as_rule(value: Any) -> Rule:
    """``diagnosis@1,2`` as a rule."""
    kind, _, components = str(value).partition("@")
    return Rule(kind, frozenset(int(number) for number in components.split(",") if number))
