from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import Setting
from hub.errors import Problem
from hub.secrets import Secret
from hub.settings import check_settings, referenced, substitute
from hub.yaml_source import parse

PLACE = parse(b"", "f.yaml").place()


def checked(setting: dict[str, Any], *given: Any, folder: Path = Path()) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    values = check_settings(
        {"s": Setting.model_validate(setting)},
        {"s": given[0]} if given else {},
        PLACE,
        PLACE,
        (folder, folder),
        problems,
    )
    return values["s"], [f"{p.key}: {p.text} -> {p.remedy}" for p in problems]


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("string", "a", "a"),
        ("string", 110001, "110001"),
        ("string", "", ""),
        ("integer", -5, -5),
        ("number", 2.5, 2.5),
        ("number", 2, 2),
        ("boolean", False, False),
        ("url", "https://a.example:8443/x?y=1", "https://a.example:8443/x?y=1"),
        ("url", "sftp://10.0.0.1/in", "sftp://10.0.0.1/in"),
        ("host", "his.example.org", "his.example.org"),
        ("host", "10.0.0.1", "10.0.0.1"),
        ("host", "::1", "::1"),
        ("host", "his_01", "his_01"),
        ("port", 0, 0),
        ("port", 65535, 65535),
        ("duration", "5s", 5.0),
        ("duration", 3, 3.0),
        ("list", ["a", 1], ["a", 1]),
    ],
)
def test_values(kind: str, given: Any, value: Any) -> None:
    found, problems = checked({"type": kind}, given)
    assert problems == []
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        ("string", 1.10, 's: expected text -> write e.g. "text in quotes"'),
        ("string", True, 's: expected text -> write e.g. "text in quotes"'),
        ("string", ["a"], 's: expected text -> write e.g. "text in quotes"'),
        ("integer", "012", "s: expected a whole number -> write e.g. 30"),
        ("integer", True, "s: expected a whole number -> write e.g. 30"),
        ("number", "x", "s: expected a number -> write e.g. 2.5"),
        ("boolean", "yes", "s: expected true or false -> write e.g. true"),
        ("boolean", 1, "s: expected true or false -> write e.g. true"),
        ("url", "his.example.org", "s: expected a URL -> write e.g. https://his.example.org:8443/api"),
        ("url", "http:// x", "s: expected a URL -> write e.g. https://his.example.org:8443/api"),
        ("url", 5, "s: expected a URL -> write e.g. https://his.example.org:8443/api"),
        (
            "url",
            "http://u:secret@h/",
            "s: a URL must not carry a user name or password -> take them out; use a setting of type secret",
        ),
        ("host", "a:80", "s: expected a host name or address, without a port -> write e.g. his.example.org"),
        ("host", "a b", "s: expected a host name or address, without a port -> write e.g. his.example.org"),
        ("host", "", "s: expected a host name or address, without a port -> write e.g. his.example.org"),
        ("port", -1, "s: expected a port, 1 to 65535, or 0 for any free one -> write e.g. 2575"),
        ("port", 65536, "s: expected a port, 1 to 65535, or 0 for any free one -> write e.g. 2575"),
        ("duration", "5 weeks", "s: expected a duration -> write e.g. 500ms, 5s, 30m, 24h, 90d"),
        ("duration", [], "s: expected a duration -> write e.g. 500ms, 5s, 30m, 24h, 90d"),
        ("list", "a", "s: expected a list -> write e.g. [a, b]"),
        (
            "secret",
            "hunter2",
            "s: a secret must not be written here"
            " -> put it in a file that only its owner may read and write file:PATH, or write env:NAME",
        ),
    ],
)
def test_wrong_types(kind: str, given: Any, problem: str) -> None:
    assert checked({"type": kind}, given) == (None, [problem])


def test_missing_default_and_choices() -> None:
    assert checked({}) == (None, [])
    assert checked({"required": True, "description": "the code"}) == (
        None,
        ["s: setting 's' is missing (the code) -> add s: … (string)"],
    )
    assert checked({"required": True}, None)[1] != []
    assert checked({"type": "duration", "default": "10s"}) == (10.0, [])
    assert checked({"type": "duration", "default": "10s", "required": True}, "1m") == (60.0, [])
    assert checked({"type": "port", "default": "x"})[1] == [
        "s.default: expected a port, 1 to 65535, or 0 for any free one -> write e.g. 2575"
    ]
    assert checked({"choices": ["a", "b"]}, "b") == ("b", [])
    assert checked({"choices": ["a", "b"]}, "c") == (None, ["s: 'c' is not one of the choices -> allowed: a, b"])


def test_unknown_settings() -> None:
    problems: list[Problem] = []
    assert check_settings({"base_url": Setting()}, {"base_ulr": "x"}, PLACE, PLACE, (Path(), Path()), problems) == {
        "base_url": None
    }
    assert [str(p) for p in problems] == ["f.yaml:1: base_ulr: unknown setting 'base_ulr' -> did you mean 'base_url'?"]


def test_secrets_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tiger\n")
    (tmp_path / "token").chmod(0o600)
    value, problems = checked({"type": "secret"}, "file:token", folder=tmp_path)
    assert problems == []
    assert isinstance(value, Secret)
    assert value.reveal() == "tiger"


VALUES = {"port": 2575, "code": "0012", "on": True, "time": 5.0, "list": [1], "absent": None, "token": Secret("tiger")}


def filled(data: Any, secrets: bool = False) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    return substitute(data, VALUES, secrets, ("key",), PLACE, problems), [str(p) for p in problems]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ("${port}", 2575),
        ("${ port }", 2575),
        ("${on}", True),
        ("${list}", [1]),
        ("${code}", "0012"),
        ("x-${code}-${port}", "x-0012-2575"),
        ("${on}!", "true!"),
        ("a${absent}b", "ab"),
        ("$${port}", "${port}"),
        ("$${a} ${port}", "${a} 2575"),
        ("$port {port} $ {", "$port {port} $ {"),
        ("${port", "${port"),
        ("${absent}", None),
        ({"a": "${absent}", "b": ["${port}", "${absent}", {"c": "${code}"}]}, {"b": [2575, {"c": "0012"}]}),
    ],
)
def test_substitution(data: Any, value: Any) -> None:
    assert filled(data) == (value, [])


def test_unknown_names() -> None:
    assert filled({"a": ["x ${prt}"]})[1] == ["f.yaml:1: key.a[0]: there is no setting 'prt' -> did you mean 'port'?"]
    assert filled("${}")[1][0].startswith("f.yaml:1: key: there is no setting ''")


def test_secrets_go_to_the_adapter_only() -> None:
    found, problems = filled({"auth": "Bearer ${token}", "key": "${token}"}, secrets=True)
    assert problems == []
    assert found == {"auth": "Bearer tiger", "key": "tiger"}
    # The adapter's models take plain text: what it does with it must not depend on how it puts texts together.
    assert [type(value) for value in found.values()] == [str, str]
    found, problems = filled({"when": "a == '${token}'"})
    assert problems == [
        "f.yaml:1: key.when: the secret 'token' can't be used here -> secrets belong in listen and connect"
    ]
    assert "tiger" not in str(found)


def test_referenced() -> None:
    assert referenced("${port}") == "port"
    assert [referenced(text) for text in ("x${port}", "$${port}", "", 5, None)] == [""] * 5


@given(st.text(alphabet="${}ab $"))
def test_escaped_text_comes_back(text: str) -> None:
    if "$${" not in text:
        assert filled(text.replace("${", "$${")) == (text, [])
