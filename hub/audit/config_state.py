"""The configuration as the trail tells of it: which files there are and their SM3, and which keys of YAML files differ. Never a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from hub.audit.chain import canonical
from hub.crypto.digests import sm3_hex

__all__ = ["ConfigState", "config_state"]

#: Larger files are named with their hash; which of their keys differ is not told.
_MAX_YAML = 1 << 20
#: Keys of one file that are named.
_MOST_KEYS = 100
_MOST_LEAVES = 20_000


@dataclass(frozen=True)
class ConfigState:
    """``files``: name, relative to ``hub.yaml`` where it can be -> SM3; ``whole``: SM3 over all of them."""

    files: dict[str, str]
    whole: str
    _texts: dict[str, bytes] = field(repr=False, default_factory=dict)

    def diff(self, new: ConfigState) -> dict[str, Any]:
        """What differs in a newer state: hashes before and after ("" where there is no such file), and the keys."""
        changed = {}
        for name in sorted(self.files.keys() | new.files.keys()):
            before, after = self.files.get(name, ""), new.files.get(name, "")
            if before == after:
                continue
            row: dict[str, Any] = {"before": before, "after": after}
            if name in self._texts or name in new._texts:
                keys = _changed_keys(self._texts.get(name, b""), new._texts.get(name, b""))
                row["keys"] = keys[:_MOST_KEYS] + (["…"] if len(keys) > _MOST_KEYS else [])
            changed[name] = row
        return {"before": self.whole, "after": new.whole, "files": changed}


def config_state(config_file: Path) -> ConfigState:
    """As it is on the disk now: everything a reload reads. For a thread."""
    from hub.watch import Watcher  # which knows what is read

    async def nothing(actor: str) -> None:
        return

    files: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    for path in sorted(Watcher(config_file, nothing).look()):
        try:
            data = Path(path).read_bytes()
        except OSError:  # removed since the folder was read
            continue
        name = _name(Path(path), config_file.parent)
        files[name] = sm3_hex(data)
        if path.endswith((".yaml", ".yml")) and len(data) <= _MAX_YAML:
            texts[name] = data
    return ConfigState(files, sm3_hex(canonical(files).encode()), texts)


def _name(path: Path, base: Path) -> str:
    try:
        return path.resolve().relative_to(base.resolve().parent).as_posix()
    except ValueError:
        return path.as_posix()


def _changed_keys(before: bytes, after: bytes) -> list[str]:
    """Paths of keys that were added (+), removed (-) or have another value (~)."""
    old, new = _leaves(before), _leaves(after)
    signs = {key: "+" if key not in old else "-" if key not in new else "~" for key in old.keys() | new.keys()}
    return [f"{sign}{key}" for key, sign in sorted(signs.items()) if sign != "~" or old[key] != new[key]]


def _leaves(text: bytes) -> dict[str, str]:
    """Path -> value of every leaf; nothing where there are more than a person wrote (aliases can stand for any number)."""
    try:
        found = dict(islice(_walk(yaml.load(text, yaml.CSafeLoader), "", 0), _MOST_LEAVES))
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return {}
    return found if len(found) < _MOST_LEAVES else {}


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if value is None and not path:
        return
    if isinstance(value, Mapping) and value and depth < 32:
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list) and value and depth < 32:
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{number}]", depth + 1)
    else:
        yield path, repr(value)
