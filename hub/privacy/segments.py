"""HL7 v2 messages and ASTM records, text to text: the same segments, fields and components, other values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hub.privacy.model import Act, Rule
from hub.privacy.treat import Treatment

__all__ = ["treat_astm", "treat_hl7"]

_LINE_END = re.compile(r"(\r\n|\r|\n)")
_HEADERS = ("MSH", "FHS", "BHS")
_BEFORE = "\ufeff \t\x0b\x0c\x1c\x00"
_TRAILING = "\x1c\x0b\x00"
#: Of an address: not country, type, county code.
_ADDRESS = frozenset((1, 2, 8, 19, 20, 23))
_CONTACT_OPEN = frozenset((2, 3))


class _Segments:
    __slots__ = ("astm", "component", "escape", "field", "repetition", "rules", "subcomponent", "treatment")

    def __init__(self, treatment: Treatment, rules: Mapping[str, Mapping[int, Rule]], separators: str) -> None:
        self.treatment = treatment
        self.rules = rules
        self.astm = rules is treatment.policy.astm
        self.field, self.component, self.repetition, self.escape, self.subcomponent = tuple(separators)

    def segment(self, line: str, header: bool) -> str:
        name = line.split(self.field, 1)[0].strip()
        plain = name[:1] if len(name) > 1 and name[1:].isdigit() else name  # some ASTM records carry a number
        rules = self.rules.get(name) or self.rules.get(plain)
        treatment = self.treatment
        shaped = treatment.view.others is not Act.CLEAR
        if rules is None:
            if header:
                return line if shaped else treatment.plain(line)
            if name.startswith("Z") or self.astm:
                return self._unknown(line)
            return self._shaped(line) if shaped else treatment.plain(line)
        fields = line.split(self.field)
        offset = 1 if self.astm else 0  # ASTM counts the name of the record
        for number in range(1, len(fields)):
            text = fields[number]
            if not text:
                continue
            rule = rules.get(number + offset)
            if rule is not None:
                repetitions = text.split(self.repetition) if self.repetition in text else [text]
                fields[number] = self.repetition.join([self._field(rule, one) for one in repetitions])
            elif shaped or len(text) > 4:
                fields[number] = self._leaves(text) if shaped else treatment.other(text)
        return self.field.join(fields)

    def _shaped(self, line: str) -> str:
        head, at, rest = line.partition(self.field)
        return head + at + self._leaves(rest)

    def _leaves(self, text: str) -> str:
        return re.sub(
            rf"[^{re.escape(self.field + self.component + self.repetition + self.subcomponent)}]+", self._other, text
        )

    def _other(self, found: re.Match[str]) -> str:
        return self.treatment.other(found[0])

    def _unknown(self, line: str) -> str:
        """A segment nobody has described."""
        head, at, rest = line.partition(self.field)
        parts = re.split(f"([{re.escape(self.field + self.component + self.repetition + self.subcomponent)}])", rest)
        parts[::2] = [self.treatment.loose(part) if part else part for part in parts[::2]]
        return head + at + "".join(parts)

    # -- one repetition ----------------------------------------------------------------------------------------------

    def _field(self, rule: Rule, text: str) -> str:
        components = text.split(self.component) if self.component in text else [text]
        kind = rule.kind
        if kind == "identifier":
            self._identifier(components, rule)
        elif kind == "person":
            self._names(components, "name", 1)
        elif kind == "staff":
            if len(components) == 1:
                components[0] = self._staff_alone(components[0])
            else:
                self._names(components, "staff_name", 2)
        elif kind == "address":
            self._some(components, "address", _ADDRESS if len(components) > 1 else None)
        elif kind == "contact":
            self._contact(components)
        else:
            self._some(components, kind, rule.components)
        return self.component.join(components)

    def _leaf(self, kind: str, text: str, part: str = "") -> str:
        if not text:
            return text
        value = self.treatment.value
        if self.subcomponent in text:
            return self.subcomponent.join([value(kind, one, part) for one in text.split(self.subcomponent)])
        return value(kind, text, part)

    def _some(self, components: list[str], kind: str, which: frozenset[int] | None) -> None:
        for at, text in enumerate(components):
            if text:
                if not which or at + 1 in which:
                    components[at] = self._leaf(kind, text)
                else:
                    components[at] = self.treatment.other(text)

    def _identifier(self, components: list[str], rule: Rule) -> None:
        types = (
            components[4] if len(components) > 4 else "",
            *(components[3] if len(components) > 3 else "").split(self.subcomponent),
        )
        if components[0]:
            kind = self.treatment.number_class(components[0], types)
            components[0] = self._leaf(kind, components[0])
        for at in range(1, len(components)):
            components[at] = self.treatment.other(components[at])

    def _names(self, components: list[str], kind: str, first: int) -> None:
        """From component ``first`` on family, given, further names; a number before them stays."""
        for at, text in enumerate(components):
            place = at + 1 - first
            if not text:
                continue
            if place in (0, 1, 2):
                alone = place == 0 and not "".join(components[at + 1 : at + 3])
                components[at] = self._leaf(kind, text, "" if alone else "family" if place == 0 else "given")
            else:
                components[at] = self.treatment.other(text)

    def _staff_alone(self, text: str) -> str:
        """One component of a doctor is a number or, by those who use it so, the name."""
        return self.treatment.other(text) if any(c.isdigit() for c in text) else self._leaf("staff_name", text)

    def _contact(self, components: list[str]) -> None:
        for at, text in enumerate(components):
            if not text or at + 1 in _CONTACT_OPEN:
                continue
            kind = "email" if "@" in text else "phone"
            if kind == "phone" and not any(c.isdigit() for c in text) and at:
                components[at] = self.treatment.other(text)
            else:
                components[at] = self._leaf(kind, text)


def _treated(
    text: str, treatment: Treatment, rules: Mapping[str, Mapping[int, Rule]], separators: str, headers: tuple[str, ...]
) -> str:
    segments = _Segments(treatment, rules, separators)
    parts = _LINE_END.split(text)
    for at in range(0, len(parts), 2):
        line = parts[at]
        if len(line) > 2:
            parts[at] = segments.segment(line, line.lstrip(_BEFORE).startswith(headers))
    return treatment.swept("".join(parts))


def treat_hl7(text: str, treatment: Treatment) -> str | None:
    """None for what does not begin like a message or batch."""
    head = text.lstrip(_BEFORE)
    if head[:3] not in _HEADERS or len(head) < 8:
        return None
    field = head[3]
    given = head[4:].split(field, 1)[0].split("\r", 1)[0].split("\n", 1)[0][:4]
    separators = field + given + "^~\\&"[len(given) :]
    if field.isalnum() or field in "\r\n" or len(set(separators)) < 5:
        return None
    return _treated(text, treatment, treatment.policy.hl7v2, separators, _HEADERS)


def treat_astm(text: str, treatment: Treatment) -> str | None:
    """None for what does not begin with a header record."""
    at = text.find("H")
    if at < 0 or at > 8 or len(text) < at + 5 or text[at + 1].isalnum():
        return None
    field, repetition, component, escape = tuple(text[at + 1 : at + 5])
    if len({field, repetition, component, escape}) < 4:
        return None
    stripped = re.sub(r"(^|[\r\n\x03\x17])\x02?[0-7](?=[HPORCQMSL][^\w])", r"\1", text) if "\x02" in text else text
    return _treated(
        stripped, treatment, treatment.policy.astm, field + component + repetition + escape + "\x00", ("H",)
    )
