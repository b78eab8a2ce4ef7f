"""Rule sets written by a test, and messages they are asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.json_codec import JsonCodec
from hub.i18n import language, set_language
from hub.mapping import Context
from hub.mapping_tools.workbench import instant
from hub.quality import Assessment, QualityValidator, RuleLibrary

NOW = instant("2026-11-28T09:00:00+08:00")


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., RuleLibrary]:
    """A library of the sets given by name; a name may have folders."""

    def make(sets: dict[str, str], **options: Any) -> RuleLibrary:
        for name, text in sets.items():
            file = tmp_path / f"{name}.rules.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return RuleLibrary([tmp_path], **options)

    return make


@pytest.fixture
def rules(library: Callable[..., RuleLibrary]) -> Callable[..., QualityValidator]:
    """The validator of one set; its ``rules:`` are given, HL7 v2 unless another codec is said."""

    def make(text: str, codec: str = "hl7v2", **options: Any) -> QualityValidator:
        indented = "".join(f"  {line}\n" for line in text.strip("\n").splitlines())
        return library({"x": f"for: {{codec: {codec}}}\nrules:\n{indented}"}, **options).get("x")

    return make


def hl7(*segments: str) -> Any:
    """A decoded message; the header need not be written."""
    lines = (
        segments
        if segments[0].startswith("MSH")
        else ("MSH|^~\\&|A|B|C|D|20261120081200||ADT^A01|1|P|2.5.1", *segments)
    )
    return Hl7Codec().decode(("\r".join(lines) + "\r").encode(), encoding="utf-8")


def json(text: str) -> Any:
    return JsonCodec().decode(text.encode())


def assess(validator: QualityValidator, tree: Any) -> Assessment:
    return validator.assess(tree, Context(now_us=NOW))


def found(validator: QualityValidator, tree: Any) -> list[tuple[str, str]]:
    """(rule, place) of all findings."""
    return [(finding.rule, finding.place) for finding in assess(validator, tree).findings]
