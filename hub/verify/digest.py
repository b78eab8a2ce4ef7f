"""What the results for a plugin depend on, in one number: when it changes, they no longer count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from hub.errors import HubError
from hub.plugin_mappings import mappings_of
from hub.verify.site import Subject, VerifySite

__all__ = ["around", "digest"]

_MAX_BYTES = 16 << 20


def digest(site: VerifySite, subject: Subject) -> str:
    """16 hexadecimal digits over contract (with what it extends), code, examples, tables, proof, mappings with tables, and schemas.

    Notes for people and tests of mappings are left out: what they show is looked at whenever a level is asked for.
    """
    return _hashed(_parts(site, subject))


def around(site: VerifySite, subject: Subject) -> str:
    """The same over what the checks of files look at besides: notes, sources, tests of mappings."""
    return _hashed(_beside(site, subject))


def _hashed(parts: Iterable[tuple[str, bytes]]) -> str:
    found = hashlib.sha256()
    for name, content in parts:
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:16]


def _beside(site: VerifySite, subject: Subject) -> Iterator[tuple[str, bytes]]:
    contract = subject.plugin.contract
    for folder in (subject.plugin.folder, *(profile.folder for profile in subject.plugin.profiles)):
        yield "README.md", _bytes(folder / "README.md")
    yield "sources", "\n".join(contract.sources).encode()
    for name in sorted({name for one in contract.interfaces.values() for name in mappings_of(one)}):
        file = site.bench.tests_of(name)
        yield name, _bytes(file) if file is not None else b""


def _parts(site: VerifySite, subject: Subject) -> Iterator[tuple[str, bytes]]:
    plugin = subject.plugin
    contract = plugin.contract
    yield "contract", contract.model_dump_json(exclude={"sources", "name"}).encode()
    yield "declared", subject.declared.model_dump_json().encode()
    if plugin.module is not None:
        yield "code", _bytes(plugin.folder / "plugin.py")
    for part in ("examples/**/*", "replay/**/*", "*.sql"):
        for folder in (plugin.folder, *(profile.folder for profile in plugin.profiles)):
            for file in sorted(folder.glob(part)):
                if file.is_file():
                    yield file.relative_to(folder).as_posix(), _bytes(file)
    names: set[str] = set()
    schemas: set[str] = set()
    for interface in contract.interfaces.values():
        names.update(mappings_of(interface))
        if interface.validation is not None:
            schemas.update(interface.validation.schemas)
    for name in sorted(names):
        stamp = ""
        with suppress(HubError):
            stamp = site.mappings.get(name).stamp
        yield f"mapping {name}", stamp.encode()
    for schema in sorted(schemas):
        for folder in site.loaded.schema_folders:
            # Schemas refer to others beside them.
            beside = (folder / schema).parent
            for file in sorted(beside.glob("*")) if beside.is_dir() else ():
                if file.is_file():
                    yield file.name, _bytes(file)


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_BYTES)
    except OSError:
        return b""
