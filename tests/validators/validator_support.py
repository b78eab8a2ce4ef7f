"""What the tests of validators share: schema folders made on the spot, findings reduced to what a test is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hub.errors import Problem
from hub.mapping import Context
from hub.validators import Finding, Validator, load

SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")
CONTEXT = Context()


def write(folder: Path, **files: str | bytes) -> Path:
    """A schema folder with these files; ``__`` in a name is a slash, ``_`` before the suffix a dot."""
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / (stem.replace("__", "/") + "." + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def made(folder: Path, name: str, codec: str = "json") -> Validator:
    """The validator of a schema without faults."""
    validators, problems = load([folder], codec, schemas=[name])
    assert problems == []
    (validator,) = validators
    return validator


def faults(folder: Path, name: str, codec: str = "json") -> list[Problem]:
    """What is wrong with a schema that can't be used."""
    validators, problems = load([folder], codec, schemas=[name])
    assert validators == []
    assert problems
    return problems


def standard(codec: str, **format: Any) -> Validator:
    (validator,), problems = load([], codec, format, standard=True)
    assert problems == []
    return validator


def check(validator: Validator, tree: Any, raw: bytes = b"") -> list[Finding]:
    return validator.check(raw, tree, CONTEXT)


def short(findings: list[Finding]) -> list[tuple[str, str]]:
    """(rule, place) of each."""
    return [(finding.rule, finding.place) for finding in findings]
