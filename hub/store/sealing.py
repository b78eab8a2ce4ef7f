"""How the keys of the configuration come to the store."""

from __future__ import annotations

from pathlib import Path

from hub.contract import HubConfig
from hub.keys.ring import DataKeys
from hub.store.sealer import Sealer

__all__ = ["PURPOSE", "file_sealer", "seals", "store_sealer"]

#: Name of the data key in the key store.
PURPOSE = "store"


class _LaterKeys:
    """The data keys of a configuration; the key store is opened when the first key is needed."""

    def __init__(self, config: HubConfig, base: Path) -> None:
        self._config = config
        self._base = base
        self._found: DataKeys | None = None

    def _keys(self) -> DataKeys:
        if self._found is None:
            from hub.keys.opened import key_store  # most stores are not encrypted

            self._found = key_store(self._config.keys, self._base).data_keys(PURPOSE)
        return self._found

    def current(self) -> tuple[int, bytes]:
        return self._keys().current()

    def get(self, version: int) -> bytes:
        return self._keys().get(version)


_of_folders: dict[Path, Sealer] = {}


def seals(folder: Path, sealer: Sealer) -> None:
    """From now on files below this data folder that adapters keep are sealed and opened with it."""
    _of_folders[folder] = sealer


def file_sealer(path: Path) -> Sealer | None:
    """What seals and opens the files that adapters keep below a data folder; None where no hub of this process has it."""
    return next((_of_folders[folder] for folder in (path, *path.parents) if folder in _of_folders), None)


def store_sealer(config: HubConfig, base: Path) -> Sealer:
    """What seals and opens the store of a configuration; ``base`` is the folder of ``hub.yaml``.

    With ``encryption: off`` nothing new is sealed, and what was sealed before can still be read. Raises nothing; the first use raises
    what is wrong with the key store.
    """
    algorithm = config.store.encryption
    return Sealer(_LaterKeys(config, base), None if algorithm == "off" else algorithm)
