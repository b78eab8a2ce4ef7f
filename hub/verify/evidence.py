"""What lies outside a plugin's contract and speaks for it: tests that name published vectors or a peer, replay sets."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

from hub.i18n import t
from hub.mapping_tools.cases import load_tests
from hub.mapping_tools.testing import run_case
from hub.verify.declared import FILE
from hub.verify.model import Result, Status
from hub.verify.site import Subject, VerifySite

__all__ = ["Evidence"]

#: The tests of one plugin's proof together may take so long, seconds.
_PATIENCE_S = 600.0
_EXCERPT = 300


class Evidence:
    """The evidence for one plugin. ``run``: tests named as proof are run; else they are skipped and say so."""

    def __init__(self, site: VerifySite, subject: Subject, *, run: bool) -> None:
        self._site = site
        self._subject = subject
        self._run = run

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
        begun = time.perf_counter()
        file, _, function = name.partition("::")
        path = self._site.root / file
        if not _defines(path, function):
            text = t(f"there is no test {name}", f"没有测试 {name}")
            return Result(check, Status.FAILED, name, text, t(f"correct {FILE}", f"请更正 {FILE}"))
        if not self._run:
            text = t("not run; give --proofs", "未运行，请加 --proofs")
            return Result(check, Status.SKIPPED, name, text)
        status, why = _pytest(self._site.root, name)
        return Result(check, status, name, why, seconds=time.perf_counter() - begun)

    def _replay(self) -> list[Result]:
        """``replay/INTERFACE.yaml``, written like the tests of a mapping: kept messages and what was sent for them."""
        folder = self._subject.plugin.folder / "replay"
        files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
        if not files:
            text = t("there is no replay set", "没有重放集")
            remedy = t("keep messages in replay/INTERFACE.yaml", "请将留存报文写入 replay/接口编号.yaml")
            return [Result("replay", Status.MISSING, "", text, remedy)]
        return [self._replayed(file) for file in files]

    def _replayed(self, file: Path) -> Result:
        begun = time.perf_counter()
        interface = self._subject.plugin.contract.interfaces.get(file.stem)
        mapping = interface.mapping or interface.reply_mapping if interface is not None else ""
        place = f"replay/{file.name}"
        if not mapping:
            text = t(f"{file.stem} is no interface with a mapping", f"{file.stem} 不是带映射的接口")
            return Result("replay", Status.FAILED, place, text)
        tests = load_tests(file)
        if tests.problems or not tests.cases:
            return Result("replay", Status.FAILED, place, "; ".join(str(p) for p in tests.problems))
        bad = [
            case.name
            for number, case in enumerate(tests.cases)
            if not run_case(self._site.bench, mapping, tests, number).ok
        ]
        why = t(f"no longer the same: {', '.join(bad)}", f"结果已不同：{'、'.join(bad)}") if bad else ""
        status = Status.FAILED if bad else Status.PASSED
        return Result("replay", status, place, why, seconds=time.perf_counter() - begun)


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


def _pytest(root: Path, name: str) -> tuple[Status, str]:
    """Run one test; one that was skipped, for want of a peer, proves nothing."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    try:
        done = subprocess.run(  # noqa: S603 - names of tests that exist
            command, cwd=root, env=environment, capture_output=True, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return Status.FAILED, t(f"not done within {_PATIENCE_S:.0f} s", f"{_PATIENCE_S:.0f} 秒内未完成")
    except OSError as error:
        return Status.SKIPPED, t(f"pytest can't be run: {error.strerror}", f"无法运行 pytest：{error.strerror}")
    told = done.stdout.decode("utf-8", "replace").strip()
    last = told.splitlines()[-1][:_EXCERPT] if told else ""
    if done.returncode:
        return Status.FAILED, last or done.stderr.decode("utf-8", "replace").strip()[-_EXCERPT:]
    if "passed" not in last:
        return Status.SKIPPED, last
    return Status.PASSED, last
