"""The registry of a configuration, as the processes that take calls have it, and what seals its secrets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hub.api import Bound
from hub.callers.door import Callers
from hub.callers.limits import AbuseRule
from hub.callers.sealing import PURPOSE, Secrets
from hub.contract import HubConfig
from hub.keys import DataKeys
from hub.keys.opened import key_store

__all__ = ["caller_secrets", "give_callers", "open_callers"]


def open_callers(config: HubConfig, base: Path, data: Path) -> Callers:
    """For a process that takes calls; ``base`` is the folder of ``hub.yaml``. Raises :class:`hub.access.AccessError`."""
    access = config.access
    abuse = AbuseRule(access.abuse.refused, access.abuse.within, access.abuse.restrict)
    return Callers(data, caller_secrets(config, base, data), audience=access.audience or config.name, abuse=abuse)


def give_callers(bound: Bound, callers: Callers) -> None:
    """To an interface that asks who calls, and to those of its schemes that take the keys of callers."""
    bound.callers = callers
    for scheme in bound.protection.schemes if bound.protection is not None else ():
        if scheme.asks_caller:
            scheme.door = callers.door(bound.place)


def caller_secrets(config: HubConfig, base: Path, data: Path) -> Secrets:
    """``base`` is the folder of ``hub.yaml``; the key store is opened when it is first needed."""
    return Secrets(data, partial(_ring, config, base))


def _ring(config: HubConfig, base: Path) -> DataKeys:
    return key_store(config.keys, base).data_keys(PURPOSE)
