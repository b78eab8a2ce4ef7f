"""Declared security of interfaces: signing, verifying, encrypting and decrypting of calls and replies."""

from hub.security.errors import Refused
from hub.security.protection import Protection
from hub.security.replay import ReplayGuard
from hub.security.scheme import NoOptions, Opening, Scheme, SchemeOptions
from hub.security.wire import OpenedParams, Wire

__all__ = [
    "NoOptions",
    "OpenedParams",
    "Opening",
    "Protection",
    "Refused",
    "ReplayGuard",
    "Scheme",
    "SchemeOptions",
    "Wire",
]
