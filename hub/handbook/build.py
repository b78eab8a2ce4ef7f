"""Writes the handbook: pages, machine-readable descriptions and the index, in each language asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from hub.errors import HubError
from hub.handbook.asyncapi import asyncapi
from hub.handbook.html import document
from hub.handbook.index import SCRIPT, index
from hub.handbook.markdown import markdown
from hub.handbook.material import Material
from hub.handbook.openapi import openapi
from hub.handbook.page import page, title_of
from hub.handbook.services import descriptions
from hub.handbook.subject import Subject
from hub.i18n import language, set_language, t

__all__ = ["LANGUAGES", "contents", "in_each", "write"]

LANGUAGES = ("zh", "en")
_NAMES = {"zh": "中文", "en": "English"}


def write(
    material: Material,
    subjects: Sequence[Subject],
    out: Path,
    languages: Sequence[str] = LANGUAGES,
    *,
    systems: bool = False,
) -> int:
    """Write everything below ``out``; returns the number of files. Raises :class:`HubError` where it can't be written.

    A file whose content is the same is left alone. What else is there stays.
    """
    files = contents(material, subjects, languages, systems=systems)
    root = Path(os.path.abspath(out))
    for name, content in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.read_bytes() == content:
                continue
            _replace(path, content)
        except OSError as error:
            raise HubError(
                t(f"{path} can't be written: {error.strerror}", f"无法写入 {path}：{error.strerror}"),
                code="handbook.write",
                remedy=t("name another folder with --out", "请用 --out 指明其他文件夹"),
            ) from error
    return len(files)


def _replace(path: Path, content: bytes) -> None:
    """A reader sees the old page or the new one, never half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".handbook")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def contents(
    material: Material, subjects: Sequence[Subject], languages: Sequence[str] = LANGUAGES, *, systems: bool = False
) -> dict[str, bytes]:
    """Every file by its path below the folder; the same for the same contracts, byte for byte."""
    files: dict[str, bytes] = {}
    for subject in subjects:
        for name, content in descriptions(material, subject).items():
            files[f"{subject.id}/{name}"] = content
    for chosen in in_each(languages):
        for subject in subjects:
            files |= _of_subject(
                material, subject, chosen, languages, [name for name in files if name.endswith(".wsdl")]
            )
        other = _other(languages, "index", chosen)
        title = t("Interface handbook", "接口手册")
        html = index(material, subjects, systems=systems, suffix="html")
        search = t("Search: name, id, interface …", "搜索：名称、编号、接口……")
        files[f"index.{chosen}.html"] = document(title, html, other=other, script=SCRIPT, search=search).encode()
        files[f"index.{chosen}.md"] = markdown(index(material, subjects, systems=systems, suffix="md")).encode()
    return dict(sorted(files.items()))


def _of_subject(
    material: Material, subject: Subject, chosen: str, languages: Sequence[str], services: Sequence[str]
) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    beside: list[tuple[str, str]] = []
    for words, name, made in (
        ("OpenAPI 3.1", f"openapi.{chosen}.json", openapi(material, subject)),
        ("AsyncAPI 3.0", f"asyncapi.{chosen}.json", asyncapi(material, subject)),
    ):
        if made is not None:
            files[f"{subject.id}/{name}"] = _json(made)
            beside.append((words, name))
    for path in services:
        folder, _, name = path.partition("/")
        if folder == subject.id:
            beside.append((f"WSDL {name.removesuffix('.wsdl')}", name))
    blocks = page(material, subject, beside)
    other = _other(languages, "", chosen)
    files[f"{subject.id}/{chosen}.md"] = markdown(blocks).encode()
    files[f"{subject.id}/{chosen}.html"] = document(
        title_of(subject), blocks, other=other, home=f"../index.{chosen}.html"
    ).encode()
    return files


def _other(languages: Sequence[str], stem: str, chosen: str) -> tuple[str, str] | None:
    """Name and file of the page in the other language."""
    rest = [one for one in languages if one != chosen]
    return (_NAMES[rest[0]], f"{stem}{'.' if stem else ''}{rest[0]}.html") if rest else None


@contextmanager
def _speaking() -> Iterator[None]:
    before = language()
    try:
        yield
    finally:
        set_language(before)


def in_each(languages: Sequence[str]) -> Iterator[str]:
    """Each language in turn, as that of this process; afterwards it is what it was."""
    with _speaking():
        for chosen in languages:
            set_language(chosen)
            yield chosen


def _json(made: Mapping[str, Any]) -> bytes:
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
