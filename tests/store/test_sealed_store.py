"""Encryption at rest: nothing readable in the files, everything found all the same, and no altered byte taken for true."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from hub.errors import HubError, StoreCorrupt
from hub.message import CheckRecord, CheckVerdict, DeliveryState, Message, Outcome
from hub.store.base import CallQuery, DeliveryQuery, MessageQuery, Put, ReportQuery
from hub.store.encrypting import encrypt_folder
from hub.store.indexer import index_now
from hub.store.merged import open_reader
from hub.store.sealer import Sealer
from hub.store.sql import scalar
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.sealed_support import LocalKeys
from tests.store.store_support import HOUR_US, finish, make_call, make_delivery, make_message, put, put_one

NAME, ID_CARD, WORD, CONTROL, ORDER = "欧阳明月", "11010519491231002X", "Penicillinallergie", "CTRL-7788", "PAT-99881"
RAW = f"MSH|^~\\&|HIS\rPID|1||{ID_CARD}||{NAME}\rNTE|1||{WORD}".encode()
KEYS = {"name": NAME, "id_card": ID_CARD}
FINDING = {"rule": "pid.name", "severity": "error", "text": f"{NAME} is too long"}
PLANTED = [NAME, ID_CARD, WORD, CONTROL, ORDER]


@pytest.fixture(params=["aes-256-gcm", "sm4-gcm"], ids=["aes", "sm4"])
def sealer(request: pytest.FixtureRequest) -> Sealer:
    return Sealer(LocalKeys(), request.param)


async def fill(store: SqliteStore, raw: bytes = RAW, control_id: str = CONTROL) -> Message:
    """One message with everything personal that a store can hold."""
    message = make_message(store, control_id, raw, keys=KEYS, correlation=f"CORR-{ID_CARD}")
    delivery = make_delivery(store, message, order_key=ORDER, payload=RAW + b"fixed")
    receipt = make_call(store, params=f'{{"patient":"{NAME}"}}', check=CheckRecord(CheckVerdict.MARKED, [FINDING], 1))
    result = await put(store, message, [delivery], window=HOUR_US, call=receipt)
    assert result.outcome is Outcome.OK
    delivery.reason = f"refused: {NAME}"
    call = make_call(
        store,
        "lis/in",
        Outcome.PERMANENT,
        message_id=message.id,
        delivery_id=delivery.id,
        error=f"no {ID_CARD}",
        request=RAW,
        response=RAW[::-1] + RAW,
    )
    await finish(store, delivery, DeliveryState.DEAD, call)
    await store.put_together([Put(make_message(store, raw=raw + b"2"))], mark=("ftp/in", f"/in/{NAME}.txt"))
    return message


def readable(folder: Path) -> list[str]:
    """What of the planted texts can be read in any file of a folder, in UTF-8 or as SQLite's UTF-16."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for text in PLANTED:
            if any(form in content for form in (text.encode(), text.lower().encode(), text.encode("utf-16-le"))):
                found.append(f"{path.name}: {text}")
            if len(text) == 4 and text[:2].encode() in content:  # pairs of the free-text index
                found.append(f"{path.name}: part of {text}")
    return found


async def test_nothing_planted_is_readable_in_any_file(opener: SqliteOpener, sealer: Sealer, tmp_path: Path) -> None:
    store = await opener(claim_above=4096)
    await fill(store)
    await fill(store, raw=RAW + b"x" * 9000, control_id="OTHER")
    index_now(store.folder, sealer=sealer)
    assert readable(tmp_path) == []  # with write-ahead logs
    await store.close()
    index_now(store.folder, sealer=sealer)
    assert readable(tmp_path) == []
    assert len(list(store.folder.glob("keys-*.db"))) == len(list(store.folder.glob("text-*.db"))) == 1


async def test_the_same_search_without_encryption_shows_that_the_test_can_fail(
    opener: SqliteOpener, tmp_path: Path
) -> None:
    store = await opener(sealer=None)
    await fill(store)
    index_now(store.folder)
    assert {line.partition(": ")[2] for line in readable(tmp_path)} >= set(PLANTED)


