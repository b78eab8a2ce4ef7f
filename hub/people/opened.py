"""The people of a configuration, in the process that serves the admin API; and their records at the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.keys import DataKeys
from hub.keys.opened import key_store, key_store_exists
from hub.people.people import People, Records
from hub.people.rights import Labelled

if TYPE_CHECKING:
    from hub.contract import HubConfig

__all__ = ["PURPOSE", "open_people", "open_records"]

#: Name of the key in the key store.
PURPOSE = "people"


def _keys(config: HubConfig, base: Path) -> DataKeys | None:
    """Where there is a key store its key is used: from the first user made after it was made."""
    return key_store(config.keys, base).data_keys(PURPOSE) if key_store_exists(config.keys, base) else None


async def open_people(
    config: HubConfig,
    base: Path,
    data: Path,
    *,
    systems: Callable[[], Mapping[str, Labelled]],
    send: Callable[[str, bytes, str], Awaitable[Any]],
) -> People:
    """``base`` is the folder of ``hub.yaml``. Raises :class:`hub.access.AccessError`, :class:`hub.keys.KeysError`."""
    people = People(
        data,
        config.security,
        systems=systems,
        send=send,
        name=config.name,
        url=config.admin.url,
        base=base,
        keys=lambda: _keys(config, base),
    )
    try:
        await people.open()
    except BaseException:
        await people.close()
        raise
    return people


def open_records(config: HubConfig, base: Path, data: Path) -> Records:
    """For the command line, while no hub runs."""
    return Records(data, config.security, keys=_keys(config, base))
