"""The small parsers of the HTTP adapter against hostile text: they end in a value, never in another error."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.answer import json_error, retry_after
from adapters.http.auth import Gate
from adapters.http.problem import Refusal, problem_response, wants
from adapters.http.request import header_line
from adapters.http.server_options import InboundAuth
from hub.api import PermanentError

surrogates = st.text(alphabet=st.characters(codec=None))


@given(surrogates)
def test_accept_language(text: str) -> None:
    assert wants(text) in ("zh", "en")


@given(st.lists(st.sampled_from(["zh", "en", "fr"]), min_size=1), st.data())
def test_the_higher_weight_wins(tags: list[str], draw: st.DataObject) -> None:
    weights = [draw.draw(st.integers(1, 1000)) / 1000 for _ in tags]
    header = ", ".join(f"{tag};q={weight}" for tag, weight in zip(tags, weights, strict=True))
    known = [(weight, tag) for tag, weight in zip(tags, weights, strict=True) if tag != "fr"]
    if known and len(header) <= 256:
        best = max(weight for weight, _ in known)
        assert wants(header) in {tag for weight, tag in known if weight == best}


@given(surrogates, st.sampled_from(["basic", "bearer", "api_key"]))
def test_only_the_right_credentials_pass(text: str, kind: str) -> None:
    gate = Gate(InboundAuth.model_validate({"type": kind, "user": "hub", "secret": "never drawn by chance"}))
    for value in (text, f"{kind} {text}", f"basic {base64.b64encode(text.encode('utf-8', 'replace')).decode()}"):
        with pytest.raises(Refusal) as caught:
            gate.check({"Authorization": value, "X-Api-Key": value})
        assert caught.value.status == 401


@given(st.text(max_size=40) | st.integers().map(str) | st.floats().map(str))
def test_retry_after(text: str) -> None:
    assert 0.0 <= retry_after(text) <= 86400.0


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_error_objects(body: bytes) -> None:
    assert isinstance(json_error(body), str)


@given(st.dictionaries(st.sampled_from(["title", "detail", "code", "msg", "x"]), st.text() | st.integers()))
def test_error_objects_with_known_members(tree: dict[str, str | int]) -> None:
    said = json_error(json.dumps(tree).encode())
    for name, value in tree.items():
        if name != "x":
            assert str(value)[:300] in said


@given(surrogates)
def test_a_header_is_one_line_or_refused(value: str) -> None:
    try:
        line = header_line("x-a", value)
    except PermanentError:
        assert any(char < " " or char == "\x7f" for char in value)
        return
    assert line.count(b"\n") == 1
    assert line.endswith(b"\r\n")
    assert b"\r" not in line[:-2]
    assert b"\x00" not in line


@given(surrogates, surrogates)
def test_a_problem_document_can_always_be_written(path: str, language: str) -> None:
    answer = problem_response(language, path, 404, "http.no_such_path", ("nothing", "没有"))
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["status"] == 404
