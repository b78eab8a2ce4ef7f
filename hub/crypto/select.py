"""Which provider does the work: one of each kind per process, made when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hub.crypto.base import Provider
from hub.crypto.errors import CryptoError
from hub.crypto.openssl import OpenSslProvider
from hub.i18n import t

if TYPE_CHECKING:
    from hub.crypto.config import CryptoConfig

__all__ = ["provider", "software", "use"]

_lock = threading.RLock()
_made: dict[str, Provider] = {}
_config: CryptoConfig | None = None
_base = Path()


def use(config: CryptoConfig | None, base: Path = Path()) -> None:
    """Take the providers of this configuration from now on; ``base`` is the folder its relative paths start from.

    Devices and servers are opened when they are first used, and those in use are left to whoever still holds them.
    """
    global _config, _base
    with _lock:
        if (config, base) != (_config, _base):
            _config, _base = config, base
            _made.clear()


def provider(name: str = "") -> Provider:
    """The configured provider, by default the fastest in memory; or the one called ``name``, if it is configured.

    Raises :class:`CryptoError` when there is none, :class:`CryptoUnavailable` when its device can't be opened.
    """
    wanted = name or (_config.provider if _config else "auto")
    found = _made.get(wanted)
    if found is None:
        with _lock:
            found = _made.get(wanted)
            if found is None:
                found = _made[wanted] = _make(wanted)
    return found


def software() -> Provider:
    """The fastest provider in memory, whatever is configured."""
    return provider("auto")


def _make(name: str) -> Provider:
    if name == "auto":
        try:
            return provider("openssl")
        except CryptoError:
            if find_spec("gmssl") is None:
                raise
            return provider("gmssl")
    makers: dict[str, Callable[[], Provider]] = {
        "openssl": _openssl,
        "gmssl": _gmssl,
        "pkcs11": _pkcs11,
        "remote": _remote,
    }
    if name not in makers:
        raise CryptoError(
            t(f"there is no crypto provider {name!r}", f"没有名为 {name!r} 的密码服务"), code="crypto.provider"
        )
    return makers[name]()


def _openssl() -> Provider:
    path = _config.libcrypto if _config else ""
    return OpenSslProvider(str(_base / path) if path else "")


def _gmssl() -> Provider:
    if find_spec("gmssl") is None:
        raise _not_installed("gmssl", "gmssl")
    from hub.crypto.gmssl import GmsslProvider

    return GmsslProvider()


def _pkcs11() -> Provider:
    if _config is None or _config.pkcs11 is None:
        raise _not_configured("pkcs11")
    if find_spec("pkcs11") is None:
        raise _not_installed("pkcs11", "python-pkcs11")
    from hub.crypto.pkcs11 import Pkcs11Provider

    return Pkcs11Provider(_config.pkcs11, _base, software())


def _remote() -> Provider:
    if _config is None or _config.remote is None:
        raise _not_configured("remote")
    from hub.crypto.remote import RemoteProvider

    return RemoteProvider(_config.remote, _base, software())


def _not_configured(name: str) -> CryptoError:
    return CryptoError(
        t(f"the crypto provider {name} is not configured", f"未配置密码服务 {name}"),
        code="crypto.provider",
        remedy=t(f"write security.crypto.{name} in hub.yaml", f"请在 hub.yaml 中填写 security.crypto.{name}"),
    )


def _not_installed(name: str, package: str) -> CryptoError:
    return CryptoError(
        t(f"the crypto provider {name} needs the package {package}", f"密码服务 {name} 需要软件包 {package}"),
        code="crypto.provider",
        remedy=f"pip install {package}",
    )
