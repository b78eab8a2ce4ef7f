"""Free text: words, Chinese characters, character sets, limits, and questions that try to be syntax."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hub.store.text as text_module
from hub.errors import HubError
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.indexer import index_now
from hub.store.search import run_search
from hub.store.segment import list_segments
from hub.store.text import TEXT_LENGTH, expression, index_text, payload_text
from tests.store.search_support import Builder, has_words

ADT = "MSH|^~\\&|HIS|总院|HUB||20260115||ADT^A01|77|P|2.4\rPID|1||800012345^^^MR||张三丰^Zhang||19710412|M\rOBX|1|NM|71.5|kg"


def texts(folder: Path, text: str, **other: object) -> list[int]:
    return [row.id for row in run_search(list_segments(folder), MessageQuery(text=text, **other)).rows]  # type: ignore[arg-type]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


@pytest.mark.parametrize(
    "question",
    [
        "张三", "三丰", "张", "丰", "张三丰", "总院", "zhang", "ZHANG", "Zhan*", "800012345", "8000*", "71.5", "adt^a01",
        "张三 800012345", "kg 总", "71.5 张三丰*", "ＡＤＴ", "OBX|1|NM",
    ],
)  # fmt: skip
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_what_is_in_a_message_finds_it(builder: Builder, question: str, charset: str) -> None:
    wanted = builder.add(raw=ADT.encode(charset))
    builder.add(raw="PID|1||80|00^^^MR||李四|7|5|院总".encode(charset))
    index_now(builder.folder)
    assert texts(builder.folder, question) == [wanted.id]
    builder.close()


@pytest.mark.parametrize(
    "question", ["张丰", "三张", "zhan", "hang*", "1.75", "张三丰 李四", "院张", "71.4", "张三 kgs"]
)
def test_what_is_not_in_a_message_does_not(builder: Builder, question: str) -> None:
    builder.add(raw=ADT.encode())
    index_now(builder.folder)
    assert texts(builder.folder, question) == []
    builder.close()


def test_characters_of_neighbouring_fields_are_not_one_word(builder: Builder) -> None:
    apart = builder.add(raw="张三|丰收".encode())
    together = builder.add(raw="张三丰收".encode())
    index_now(builder.folder)
    assert texts(builder.folder, "三丰") == [together.id]
    assert texts(builder.folder, "张三丰收") == [together.id]
    assert texts(builder.folder, "丰收 张三") == [together.id, apart.id]
    builder.close()


def test_rare_characters_outside_the_basic_plane_are_words_too(builder: Builder) -> None:
    wanted = builder.add(raw="PID|𬭎𠮷某".encode("gb18030"))
    index_now(builder.folder)
    for part in ("𬭎", "𬭎𠮷", "𠮷某"):
        assert texts(builder.folder, part) == [wanted.id]
    builder.close()


def test_letters_with_marks_and_of_other_scripts(builder: Builder) -> None:
    wanted = builder.add(raw="Müller Straße ЖУКОВ Éva ｆｕｌｌ １２".encode())
    index_now(builder.folder)
    for word in ("muller", "MÜLLER", "strasse", "жуков", "eva", "full", "12", "жук*"):
        assert texts(builder.folder, word) == [wanted.id], word
    builder.close()


def test_latin_1_is_the_last_resort(builder: Builder) -> None:
    wanted = builder.add(raw=b"caf\xe9|\xff\xff|ok")
    index_now(builder.folder)
    assert texts(builder.folder, "cafe ok") == [wanted.id]
    builder.close()


def test_escaped_characters_of_json_are_found(builder: Builder) -> None:
    wanted = builder.add(raw=b'{"name": "\\u5f20\\u4e09\\ud842\\udfb7", "x": "\\ud800"}')
    index_now(builder.folder)
    assert texts(builder.folder, "张三𠮷") == [wanted.id]
    builder.close()


def test_long_coded_runs_are_left_out() -> None:
    line = "QUJD" * 19
    folded = "\r\n".join([line] * 4)
    found = payload_text(f"before {'A1b2' * 60} between {folded}\r\nZZZZ after {'0f' * 100}".encode())
    assert "A1b2" not in found
    assert "QUJD" not in found
    assert all(word in found for word in ("before", "between", "after", "0f" * 100))


def test_reading_a_hostile_payload_takes_no_more_than_linear_time() -> None:
    for piece in (b"A" * 199 + b" ", b"A" * 100 + b"\r\n", b"a+/=_-" * 33 + b"|", b"\\u12", "张".encode(), b"\xff"):
        raw = (piece * (TEXT_LENGTH // len(piece) + 1))[:TEXT_LENGTH]
        assert len(index_text(payload_text(raw, True))) < 6 * TEXT_LENGTH


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
@pytest.mark.parametrize("shift", range(5))
def test_only_the_beginning_of_a_large_payload_is_read(builder: Builder, charset: str, shift: int) -> None:
    raw = b"x" * shift + b" " + ("张三 " * (TEXT_LENGTH // 5)).encode(charset) + b"theend"
    wanted = builder.add(raw=b"theend " + raw)
    builder.add(raw=raw)
    index_now(builder.folder)
    assert texts(builder.folder, "theend") == [wanted.id]
    assert len(texts(builder.folder, "张三")) == 2
    builder.close()


def test_a_payload_that_was_removed_is_no_obstacle(builder: Builder) -> None:
    builder.add(raw=b"gone")
    large = builder.add(raw=b"large " * TEXT_LENGTH)
    wanted = builder.add(raw=b"here")
    builder.connection.execute("DELETE FROM payload WHERE id <> ?", (wanted.id,))
    index_now(builder.folder)
    assert texts(builder.folder, "here") == [wanted.id]
    assert texts(builder.folder, "large") == []
    assert large.id in [row.id for row in run_search(list_segments(builder.folder), MessageQuery()).rows]
    builder.close()


@pytest.mark.parametrize("most_probed", [0, 16, 10**6])
def test_text_together_with_other_filters(builder: Builder, most_probed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_PROBED", most_probed)
    for number in range(300):
        builder.add(
            source="his/adt" if number % 3 else "lis/out",
            raw=f"word{number % 7} 张{'三' if number % 5 else '四'}".encode(),
            keys={"patient_id": str(number % 11)},
            routed=[("r", "lis/in", DeliveryState.DEAD if number % 10 == 0 else DeliveryState.DELIVERED)],
        )
        if number == 150:
            builder.new_segment()
    index_now(builder.folder)
    every = list(enumerate(builder.messages))[::-1]
    cases = [
        ({"source": "lis/out"}, lambda n: n % 3 == 0),
        ({"keys": {"patient_id": "4"}}, lambda n: n % 11 == 4),
        ({"state": DeliveryState.DEAD}, lambda n: n % 10 == 0),
        ({"state": DeliveryState.DELIVERED}, lambda n: n % 10 != 0),
        ({"target": "lis", "system": "his"}, lambda n: n % 3 != 0),
        ({"target": "no"}, lambda n: False),
        ({"before": builder.messages[200].id}, lambda n: n < 200),
        ({"since_ms": builder.messages[100].received_at // 1000}, lambda n: n >= 100),
        ({"until_ms": builder.messages[100].received_at // 1000}, lambda n: n < 100),
    ]
    for other, holds in cases:
        wanted = [m.id for n, m in every if n % 7 == 3 and n % 5 == 0 and holds(n)]
        assert texts(builder.folder, "word3 张四", limit=1000, **other) == wanted, other
    builder.close()


def test_lag_tells_what_free_text_can_not_find_yet(builder: Builder) -> None:
    for _ in range(10):
        builder.add(raw=b"hello")
    index_now(builder.folder, limit=4)
    page = run_search(list_segments(builder.folder), MessageQuery(text="hello"))
    assert (len(page.rows), page.text_lag) == (4, 6)
    builder.new_segment()
    builder.add(raw=b"hello")
    page = run_search(list_segments(builder.folder), MessageQuery(text="hello"))
    assert (len(page.rows), page.text_lag) == (4, 7)
    index_now(builder.folder)
    page = run_search(list_segments(builder.folder), MessageQuery(text="hello"))
    assert (len(page.rows), page.text_lag) == (11, 0)
    builder.close()


WORDS = ["adt", "a01", "800012345", "张三", "三丰", "张三丰", "李", "丰", "zhang", "x1y2", "总院"]


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(
        st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["|", "^", "", " ", "\r"])), max_size=8), max_size=12
    ),
    charset=st.sampled_from(["utf-8", "gb18030"]),
    questions=st.lists(
        st.lists(st.sampled_from([*WORDS, "三", "丰李", "zha*", "8000*", "x1y*", "院张"]), min_size=1, max_size=3),
        max_size=8,
    ),
)
def test_any_words_find_what_reading_every_message_finds(
    payloads: list[list[tuple[str, str]]], charset: str, questions: list[list[str]]
) -> None:
    folder = Path(tempfile.mkdtemp())
    builder = Builder(folder)
    try:
        bodies = ["".join(word + gap for word, gap in parts) for parts in payloads]
        stored = [builder.add(raw=body.encode(charset)) for body in bodies]
        index_now(folder)
        for words in questions:
            question = " ".join(words)
            wanted = [m.id for m, body in zip(stored, bodies, strict=True) if has_words(body, question)]
            assert texts(folder, question) == wanted[::-1], question
    finally:
        builder.close()
        shutil.rmtree(folder)


@settings(max_examples=300, deadline=None)
@given(raw=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_can_be_indexed(raw: bytes) -> None:
    for cut in (False, True):
        index_text(payload_text(raw, cut)).encode()


FTS = apsw.Connection(":memory:")
FTS.execute("CREATE VIRTUAL TABLE body USING fts5(text, content='', columnsize=0, tokenize='ascii')")


@settings(max_examples=500, deadline=None)
@given(question=st.one_of(st.text(max_size=220), st.text("\"'*()^-+:{}AND OR NOT NEAR\x00张三a1", max_size=60)))
def test_no_question_is_syntax(question: str) -> None:
    try:
        match = expression(question)
    except HubError as refused:
        match = ""
        refusal = refused
    if not match:
        assert (refusal.code, bool(refusal.remedy)) == ("search.text", True)
        return
    outside = re.sub(r'"[^"]*"', "", match)
    assert re.fullmatch(r"[ *]*(AND[ *]*)*", outside)
    FTS.execute("SELECT rowid FROM body WHERE body MATCH ?", (match,)).fetchall()


@pytest.mark.parametrize(
    "question",
    ['"', 'a" OR "b', "text:a", "a NEAR b", "NOT a", "a AND", "(a", "a^", "^a", "- a", "a + b", "{text}: a", "a OR"],
)
def test_operators_of_fts_are_words_or_nothing(builder: Builder, question: str) -> None:
    builder.add(raw=b"b c d")
    both = builder.add(raw=b"text a or b near not and")
    index_now(builder.folder)
    words = re.findall("[a-zA-Z]+", question)
    if words:
        assert texts(builder.folder, question) == [both.id]
    else:
        with pytest.raises(HubError):
            texts(builder.folder, question)
    builder.close()


@pytest.mark.parametrize("question", ["x" * 201, "|^~", "***", "ab*", "张三 1*", " ".join("abcdefghijklmnopq")])
def test_questions_that_can_not_be_answered_are_refused_with_a_remedy(builder: Builder, question: str) -> None:
    builder.add()
    with pytest.raises(HubError) as caught:
        texts(builder.folder, question)
    assert caught.value.code == "search.text"
    assert caught.value.remedy
    builder.close()


def test_half_a_surrogate_pair_separates_words(builder: Builder) -> None:
    wanted = builder.add(raw=b"a")
    index_now(builder.folder)
    assert texts(builder.folder, "a\ud800") == [wanted.id]
    assert texts(builder.folder, "a\ud800b") == []
    builder.close()
