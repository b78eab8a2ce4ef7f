"""Search against a brute-force oracle, with indexes complete, behind, missing and damaged."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hub.store.key_reader as reader_module
import hub.store.key_runs as runs_module
import hub.store.keys as keys_module
import hub.store.search as search_module
from hub.errors import HubError
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.indexer import index_now
from hub.store.lookup import Deliveries
from hub.store.question import LIMIT, Question
from hub.store.search import index_lag, run_search
from hub.store.segment import SegmentFile, list_segments
from tests.store.search_support import Builder, Stored, expected

STATES = [state for state in DeliveryState if state is not DeliveryState.IN_FLIGHT]
SOURCES = ["his/adt", "his/orm", "lis/out"]
TYPES = ["ADT^A01", "ADT^A08", "ORU^R01"]
TARGETS = ["lis/in", "lis/x", "pacs/in"]
KEYS = [
    {},
    {"patient_id": "800"},
    {"patient_id": " 80１a "},
    {"name": "张三丰", "visit": "V1"},
    {"name": "Anna Maria", "patient_id": "800"},
    {"guardian_name": "欧阳锋\U0010ffff", "visit": "v2"},
]


def ask(folder: Path, query: MessageQuery) -> tuple[list[int], bool]:
    page = run_search(list_segments(folder), query)
    return [row.id for row in page.rows], page.more


def fill(builder: Builder, rng: random.Random, most: int = 40, index: bool = True) -> None:
    """A few segments of anything, indexed completely, in part or not at all."""
    for _ in range(rng.randint(1, 3)):
        builder.new_segment()
        for _ in range(rng.randint(0, most)):
            routed = [
                (rng.choice(["r1", "r2"]), rng.choice(TARGETS), rng.choice(STATES))
                for _ in range(rng.choice([0, 1, 1, 2]))
            ]
            builder.add(
                source=rng.choice(SOURCES),
                type=rng.choice(TYPES),
                control_id=rng.choice(["", "1", "2", "a'b"]),
                correlation=rng.choice(["", "c1", "c2"]),
                conflict=rng.random() < 0.1,
                keys=rng.choice(KEYS),
                routed=routed,
                behind_ms=rng.choice([0, 0, 3, 500]),
                pass_ms=rng.choice([0, 1, 1, 40]),
            )
            if rng.random() < 0.15:  # an operator forwards an earlier message
                builder.deliver(rng.choice(builder.messages), rng.choice(["lis/in", "new/x"]), rng.choice(STATES))
            if rng.random() < 0.1:  # a delivery is split, perhaps long after
                earlier = rng.choice(builder.messages)
                for sent in earlier.sent[:1]:
                    builder.deliver(earlier, sent.target, rng.choice(STATES), sent.route, parent=sent.id)
        if index:
            index_now(builder.folder, limit=rng.choice([None, None, 7, 20]))


def some_query(
    messages: list[Stored], draw: Callable[[list[object]], object], often: Callable[[], bool]
) -> MessageQuery:
    times = [m.received_at // 1000 for m in messages] or [1]
    choices: dict[str, list[object]] = {
        "system": ["his", "lis", "no"],
        "source": ["his/adt", "lis/out", "his"],
        "type": ["ADT^A01", "ADT*", "*", "X", "ADT^A0"],
        "control_id": ["1", "a'b", "9"],
        "correlation": ["c1", "c9"],
        "state": list(DeliveryState),
        "target": ["lis", "lis/in", "pacs/in", "new", "no/such"],
        "route": ["r1", "no"],
        "conflict": [True, False],
        "keys": [
            {"patient_id": "801A"},
            {"patient_id": "800"},
            {"name": "三"},
            {"name": "三丰", "visit": "v1"},
            {"name": "AN"},
            {"name": "a", "patient_id": "800"},
            {"guardian_name": "锋\U0010ffff"},
            {"no_such": "1"},
            {"name": " "},
        ],
        "before": [m.id for m in messages] or [5],
        "since_ms": list(times),
        "until_ms": list(times),
        "limit": [1, 5, 50],
    }
    return MessageQuery(**{name: draw(values) for name, values in choices.items() if often()})  # type: ignore[arg-type]


def the_page(messages: list[Stored], query: MessageQuery) -> tuple[list[int], bool]:
    if query.state is DeliveryState.IN_FLIGHT:
        return [], False
    return expected(messages, query)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_any_filters_together_find_what_looking_at_every_message_finds(seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    builder = Builder(folder)
    try:
        fill(builder, rng)
        for _ in range(25):
            query = some_query(
                builder.messages, lambda values: data.draw(st.sampled_from(values)), lambda: rng.random() < 0.2
            )
            page = run_search(list_segments(folder), query)
            assert ([row.id for row in page.rows], page.more) == the_page(builder.messages, query), query
            by_id = {message.id: message for message in builder.messages}
            for row in page.rows:
                stored = by_id[row.id]
                assert row.deliveries == [(sent.target, sent.state) for sent in stored.sent]
                assert (row.source, row.type, row.control_id, row.keys) == (
                    stored.source,
                    stored.type,
                    stored.control_id,
                    stored.keys,
                )
                assert (row.received_at, row.size, row.conflict, row.correlation, row.causation) == (
                    stored.received_at,
                    len(stored.raw),
                    stored.conflict,
                    stored.correlation,
                    0,
                )
    finally:
        builder.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(8))
def test_short_runs_and_small_limits_change_nothing(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with many runs to a segment and with every plan taken."""
    rng = random.Random(seed)
    monkeypatch.setattr(keys_module, "RUN", rng.choice([1, 3, 10]))
    monkeypatch.setattr(runs_module, "MERGED_RUNS", rng.choice([2, 5]))
    monkeypatch.setattr(runs_module, "_ENTRIES", rng.choice([2, 20]))
    monkeypatch.setattr(reader_module, "_COUNTED", rng.choice([1, 4]))
    monkeypatch.setattr(keys_module, "_ENTRIES_AT_ONCE", 5)
    monkeypatch.setattr(search_module, "_FEW_DELIVERIES", rng.choice([0, 3, 1000]))
    monkeypatch.setattr(search_module, "_FEW_MESSAGES", rng.choice([0, 3, 1000]))
    monkeypatch.setattr(search_module, "_CHUNK", 2)
    monkeypatch.setattr(search_module, "_CHUNK_MOST", 4)
    builder = Builder(tmp_path)
    fill(builder, rng, most=80)
    for _ in range(150):
        query = some_query(builder.messages, rng.choice, lambda: rng.random() < 0.2)
        assert ask(tmp_path, query) == the_page(builder.messages, query), query
    builder.close()