@pytest.mark.parametrize("indexed", [False, True])
async def test_search_finds_what_it_finds_in_a_plain_store(opener: SqliteOpener, sealer: Sealer, indexed: bool) -> None:
    store = await opener()
    message = await fill(store)
    for _ in range(20):
        await put_one(store)
    if indexed:
        index_now(store.folder, sealer=sealer)
    questions = [
        MessageQuery(keys={"name": "阳明"}),
        MessageQuery(keys={"id_card": ID_CARD.lower()}),
        MessageQuery(control_id=CONTROL),
        MessageQuery(correlation=f"CORR-{ID_CARD}"),
        MessageQuery(state=DeliveryState.DEAD, keys={"name": NAME}),
    ]
    if indexed:
        questions += [MessageQuery(text=text) for text in ("Penicillin*", "明月", WORD, f"{ID_CARD} {NAME}")]
    for question in questions:
        page = await store.reader.search(question)
        assert message.id in [row.id for row in page.rows], question
        row = next(row for row in page.rows if row.id == message.id)
        assert (row.control_id, row.keys, row.correlation) == (CONTROL, KEYS, f"CORR-{ID_CARD}")
    for question in (
        MessageQuery(keys={"name": "阳月"}),
        MessageQuery(control_id="CTRL"),
        MessageQuery(text="Penicil"),
    ):
        assert (await store.reader.search(question)).rows == []


async def test_everything_comes_back_as_it_was(opener: SqliteOpener) -> None:
    store = await opener()
    message = await fill(store)
    assert await store.reader.message(message.id) == message
    receipt, attempt = await store.reader.calls_of(message.id)
    assert (receipt.params, receipt.check and receipt.check.findings) == (f'{{"patient":"{NAME}"}}', [FINDING])
    assert (attempt.error, attempt.request, attempt.response) == (f"no {ID_CARD}", RAW, RAW[::-1] + RAW)
    (delivery,) = await store.reader.deliveries(DeliveryQuery(reason=NAME))
    assert (delivery.order_key, delivery.reason) == (ORDER, f"refused: {NAME}")
    whole = await store.reader.delivery(delivery.id)
    assert whole is not None
    assert whole.payload == RAW + b"fixed"
    assert [call.id for call in await store.reader.reports(ReportQuery(rule="pid.*"))] == [receipt.id]
    assert await store.reader.reports(ReportQuery(rule="pid")) == []
    assert (await store.reader.mark("ftp/in"))[1] == f"/in/{NAME}.txt"
    assert (await store.reader.quality(0))[0].rules == {"pid.name": 1}
    assert (await store.reader.verify_ledger()).balanced
    assert await store.reader.check() == []


# -- keys ----------------------------------------------------------------------------------------------------------------


async def test_without_keys_the_store_does_not_open_and_nothing_is_read(opener: SqliteOpener) -> None:
    store = await opener()
    message = await fill(store)
    await store.close()
    with pytest.raises(HubError) as refused:
        await opener(sealer=None)
    assert refused.value.code == "store.sealed"
    assert "store.encryption" in refused.value.remedy
    reader = open_reader([store.folder])
    try:
        for question in (
            lambda: reader.message(message.id),
            lambda: reader.calls(CallQuery(bodies=True)),
            lambda: reader.search(MessageQuery(control_id=CONTROL)),
        ):
            with pytest.raises(HubError) as refused:
                await question()
            assert refused.value.code == "store.sealed"
        assert (await reader.verify_ledger()).balanced  # needs no key
    finally:
        await reader.close()


async def test_another_key_is_refused_and_never_gives_garbage(opener: SqliteOpener) -> None:
    store = await opener()
    message = await fill(store)
    await store.close()
    other = Sealer(LocalKeys("two"), "aes-256-gcm")
    with pytest.raises(StoreCorrupt) as refused:
        await opener(sealer=other)
    assert refused.value.code == "store.tampered"
    reader = open_reader([store.folder], other)
    try:
        with pytest.raises(StoreCorrupt):
            await reader.message(message.id)
    finally:
        await reader.close()


async def test_a_lost_version_is_named(opener: SqliteOpener) -> None:
    keys = LocalKeys()
    store = await opener(sealer=Sealer(keys, "aes-256-gcm"))
    message = await fill(store)
    await store.close()
    keys.version = 2
    store = await opener(sealer=Sealer(keys, "aes-256-gcm"))  # seals the lasting keys anew
    later = await fill(store, control_id="C2")
    await store.close()
    keys.lost.add(1)
    store = await opener(sealer=Sealer(keys, "aes-256-gcm"))
    assert (await store.reader.message(later.id)) == later
    with pytest.raises(HubError, match="version 1"):
        await store.reader.message(message.id)


