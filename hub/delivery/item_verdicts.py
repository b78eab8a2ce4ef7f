"""Reads from the reply to a call that carried several messages what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.api import Bound, Codec, Reply
from hub.contract import ErrorRule, ItemsRule
from hub.delivery.classify import Verdict
from hub.delivery.composing import Piece
from hub.delivery.steps import World
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["ItemVerdicts"]

Read = Callable[[Any, Context], Any]
#: Verdicts on the whole after which a reply is read for what it says of each.
_JUDGED = (Outcome.OK, Outcome.REJECTED, Outcome.PERMANENT)


class ItemVerdicts:
    """``collect.items`` of an interface, compiled."""

    def __init__(self, bound: Bound, world: World, rule: ItemsRule) -> None:
        self._rule = rule
        self._world = world
        self._settings = bound.settings
        self._encoding = bound.contract.encoding
        self._errors: Mapping[str, ErrorRule] = bound.contract.errors
        reply = bound.contract.reply.codec
        self._codec: Codec = bound.reply_codec or (world.codecs[reply] if reply else bound.codec)
        self._place = bound.place
        self._each = self._compile("each", "json" if rule.mapping else self._codec.name)
        self._index = self._compile("index")
        self._key = self._compile("key")
        self._success = self._compile("success")
        self._code = self._compile("code")
        self._message = self._compile("message")

    def _compile(self, name: str, codec: str = "json") -> Read | None:
        text: str = getattr(self._rule, name)
        return compile_expression(text, codec, key=f"{self._place}.collect.items.{name}") if text else None

    def judge(self, reply: Reply, whole: Verdict, pieces: Sequence[Piece]) -> list[Verdict]:
        """The verdicts in the order of ``pieces``; that on the whole for all where the target said nothing of each."""
        if whole.outcome not in _JUDGED:
            return [whole] * len(pieces)
        context = Context(
            settings=self._settings,
            variables={"status": reply.status, "code": whole.code, "ok": whole.outcome is Outcome.OK},
        )
        try:
            results = self._results(reply, context)
            found = self._found(results, pieces, context)
        except HubError as error:
            if whole.outcome is not Outcome.OK:
                return [whole] * len(pieces)
            unclear = Verdict(Outcome.TRANSIENT, whole.code, mask_text(error.text), "classify")
            return [unclear] * len(pieces)
        if not results and whole.outcome is not Outcome.OK:
            return [whole] * len(pieces)
        return [found.get(number) or self._unlisted(whole) for number in range(len(pieces))]

    def _results(self, reply: Reply, context: Context) -> list[Any]:
        tree = self._codec.decode(reply.body, encoding=self._encoding)
        if self._rule.mapping:
            outputs = self._world.mappings.get(self._rule.mapping).run(tree, context)
            tree = outputs[0] if outputs else {}
        assert self._each is not None  # noqa: S101 - the contract requires it
        value = self._each(tree, context)
        return value if isinstance(value, list) else [] if value is None or value == "" else [value]

    def _found(self, results: Sequence[Any], pieces: Sequence[Piece], context: Context) -> dict[int, Verdict]:
        """Verdicts by the place of the piece; of two results for one piece the one that says it failed."""
        places = self._places(pieces, context)
        found: dict[int, Verdict] = {}
        for number, result in enumerate(results):
            place = places(number, result)
            if place is None or not 0 <= place < len(pieces):
                continue
            verdict = self._verdict(result, context)
            if place not in found or verdict.outcome is not Outcome.OK:
                found[place] = verdict
        return found

    def _places(self, pieces: Sequence[Piece], context: Context) -> Callable[[int, Any], int | None]:
        if self._index is not None:
            index = self._index

            def by_index(number: int, result: Any) -> int | None:
                text = str(index(result, context))
                return int(text) - self._rule.first if text.isascii() and text.isdecimal() else None

            return by_index
        if self._key is not None:
            key = self._key
            known = {self._of(piece, context): number for number, piece in enumerate(pieces)}
            return lambda number, result: known.get(str(key(result, context)))
        return lambda number, result: number

    def _of(self, piece: Piece, context: Context) -> str:
        if not self._rule.of:
            return piece.key
        read = compile_expression(self._rule.of, piece.codec, key=f"{self._place}.collect.items.of")
        return str(read(piece.tree, context))

    def _verdict(self, result: Any, context: Context) -> Verdict:
        try:
            value = self._code(result, context) if self._code else None
            code = "" if value is None else str(value)
            good = bool(self._success(result, context)) if self._success else None
            said = self._message(result, context) if self._message and not good else None
        except HubError as error:
            return Verdict(Outcome.TRANSIENT, "", mask_text(error.text), "classify")
        if good:
            return Verdict(Outcome.OK, code)
        text = mask_text(str(said)) if said not in (None, "") else ""
        rule = self._errors.get(code)
        if rule is not None and rule.kind == "delivered":
            return Verdict(Outcome.OK, code, rule.text or text)
        outcome = Outcome.TRANSIENT if rule is not None and rule.kind == "transient" else Outcome.REJECTED
        if rule is not None and rule.text:
            text = rule.text
        return Verdict(outcome, code, text or t("the target refused this one", "对方拒绝了此条"), "classify")

    def _unlisted(self, whole: Verdict) -> Verdict:
        if self._rule.unlisted == "delivered":
            return Verdict(Outcome.OK, whole.code if whole.outcome is Outcome.OK else "")
        text = t("the reply says nothing of this one", "应答未提及此条")
        return Verdict(Outcome.TRANSIENT, "collect.unlisted", text, "classify")
