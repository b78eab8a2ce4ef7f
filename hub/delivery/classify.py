"""Reading a target's answer by the rules of its contract: delivered, try again, or never."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.api import Bound, Codec, Reply
from hub.errors import CodecError, HubError, SendError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.masking import mask_text
from hub.message import Awaited, Outcome

__all__ = ["Classifier", "Verdict"]

_BY_WORD = {
    "unreachable": Outcome.UNREACHABLE,
    "transient": Outcome.TRANSIENT,
    "permanent": Outcome.PERMANENT,
}


@dataclass(slots=True)
class Verdict:
    """How an attempt ended."""

    outcome: Outcome
    code: str = ""
    error: str = ""
    step: str = ""  # the step that failed; "" when none did
    retry_after: float = 0.0  # seconds the target asked for
    awaited: Awaited | None = None  # what the target will answer later

    @classmethod
    def of_send_error(cls, error: SendError) -> Verdict:
        return cls(_BY_WORD[error.outcome], error.code, mask_text(error.text), "send")

    @classmethod
    def of_failed_step(cls, step: str, error: HubError) -> Verdict:
        return cls(Outcome.FAILED, error.code, mask_text(error.text), step)


class Classifier:
    """The rules ``success``, ``reply`` and ``errors`` of one interface, compiled."""

    def __init__(self, bound: Bound, codecs: Mapping[str, Codec]) -> None:
        contract = bound.contract
        self._errors = contract.errors
        self._settings = bound.settings
        self._encoding = contract.encoding
        self._codec = bound.reply_codec or (codecs[contract.reply.codec] if contract.reply.codec else bound.codec)
        self._success = self._compile(contract.success, f"{bound.place}.success")
        self._code = self._compile(contract.reply.code, f"{bound.place}.reply.code")
        self._message = self._compile(contract.reply.message, f"{bound.place}.reply.message")
        self._reads_body = any((self._success, self._code, self._message))

    def _compile(self, expression: str, key: str) -> Callable[[Any, Context], Any] | None:
        return compile_expression(expression, self._codec.name, key=key) if expression else None

    def judge(self, reply: Reply) -> Verdict:
        """The contract's verdict; without rules of its own, the protocol's (``reply.ok``)."""
        if not self._reads_body:
            if reply.ok:
                return Verdict(Outcome.OK, reply.code)
            return self._by_table(reply.code, reply, reply.error)
        if reply.unavailable:
            return Verdict(Outcome.UNREACHABLE, reply.code, reply.error, "send", reply.retry_after)
        if reply.ok and not reply.body and self._success is None:
            return Verdict(Outcome.OK, reply.code)  # HTTP 204: done, and nothing to say
        try:
            tree = self._codec.decode(reply.body, encoding=self._encoding)
        except CodecError as error:
            if not reply.ok:
                return self._by_table(reply.code, reply, reply.error)
            text = t(
                f"the reply is not {self._codec.name}: {error.text}", f"应答不是 {self._codec.name} 格式：{error.text}"
            )
            return Verdict(Outcome.TRANSIENT, reply.code, mask_text(text), "classify")
        context = Context(
            settings=self._settings,
            message=None,
            now_us=0,
            variables={"status": reply.status, "code": reply.code, "ok": reply.ok},
        )
        code = reply.code
        message = reply.error
        try:
            good = bool(self._success(tree, context)) if self._success else reply.ok
            if self._code:
                found = self._code(tree, context)
                code = code if found in (None, "") else str(found)
            if self._message and not good:
                found = self._message(tree, context)
                message = message if found in (None, "") else mask_text(str(found))
        except HubError as error:
            return Verdict(Outcome.TRANSIENT, code, mask_text(error.text), "classify")
        if good:
            return Verdict(Outcome.OK, code)
        return self._by_table(code, reply, message)

    def _by_table(self, code: str, reply: Reply, message: str) -> Verdict:
        rule = self._errors.get(code)
        if rule is not None:
            text = rule.text or message
            if rule.kind == "delivered":
                return Verdict(Outcome.OK, code, text)
            kind = Outcome.TRANSIENT if rule.kind == "transient" else Outcome.REJECTED
            return Verdict(kind, code, text, "classify", reply.retry_after)
        if reply.unavailable:
            return Verdict(Outcome.UNREACHABLE, code, message, "send", reply.retry_after)
        if not reply.ok:
            kind = Outcome.TRANSIENT if reply.transient else Outcome.PERMANENT
            return Verdict(kind, code, message, "classify", reply.retry_after)
        return Verdict(
            Outcome.REJECTED,
            code,
            message
            or t("the target refused it, and its code is not in the contract", "对方拒绝，且返回码未在契约中声明"),
            "classify",
        )
