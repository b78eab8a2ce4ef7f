"""Functions that keep personal data from whoever gets the target: masks, pseudonyms, fields under a key.

Classes are those of :mod:`hub.privacy`, keys those of the key store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.errors import HubError
from hub.mapping.functions.base import Registry, text_of
from hub.mapping.runtime import FunctionError, is_absent
from hub.masking import mask as mask_value

__all__ = ["PRIVACY"]

PRIVACY = Registry()


def _done(name: str, call: Callable[[str, str], str], what: Any, value: Any) -> str:
    """What goes wrong names the class or key, never the value."""
    try:
        return call(text_of(what, name), text_of(value, name))
    except HubError as error:
        raise FunctionError(f"{name}: {error.text}") from error


@PRIVACY.add()
def mask(value: Any, kind: Any = "") -> Any:
    """Shape kept, content hidden: 张*丰, 138****5678; with a class of personal data as its mask says: mask('id_number')."""
    if is_absent(value):
        return value
    if kind == "":
        return mask_value(text_of(value, "mask"))
    from hub.privacy.fields import mask_as  # few mappings need it

    return _done("mask", mask_as, kind, value)


@PRIVACY.add()
def pseudonym(value: Any, kind: Any) -> Any:
    """A replacement of the same form, always the same for the same value: pseudonym('id_number'). Needs the key store."""
    if is_absent(value):
        return value
    from hub.privacy.fields import pseudonym as replaced

    return _done("pseudonym", replaced, kind, value)


@PRIVACY.add()
def encrypt_field(value: Any, key: Any) -> Any:
    """Encrypted with a key of the key store of kind sm4 (SM4-GCM) or aes (AES-GCM): encrypt_field('partner_field')."""
    if is_absent(value):
        return value
    from hub.privacy.fields import encrypt

    return _done("encrypt_field", encrypt, key, value)


@PRIVACY.add()
def decrypt_field(value: Any, key: Any) -> Any:
    """What ``encrypt_field`` was given; an error for what was altered or encrypted with another key."""
    if is_absent(value):
        return value
    from hub.privacy.fields import decrypt

    return _done("decrypt_field", decrypt, key, value)
