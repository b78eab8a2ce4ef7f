"""The interface of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["Codec", "Joint"]


@dataclass(frozen=True, slots=True)
class Joint:
    """What the head of a document that holds several may say of it: its number, and when it was made, microseconds since the epoch."""

    number: str
    at_us: int


class Codec(ABC):
    """Bytes ⇄ tree for one format. Stateless and thread-safe.

    A codec without ``format_options`` serves every interface with one instance. One that has them makes an instance for each
    interface (:meth:`configured`), once, when the configuration is loaded; whatever can be compiled is compiled then.

    ``decode`` may be lazy: it returns a tree that parses on demand, but it must refuse, with
    :class:`hub.errors.CodecError`, bytes that are not the format at all. Decoding then encoding an untouched tree gives back the
    same bytes wherever the format allows it.
    """

    name: ClassVar[str]
    content_type: ClassVar[str] = "application/octet-stream"
    #: The model of ``format`` in a contract; None: the codec takes no options.
    format_options: ClassVar[type[BaseModel] | None] = None
    #: Ways in which several documents make one, the usual one first; none: the format has no such thing.
    joins: ClassVar[tuple[str, ...]] = ()

    def configured(self, options: BaseModel) -> Self:
        """The codec for one interface; ``options`` is an instance of ``format_options``."""
        return self

    @abstractmethod
    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        """``encoding`` is the contract's override of the character set the bytes declare."""

    @abstractmethod
    def encode(self, tree: Any, *, encoding: str = "") -> bytes: ...

    def envelope(self, tree: Any) -> tuple[str, str]:
        """(message type, sender's message number) where the format itself has them; ``("", "")`` otherwise.

        A contract's ``type`` and ``control_id`` expressions win over this.
        """
        return "", ""

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        """One tree that holds several, for :meth:`encode`; ``way`` is one of :attr:`joins`. Raises :class:`CodecError`."""
        raise CodecError(
            t(f"{self.name} knows no document of several", f"{self.name} 不能把多条合为一份"),
            code="codec.join",
            remedy=t("write collect.mapping", "请写 collect.mapping"),
        )
