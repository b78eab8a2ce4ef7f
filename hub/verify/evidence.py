"""What lies outside a plugin's contract and speaks for it: tests that name published vectors or a peer, replay sets."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hub.errors import Problem
from hub.i18n import t
from hub.mapping_tools.cases import load_tests
from hub.mapping_tools.testing import run_case
from hub.validation import did_you_mean
from hub.verify.declared import FILE
from hub.verify.model import Result, Status
from hub.verify.proving import Proven
from hub.verify.site import Subject, VerifySite

__all__ = ["Evidence"]


class Evidence:
    """The evidence for one plugin. ``proven``: what the tests named as proof said; one that is not among them was not run."""

    def __init__(self, site: VerifySite, subject: Subject, proven: Mapping[str, Proven]) -> None:
        self._site = site
        self._subject = subject
        self._proven = proven

    def results(self) -> list[Result]:
        proof = self._subject.declared.proof
        return [
            *self._tests("proof", [*proof.vectors, *proof.peers], t("vectors: or peers:", "vectors: 或 peers:")),
            *self._replay(),
            *self._tests("fuzz", proof.fuzz, "fuzz:"),
            *self._tests("flow", proof.flow, "flow:"),
        ]

    def _tests(self, check: str, names: list[str], key: str) -> list[Result]:
        if not names:
            text = t("no test is named as proof", "未列出证明所用的测试")
            remedy = t(f"name tests in {FILE} under proof: {key}", f"请在 {FILE} 的 proof: {key} 下列出测试")
            return [Result(check, Status.MISSING, "", text, remedy)]
        return [self._test(check, name) for name in names]

    def _test(self, check: str, name: str) -> Result:
        file, _, function = name.partition("::")
        if not _defines(self._site.root / file, function):
            text = t(f"there is no test {name}", f"没有测试 {name}")
            return Result(check, Status.FAILED, name, text, t(f"correct {FILE}", f"请更正 {FILE}"))
        if name not in self._proven:
            text = t("not run; give --proofs", "未运行，请加 --proofs")
            return Result(check, Status.SKIPPED, name, text)
        proven = self._proven[name]
        return Result(check, proven.status, name, proven.why, seconds=proven.seconds)

    def _replay(self) -> list[Result]:
        """``replay/INTERFACE.yaml``, written like the tests of a mapping: kept messages and what was sent for them,
        or without a mapping what intake and delivery make of them (:mod:`hub.verify.kept`).

        Those of a profile hold for all its plugins; a plugin's own stands before that of its profile.
        """
        plugin = self._subject.plugin
        found: dict[str, Path] = {}
        for profile in reversed(plugin.profiles):
            kept = (profile.folder / "replay").glob("*.yaml")
            found |= {file.stem: file for file in kept if file.stem in plugin.contract.interfaces}
        found |= {file.stem: file for file in (plugin.folder / "replay").glob("*.yaml")}
        files = [found[name] for name in sorted(found)]
        if not files:
            text = t("there is no replay set", "没有重放集")
            remedy = t("keep messages in replay/INTERFACE.yaml", "请将留存报文写入 replay/接口编号.yaml")
            return [Result("replay", Status.MISSING, "", text, remedy)]
        return [self._replayed(file) for file in files]

    def _replayed(self, file: Path) -> Result:
        begun = time.perf_counter()
        interface = self._subject.plugin.contract.interfaces.get(file.stem)
        place = f"replay/{file.name}"
        if interface is None:
            text = t(f"{file.stem} is no interface of this plugin", f"{file.stem} 不是本插件的接口")
            remedy = did_you_mean(file.stem, self._subject.plugin.contract.interfaces)
            return Result("replay", Status.FAILED, place, text, remedy)
        mapping = interface.mapping or interface.reply_mapping
        why = self._mapped(mapping, file) if mapping else _told(self._kept(file), place)
        status = Status.FAILED if why else Status.PASSED
        return Result("replay", status, place, why, seconds=time.perf_counter() - begun)

    def _mapped(self, mapping: str, file: Path) -> str:
        """What a mapping makes of kept messages; "" when it is still the same."""
        tests = load_tests(file)
        if tests.problems:
            return _told(tests.problems, f"replay/{file.name}")
        bad = [
            case.name
            for number, case in enumerate(tests.cases)
            if not run_case(self._site.bench, mapping, tests, number).ok
        ]
        return t(f"no longer the same: {', '.join(bad)}", f"结果已不同：{'、'.join(bad)}") if bad else ""

    def _kept(self, file: Path) -> list[Problem]:
        from hub.verify.kept import replay_kept  # binds interfaces as a hub does; most plugins have none of it

        return replay_kept(self._site, self._subject, file.stem, file)


def _told(problems: Iterable[Problem], file: str) -> str:
    """Each with line and key; the file is named as people find it beside the contract."""
    return "; ".join(str(replace(problem, file=file)) for problem in problems)


def _defines(file: Path, name: str) -> bool:
    """Whether a module has this test (``test_x``, or ``TestX::test_y``), without importing it."""
    try:
        body: list[ast.stmt] = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    parts = name.partition("[")[0].split("::")
    for part in parts:
        found = next(
            (
                node
                for node in body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == part
            ),
            None,
        )
        if found is None:
            return False
        body = found.body
    return bool(name) and parts[-1].startswith("test")