async def test_rotation_while_running_uses_the_new_version_for_what_is_new(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hub.store.sealer

    monkeypatch.setattr(hub.store.sealer, "_RENEW_S", 0.0)
    keys = LocalKeys()
    store = await opener(sealer=Sealer(keys, "aes-256-gcm"))
    first = await fill(store)
    keys.version = 2
    second = await fill(store, control_id="C2")
    assert await store.reader.message(first.id) == first
    assert await store.reader.message(second.id) == second
    again = make_message(store, CONTROL, RAW)
    assert (await put(store, again, window=HOUR_US)).outcome is Outcome.DUPLICATE
    assert {version_of(store, message.id) for message in (first, second)} == {1, 2}


def version_of(store: SqliteStore, message_id: int) -> int:
    (path,) = store.folder.glob("segment-*.db")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    raw = scalar(connection, "SELECT raw FROM payload WHERE id = ?", (message_id,))
    connection.close()
    return int.from_bytes(raw[1:5], "big")


def test_without_any_key_nothing_is_ever_sealed() -> None:
    keys = LocalKeys()
    keys.lost.add(1)
    sealer = Sealer(keys, "aes-256-gcm")
    for _ in range(3):
        with pytest.raises(HubError, match="version 1"):
            sealer.seal(b"secret", 1, b"payload.raw", 1)


# -- switching ---------------------------------------------------------------------------------------------------------


async def test_encryption_switched_on_and_off_again(opener: SqliteOpener, sealer: Sealer) -> None:
    store = await opener(sealer=None)
    plain = await fill(store)
    _, waiting = await put_one(store, order_key=ORDER)
    index_now(store.folder)
    await store.close()

    store = await opener()
    sealed = await fill(store, raw=RAW + b"3", control_id="C3")
    _, next_one = await put_one(store, order_key=ORDER)
    index_now(store.folder, sealer=sealer)
    for message in (plain, sealed):
        assert await store.reader.message(message.id) == message
    assert (await put(store, make_message(store, CONTROL, RAW), window=HOUR_US)).outcome is Outcome.DUPLICATE
    assert (await put(store, make_message(store, "C3", RAW + b"3"), window=HOUR_US)).outcome is Outcome.DUPLICATE
    assert (await put(store, make_message(store, CONTROL, b"other"), window=HOUR_US)).outcome is Outcome.CONFLICT
    found = await store.open_for_key("lis/in", ORDER, 0, 10, 1 << 20)
    assert [delivery.id for delivery in found] == [waiting.id, next_one.id]
    page = await store.reader.search(MessageQuery(keys={"name": NAME}))
    assert {row.id for row in page.rows} == {plain.id, sealed.id}
    await store.close()

    store = await opener(sealer=Sealer(LocalKeys(), None))
    last = await fill(store, raw=RAW + b"4", control_id="C4")
    for message in (plain, sealed, last):
        assert await store.reader.message(message.id) == message
    assert (await put(store, make_message(store, "C3", RAW + b"3"), window=HOUR_US)).outcome is Outcome.DUPLICATE
    index_now(store.folder, sealer=Sealer(LocalKeys(), None))
    page = await store.reader.search(MessageQuery(text="明月"))
    assert {plain.id, sealed.id, last.id} <= {row.id for row in page.rows}


# -- tampering -----------------------------------------------------------------------------------------------------------

SEALED_COLUMNS = [
    ("message", "keys"),
    ("message", "control_id"),
    ("message", "correlation"),
    ("message", "content_hash"),
    ("payload", "raw"),
]


async def tampered(store: SqliteStore, change: Callable[[apsw.Connection], None]) -> Path:
    """A copy of the closed store with a change made in its segment."""
    folder = store.folder.with_name("tampered")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store.folder, folder)
    (path,) = folder.glob("segment-*.db")
    connection = apsw.Connection(str(path))
    change(connection)
    connection.close()
    return folder


async def refused(folder: Path, sealer: Sealer, question: Callable[..., Awaitable[object]]) -> str:
    """The code of the refusal."""
    reader = open_reader([folder], sealer)
    try:
        await question(reader)
    except HubError as error:
        return error.code
    finally:
        await reader.close()
    return "answered"