def test_answers_stay_the_same_while_runs_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "RUN", 10)
    monkeypatch.setattr(runs_module, "MERGED_RUNS", 4)
    monkeypatch.setattr(runs_module, "_ENTRIES", 30)
    rng = random.Random(8)
    builder = Builder(tmp_path)
    fill(builder, rng, most=1, index=False)
    builder.new_segment()
    for number in range(130):
        builder.add(keys=rng.choice(KEYS), control_id=str(number), source=rng.choice(SOURCES))
    segment = list_segments(tmp_path)[-1]
    writer = keys_module.KeyWriter(segment)
    while writer.step(50):
        pass
    queries = [some_query(builder.messages, rng.choice, lambda: rng.random() < 0.2) for _ in range(20)]
    queries += [MessageQuery(keys={"name": "三"}), MessageQuery(control_id="77"), MessageQuery(source="his/adt")]

    def runs() -> list[tuple[int, int]]:
        connection = apsw.Connection(str(segment.keys_path))
        found = connection.execute("SELECT messages, merged FROM run ORDER BY first_id").fetchall()
        connection.close()
        return found  # type: ignore[return-value]

    steps = 0
    for complete in (False, True):
        more = True
        while more:
            more = writer.merge(complete)
            steps += 1
            if steps == 7:  # a merge is under way: messages go on coming
                for number in range(12):
                    builder.add(keys=rng.choice(KEYS), control_id=f"x{number}")
                writer.step()
            for query in queries:
                assert ask(tmp_path, query) == the_page(builder.messages, query), query
        assert [run[1] for run in runs()][:3] == [1, 1, 1]
        assert sum(run[0] for run in runs()) == 142
    assert runs()[3:] == [(22, 1)]
    assert steps > 30
    writer.close()
    connection = apsw.Connection(str(segment.keys_path))
    for table in ("entry", "seen"):
        left = connection.execute(f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT n FROM run)").fetchall()
        assert left == [(0,)]
    connection.close()
    builder.close()


