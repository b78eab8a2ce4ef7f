"""Escape sequences of HL7 v2 (v2.5.1 chapter 2, use of escape sequences in text fields)."""

from __future__ import annotations

import re
from functools import lru_cache

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["UNDECLARED", "Escapes", "escapes_for"]

#: Stands for a delimiter the message doesn't declare: half a character, which no decoded text holds and no character set can write.
UNDECLARED = "\udfff"


class Escapes:
    """Escapes and unescapes text for one set of delimiters; immutable, shared between messages."""

    __slots__ = ("_escape_char", "_found", "_lookup", "_special", "_table", "_truncation")

    def __init__(
        self, field: str, component: str, repetition: str, escape: str, subcomponent: str, truncation: str
    ) -> None:
        self._escape_char = esc = escape
        self._truncation = truncation
        letters = {"F": field, "S": component, "T": subcomponent, "R": repetition, "E": escape, "P": truncation}
        self._lookup = {letter: char for letter, char in letters.items() if char != UNDECLARED}
        # What would end a field, a segment or an MLLP frame.
        table = {char: f"{esc}{letter}{esc}" for letter, char in self._lookup.items() if letter != "P"}
        table |= {char: f"{esc}X{ord(char):02X}{esc}" for char in "\r\n\x0b\x1c"}
        self._table = str.maketrans(table)
        self._special = re.compile("[" + "".join(re.escape(char) for char in table) + "]")
        e = re.escape(esc)
        # Well-formed sequences that stay (formatting, highlighting, character set switches, local ones) are matched whole, so that
        # their closing character is not taken for the start of the next sequence.
        self._found = re.compile(
            rf"{e}([FSTREP]){e}"
            rf"|((?:{e}X(?:[0-9A-Fa-f]{{2}})+{e})+)"
            rf"|{e}(\.[A-Za-z]{{2}}[+-]?\d{{0,4}}|[HN]|C[0-9A-Fa-f]{{4}}|M[0-9A-Fa-f]{{4,6}}|Z[0-9A-Za-z]{{0,64}}){e}"
        )

    def escape(self, text: str) -> str:
        """``text`` so that it can stand in a field: delimiters, line ends and frame bytes become escape sequences.

        Raises :class:`CodecError` when an escape is needed and the message declares no escape character.
        """
        # A trailing truncation character would say that the value was cut (2.7, chapter 2).
        cut = text.endswith(self._truncation) and self._escape_char != UNDECLARED
        if not cut and not self._special.search(text):
            return text
        if self._escape_char == UNDECLARED:
            raise CodecError(
                t(
                    "the value needs escaping and MSH-2 declares no escape character",
                    "该值需要转义，但 MSH-2 未声明转义字符",
                ),
                code="codec.escape",
            )
        if cut:
            return f"{text[:-1].translate(self._table)}{self._escape_char}P{self._escape_char}"
        return text.translate(self._table)

    def unescape(self, text: str, charset: str, *, formatting: bool = False) -> str:
        r"""``text`` with its escape sequences replaced; unknown and unclosed ones stay as they are.

        ``\X..\`` is read in ``charset``, a Python codec name, neighbours together. With ``formatting``, ``\.br\`` and ``\.sp\`` become
        line feeds and the other formatting and highlighting sequences vanish; without it they stay.
        """
        if self._escape_char not in text:
            return text

        def replace(found: re.Match[str]) -> str:
            letter, hexes, other = found.groups()
            if letter:
                return self._lookup.get(letter, found[0])
            if hexes:
                return self._from_hex(hexes, charset)
            return _formatted(other, found[0]) if formatting else found[0]

        return self._found.sub(replace, text)

    def _from_hex(self, sequence: str, charset: str) -> str:
        esc = self._escape_char
        pieces = [piece[1:] for piece in sequence.split(esc) if piece]
        # Seen in the field: \X000D\, a control character written with 16 bits.
        data = b"".join(bytes.fromhex(p[2:] if len(p) == 4 and p.startswith("00") else p) for p in pieces)
        if max(data) < 0x20:
            return data.decode("ascii")
        for name in (charset, "utf-8", "gb18030"):
            try:
                return data.decode(name)
            except UnicodeError:
                continue
        return sequence


def _formatted(command: str, whole: str) -> str:
    if command in ("H", "N"):
        return ""
    if not command.startswith("."):
        return whole
    if command[:3].lower() in (".br", ".sp", ".ce"):
        count = command[3:].lstrip("+-")
        # A count is a number of lines; no page is longer than this.
        return "\n" * min(int(count), 100) if count.isdigit() and command[:3].lower() == ".sp" else "\n"
    return ""


@lru_cache(maxsize=256)
def escapes_for(
    field: str, component: str, repetition: str, escape: str, subcomponent: str, truncation: str
) -> Escapes:
    """The shared :class:`Escapes` for these delimiters, each a character or :data:`UNDECLARED`."""
    return Escapes(field, component, repetition, escape, subcomponent, truncation)