@pytest.mark.parametrize(("table", "column"), SEALED_COLUMNS)
async def test_any_altered_byte_is_refused(opener: SqliteOpener, sealer: Sealer, table: str, column: str) -> None:
    store = await opener()
    message = await fill(store)
    await store.close()
    (path,) = store.folder.glob("segment-*.db")
    connection = apsw.Connection(str(path))
    value = scalar(connection, f"SELECT {column} FROM {table} WHERE id = ?", (message.id,))
    connection.close()
    assert isinstance(value, bytes)
    statement = f"UPDATE {table} SET {column} = ? WHERE id = ?"
    places = range(len(value)) if len(value) < 60 else [0, 1, 4, 12, 13, 24, 25, len(value) // 2, len(value) - 1]
    for at in places:
        altered = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        folder = await tampered(store, lambda db, new=altered: db.execute(statement, (new, message.id)))  # type: ignore[misc]
        code = await refused(folder, sealer, lambda reader: reader.message(message.id))
        # What names a version of the key that does not exist says so; looked-up columns name none.
        unknown = 1 <= at <= 4 and column in ("keys", "raw")
        assert code == ("key.unavailable" if unknown else "store.tampered"), at


async def test_values_can_not_be_moved_to_another_row_or_column(opener: SqliteOpener, sealer: Sealer) -> None:
    store = await opener()
    one, two = await fill(store), await fill(store, raw=RAW + b"5", control_id="C5")
    await store.close()
    moved = [
        "UPDATE payload SET raw = (SELECT raw FROM payload WHERE id = {two}) WHERE id = {one}",
        "UPDATE message SET keys = (SELECT keys FROM message WHERE id = {two}) WHERE id = {one}",
        "UPDATE payload SET raw = (SELECT keys FROM message WHERE id = {one}) WHERE id = {one}",
        "UPDATE message SET control_id = (SELECT correlation FROM message WHERE id = {one}) WHERE id = {one}",
    ]
    for statement in moved:
        folder = await tampered(store, lambda db, s=statement: db.execute(s.format(one=one.id, two=two.id)))  # type: ignore[misc]
        assert await refused(folder, sealer, lambda reader: reader.message(one.id)) == "store.tampered", statement
    bodies = [
        "UPDATE body SET request = response",
        "UPDATE call SET params = error WHERE error <> ''",
    ]
    for statement in bodies:
        folder = await tampered(store, lambda db, s=statement: db.execute(s))  # type: ignore[misc]
        assert await refused(folder, sealer, lambda reader: reader.calls_of(one.id)) == "store.tampered", statement


async def test_a_sealed_index_that_was_altered_is_built_again(opener: SqliteOpener, sealer: Sealer) -> None:
    store = await opener()
    message = await fill(store)
    index_now(store.folder, sealer=sealer)
    await store.close()
    for kind in ("keys", "text"):
        (path,) = store.folder.glob(f"{kind}-*.db")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    index_now(store.folder, sealer=sealer)
    store = await opener()
    index_now(store.folder, sealer=sealer)
    for question in (MessageQuery(keys={"name": "明月"}), MessageQuery(text=WORD)):
        page = await store.reader.search(question)
        if question.text:
            index_now(store.folder, sealer=sealer)
            page = await store.reader.search(question)
        assert message.id in [row.id for row in page.rows]


# -- converting ----------------------------------------------------------------------------------------------------------


async def test_a_plain_store_is_converted(opener: SqliteOpener, sealer: Sealer, tmp_path: Path) -> None:
    store = await opener(sealer=None, claim_above=4096)
    messages = [
        await fill(store, control_id=f"{CONTROL}-{n}", raw=RAW + bytes([48 + n]) * (n * 3000)) for n in range(4)
    ]
    _, waiting = await put_one(store, order_key=ORDER)
    calls = [await store.reader.calls_of(message.id) for message in messages]
    index_now(store.folder)
    assert (await store.reader.size())["unsealed"] == 0
    await store.close()

    store = await opener(claim_above=4096)
    assert (await store.reader.size())["unsealed"] == 9
    await store.close()
    assert encrypt_folder(store.folder, sealer, 4096, lambda name: None) == 1
    assert encrypt_folder(store.folder, sealer, 4096, lambda name: None) == 0
    assert readable(tmp_path) == []

    store = await opener(claim_above=4096)
    assert (await store.reader.size())["unsealed"] == 0
    for message, known in zip(messages, calls, strict=True):
        assert await store.reader.message(message.id) == message
        assert await store.reader.calls_of(message.id) == known
        again = make_message(store, message.control_id, message.raw)
        assert (await put(store, again, window=HOUR_US)).outcome is Outcome.DUPLICATE
    assert [d.id for d in await store.open_for_key("lis/in", ORDER, 0, 9, 1 << 20)] == [waiting.id]
    assert (await store.reader.mark("ftp/in"))[1] == f"/in/{NAME}.txt"
    assert (await store.reader.verify_ledger()).balanced
    assert await store.reader.check() == []
    index_now(store.folder, sealer=sealer)
    assert {row.id for row in (await store.reader.search(MessageQuery(keys={"name": NAME}))).rows} == {
        message.id for message in messages
    }


async def test_a_running_store_is_not_converted(opener: SqliteOpener, sealer: Sealer) -> None:
    store = await opener()
    with pytest.raises(HubError) as refused:
        encrypt_folder(store.folder, sealer, 4096, lambda name: None)
    assert refused.value.code == "store.locked"


async def test_rows_written_with_encryption_off_make_a_segment_unsealed_again(opener: SqliteOpener) -> None:
    store = await opener()
    await put_one(store)
    assert (await store.reader.size())["unsealed"] == 0
    store = await opener(sealer=Sealer(LocalKeys(), None))
    await put_one(store)
    assert (await store.reader.size())["unsealed"] == 2
