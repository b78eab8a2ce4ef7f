"""The codecs that come with the hub."""

from __future__ import annotations

from hub.codecs.base import Codec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.json_codec import JsonCodec

__all__ = ["builtin_codecs"]


def builtin_codecs() -> list[Codec]:
    """One instance of each; codecs are stateless."""
    return [Hl7Codec(), JsonCodec()]
