"""How what was made of several deliveries becomes the body of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from hub.api import Codec
from hub.codecs.base import Joint
from hub.codecs.json_codec import JsonCodec
from hub.contract import CollectRule
from hub.delivery.steps import Prepared, StepError, World, decode_message
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import CompiledMapping, Context, compile_expression
from hub.mapping.formats import kind_of_tree
from hub.message import Delivery, Message

if TYPE_CHECKING:
    from hub.delivery.plan import Plan

__all__ = ["Composer", "Made", "Piece", "number_of"]

_JSON = JsonCodec()


@dataclass(frozen=True, slots=True)
class Piece:
    """What a delivery adds to a call: ``tree`` as its mapping made it, ``item`` as the envelope's mapping sees it."""

    tree: Any
    item: Any
    size: int  # bytes
    key: str  # idempotency key of the delivery
    codec: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a mapping made of a delivery: a piece; or, where it made none or several, their bytes."""

    piece: Piece | None
    bodies: list[bytes]
    stamp: str  # of the mapping


def number_of(pieces: Sequence[Piece]) -> str:
    """The idempotency key of a call: the same for the same messages."""
    digest = blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece.key.encode() + b"\0")
    return digest.hexdigest()


class Composer:
    """``collect`` of an interface. Everything raises :class:`StepError` and nothing else."""

    def __init__(self, plan: Plan, world: World, rule: CollectRule) -> None:
        self.rule = rule
        self._plan = plan
        self._world = world
        self._codec = plan.bound.codec
        self._encoding = plan.bound.contract.encoding
        self._form = rule.form or next(iter(self._codec.joins), "")

    @property
    def stamp(self) -> str:
        """``name@hash`` of the envelope's mapping, "" where there is none or it is broken."""
        try:
            return self._world.mappings.get(self.rule.mapping).stamp if self.rule.mapping else ""
        except HubError:
            return ""

    def group(self, message: Message) -> str:
        """Only deliveries with the same value go together; "" for a message that has none, or can't be read."""
        try:
            read = compile_expression(self.rule.by, message.codec, key=f"{self._plan.bound.place}.collect.by")
            context = Context(settings=self._plan.bound.settings, message=message, now_us=message.received_at)
            value = read(decode_message(message, self._world), context)
        except HubError:
            return ""  # told when it is mapped
        return "" if value is None else str(value)

    def make(self, delivery: Delivery, now_us: int, found: Mapping[str, Any] | None) -> Made:
        """Decode, map, and see by itself whether it can be written: what can't must not stop the others."""
        plan, message = self._plan, delivery.message
        assert message is not None  # noqa: S101 - loaded by the caller
        context = plan.context(delivery, now_us, found)
        key = plan.idempotency_key(delivery, context)
        mapping = plan.mapping_of(delivery)
        codec = self._item_codec(mapping, message)
        try:
            if delivery.payload is not None:
                trees = [codec.decode(delivery.payload, encoding=self._encoding)]
            elif mapping is not None:
                trees = plan.outputs(mapping, message, context)
            elif message.codec == codec.name:
                trees = [plan.tree(message)]
            else:
                trees = [codec.decode(message.raw, encoding=self._encoding)]
            stamp = mapping.stamp if mapping is not None and delivery.payload is None else ""
            if len(trees) != 1:
                return Made(None, [codec.encode(tree, encoding=self._encoding) for tree in trees], stamp)
            return Made(self._piece(trees[0], codec, key, now_us), [], stamp)
        except HubError as error:
            raise StepError("encode", error) from error

    def _item_codec(self, mapping: CompiledMapping | None, message: Message) -> Codec:
        name = mapping.target_codec if mapping is not None else message.codec
        if not self.rule.mapping or name == self._codec.name:
            return self._codec
        codec = self._world.codecs.get(name)
        if codec is None:
            text = t(f"codec {name!r} is not installed", f"未安装编解码器 {name!r}")
            raise StepError("decode", HubError(text, code="codec.missing"))
        return codec

    def _piece(self, tree: Any, codec: Codec, key: str, now_us: int) -> Piece:
        if not self.rule.mapping:
            alone = codec.join([tree], self._form, Joint(key, now_us))
            return Piece(tree, tree, len(codec.encode(alone, encoding=self._encoding)), key, codec.name)
        if kind_of_tree(codec.name) == "json":
            return Piece(tree, tree, len(_JSON.encode(tree)), key, codec.name)
        body = codec.encode(tree, encoding="utf-8")
        try:
            return Piece(tree, body.decode("utf-8"), len(body), key, codec.name)
        except UnicodeDecodeError:
            text = t(f"{codec.name} is no text that an envelope could hold", f"{codec.name} 不是可放入信封的文本")
            raise HubError(text, code="collect.item") from None

    def alone(self, delivery: Delivery, now_us: int, found: Mapping[str, Any] | None) -> Prepared:
        """A call that carries one delivery only."""
        made = self.make(delivery, now_us, found)
        if made.piece is None:
            return Prepared(made.bodies, made.stamp, "")
        number = number_of([made.piece])
        return Prepared([self.compose([made.piece], number, now_us)], made.stamp, number)

    def item(self, piece: Piece) -> bytes:
        """What was made of one delivery, as its checks see it."""
        try:
            return self._codec.encode(piece.tree, encoding=self._encoding)
        except HubError as error:
            raise StepError("encode", error) from error

    def compose(self, pieces: Sequence[Piece], number: str, now_us: int) -> bytes:
        """The body of the call."""
        try:
            if self.rule.mapping:
                tree = self._enveloped(pieces, number, now_us)
            else:
                tree = self._codec.join([piece.tree for piece in pieces], self._form, Joint(number, now_us))
            return self._codec.encode(tree, encoding=self._encoding)
        except HubError as error:
            raise StepError("encode", error) from error

    def _enveloped(self, pieces: Sequence[Piece], number: str, now_us: int) -> Any:
        mapping = self._world.mappings.get(self.rule.mapping)
        source = {
            "items": [piece.item for piece in pieces],
            "keys": [piece.key for piece in pieces],
            "count": len(pieces),
            "number": number,
            "at": datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(timespec="milliseconds"),
        }
        bound = self._plan.bound
        context = Context(settings=bound.settings, now_us=now_us, variables={"target": bound.place})
        outputs = mapping.run(source, context)
        if len(outputs) != 1:
            count = len(outputs)
            text = t(f"mapping {mapping.name} made {count} targets", f"映射 {mapping.name} 生成了 {count} 个目标")
            remedy = t("make exactly one of the items", "请由各条目恰好生成一个目标")
            raise HubError(text, code="collect.outputs", remedy=remedy)
        return outputs[0]
