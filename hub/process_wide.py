"""What a configuration decides for the whole process that has read it."""

from __future__ import annotations

from pathlib import Path

from hub.contract import HubConfig
from hub.crypto.config import CryptoConfig

__all__ = ["use_crypto", "use_privacy"]


def use_crypto(config: HubConfig, base: Path) -> None:
    """From now on national cryptography is done as configured; ``base`` is the folder of ``hub.yaml``."""
    if config.security.crypto != CryptoConfig():
        from hub.crypto import use  # loading it costs a start that has nothing configured

        use(config.security.crypto, base)


def use_privacy(config_file: Path, config: HubConfig) -> None:
    """From now on classes of personal data are those of a deployment. Raises :class:`ConfigError`."""
    from hub.privacy.site import use  # reading the classes takes a start some milliseconds

    use(config_file, config)
