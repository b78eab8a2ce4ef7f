"""Whether personal data of the messages has got where it must not be: log lines, error texts, reasons of dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.mapping import CompiledMapping
from hub.mapping_tools.workbench import Circumstances
from hub.masking import mask, mask_text
from hub.message import Direction
from hub.privacy.message import hidden_values
from hub.privacy.model import Act, View
from hub.privacy.site import policy
from hub.store.base import CallQuery, DeliveryQuery, StoreReader
from hub.verify.model import Result
from hub.verify.observed import MOST_LINES
from hub.verify.rig import RigError
from hub.verify.samples import Sample
from hub.verify.site import VerifySite
from hub.verify.talk import Skip, Talk, tried

__all__ = ["leaks", "mapping_leaks"]

#: Classes of values that must not show; dates and places are not told apart reliably enough from what is harmless.
_CLASSES = ("name", "id_number", "phone")
_VIEW = View("verify", level=99, classes=dict.fromkeys(_CLASSES, Act.MASK))
_SHORTEST = 2
#: What stands in the place of single values of a message, so that its mapping fails on them: nobody's data.
_MARKS = ("欧阳验密", "110101199003070011", "13800008888")
#: Values of one message that are spoiled one after the other.
_MOST_SPOILED = 60
#: Rows of one page.
_ROWS = 5000


def personal_values(samples: Iterable[Sample]) -> set[str]:
    """Names, citizen numbers and phones that stand in the messages."""
    found: set[str] = set()
    for sample in samples:
        shown = hidden_values(policy(), sample.codec, sample.raw, _VIEW)
        found |= {text for text in shown if len(text) >= _SHORTEST and not text.isascii()}
        found |= {text for text in shown if re.fullmatch(r"[0-9]{11,18}[Xx]?", text)}
    return found


def _received(talk: Talk) -> Iterator[Sample]:
    """What the party has sent: the examples of ``in`` interfaces."""
    folder = talk.party.subject.plugin.folder
    for one in talk.party.interfaces.values():
        if one.direction == "in":
            for example in one.examples:
                with suppress(OSError):
                    yield Sample(example, (folder / example).read_bytes(), one.codec)


async def leaks(talk: Talk) -> Result:
    """After everything has gone wrong that was made to: what was written of it."""

    async def work() -> str:
        rig = talk.rig
        reader = rig.node.store.reader
        if not await reader.calls(CallQuery(place=talk.party.id, limit=1)):
            raise Skip(t("nothing was called", "没有任何调用"))
        values = personal_values([*talk.party.samples.values(), *_received(talk)])
        others = [f"{party.subject.plugin.folder}/" for party in rig.parties.values() if party is not talk.party]
        lines = [line for path, line in rig.log if not path.startswith(tuple(others))]
        where: list[tuple[str, str]] = [(t("log", "日志"), line) for line in lines]
        where += [(t("call log", "调用日志"), text) for text in await _calls_of(reader, talk.party.id)]
        where += [(t("reason of a delivery", "投递原因"), text) for text in await _reasons_of(reader, talk.party.id)]
        where += [(t("problem", "问题"), str(problem)) for problem in rig.node.problems]
        for kind, text in where:
            for value in values:
                if value in text:
                    raise RigError(t(f"{kind}: {mask(value)} is shown in full", f"{kind}中明文出现 {mask(value)}"))
        if len(rig.log) >= MOST_LINES:
            raise Skip(t("more log lines were written than are kept", "日志行数超出留存上限，未能全部检查"))
        if not values:
            return t("the messages hold none", "消息中不含个人信息")
        return t(f"{len(values)} values looked for", f"已检索 {len(values)} 个值")

    return await tried("privacy", "", work)


async def _calls_of(reader: StoreReader, place: str) -> list[str]:
    """What the call log says of every call, page by page."""
    found: list[str] = []
    for direction in Direction:
        query = CallQuery(place=place, direction=direction, limit=_ROWS)
        while calls := await reader.calls(query):
            found += [f"{call.error} {call.params}" for call in calls]
            query.before = calls[-1].id
    return found


async def _reasons_of(reader: StoreReader, place: str) -> list[str]:
    """Why deliveries are as they are, of all of them."""
    found: list[str] = []
    query = DeliveryQuery(target=place, limit=_ROWS)
    while deliveries := await reader.deliveries(query):
        found += [one.reason for one in deliveries]
        query.before = deliveries[-1].id
    return found


async def mapping_leaks(site: VerifySite, talk: Talk) -> list[Result]:
    """Mappings are made to fail on marked values; their errors, as they would be written, must not show them."""
    results = []
    for name, contract in talk.party.interfaces.items():
        sample = talk.party.samples.get(name)
        if contract.direction != "out" or sample is None or not contract.mapping or "${" in contract.mapping:
            continue

        async def work(sample: Sample = sample, mapping: str = contract.mapping) -> str:
            return _spoiled(site, talk, site.bench.library.get(mapping), sample)

        results.append(await tried("privacy", name, work))
    return results


def _spoiled(site: VerifySite, talk: Talk, mapping: CompiledMapping, sample: Sample) -> str:
    codec = site.bench.codec(sample.codec, sample.format)
    tree = codec.decode(sample.raw, encoding=sample.encoding)
    settings = {name: one.default for name, one in talk.party.subject.plugin.contract.settings.items()}
    around = Circumstances(
        settings=settings | talk.party.settings, variables={"target": "verify"}, type=sample.type, keys=sample.keys
    )
    failed = tries = 0
    for spoiled in _variants(tree):
        tries += 1
        with suppress(ValueError, TypeError):  # what can't be written is no message
            raw = codec.encode(spoiled, encoding=sample.encoding)
            try:
                given = site.bench.input(mapping, raw, around, encoding=sample.encoding, options=sample.format)
                mapping.run(given.tree, given.context)
            except HubError as error:
                failed += 1
                _check(mask_text(error.text))
            except Exception as error:  # of a plugin's function; the hub writes it so
                failed += 1
                _check(mask_text(repr(error)))
    return t(f"{failed} of {tries} spoiled messages failed", f"{tries} 条异常消息中 {failed} 条映射失败")


def _check(text: str) -> None:
    for mark in _MARKS:
        if mark in text:
            raise RigError(t(f"an error of the mapping shows {mask(mark)} in full", f"映射错误明文显示 {mask(mark)}"))


def _variants(tree: Any) -> Iterator[Any]:
    """Copies of a plain tree, in each another value replaced by a mark; none for trees that are not plain."""
    if not isinstance(tree, dict | list):
        return
    paths = [path for path, _ in _leaf_paths(tree, ())][:_MOST_SPOILED]
    for path in paths:
        for mark in _MARKS:
            yield _with(tree, path, mark)


def _leaf_paths(tree: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield path, tree
        return
    for key, value in items:
        yield from _leaf_paths(value, (*path, key))


def _with(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        return {key: _with(one, rest, value) if key == first else one for key, one in tree.items()}
    return [_with(one, rest, value) if number == first else one for number, one in enumerate(tree)]
