"""What people ask about flows, answered from the files beside a running hub: definitions, instances, what happened in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hub.errors import HubError
from hub.flows.definition import Definition
from hub.flows.diagram import diagram
from hub.flows.loading import load_flows
from hub.flows.present import document_json, instance_json, note_json, sent_json
from hub.flows.store import FlowStore, Row, flows_file
from hub.i18n import t
from hub.ids import parse_id
from hub.store.sealer import Sealer

__all__ = ["FlowDesk", "instance_number"]


def instance_number(text: str) -> int:
    """Raises :class:`HubError` for what is no id."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise HubError(str(error), code="flow.unknown") from error


class FlowDesk:
    """Opens ``flows.db`` for each question, for reading only. For a thread."""

    def __init__(self, data: Path, folders: Sequence[Path], salt: bytes, sealer: Sealer | None) -> None:
        self._file = flows_file(data)
        self._folders = list(folders)
        self._salt = salt
        self._sealer = sealer

    @contextmanager
    def _open(self) -> Iterator[FlowStore | None]:
        """None while no flow has ever run."""
        if not self._file.exists():
            yield None
            return
        store = FlowStore(self._file, self._salt, self._sealer, writable=False)
        try:
            yield store
        finally:
            store.close()

    def flows(self) -> list[dict[str, Any]]:
        """The flows of the folders, and those that are gone from there, with the number of instances by state."""
        present = load_flows(self._folders, [])
        counts: dict[str, dict[str, int]] = {name: {} for name in present}
        with self._open() as store:
            for flow, state, number in store.counts() if store is not None else ():
                counts.setdefault(flow, {})[state] = number
        return [
            {
                "flow": name,
                "name": present[name].model.name if name in present else "",
                "version": present[name].version if name in present else "",
                "states": states,
            }
            for name, states in sorted(counts.items())
        ]

    def instances(
        self, *, flow: str = "", state: str = "", key: str = "", before: str = "", limit: int = 50, clear: bool = False
    ) -> list[dict[str, Any]]:
        """Newest first. Raises :class:`HubError`."""
        if key and not flow:
            raise HubError(t("key: say of which flow", "key：请同时指明 flow"), code="flow.query")
        with self._open() as store:
            if store is None:
                return []
            older = instance_number(before) if before else 0
            rows = store.instances(flow=flow, state=state, key=key, before=older, limit=limit)
            return [instance_json(row.instance, _definition(store, row), clear=clear) for row in rows]

    def instance(self, number: int, *, clear: bool = False) -> dict[str, Any]:
        """One instance with its steps, messages, documents and history. Raises :class:`HubError` where there is none."""
        with self._found(number) as (store, row):
            definition = _definition(store, row)
            found = instance_json(row.instance, definition, clear=clear, full=True)
            found["sent"] = [sent_json(sent) for sent in store.sent_by(number)]
            found["versions"] = [document_json(kept, clear=clear) for kept in store.documents(number)]
            found["history"] = [note_json(note) for note in store.notes(number)]
            return found

    def role_of(self, number: int, step: str) -> str:
        """The role a manual step asks for; "" where it is none. Raises :class:`HubError`."""
        with self._found(number) as (store, row):
            definition = _definition(store, row)
            found = definition.steps.get(step) if definition is not None else None
            return found.manual.role if found is not None and found.manual is not None else ""

    def diagram(self, number: int = 0, flow: str = "") -> str:
        """SVG of an instance, or of a flow as it is declared. Raises :class:`HubError`."""
        if number:
            with self._found(number) as (store, row):
                definition = _definition(store, row)
                if definition is None:
                    raise HubError(t("its definition is gone", "其定义已不存在"), code="flow.version")
                return diagram(definition, row.instance)
        found = load_flows(self._folders, []).get(flow)
        if found is None:
            raise HubError(t(f"there is no flow {flow!r}", f"没有流程 {flow!r}"), code="flow.unknown")
        return diagram(found)

    @contextmanager
    def _found(self, number: int) -> Iterator[tuple[FlowStore, Row]]:
        with self._open() as store:
            row = store.instance(number) if store is not None else None
            if store is None or row is None:
                raise HubError(t("there is no such flow instance", "没有该流程实例"), code="flow.unknown")
            yield store, row


def _definition(store: FlowStore, row: Row) -> Definition | None:
    stored = store.definition(row.instance.version)
    try:
        return _read(*stored, row.instance.version) if stored is not None else None
    except (HubError, ValueError):  # accepted by an earlier version of the hub
        return None


@lru_cache(maxsize=64)
def _read(flow: str, raw: bytes, version: str) -> Definition:
    return Definition.read(flow, raw, version=version)
