"""``hub mapping check | test | run | coverage | explain | page | schema``: what an engineer does with mappings before they go live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Clear, Config, console, emit
from hub.cli.mapping_input import How, open_bench, read_input, values_of
from hub.cli.mapping_print import failed_case, print_coverage, print_explanation
from hub.errors import ConfigError, HubError
from hub.i18n import t

__all__ = ["HELP", "app"]

HELP = t(
    "Check, test, run and explain mappings, see what they cover, and print their reference pages.",
    "检查、测试、运行、追溯映射，查看覆盖情况，输出映射说明页。",
)

app = typer.Typer(no_args_is_help=True, help=HELP)

_Name = Annotated[
    str, typer.Argument(help=t("name of a mapping, e.g. ministry/patient", "映射名称，如 ministry/patient"))
]
_Names = Annotated[
    list[str] | None, typer.Argument(help=t("names of mappings; all when none is named", "映射名称，缺省为全部"))
]
_File = Annotated[str, typer.Argument(help=t("input file, - for standard input", "输入文件，- 为标准输入"))]
_Type = Annotated[
    str,
    typer.Option("--type", help=t("message type, where the codec does not tell", "消息类型，编解码器不能给出时填写")),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--settings",
        help=t("name=value, or a YAML file; repeatable", "名=值，或 YAML 文件；可重复"),
    ),
]
_Now = Annotated[
    str,
    typer.Option("--now", help=t("time of the run, 2026-11-20T08:12:00+08:00", "运行时间，2026-11-20T08:12:00+08:00")),
]
_InputFormat = Annotated[
    list[str] | None,
    typer.Option(
        "--input-format",
        help=t("options of the source's codec: name=value, or a YAML file", "来源编解码器的选项：名=值，或 YAML 文件"),
    ),
]
_Lookups = Annotated[
    list[str] | None,
    typer.Option(
        "--lookups",
        help=t("what lookups find: name=value, or a YAML file", "查询的结果：名=值，或 YAML 文件"),
    ),
]
_Encoding = Annotated[str, typer.Option("--encoding", help=t("character set of the input", "输入的字符集"))]


@app.command(
    "check",
    help=t(
        "Compile mappings; every problem with file, line, key and remedy. Status 1 when there is an error.",
        "编译映射，列出全部问题及文件、行号、键、处理办法；有错误时退出码为 1。",
    ),
)
def check(names: _Names = None, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.mapping_tools.cases import load_tests

    bench = open_bench(config)
    chosen = bench.chosen(names or [])
    problems = [*bench.problems, *bench.problems_of(names or [])]
    for name in chosen:
        tests = bench.tests_of(name)
        if tests is not None:
            problems += load_tests(tests).problems
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        emit({"ok": not errors, "mappings": chosen, "problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        console.print(
            t(
                f"{len(chosen)} mappings: {len(errors)} errors, {len(problems) - len(errors)} warnings",
                f"{len(chosen)} 个映射：{len(errors)} 个错误，{len(problems) - len(errors)} 个警告",
            )
        )
    if errors:
        sys.exit(1)


@app.command(
    "test",
    help=t(
        "Run the tests beside the mappings (x.tests.yaml); status 1 when one fails.",
        "运行映射旁的测试（x.tests.yaml）；有失败时退出码为 1。",
    ),
)
def run_the_tests(
    names: _Names = None, config: Config = DEFAULT_CONFIG, clear: Clear = False, as_json: AsJson = False
) -> None:
    from hub.mapping_tools.testing import run_tests

    bench = open_bench(config)
    report = run_tests(bench, bench.chosen(names or []), strays=not names)
    failed = [result for result in report.results if not result.ok]
    if as_json:
        emit(
            {
                "ok": report.ok,
                "passed": len(report.results) - len(failed),
                "failed": len(failed),
                "cases": [result.as_dict(clear=clear) for result in report.results],
                "problems": [problem.as_dict() for problem in report.problems],
                "untested": report.untested,
            }
        )
    else:
        for problem in report.problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        for result in failed:
            failed_case(result, clear)
        if report.untested:
            names_of = ", ".join(report.untested)
            console.print(t(f"without tests: {names_of}", f"没有测试：{names_of}"), markup=False)
        console.print(
            t(
                f"{len(report.results)} cases: {len(report.results) - len(failed)} passed, {len(failed)} failed",
                f"{len(report.results)} 个用例：{len(report.results) - len(failed)} 个通过，{len(failed)} 个失败",
            )
        )
    if not report.ok:
        sys.exit(1)


@app.command(
    "run",
    help=t(
        "Run a mapping on an input and print what would be sent, in clear text.",
        "用映射处理输入，输出将要发送的内容（明文）。",
    ),
)
def run(
    name: _Name,
    file: _File,
    config: Config = DEFAULT_CONFIG,
    kind: _Type = "",
    settings: _Settings = None,
    now: _Now = "",
    encoding: _Encoding = "",
    input_format: _InputFormat = None,
    lookups: _Lookups = None,
    output_format: Annotated[
        list[str] | None,
        typer.Option("--output-format", help=t("the same for the target's codec", "目标编解码器的选项，写法同上")),
    ] = None,
    pretty: Annotated[
        bool, typer.Option("--pretty", help=t("indent JSON; one line for each HL7 segment", "JSON 缩进；HL7 每段一行"))
    ] = False,
    as_json: AsJson = False,
) -> None:
    from hub.mapping_tools.pretty import pretty as lay_out

    bench = open_bench(config)
    mapping, given = read_input(bench, name, file, How(kind, settings, now, encoding, input_format, lookups))
    outputs = bench.outputs(mapping, given, values_of("--output-format", output_format or ()))
    if as_json:
        texts = [output.decode("utf-8", "replace") for output in outputs]
        return emit({"mapping": mapping.stamp, "codec": mapping.target_codec, "outputs": texts})
    if len(outputs) == 1 and not pretty and not sys.stdout.isatty():
        sys.stdout.buffer.write(outputs[0])  # byte for byte, to be compared or sent
        return None
    for output in outputs:
        sys.stdout.buffer.write((lay_out(output, mapping.target_codec) if pretty else output).rstrip(b"\r\n") + b"\n")
    if not outputs:
        print(
            t("no output: when: does not hold, or split: has no element", "没有输出：when: 不成立，或 split: 没有元素"),
            file=sys.stderr,
        )


@app.command(
    "coverage",
    help=t(
        "What the inputs carry and no rule reads, what rules read and never find, and target fields never written. Inputs: the mapping's tests, or files.",
        "输入中未被读取的字段、规则读取而从未出现的路径、从未写出的目标字段。输入为映射的测试，或指定文件。",
    ),
)
def coverage(
    name: _Name,
    files: Annotated[
        list[str] | None, typer.Argument(help=t("input files instead of the tests", "输入文件，代替测试"))
    ] = None,
    config: Config = DEFAULT_CONFIG,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", help=t("JSON Schema of the target", "目标的 JSON Schema"), exists=True, dir_okay=False
        ),
    ] = None,
    kind: _Type = "",
    settings: _Settings = None,
    now: _Now = "",
    encoding: _Encoding = "",
    input_format: _InputFormat = None,
    lookups: _Lookups = None,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    from hub.mapping_tools.cases import load_tests
    from hub.mapping_tools.coverage import coverage as look
    from hub.mapping_tools.testing import input_of

    bench = open_bench(config)
    mapping = bench.library.get(name)
    inputs = []
    failed: dict[str, str] = {}
    if files:
        inputs = [
            read_input(bench, name, file, How(kind, settings, now, encoding, input_format, lookups))[1]
            for file in files
        ]
    else:
        path = bench.tests_of(name)
        if path is None:
            raise HubError(
                t(f"{name} has no tests", f"{name} 没有测试"),
                remedy=t("name input files, or write tests", "请指定输入文件，或编写测试"),
            )
        tests = load_tests(path)
        if tests.problems:
            raise ConfigError(tests.problems)
        for case in tests.cases:
            try:
                inputs.append(input_of(bench, mapping, tests, case))
            except HubError as error:
                failed[case.name] = error.text
    demanded = None
    if schema is not None:
        try:
            demanded = orjson.loads(schema.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise HubError(t(f"{schema} is not JSON: {error}", f"{schema} 不是 JSON：{error}")) from None
    found = look(bench, name, inputs, demanded if isinstance(demanded, dict) else None, clear=clear)
    found.failed |= failed
    if as_json:
        return emit(found.as_dict())
    print_coverage(found)


@app.command(
    "explain",
    help=t(
        "Trace a target field back to the input: rule, source values and their places, code tables. Example: hub mapping explain ministry/patient a01.hl7 --target name",
        "将目标字段追溯到输入：规则、来源值及位置、代码表。例：hub mapping explain ministry/patient a01.hl7 --target name",
    ),
)
def explain(
    name: _Name,
    file: _File,
    target: Annotated[
        str, typer.Option("--target", help=t("path of the target, a.b[0], PID-5.1", "目标路径，a.b[0]、PID-5.1"))
    ],
    config: Config = DEFAULT_CONFIG,
    output: Annotated[
        int, typer.Option("--output", min=1, help=t("which output of a mapping that splits", "拆分映射的第几个输出"))
    ] = 1,
    kind: _Type = "",
    settings: _Settings = None,
    now: _Now = "",
    encoding: _Encoding = "",
    input_format: _InputFormat = None,
    lookups: _Lookups = None,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    from hub.mapping_tools.explain import explain as trace

    bench = open_bench(config)
    _, given = read_input(bench, name, file, How(kind, settings, now, encoding, input_format, lookups))
    found = trace(bench, name, given, target, output=output, clear=clear)
    if as_json:
        return emit(found.as_dict())
    print_explanation(found)


@app.command(
    "page",
    help=t(
        "An HTML reference page of a mapping for the other party to read and sign.",
        "映射说明页（HTML），供对方阅读并签字确认。",
    ),
)
def page(
    name: _Name,
    config: Config = DEFAULT_CONFIG,
    out: Annotated[Path | None, typer.Option("--out", "-o", help=t("write to this file", "写入此文件"))] = None,
    as_json: AsJson = False,
) -> None:
    from hub.mapping_tools.page import page as write

    bench = open_bench(config)
    html = write(bench, name)
    stamp = bench.library.get(name).stamp
    if out is None:
        if as_json:
            return emit({"mapping": stamp, "html": html})
        sys.stdout.buffer.write(html.encode("utf-8"))
        return
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise HubError(t(f"{out} can't be written: {error.strerror}", f"无法写入 {out}：{error.strerror}")) from None
    if as_json:
        return emit({"mapping": stamp, "file": str(out)})
    console.print(t(f"{stamp}: written to {out}", f"{stamp}：已写入 {out}"), markup=False)


@app.command(
    "schema",
    help=t(
        "The JSON Schema of mapping files, or of their tests, for editors.",
        "映射文件或其测试的 JSON Schema，供编辑器使用。",
    ),
)
def schema(
    kind: Annotated[str, typer.Option("--kind", help=t("mapping or tests", "mapping 或 tests"))] = "mapping",
    config: Config = DEFAULT_CONFIG,
) -> None:
    from hub.mapping_tools.schema import mapping_schema, tests_schema

    if kind == "tests":
        return emit(tests_schema())
    if kind != "mapping":
        raise HubError(t(f"--kind {kind}: write mapping or tests", f"--kind {kind}：请写 mapping 或 tests"))
    bench = open_bench(config)
    emit(mapping_schema(bench.codecs, bench.library.functions))
