"""By what number the later answer of a target will be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.api import Bound, Codec, Reply
from hub.delivery.classify import Verdict
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.masking import mask_text
from hub.message import Awaited, Delivery, Outcome

__all__ = ["KEY_LENGTH", "Awaiting", "key_text"]

#: Longest key, characters.
KEY_LENGTH = 256


def key_text(value: Any) -> str:
    """A key as it is compared; "" for none. Raises :class:`HubError` for what is no single value or too long."""
    if value is None:
        return ""
    if isinstance(value, dict | list | tuple | bool):
        raise HubError(
            t("the key of an answer must be one text or number", "应答的键须为单个文本或数字"), code="answer.key"
        )
    text = str(value).strip()
    if len(text) > KEY_LENGTH:
        raise HubError(
            t(f"the key of an answer is longer than {KEY_LENGTH} characters", f"应答的键超过 {KEY_LENGTH} 个字符"),
            code="answer.key",
        )
    return text.encode("utf-8", "replace").decode()


class Awaiting:
    """``callback`` of an interface, compiled."""

    def __init__(self, bound: Bound, codecs: Mapping[str, Codec]) -> None:
        callback = bound.contract.callback
        assert callback is not None  # noqa: S101 - asked by the caller
        self._bound = bound
        self._callback = callback
        reply = bound.contract.reply.codec
        self._reply_codec = bound.reply_codec or (codecs[reply] if reply else bound.codec)

    def note(
        self,
        verdict: Verdict,
        delivery: Delivery,
        sent: bytes,
        reply: Reply | None,
        source_tree: Callable[[], Any],
        started_us: int,
        now_us: int,
    ) -> None:
        """Add to the verdict on a call what is awaited now.

        A number that the hub itself has sent may be answered as soon as the target may have it, whatever became of the call;
        one of the reply is known with the reply.
        """
        outcome = verdict.outcome
        if outcome is not Outcome.OK and (self._callback.of == "reply" or outcome is not Outcome.TRANSIENT):
            return
        try:
            key = self._key(verdict, delivery, sent, reply, source_tree)
        except HubError as error:
            key, why = "", mask_text(error.text)
        else:
            why = t("nothing at ", "未取得 ") + self._callback.key
        if key:
            within = int(self._callback.within * 1e6)
            due = -1 if outcome is not Outcome.OK else now_us + within if within else 0
            verdict.awaited = Awaited(key, self._bound.place, delivery.id, delivery.message_id, started_us, due)
        elif outcome is Outcome.OK:
            verdict.error = t(
                f"delivered, but its later answer can't be known by a number: {why}",
                f"已投递，但无法取得用于识别后续应答的编号：{why}",
            )

    def _key(
        self, verdict: Verdict, delivery: Delivery, sent: bytes, reply: Reply | None, source_tree: Callable[[], Any]
    ) -> str:
        message = delivery.message
        encoding = self._bound.contract.encoding
        variables: dict[str, Any] = {"target": delivery.target}
        if self._callback.of == "reply":
            body = reply.body if reply is not None else b""
            tree = self._reply_codec.decode(body, encoding=encoding)
            codec = self._reply_codec.name
            if reply is not None:
                variables |= {"status": reply.status, "code": verdict.code, "ok": reply.ok}
        elif self._callback.of == "sent":
            tree, codec = self._bound.codec.decode(sent, encoding=encoding), self._bound.codec.name
        else:
            assert message is not None  # noqa: S101 - it was sent a moment ago
            tree, codec = source_tree(), message.codec
        context = Context(settings=self._bound.settings, message=message, now_us=0, variables=variables)
        read = compile_expression(self._callback.key, codec, key=f"{self._bound.place}.callback.key")
        return key_text(read(tree, context))
