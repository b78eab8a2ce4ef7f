"""Search in a large store: makes one, indexes it, and measures each kind of question.

``python -m benchmarks.search [COUNT]`` (default ten million messages, about 15 GB under ``var/bench-search``, removed at the end).
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import orjson

from hub.ids import EPOCH_MS
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.control_runs import RUN
from hub.store.indexer import FolderIndexer, index_now
from hub.store.schema import SEGMENT
from hub.store.search import run_search
from hub.store.segment import SegmentFile, list_segments, segment_path

FOLDER = Path(__file__).resolve().parents[1] / "var" / "bench-search"
PER_SEGMENT = 1_000_000
DAYS = 30
START_MS = EPOCH_MS + 150_000_000_000
PATIENTS = 500_000
SOURCES = [
    "his/adt",
    "his/orders",
    "lis/results",
    "ris/reports",
    "emr/documents",
    "pay/bills",
    "freight/waybills",
    "card/swipes",
]
TYPES = [f"{kind}^{event:03d}" for kind in ("ADT", "ORM", "ORU", "MDM", "DFT", "SIU") for event in range(1, 6)]
TARGETS = ["lis/orders", "pacs/worklist", "emr/archive", "region/upload", "sms/notify", "insurance/claims"]
ROUTES = [f"route_{n}" for n in range(len(TARGETS))]
RARE_SOURCE, RARE_TYPE, SILENT_TARGET = "old/adt", "ZZZ^Z01", "spare/in"
NAMES = [*SOURCES, *TYPES, *TARGETS, *ROUTES, "hl7v2", "", RARE_SOURCE, RARE_TYPE, SILENT_TARGET]
NUMBER = {name: place for place, name in enumerate(NAMES, 1)}
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国文志海春梅晓东雪琴宇浩然子轩欣怡梓涵诗一诺俊博思雨嘉懿煜城昊天若汐可馨宏远致修"
FINDINGS = [
    "双肺纹理增多",
    "心影大小形态正常",
    "肝脏回声均匀",
    "未见明显异常",
    "建议复查",
    "左侧胸腔积液",
    "甲状腺结节",
    "血压偏高",
    "空腹血糖升高",
    "腰椎间盘突出",
]


def name_of(patient: int) -> str:
    chance = random.Random(patient)
    surname = SURNAMES[min(int(chance.expovariate(0.06)), len(SURNAMES) - 1)]
    return surname + "".join(chance.choices(GIVEN, k=chance.choice((1, 2, 2))))


def build(count: int) -> float:
    """Write the segments; returns seconds."""
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    people = [name_of(patient) for patient in range(PATIENTS)]
    chance = random.Random(1)
    step_us = DAYS * 86_400_000_000 // count
    for first in range(0, count, PER_SEGMENT):
        numbers = range(first, min(first + PER_SEGMENT, count))
        connection = apsw.Connection(str(segment_path(FOLDER, _id(first * step_us, 0))))
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
        connection.execute(SEGMENT)
        connection.executemany("INSERT INTO name VALUES (?, ?)", [(number, name) for name, number in NUMBER.items()])
        for start in range(numbers.start, numbers.stop, 20_000):
            part = range(start, min(start + 20_000, numbers.stop))
            with connection:
                _insert(connection, part, count, step_us, people, chance)
        connection.close()
    return time.monotonic() - began


def _id(at_us: int, counter: int) -> int:
    return ((START_MS - EPOCH_MS + at_us // 1000) << 22) | counter


def _insert(
    connection: apsw.Connection, part: range, count: int, step_us: int, people: list[str], chance: random.Random
) -> None:
    messages, payloads, deliveries = [], [], []
    number = NUMBER
    for n in part:
        at_us = n * step_us
        row_id = _id(at_us, (n * 8) & 0xFFFF)
        patient = chance.randrange(PATIENTS)
        source, kind = SOURCES[n % 8], TYPES[chance.randrange(30)]
        if n % 100_000 == 7:
            source, kind = RARE_SOURCE, RARE_TYPE
        name, visit, control = people[patient], f"V{n // 3:08d}", f"MSG{n:010d}"
        keys = {
            "patient_id": f"80{patient:07d}",
            "name": name,
            "visit": visit,
            "id_number": f"h:{patient * 2654435761 % 2**64:016x}",
        }
        raw = (
            f"MSH|^~\\&|{source}||HUB||20260115093015||{kind}|{control}|P|2.4\rPID|1||80{patient:07d}^^^MR||{name}||1971{patient % 12 + 1:02d}12|F|||"
            f"东城区解放路{patient % 900}号||1391{patient:07d}\rPV1|1|I|W{n % 40}^B{n % 9}|||||7001^孙医生||||||||||||{visit}\r"
            f"OBX|1|NM|8302-2^Height||{150 + n % 50}|cm\rOBX|2|TX|{n % 977}^报告||{FINDINGS[n % 10]}，{FINDINGS[chance.randrange(10)]}。||||||F\r"
        ).encode()  # fmt: skip
        targets = [n % 6] if n % 3 else [n % 6, (n + 1) % 6]
        routed = ",".join(f"{number[ROUTES[t]]}>{number[TARGETS[t]]}" for t in targets)
        received = (START_MS * 1000) + at_us
        messages.append(
            (row_id, n + 1, received, number[source], number[kind], number["hl7v2"], control, b"0123456789abcdef", len(raw),
             int(n % 5000 == 11), 0, f"C{n // 2:010d}" if n % 4 == 0 else "", routed, orjson.dumps(keys).decode())
        )  # fmt: skip
        payloads.append((row_id, raw))
        for place, t in enumerate(targets, 1):
            state = DeliveryState.DELIVERED
            if chance.random() < 0.001:
                state = DeliveryState.DEAD
            elif n % 200_000 == 9:
                state = DeliveryState.HELD
            elif n > count - 500:
                state = DeliveryState.PENDING if n % 10 else DeliveryState.RETRYING
            deliveries.append(
                (
                    row_id + place,
                    row_id,
                    number[ROUTES[t]],
                    number[TARGETS[t]],
                    int(state),
                    visit,
                    1,
                    0,
                    "",
                    "",
                    0,
                    0,
                    0,
                    received,
                )
            )
    # Sorted runs of control ids, as the hub writes them.
    control = sorted(
        ((message[1] - 1) % PER_SEGMENT // RUN + 1, message[6], message[3], message[0])
        for message in messages
        if not message[9]
    )
    for table, rows in (("message", messages), ("payload", payloads), ("delivery", deliveries), ("control", control)):
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # type: ignore[arg-type]


def index(text_messages: int) -> tuple[float, float, float]:
    """Bring both indexes up to date as the indexer does; returns seconds for keys, for text, and the longest step."""
    spent = []
    longest = 0.0
    for text in (False, True):
        indexer = FolderIndexer(FOLDER, text=text, text_messages=text_messages)
        began = last = time.monotonic()
        while indexer.work():
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        indexer.close()
        index_now(FOLDER, text=False)
        spent.append(time.monotonic() - began)
    return spent[0], spent[1], longest


def questions(count: int) -> Iterator[tuple[str, Callable[[random.Random], MessageQuery]]]:
    """Kinds of questions; those marked "nothing" have no answer and are the worst case."""
    end_ms = START_MS + DAYS * 86_400_000
    some = DeliveryState

    def patient(chance: random.Random) -> int:
        return chance.randrange(PATIENTS)

    yield "newest, no filter", lambda c: MessageQuery()
    yield (
        "a day",
        lambda c: MessageQuery(since_ms=(at := START_MS + c.randrange(DAYS) * 86_400_000), until_ms=at + 86_400_000),
    )
    yield "source", lambda c: MessageQuery(source=c.choice(SOURCES))
    yield "system", lambda c: MessageQuery(system="his")
    yield "rare source", lambda c: MessageQuery(source=RARE_SOURCE, limit=200)
    yield "type", lambda c: MessageQuery(type=c.choice(TYPES))
    yield "type prefix", lambda c: MessageQuery(type="ADT*")
    yield "type of another source: nothing", lambda c: MessageQuery(source=c.choice(SOURCES), type=RARE_TYPE)
    yield "control id", lambda c: MessageQuery(control_id=f"MSG{c.randrange(count):010d}")
    yield "control id: nothing", lambda c: MessageQuery(control_id="nothing")
    yield "correlation", lambda c: MessageQuery(correlation=f"C{c.randrange(count // 2) // 2 * 2:010d}")
    yield "patient", lambda c: MessageQuery(keys={"patient_id": f"80{patient(c):07d}"})
    yield "patient: nothing", lambda c: MessageQuery(keys={"patient_id": "none"})
    yield "patient and source", lambda c: MessageQuery(keys={"patient_id": f"80{patient(c):07d}"}, source="his/adt")
    yield (
        "id number and dead",
        lambda c: MessageQuery(keys={"id_number": f"h:{patient(c) * 2654435761 % 2**64:016x}"}, state=some.DEAD),
    )
    yield "whole name", lambda c: MessageQuery(keys={"name": name_of(patient(c))})
    yield "two characters of a name", lambda c: MessageQuery(keys={"name": "".join(c.choices(GIVEN, k=2))})
    yield "surname", lambda c: MessageQuery(keys={"name": c.choice(SURNAMES[:10])})
    yield "surname and rare source", lambda c: MessageQuery(keys={"name": c.choice(SURNAMES[:10])}, source=RARE_SOURCE)
    yield "surname and silent target: nothing", lambda c: MessageQuery(keys={"name": "王"}, target=SILENT_TARGET)
    yield "name and other visit: nothing", lambda c: MessageQuery(keys={"name": "张", "visit": "V00000000x"})
    yield "surname and dead", lambda c: MessageQuery(keys={"name": c.choice(SURNAMES[:10])}, state=some.DEAD)
    yield "surname and held: nothing", lambda c: MessageQuery(keys={"name": "王"}, state=some.HELD, type=RARE_TYPE)
    yield (
        "name and patient",
        lambda c: (lambda p: MessageQuery(keys={"name": name_of(p)[:2], "patient_id": f"80{p:07d}"}))(patient(c)),
    )
    yield "target", lambda c: MessageQuery(target=c.choice(TARGETS))
    yield "route and type", lambda c: MessageQuery(route=c.choice(ROUTES), type=c.choice(TYPES))
    yield "silent target: nothing", lambda c: MessageQuery(target=SILENT_TARGET)
    yield "dead", lambda c: MessageQuery(state=some.DEAD)
    yield "dead at a target", lambda c: MessageQuery(state=some.DEAD, target=c.choice(TARGETS))
    yield "dead from rare source: nothing", lambda c: MessageQuery(state=some.DEAD, source=RARE_SOURCE)
    yield "held of a type", lambda c: MessageQuery(state=some.HELD, type=c.choice(TYPES))
    yield "pending", lambda c: MessageQuery(state=some.PENDING)
    yield "retrying from rare source: nothing", lambda c: MessageQuery(state=some.RETRYING, source=RARE_SOURCE)
    yield "delivered at a target", lambda c: MessageQuery(state=some.DELIVERED, target=c.choice(TARGETS))
    yield "delivered at silent target: nothing", lambda c: MessageQuery(state=some.DELIVERED, target=SILENT_TARGET)
    yield "conflict", lambda c: MessageQuery(conflict=True)
    yield "conflict from rare source: nothing", lambda c: MessageQuery(conflict=True, source=RARE_SOURCE)
    yield "hour, source, type, target", lambda c: MessageQuery(
        since_ms=(at := START_MS + c.randrange(DAYS * 24) * 3_600_000), until_ms=at + 3_600_000,
        source=c.choice(SOURCES), type=c.choice(TYPES), target=c.choice(TARGETS),
    )  # fmt: skip
    yield (
        "page far down",
        lambda c: MessageQuery(source="his/adt", before=_id(c.randrange(DAYS * 86_400_000) * 1000, 0)),
    )
    yield "text: patient number", lambda c: MessageQuery(text=f"80{patient(c):07d}", since_ms=end_ms - 3 * 86_400_000)
    yield "text: two characters", lambda c: MessageQuery(text="".join(c.choices(GIVEN, k=2)))
    yield "text: one character", lambda c: MessageQuery(text=c.choice(GIVEN))
    yield "text: finding and name", lambda c: MessageQuery(text=f"{c.choice(FINDINGS)} {name_of(patient(c))}")
    yield "text: prefix", lambda c: MessageQuery(text=f"80{patient(c) // 1000:04d}*")
    yield "text: short prefix", lambda c: MessageQuery(text="139*")
    yield "text: common words, nothing", lambda c: MessageQuery(text="HUB 未见 积液 报告 nothing")
    yield "text: common words never together", lambda c: MessageQuery(text="肝脏回声均匀 双肺纹理增多 左侧胸腔积液")
    yield "text: common word and rare source", lambda c: MessageQuery(text="HUB", source=RARE_SOURCE)
    yield "text: common word and dead", lambda c: MessageQuery(text="HUB", state=some.DEAD)
    yield "text: rare word and source", lambda c: MessageQuery(text=f"{c.choice(FINDINGS)} 8000001*", source="his/adt")


def measure(segments: list[SegmentFile], make: Callable[[random.Random], MessageQuery], times: int) -> list[float]:
    """Milliseconds of each of several questions of a kind."""
    chance = random.Random(7)
    run_search(segments, make(chance))
    took = []
    for _ in range(times):
        query = make(chance)
        began = time.perf_counter()
        run_search(segments, query)
        took.append((time.perf_counter() - began) * 1000)
    return took


def main(count: int = 10_000_000, times: int = 15, keep: bool = False) -> list[tuple[str, float, str]]:
    """Build, index, ask; prints a table and returns (name, value, unit)."""
    rows: list[tuple[str, float, str]] = []

    def tell(name: str, value: float, unit: str) -> None:
        rows.append((name, value, unit))
        print(f"{name:<52}{value:>12.1f} {unit}", flush=True)

    if not keep or not FOLDER.exists():
        tell("store built", count / build(count), "messages/s")
        text_messages = min(count, PER_SEGMENT)
        keys, text, longest = index(text_messages)
        tell("business keys indexed", count / keys, "messages/s")
        tell("free text indexed", text_messages / text, "messages/s")
        tell("longest step of the indexer", longest * 1000, "ms")
    for kind in ("segment", "keys", "text"):
        tell(f"{kind} files", sum(path.stat().st_size for path in FOLDER.glob(f"{kind}-*.db")) / 1e6, "MB")
    segments = list(list_segments(FOLDER))
    for name, make in questions(count):
        took = measure(segments, make, times)
        tell(f"{name}: p50", statistics.median(took), "ms")
        tell(f"{name}: worst", max(took), "ms")
    if not keep:
        shutil.rmtree(FOLDER)
    return rows


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000, keep="--keep" in sys.argv)
