"""``hub quality list | checks | check | run | test | schema``: what an engineer does with quality rules before they go live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import quality_report
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, table
from hub.errors import ConfigError, HubError
from hub.i18n import set_language, t

if TYPE_CHECKING:
    from hub.quality.bench import RuleBench
    from hub.quality.cases import RuleCaseResult
    from hub.quality.ruleset import Assessment

__all__ = ["HELP", "app"]

HELP = t(
    "Check, run and test quality rules, and see which there are.",
    "校验、运行、测试质控规则，查看规则库。",
)

app = typer.Typer(no_args_is_help=True, help=HELP)

_Names = Annotated[
    list[str] | None, typer.Argument(help=t("names of rule sets; all when none is named", "规则集名称，缺省为全部"))
]


def _open(config: Path) -> RuleBench:
    from hub.config import load_config
    from hub.quality.bench import open_rules

    loaded = load_config(config.resolve())
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    if loaded.hub.language:
        set_language(loaded.hub.language)
    return open_rules(loaded)


@app.command(
    "list",
    help=t(
        "All rule sets; with a name, the rules it has in effect and where they are written.",
        "全部规则集；给出名称时列出其生效规则及所在位置。",
    ),
)
def list_sets(
    name: Annotated[str, typer.Argument(help=t("name of a rule set", "规则集名称"))] = "",
    level: Annotated[str, typer.Option("--level", help=t("only rules of this level", "仅此级别的规则"))] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    bench = _open(config)
    if not name:
        rows = [_summary(bench, one) for one in bench.library.names()]
        if as_json:
            return emit({"sets": rows})
        columns = [
            t("set", "规则集"),
            t("codec", "编解码器"),
            t("types", "消息类型"),
            t("rules", "规则"),
            t("description", "说明"),
        ]
        table(columns, [[r["name"], r["codec"], ", ".join(r["types"]), r["rules"], r["description"]] for r in rows])
        return None
    bench.chosen([name])
    rules = [
        {
            "id": rule.id,
            "level": rule.model.level,
            "severity": rule.model.severity,
            "test": rule.model.test,
            "weight": rule.model.weight,
            "set": rule.origin,
            "where": rule.where,
            "text": rule.model.text.told() if rule.model.text else "",
        }
        for rule in bench.library.effective(name).rules
        if level in ("", rule.model.level)
    ]
    if as_json:
        return emit({"set": name, "rules": rules})
    columns = [
        t("rule", "规则"),
        t("level", "级别"),
        t("severity", "严重程度"),
        t("test", "检查"),
        t("weight", "权重"),
        t("where", "位置"),
        t("text", "说明"),
    ]
    table(columns, [[r["id"], r["level"], r["severity"], r["test"], r["weight"], r["where"], r["text"]] for r in rules])
    return None


@app.command(
    "checks",
    help=t(
        "The library of named checks and quantities; with words, those whose name or description has them.",
        "检查库与量值库；给出关键词时仅列出名称或说明含有该词的条目。",
    ),
)
def checks(
    words: Annotated[str, typer.Argument(help=t("what to look for", "关键词"))] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    from hub.mapping.functions import BUILTIN
    from hub.quality.quantities import QUANTITIES

    functions = _open(config).library.functions
    rows = [
        {"name": f.name, "kind": "check", "usage": f.usage.replace(", *, now_us=0", ""), "summary": f.summary}
        for f in functions.values()
        if f.name not in BUILTIN or f.returns == "bool"
    ]
    for quantity in QUANTITIES.values():
        limits = "; ".join(f"{low} – {high} {unit}" for unit, (low, high) in quantity.limits.items())
        rows.append({"name": quantity.name, "kind": "quantity", "usage": quantity.name, "summary": limits})
    rows = [row for row in rows if words.lower() in f"{row['name']} {row['summary']}".lower()]
    if as_json:
        return emit({"checks": rows})
    table(
        [t("kind", "种类"), t("written", "写法"), t("meaning", "含义")],
        [(row["kind"], row["usage"], row["summary"]) for row in rows],
    )
    return None


def _summary(bench: RuleBench, name: str) -> dict[str, Any]:
    document = bench.library.document(name)
    head = document.for_ if document is not None else None
    return {
        "name": name,
        "codec": head.codec if head is not None else "",
        "types": head.types if head is not None else [],
        "rules": len(bench.library.effective(name).rules),
        "description": document.description if document is not None else "",
    }


@app.command(
    "check",
    help=t(
        "Compile rule sets and look for contradictions; every problem with file, line and remedy. Status 1 when there is an error.",
        "编译规则集并检测冲突，列出全部问题及文件、行号、处理办法；有错误时退出码为 1。",
    ),
)
def check(names: _Names = None, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.quality.cases import case_file, load_rule_tests

    bench = _open(config)
    chosen = bench.chosen(names or [])
    problems = [*bench.workbench.problems, *bench.library.problems(chosen)]
    for name in chosen:
        tests = case_file(bench, name)
        if tests is not None:
            problems += load_rule_tests(tests).problems
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        emit({"ok": not errors, "sets": chosen, "problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        console.print(
            t(
                f"{len(chosen)} rule sets: {len(errors)} errors, {len(problems) - len(errors)} warnings",
                f"{len(chosen)} 个规则集：{len(errors)} 个错误，{len(problems) - len(errors)} 个警告",
            )
        )
    if errors:
        sys.exit(1)


def _read(file: str) -> bytes:
    from hub.mapping_tools.workbench import MAX_INPUT

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_INPUT + 1)
        with open(file, "rb") as stream:
            return stream.read(MAX_INPUT + 1)
    except OSError as error:
        raise HubError(t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}")) from None


@app.command(
    "run",
    help=t(
        "Ask a rule set about messages. Status 1 when one has an error. Example: hub quality run quality/adt a01.hl7",
        "用规则集检查消息；有错误时退出码为 1。例：hub quality run quality/adt a01.hl7",
    ),
)
def run(
    name: Annotated[str, typer.Argument(help=t("name of a rule set", "规则集名称"))],
    files: Annotated[list[str], typer.Argument(help=t("messages, - for standard input", "消息文件，- 为标准输入"))],
    config: Config = DEFAULT_CONFIG,
    kind: Annotated[
        str,
        typer.Option(
            "--type", help=t("message type, where the codec does not tell", "消息类型，编解码器不能给出时填写")
        ),
    ] = "",
    now: Annotated[
        str,
        typer.Option(
            "--now", help=t("time of the run, 2026-11-20T08:12:00+08:00", "运行时间，2026-11-20T08:12:00+08:00")
        ),
    ] = "",
    encoding: Annotated[str, typer.Option("--encoding", help=t("character set of the input", "输入的字符集"))] = "",
    input_format: Annotated[
        list[str] | None,
        typer.Option(
            "--input-format",
            help=t("options of the codec: name=value, or a YAML file", "编解码器的选项：名=值，或 YAML 文件"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    from hub.cli.mapping_input import values_of
    from hub.mapping_tools.workbench import Circumstances, instant

    bench = _open(config)
    validator = bench.library.get(name)
    around = Circumstances(type=kind, now_us=instant(now) if now else 0)
    options = values_of("--input-format", input_format or ())
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            found = bench.assess(validator, _read(file), around, encoding=encoding, options=options)
        except HubError as error:
            results.append({"file": file, "error": error.text})
            if not as_json:
                console.print(f"{file}: {error.text}", markup=False)
            continue
        results.append({"file": file, **_told(found)})
        if not as_json:
            _print(file, found)
    if as_json:
        emit({"set": validator.stamp, "messages": results})
    if any("error" in one or any(f["severity"] == "error" for f in one["findings"]) for one in results):
        sys.exit(1)


def _told(found: Assessment) -> dict[str, Any]:
    return {
        "score": found.score,
        "levels": {level.value: score for level, score in found.levels.items()},
        "findings": [finding.as_dict() for finding in found.findings],
        "rules_asked": len(found.asked),
    }


def _word(level: str) -> str:
    """The name of a level for people."""
    names = {
        "structure": t("structure", "结构"),
        "field": t("field", "字段级"),
        "business": t("business", "业务级"),
        "plausibility": t("plausibility", "合理性"),
        "completeness": t("completeness", "完整性"),
    }
    return names[level]


def _print(file: str, found: Assessment) -> None:
    if found.score is None and not found.findings:
        console.print(f"{file}: " + t("no rule is for this message", "没有适用于此消息的规则"), markup=False)
        return
    levels = ", ".join(f"{_word(level)} {score}" for level, score in found.levels.items())
    console.print(
        f"{file}: "
        + t(
            f"score {found.score} ({levels}), {len(found.findings)} findings",
            f"得分 {found.score}（{levels}），{len(found.findings)} 个问题",
        ),
        markup=False,
    )
    if found.findings:
        table(
            [
                t("severity", "严重程度"),
                t("level", "级别"),
                t("rule", "规则"),
                t("place", "位置"),
                t("text", "问题"),
                t("advice", "清洗建议"),
            ],
            [(f.severity.value, _word(f.level), f.rule, f.place, f.text, f.advice) for f in found.findings],
        )


@app.command(
    "test",
    help=t(
        "Run the tests beside the rule sets (x.rules.tests.yaml); status 1 when one fails.",
        "运行规则集旁的测试（x.rules.tests.yaml）；有失败时退出码为 1。",
    ),
)
def run_the_tests(names: _Names = None, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.quality.cases import case_file, load_rule_tests, run_rule_case, stray_rule_tests

    bench = _open(config)
    results: list[RuleCaseResult] = []
    problems = stray_rule_tests(bench.folders) if not names else []
    untested = []
    for name in bench.chosen(names or []):
        file = case_file(bench, name)
        if file is None:
            untested.append(name)
            continue
        tests = load_rule_tests(file)
        problems += tests.problems
        results += [run_rule_case(bench, name, tests, number) for number in range(len(tests.cases))]
    failed = [result for result in results if not result.ok]
    if as_json:
        emit(
            {
                "ok": not failed and not problems,
                "passed": len(results) - len(failed),
                "failed": len(failed),
                "cases": [result.as_dict() for result in results],
                "problems": [problem.as_dict() for problem in problems],
                "untested": untested,
            }
        )
    else:
        for problem in problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        for result in failed:
            console.print(f"{result.file}:{result.line}: {result.set}: {result.name}", markup=False)
            if result.error:
                console.print(f"    {result.error}", markup=False)
            for what, expected, got in result.differences:
                console.print(
                    "    " + t(f"{what}: expected {expected}, found {got}", f"{what}：期望 {expected}，实际 {got}"),
                    markup=False,
                )
        if untested:
            console.print(t(f"without tests: {', '.join(untested)}", f"没有测试：{', '.join(untested)}"), markup=False)
        console.print(
            t(
                f"{len(results)} cases: {len(results) - len(failed)} passed, {len(failed)} failed",
                f"{len(results)} 个用例：{len(results) - len(failed)} 个通过，{len(failed)} 个失败",
            )
        )
    if failed or problems:
        sys.exit(1)


@app.command(
    "schema",
    help=t(
        "The JSON Schema of rule files, or of their tests, for editors.",
        "规则文件或其测试的 JSON Schema，供编辑器使用。",
    ),
)
def schema(
    kind: Annotated[str, typer.Option("--kind", help=t("rules or tests", "rules 或 tests"))] = "rules",
    config: Config = DEFAULT_CONFIG,
) -> None:
    from hub.quality.schema import rules_schema, rules_tests_schema

    if kind == "tests":
        return emit(rules_tests_schema())
    if kind != "rules":
        raise HubError(t(f"--kind {kind}: write rules or tests", f"--kind {kind}：请写 rules 或 tests"))
    return emit(rules_schema(_open(config).library.functions))


app.command("report", help=quality_report.REPORT_HELP)(quality_report.report)
app.command("rerun", help=quality_report.RERUN_HELP)(quality_report.rerun)
