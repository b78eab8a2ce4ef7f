"""Every scheme is told in words, in both languages, from its options and without its secrets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import Field, SecretStr

from hub.contract import Interface, Setting
from hub.handbook.blocks import Bullets, plain
from hub.handbook.build import in_each
from hub.handbook.material import Material
from hub.handbook.security_all import ALL
from hub.handbook.security_words import security_blocks
from hub.handbook.subject import Subject, of_plugin
from hub.security.load import BUILT_IN
from hub.security.scheme import Scheme, SchemeOptions
from tests.security.test_named_schemes import BOTH_SIDES

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def subject(repository: Material) -> Subject:
    return of_plugin(repository.plugin("payment_desk"))


def told(subject: Subject, security: list[Any], direction: str = "out") -> list[str]:
    part = {"direction": direction, "adapter": "http", "codec": "json", "security": security}
    blocks = security_blocks(subject, Interface.model_validate(part), {}, sends=direction == "out")
    return [plain(item) for block in blocks if isinstance(block, Bullets) for item in block.items]


def test_every_scheme_that_is_built_in_has_words() -> None:
    assert set(ALL) == set(BUILT_IN)


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("direction", ["out", "in"])
def test_words_in_both_languages(subject: Subject, name: str, direction: str) -> None:
    for language in in_each(("zh", "en")):
        steps = told(
            subject, [{name: {"private": "${token}", "secret": "${token}", "at": {"header": "X-S"}}}], direction
        )
        assert steps
        assert all(bool(HAN.search(step)) == (language == "zh") for step in steps if "业务系统" not in step), steps


@pytest.mark.parametrize("name", sorted(BOTH_SIDES))
def test_values_of_secret_options_are_not_told(subject: Subject, name: str) -> None:
    for direction, options in zip(("out", "in"), BOTH_SIDES[name], strict=False):
        text = "\n".join(told(subject, [{name: dict(options)}], direction))
        for key in ("secret", "private", "public", "key", "token", "app_secret", "api_key", "password"):
            value = options.get(key)
            if isinstance(value, str) and len(value) > 5:
                assert value not in text, key


def test_a_signature_is_told_from_its_options(subject: Subject) -> None:
    steps = told(
        subject,
        [
            {
                "signature": {
                    "algorithm": "sm2",
                    "private": "${token}",
                    "form": "raw",
                    "text": "{method}\n{path}\n{timestamp}\n{nonce}\n{body|sm3|hex}",
                    "values": {
                        "timestamp": {"now": "ms", "at": {"header": "X-Timestamp"}},
                        "nonce": {"random": 32, "at": {"query": "nonce"}},
                    },
                    "at": {"header": "X-Signature"},
                    "encoding": "base64",
                }
            }
        ],
    )
    text = "\n".join(steps)
    for wanted in (
        *("Unix time in milliseconds", "header X-Timestamp", "32 random hexadecimal digits", "query parameter nonce"),
        *("{method}\\n{path}\\n{timestamp}\\n{nonce}\\n{body|sm3|hex}", "put through sm3, hex", "SM2 with SM3"),
        *("r and s, 32 bytes each", "Base64", "header X-Signature", "token"),
    ):
        assert wanted in text, wanted


def test_fields_are_told_with_what_is_left_out(subject: Subject) -> None:
    (text,) = (
        step
        for step in told(
            subject,
            [
                {
                    "signature": {
                        "algorithm": "md5",
                        "secret": "${token}",
                        "fields": {"drop": ["input"], "drop_empty": False},
                        "text": "{fields}&key={secret}",
                        "at": {"field": "sign"},
                        "encoding": "HEX",
                    }
                }
            ],
        )
        if step.startswith("{fields}:")
    )
    assert "sorted by name" in text
    assert "input" in text
    assert "empty ones are included" in text


def test_a_setting_is_named_with_its_meaning(subject: Subject) -> None:
    assert isinstance(subject.settings["token"], Setting)
    steps = told(subject, [{"x_tif": {"paasid": "demo", "token": "${token}", "case": "upper"}}])
    assert any("token (token of the business system)" in step for step in steps)
    assert any("demo" in step for step in steps)
    assert any("capitals" in step for step in steps)


class Below(SchemeOptions):
    code: SecretStr


class OwnOptions(SchemeOptions):
    code: SecretStr
    earlier: list[SecretStr] = Field(default_factory=list)
    below: Below | None = None
    mode: str = "short"


class Own(Scheme):
    name = "own"
    options = OwnOptions


@pytest.mark.parametrize("added", [{"own": Own}, {}])
def test_a_scheme_of_a_plugin_is_told_without_what_is_secret(subject: Subject, added: dict[str, type[Scheme]]) -> None:
    """Neither where the scheme says what is secret nor where nobody knows it."""
    options = {"code": "LITERAL-1", "earlier": ["LITERAL-2"], "below": {"code": "LITERAL-3"}, "mode": "long"}
    part = {"direction": "out", "adapter": "http", "codec": "json", "security": [{"own": options}]}
    blocks = security_blocks(subject, Interface.model_validate(part), added, sends=True)
    text = "\n".join(plain(item) for block in blocks if isinstance(block, Bullets) for item in block.items)
    assert "LITERAL" not in text
    assert all(name in text for name in options)
    assert ("mode: long" in text) == bool(added)
