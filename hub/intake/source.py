"""An inbound interface as the intake knows it, and what becomes of what it receives before it is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from hub.api import Bound, Receipt
from hub.contract import IntakeConfig
from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.mapping import Context, compile_expression, compile_extract
from hub.masking import Confidential, mask
from hub.message import CallRecord, CheckRecord, Delivery, Message
from hub.metrics import InboundStats
from hub.privacy.search import is_protected
from hub.privacy.site import policy

if TYPE_CHECKING:
    from hub.intake.answers import AnswerRule

__all__ = [
    "CHECK_OFF_LOOP_BYTES",
    "KEY_LENGTH",
    "NO_TREE_ABOVE",
    "OFF_LOOP_BYTES",
    "REFUSED_BYTES",
    "Arrival",
    "Done",
    "Made",
    "Read",
    "Refused",
    "Source",
    "TooLarge",
    "as_text",
    "check_names",
    "params_text",
    "read",
    "stopping",
    "too_large",
    "with_findings",
]

Done = Callable[[Receipt], None]

#: Longest value of a business key that is kept for search, characters.
KEY_LENGTH = 256
#: Bytes of a refused message that the call log keeps.
REFUSED_BYTES = 64 << 10
#: Trees of larger messages are not kept until they are mapped.
NO_TREE_ABOVE = 64 << 10
#: Reading a message this large would hold up the event loop; it is done in a thread.
OFF_LOOP_BYTES = 256 << 10
#: Checking a message this large in which everything is wrong would as well (16 KB of JSON or XML: about 20 ms).
CHECK_OFF_LOOP_BYTES = 16 << 10
#: What reading a message gave: tree, type and control id of the codec, the record of a check that was made with it; or why
#: it could not be read.
Read = tuple[Any, str, str, CheckRecord | None] | Exception
#: source, raw, done, started, remote, control id, params.
Arrival = tuple["Source", bytes, Done, int, str, str, Mapping[str, str] | None]


class TooLarge(HubError):
    """The message is larger than the interface accepts."""

    code = "intake.too_large"


@dataclass(slots=True)
class Made:
    """A message that can be stored."""

    message: Message
    deliveries: list[Delivery]
    call: CallRecord


@dataclass(slots=True)
class Refused:
    """Why there is no message."""

    error: HubError
    control_id: str
    check: CheckRecord | None = None


class Source:
    """An inbound interface, its expressions compiled."""

    __slots__ = (
        "answers",
        "bound",
        "callers",
        "checks",
        "codec",
        "control_of",
        "encoding",
        "error_mapping",
        "extract",
        "hashed",
        "later",
        "max_size",
        "off_loop",
        "reply_mapping",
        "request",
        "settings",
        "stats",
        "type_of",
        "window_us",
    )

    def __init__(self, bound: Bound, config: IntakeConfig, stats: InboundStats) -> None:
        contract = bound.contract
        codec = bound.codec.name
        self.bound = bound
        self.callers = bound.callers
        self.codec = bound.codec
        self.encoding = contract.encoding
        self.settings = bound.settings
        self.stats = stats
        self.request = contract.style == "request"
        self.reply_mapping = contract.reply_mapping
        self.error_mapping = contract.error_mapping
        self.answers: AnswerRule | None = None  # what comes in are answers to something sent
        self.max_size = config.max_size if contract.max_size is None else contract.max_size
        window = config.duplicate_window if contract.duplicate_window is None else contract.duplicate_window
        self.window_us = int(window * 1e6)
        self.type_of = compile_expression(contract.type, codec, key=f"{bound.place}.type") if contract.type else None
        self.control_of = (
            compile_expression(contract.control_id, codec, key=f"{bound.place}.control_id")
            if contract.control_id
            else None
        )
        self.extract = compile_extract(contract.keys, codec) if contract.keys else None
        self.hashed = tuple(key for key in contract.keys if is_protected(policy(), key))
        self.checks = checks = bound.checks
        slow = checks is not None and checks.slow is not None
        #: Messages with more bytes than this are read, and checked, before their turn comes, not in it.
        self.off_loop = OFF_LOOP_BYTES if checks is None or not checks.strict else -1 if slow else CHECK_OFF_LOOP_BYTES
        #: Messages with more bytes than this are checked after their commit.
        self.later = (1 << 62) if checks is None or checks.strict else -1 if slow else CHECK_OFF_LOOP_BYTES

    def names(self, tree: Any, context: Context, kind: str, own_control: str, control_id: str) -> tuple[str, str]:
        """Type and control id of a message: the contract's expressions go before those its format has (``kind``, ``own_control``),
        and these before the control id of the transport."""
        if self.type_of is not None:
            kind = as_text(self.type_of(tree, context)) or kind
        if self.control_of is not None:
            return kind, as_text(self.control_of(tree, context)) or control_id
        return kind, own_control or control_id

    def keys_of(self, tree: Any, context: Context) -> dict[str, str]:
        """The business keys of a message, in plain and at full length."""
        return self.extract(tree, context) if self.extract is not None else {}

    def take_answers(self, rule: AnswerRule) -> None:
        """From now on; where it has to be known before the commit what is answered, messages wait for that in line."""
        self.answers = rule
        if rule.refuse:
            self.off_loop = -1


def read(source: Source, raw: bytes) -> Read:
    """Decode and read the envelope, in whatever thread; what goes wrong is told where the message is taken."""
    try:
        tree = source.codec.decode(raw, encoding=source.encoding)
        return tree, *source.codec.envelope(tree), None
    except Exception as error:
        return error


def check_names(message_type: str, control_id: str) -> None:
    """Raises :class:`HubError` for what is too long to be stored."""
    if len(message_type) > KEY_LENGTH or len(control_id) > KEY_LENGTH:
        raise HubError(
            t(
                f"message type or control id longer than {KEY_LENGTH} characters",
                f"消息类型或控制号超过 {KEY_LENGTH} 个字符",
            ),
            code="intake.envelope",
        )


def stopping() -> StoreBusy:
    return StoreBusy(t("the hub is stopping", "枢纽正在停止"))


def too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        t(
            f"the message has {size} bytes, this interface accepts {limit}",
            f"消息有 {size} 字节，本接口最多接收 {limit} 字节",
        )
    )


def with_findings(done: Done, check: CheckRecord, receipt: Receipt) -> None:
    if receipt.accepted:
        receipt.findings = check.findings
    done(receipt)


def as_text(value: Any) -> str:
    return "" if value is None else str(value)


def params_text(params: Mapping[str, str] | None) -> str:
    if not params:
        return ""
    # Whole, not only what looks like personal data: nothing tells a name in a subject from other words.
    kept = {name: mask(value) if type(value) is Confidential else value for name, value in params.items()}
    return orjson.dumps(kept).decode()
