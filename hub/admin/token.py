"""The token of the admin API."""

from __future__ import annotations

import secrets
from pathlib import Path

from hub.contract import AdminConfig
from hub.secrets import made_once, resolve

__all__ = ["own_token_of", "token_of"]


def token_of(config: AdminConfig, config_file: Path, data: Path) -> str:
    """The admin token: the configured secret, else one made at first start, in a file only its owner can read."""
    if config.token == "off":  # noqa: S105 - no token at all, but for the processes of one hub among themselves
        return made_once(data / "workers.token", lambda: secrets.token_urlsafe(32).encode() + b"\n").decode().strip()
    if config.token:
        return resolve(config.token, config_file.parent).reveal()
    return made_once(data / "admin.token", lambda: secrets.token_urlsafe(32).encode() + b"\n").decode().strip()


def own_token_of(config: AdminConfig, config_file: Path, data: Path) -> str:
    """The token of the port people use; "" when it is switched off."""
    return "" if config.token == "off" else token_of(config, config_file, data)  # noqa: S105 - a word of the configuration