def test_pages_follow_each_other_without_gap_or_overlap(tmp_path: Path) -> None:
    rng = random.Random(3)
    builder = Builder(tmp_path)
    fill(builder, rng, most=120)
    for query in (MessageQuery(limit=7), MessageQuery(limit=7, system="his"), MessageQuery(limit=7, target="lis")):
        found: list[int] = []
        while True:
            page = run_search(list_segments(tmp_path), query)
            found += [row.id for row in page.rows]
            if not page.more:
                break
            query = replace(query, before=page.rows[-1].id)
        assert found == expected(builder.messages, replace(query, before=0, limit=10**6))[0]
    builder.close()


def test_a_message_is_found_before_it_is_indexed(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.add(keys={"patient_id": "1"})
    index_now(tmp_path)
    late = builder.add(keys={"patient_id": "1", "name": "李四"}, control_id="77", routed=[("r", "lis/in", STATES[0])])
    for query in (
        MessageQuery(keys={"name": "李四"}),
        MessageQuery(control_id="77"),
        MessageQuery(target="lis"),
        MessageQuery(state=DeliveryState.PENDING, source="his/adt"),
    ):
        assert ask(tmp_path, query) == ([late.id], False)
    assert index_lag(list_segments(tmp_path)) == (1, 1)
    builder.close()


@pytest.mark.parametrize("part", ["张三", "三丰", "丰", "张三丰", "a 张"])
def test_any_part_of_a_name_is_found(tmp_path: Path, part: str) -> None:
    builder = Builder(tmp_path)
    wanted = builder.add(keys={"name": "Anna 张三丰"})
    builder.add(keys={"name": "张四"})
    builder.add(keys={"patient_id": "张三丰 a 张"})
    for indexed in (False, True):
        if indexed:
            assert index_now(tmp_path) == 3
        assert ask(tmp_path, MessageQuery(keys={"name": part})) == ([wanted.id], False)
    builder.close()


def test_a_name_is_found_by_a_part_longer_than_what_is_indexed(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    name = "".join(chr(0x4E00 + n) for n in range(200))
    wanted = builder.add(keys={"name": name})
    builder.add(keys={"name": name[:60]})
    index_now(tmp_path)
    assert ask(tmp_path, MessageQuery(keys={"name": name[10:70]})) == ([wanted.id], False)
    builder.close()


def test_state_and_target_are_asked_of_the_same_delivery(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.add(routed=[("r", "lis/in", DeliveryState.DEAD), ("r", "pacs/in", DeliveryState.DELIVERED)])
    index_now(tmp_path)
    assert ask(tmp_path, MessageQuery(target="pacs", state=DeliveryState.DEAD)) == ([], False)
    assert len(ask(tmp_path, MessageQuery(target="lis", state=DeliveryState.DEAD))[0]) == 1
    builder.close()


def test_after_the_clock_was_set_back_times_still_find_everything(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    for number in range(40):
        builder.add(pass_ms=1000, behind_ms=3_600_000 if number >= 20 else 0)
    index_now(tmp_path, limit=30)
    for query in (
        MessageQuery(
            since_ms=builder.messages[25].received_at // 1000, until_ms=builder.messages[27].received_at // 1000
        ),
        MessageQuery(
            since_ms=builder.messages[33].received_at // 1000, until_ms=builder.messages[0].received_at // 1000
        ),
        MessageQuery(until_ms=builder.messages[22].received_at // 1000, source="his/adt"),
    ):
        found = expected(builder.messages, query)
        assert found[0]
        assert ask(tmp_path, query) == found
    builder.close()


def test_several_folders_are_one_answer_in_order_of_id(tmp_path: Path) -> None:
    builders = [Builder(tmp_path / str(worker), worker) for worker in range(3)]
    rng = random.Random(5)
    for builder in builders:
        fill(builder, rng, most=60)
    messages = [message for builder in builders for message in builder.messages]
    segments = [segment for builder in builders for segment in list_segments(builder.folder)]
    rng.shuffle(segments)
    for _ in range(60):
        query = some_query(messages, rng.choice, lambda: rng.random() < 0.15)
        page = run_search(segments, query)
        assert ([row.id for row in page.rows], page.more) == the_page(messages, query), query
    for builder in builders:
        builder.close()


def test_a_segment_that_was_pruned_is_passed_over(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    gone = builder.new_segment()
    for _ in range(5):
        builder.add(routed=[("r", "lis/in", DeliveryState.DEAD)])
    builder.new_segment()
    builder.deliver(builder.messages[0], "lis/in", DeliveryState.DEAD)
    kept = builder.add(routed=[("r", "lis/in", DeliveryState.DEAD)])
    index_now(tmp_path)
    before = list_segments(tmp_path)
    for path in tmp_path.glob(f"*{gone.stem.removeprefix('segment')}.db*"):
        path.unlink()
    for segments in (before, list_segments(tmp_path)):
        for query in (MessageQuery(), MessageQuery(target="lis"), MessageQuery(state=DeliveryState.DEAD)):
            assert [row.id for row in run_search(segments, query).rows] == [kept.id]
    builder.close()


def test_messages_pruned_inside_a_segment_are_not_found(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    for _ in range(10):
        builder.add(keys={"patient_id": "1"}, raw=b"hello", routed=[("r", "lis/in", DeliveryState.DELIVERED)])
    index_now(tmp_path)
    for table, column in (("message", "id"), ("payload", "id"), ("delivery", "message_id")):
        builder.connection.execute(f"DELETE FROM {table} WHERE {column} < ?", (builder.messages[6].id,))
    left = [message.id for message in builder.messages[:5:-1]]
    for query in (MessageQuery(keys={"patient_id": "1"}), MessageQuery(text="hello"), MessageQuery(target="lis")):
        assert ask(tmp_path, query) == (left, False)
    builder.close()


@pytest.mark.parametrize(
    "harm", ["truncate", "overwrite header", "overwrite middle", "not a database", "empty", "table gone"]
)
@pytest.mark.parametrize("kind", ["keys", "text"])
def test_damaged_indexes_are_done_without_and_built_again(tmp_path: Path, kind: str, harm: str) -> None:
    builder = Builder(tmp_path)
    rng = random.Random(1)
    for number in range(3000):
        builder.add(
            keys={"patient_id": str(number % 50), "name": rng.choice("张王李赵") + chr(0x4E00 + number)},
            raw=f"hello {number}".encode(),
        )
    index_now(tmp_path)
    (path,) = tmp_path.glob(f"{kind}-*.db")
    harm_file(path, harm)
    query = MessageQuery(keys={"patient_id": "7"}, limit=100)
    for _ in range(2):
        assert ask(tmp_path, query) == expected(builder.messages, query)
        run_search(list_segments(tmp_path), MessageQuery(text="hello 7"))  # may find less, must not fail
    index_now(tmp_path)
    assert index_lag(list_segments(tmp_path)) == (0, 0)
    assert ask(tmp_path, query) == expected(builder.messages, query)
    assert ask(tmp_path, MessageQuery(text="hello 77")) == ([builder.messages[77].id], False)
    fresh = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert fresh.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not list(tmp_path.glob("*.rebuild"))
    builder.close()


def harm_file(path: Path, how: str) -> None:
    if how == "table gone":
        connection = apsw.Connection(str(path))
        connection.execute("DROP TABLE " + ("entry" if path.name.startswith("keys") else "doc"))
        connection.close()
        return
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "truncate":
            file.truncate(size // 2)
        elif how == "overwrite header":
            file.write(b"\xff" * 100)
        elif how == "overwrite middle":
            file.seek(4096)
            file.write(random.Random(0).randbytes(size - 4096))
        elif how == "not a database":
            file.truncate(0)
            file.write(b"this is no database, and never was; not at all" * 100)
        else:
            file.truncate(0)


def test_missing_indexes_only_cost_time(tmp_path: Path) -> None:
    rng = random.Random(9)
    builder = Builder(tmp_path)
    fill(builder, rng, most=60, index=False)
    for _ in range(50):
        query = some_query(builder.messages, rng.choice, lambda: rng.random() < 0.2)
        assert ask(tmp_path, query) == the_page(builder.messages, query), query
    builder.close()


@pytest.mark.parametrize(
    "hostile",
    [
        "' OR 1=1 --",
        '"); DROP TABLE message; --',
        "%",
        "_",
        "*",
        "\x00",
        "\ud800",
        "\U0010ffff",
        "h:3f2a",
        "[1,2]",
        "null",
    ],
)
def test_hostile_values_are_only_values(tmp_path: Path, hostile: str) -> None:
    builder = Builder(tmp_path)
    stored = hostile if hostile != "\ud800" else "x"
    wanted = builder.add(keys={"visit": stored, "name": stored}, control_id=stored, correlation=stored)
    builder.add(keys={"visit": "other", "name": "other"}, control_id="other", correlation="other")
    for indexed in (False, True):
        if indexed:
            index_now(tmp_path)
        for query in (
            MessageQuery(keys={"visit": hostile}),
            MessageQuery(keys={"name": hostile}),
            MessageQuery(control_id=hostile),
            MessageQuery(correlation=hostile),
        ):
            assert ask(tmp_path, query)[0] == ([] if hostile == "\ud800" else [wanted.id])
        for name in ("system", "source", "target", "route"):
            assert ask(tmp_path, MessageQuery(**{name: hostile})) == ([], False)
        ask(tmp_path, MessageQuery(keys={hostile: hostile}, type=hostile))
    builder.close()


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    for query in (
        MessageQuery(control_id="x" * 513),
        MessageQuery(keys={"visit": "x" * 513}),
        MessageQuery(keys={str(n): "x" for n in range(17)}),
    ):
        with pytest.raises(HubError) as caught:
            run_search([], query)
        assert caught.value.code == "search.value"
        assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        MessageQuery(since_ms=10**30),
        MessageQuery(since_ms=-(10**30)),
        MessageQuery(until_ms=10**30),
        MessageQuery(until_ms=-5),
        MessageQuery(before=10**30),
        MessageQuery(before=-1),
        MessageQuery(limit=10**9),
        MessageQuery(limit=-1),
    ],
)
def test_numbers_out_of_range_do_no_harm(tmp_path: Path, query: MessageQuery) -> None:
    builder = Builder(tmp_path)
    builder.connection.execute("BEGIN")
    for _ in range(LIMIT + 5):
        builder.add()
    builder.connection.execute("COMMIT")
    for indexed in (False, True):
        if indexed:
            index_now(tmp_path)
        rows, more = ask(tmp_path, query)
        assert len(rows) == (
            0
            if query.until_ms < 0 or query.since_ms > 0
            else 1
            if query.limit < 0
            else 50
            if query.limit == 50
            else LIMIT
        )
        assert more is (len(rows) > 0)
    builder.close()


def test_the_partial_indexes_of_deliveries_are_used(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.add(routed=[("r", "lis/in", DeliveryState.PENDING)])
    plans = []

    def record(cursor: apsw.Cursor, sql: str, values: object) -> bool:
        plans.append((sql, values))
        return True

    (segment,) = list_segments(tmp_path)
    connection = segment.connection()
    connection.exec_trace = record
    for state, index in ((DeliveryState.DEAD, "delivery_parked"), (DeliveryState.PENDING, "delivery_open")):
        for target in ("", "lis/in"):
            question = Question.of(MessageQuery(state=state, target=target))
            assert question is not None
            plans.clear()
            list(Deliveries(connection, question).in_state(0, 1 << 62, "1", []))
            walks = [(sql, values) for sql, values in plans if "ORDER BY d.id DESC" in sql]
            assert walks
            for sql, values in walks:
                plan = [row[3] for row in builder.connection.execute("EXPLAIN QUERY PLAN " + sql, values)]  # type: ignore[arg-type]
                assert any(index in line for line in plan), plan
                assert not any("TEMP B-TREE" in line for line in plan), plan
    builder.close()


def test_one_connection_serves_each_thread(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    fill(builder, random.Random(4), most=60)
    segments: list[SegmentFile] = list(list_segments(tmp_path))
    query = MessageQuery(system="his", limit=1000)
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: run_search(segments, query), range(40)))
    assert {tuple(row.id for row in page.rows) for page in pages} == {tuple(expected(builder.messages, query)[0])}
    builder.close()
