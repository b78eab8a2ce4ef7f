"""How messages are told apart in a stream: the option ``framing``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from adapters.tcp.checksum import Checksum
from hub.contract import Size

__all__ = [
    "ByteText",
    "Delimited",
    "FixedLength",
    "FramingOptions",
    "LengthPrefixed",
    "Lines",
    "UntilClose",
    "parse_bytes",
]


def parse_bytes(value: Any) -> bytes:
    r"""Text as UTF-8 (``"\x02"`` in double quotes of YAML is STX), or ``hex: 02 FF``."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError('write text, e.g. "\\x02" or "ACK", or hex:02 FF')
    if value.startswith("hex:"):
        try:
            return bytes.fromhex(value[4:])
        except ValueError:
            raise ValueError(f"{value!r}: after hex: come pairs of hexadecimal digits") from None
    return value.encode("utf-8")


ByteText = Annotated[bytes, BeforeValidator(parse_bytes)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Delimited(_Model):
    """Bytes before and after each message."""

    type: Literal["delimited"]
    start: ByteText = Field(
        b"", max_length=16, description="bytes before a message; none: it begins after the last end"
    )
    end: ByteText = Field(min_length=1, max_length=16, description="bytes after a message")
    checksum: Checksum | None = None
    checksum_after_end: bool = Field(False, description="the checksum follows end; default: it stands before end")

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Delimited:
        if self.start and (self.start in self.end or self.end in self.start):
            raise ValueError("start and end must not contain one another")
        if self.checksum and self.checksum.form == "binary" and not self.checksum_after_end:
            raise ValueError(
                "a binary checksum before end may look like the end: checksum.form hex, or checksum_after_end: true"
            )
        return self


class Lines(_Model):
    """One message in each line. A line may end in LF or CR LF; empty ones are no messages."""

    type: Literal["lines"]
    end: Literal["lf", "crlf"] = Field("crlf", description="how lines that are sent end")


class LengthPrefixed(_Model):
    """A length before each message."""

    type: Literal["length"]
    header: ByteText = Field(b"", max_length=64, description="bytes before the length, the same in every frame")
    size: Literal[2, 4, 8] | None = Field(None, description="bytes of a binary length")
    order: Literal["big", "little"] = Field("big", description="which byte of a binary length comes first")
    digits: int | None = Field(None, ge=1, le=18, description="ASCII digits of a length in text, zeros in front")
    counts: Literal["body", "rest", "length", "all"] = Field(
        "rest",
        description="what the length counts: body: the message; rest: all that follows it, so with a checksum; "
        "length: that and itself; all: header too",
    )
    checksum: Checksum | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> LengthPrefixed:
        if (self.size is None) == (self.digits is None):
            raise ValueError("give either size (binary) or digits (text) of the length")
        return self


class FixedLength(_Model):
    """Messages of one length."""

    type: Literal["fixed"]
    size: Size = Field(ge=1, le=16 << 20, description="bytes of each message")
    pad: ByteText = Field(b"", max_length=1, description="byte that fills up shorter ones; none: they are not sent")


class UntilClose(_Model):
    """One message in each connection: it ends when the peer closes its half."""

    type: Literal["until_close"]


FramingOptions = Annotated[Delimited | Lines | LengthPrefixed | FixedLength | UntilClose, Field(discriminator="type")]
