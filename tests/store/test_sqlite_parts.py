"""Pieces of the SQLite store by themselves: encoded changes, file headers, locks, filters, names."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError, StoreCorrupt
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.change import Change
from hub.store.duplicates import ControlFilter
from hub.store.files import check_file, create_file
from hub.store.lock import FolderLock
from hub.store.segment import list_segments, segment_path

ids = st.integers(1, (1 << 63) - 1)
small = st.integers(0, 1 << 40)
text = st.text(max_size=20)
body = st.none() | st.binary(max_size=40)
messages = st.builds(
    Message,
    id=ids,
    received_at=small,
    source=text,
    type=text,
    control_id=text,
    raw=st.binary(max_size=60),
    keys=st.dictionaries(text, text, max_size=3),
    content_hash=st.binary(max_size=16),
    remote=text,
    codec=text,
    correlation=text,
    causation=small,
    conflict=st.booleans(),
)
deliveries = st.builds(
    Delivery,
    id=ids,
    message_id=ids,
    route=text,
    target=text,
    order_key=text,
    state=st.sampled_from(DeliveryState),
    attempts=small,
    next_at=small,
    step=text,
    reason=text,
    parent=small,
    part=small,
    parts=small,
    payload=body,
    updated_at=small,
)
calls = st.builds(
    CallRecord,
    id=ids,
    at=small,
    direction=st.sampled_from(Direction),
    place=text,
    outcome=st.sampled_from(Outcome),
    message_id=small,
    delivery_id=small,
    attempt=small,
    code=text,
    error=text,
    took_us=small,
    remote=text,
    params=text,
    request=body,
    response=body,
    mapping=text,
    plugin=text,
)


@given(
    st.lists(messages, max_size=2),
    st.lists(deliveries, max_size=2),
    st.lists(deliveries, max_size=2),
    st.lists(calls, max_size=2),
)
def test_a_change_survives_its_encoding(
    new: list[Message], create: list[Delivery], update: list[Delivery], logged: list[CallRecord]
) -> None:
    change = Change.of(new, create, update, logged)
    again = Change.decode(change.encode())
    assert again == change
    assert all(isinstance(d.state, DeliveryState) for d in again.create + again.update)


def test_a_change_does_not_notice_what_happens_to_its_parts_later() -> None:
    delivery = Delivery(1, 2, "", "a/b")
    change = Change.of((), (), [delivery], ())
    delivery.state = DeliveryState.DEAD
    assert change.update[0].state is DeliveryState.PENDING


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_nothing_but_a_database_passes_for_one(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, signed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.db"
    path.write_bytes((b"SQLite format 3\0" if signed else b"") + data)
    if signed and len(data) >= 84:
        with contextlib.suppress(StoreCorrupt):
            check_file(path)
    else:
        with pytest.raises(StoreCorrupt, match=r"fuzz\.db"):
            check_file(path)


@pytest.mark.parametrize("kind", ["segment", "catalog"])
def test_a_new_file_is_sound_at_every_length_but_its_own_truncated(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new.db"
    create_file(path, kind)
    check_file(path)
    whole = path.read_bytes()
    for length in (0, 16, 99, 100, 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreCorrupt):
            check_file(path)


@given(st.lists(st.tuples(text, text), max_size=200))
def test_a_filter_knows_what_it_was_given(pairs: list[tuple[str, str]]) -> None:
    made = ControlFilter(len(pairs))
    for source, control_id in pairs:
        made.add(source, control_id)
    assert all(pair in made for pair in pairs)


def test_a_lock_is_free_again_after_its_release(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(HubError):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


@given(st.sets(ids, min_size=1, max_size=5))
@settings(max_examples=30)
def test_segments_are_listed_in_order_with_their_ranges(
    tmp_path_factory: pytest.TempPathFactory, firsts: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    for first in firsts:
        segment_path(folder, first).touch()
    found = list_segments(folder)
    assert [s.first_id for s in found] == sorted(firsts)
    assert [s.last_id for s in found] == [n - 1 for n in sorted(firsts)[1:]] + [None]
