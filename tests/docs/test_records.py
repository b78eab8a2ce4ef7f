"""The examples about records work: contracts are accepted, mappings compile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hub.codecs.options import configure
from hub.codecs.registry import builtin_codecs
from hub.errors import Problem
from hub.mapping import MappingLibrary
from hub.yaml_source import load

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples(tmp_path: Path, number: int) -> None:
    example = EXAMPLES[number]
    file = tmp_path / "example.yaml"
    file.write_text(example, encoding="utf-8")
    if "from:" in example:
        assert MappingLibrary([tmp_path]).problems() == []
        return
    problems: list[Problem] = []
    contract = yaml.safe_load(example)
    codec = next(codec for codec in builtin_codecs() if codec.name == contract["codec"])
    assert configure(codec, contract["format"], load(file).place("format"), problems) is not None
    assert problems == []


def test_every_codec_is_listed() -> None:
    for name in ("csv", "excel", "fixed", "jsonl", "form", "multipart", "text", "binary"):
        assert f"| `{name}` |" in TEXT
