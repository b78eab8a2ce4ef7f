"""``hub tables list | show | check | compare | import | unmapped``: code tables, their versions, and what they do not list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, ask, console, emit, site, table
from hub.errors import ConfigError, HubError
from hub.i18n import set_language, t

if TYPE_CHECKING:
    from hub.config import LoadedConfig
    from hub.mapping.tables import CodeTable
    from hub.terminology import Catalogue

__all__ = ["HELP", "app"]

HELP = t(
    "Look at code tables, check and compare their versions, import them, and see which values they do not list.",
    "查看代码表，校验并比较各版本，导入代码表，查看未列出的取值。",
)

app = typer.Typer(no_args_is_help=True, help=HELP)

_Name = Annotated[
    str, typer.Argument(help=t("name of a table, e.g. gender or gender@2003", "代码表名称，如 gender 或 gender@2003"))
]
_Side = Annotated[str, typer.Argument(help=t("name of a table, or a file", "代码表名称或文件"))]


def _loaded(config: Path) -> LoadedConfig:
    from hub.config import load_config

    loaded = load_config(config.resolve())
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    if loaded.hub.language:
        set_language(loaded.hub.language)
    return loaded


def _catalogue(config: Path) -> Catalogue:
    from hub.terminology import Catalogue

    return Catalogue(_loaded(config).mapping_folders)


def _span(head: dict[str, Any]) -> str:
    first, last = head["valid_from"], head["valid_to"]
    return f"{first} – {last}" if first or last else ""


@app.command(
    "list",
    help=t(
        "All code tables with version, validity, review and source.", "全部代码表及其版本、有效期、审核状态、来源。"
    ),
)
def list_tables(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.terminology.catalogue import table_json

    catalogue = _catalogue(config)
    heads = [table_json(catalogue.get(name)) for name in catalogue.names()]
    if as_json:
        return emit({"tables": heads})
    table(
        [
            t("table", "代码表"),
            t("rows", "行数"),
            t("version", "版本"),
            t("valid", "有效期"),
            t("review", "审核"),
            t("source", "来源"),
        ],
        [[h["name"], h["rows"], h["version"], _span(h), h["review"], h["source"]] for h in heads],
    )


@app.command("show", help=t("One table: what its head says, and its rows.", "一个代码表：表头说明与各行。"))
def show(name: _Name, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.terminology.catalogue import row_json, table_json

    found = _catalogue(config).get(name)
    head, rows = table_json(found), [row_json(row) for row in found.rows]
    if as_json:
        return emit({**head, "versions": list(found.versions), "entries": rows})
    facts = {
        t("file", "文件"): head["file"],
        t("version", "版本"): head["version"],
        t("valid", "有效期"): _span(head),
        t("review", "审核"): head["review"],
        t("source", "来源"): head["source"],
        t("from", "原值"): head["from"],
        t("to", "目标值"): head["to"],
        t("other versions", "其他版本"): ", ".join(found.versions),
    }
    for fact, value in facts.items():
        if value:
            console.print(f"{fact}: {value}", markup=False)
    dated = any(_span(row) for row in rows)
    table(
        [t("from", "原值"), t("to", "目标值"), t("note", "说明"), *([t("valid", "有效期")] if dated else [])],
        [[row["from"], row["to"], row["note"], *([_span(row)] if dated else [])] for row in rows],
    )


@app.command(
    "check",
    help=t(
        "Everything that is wrong with tables, with file, line, column and remedy. Status 1 when there is an error.",
        "代码表的全部问题，含文件、行、列与处理办法；有错误时退出码为 1。",
    ),
)
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help=t("names of tables; all when none is named", "代码表名称，缺省为全部"))
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    catalogue = _catalogue(config)
    chosen = [catalogue.get(name).name for name in names] if names else catalogue.names()
    problems = [problem for name in chosen for problem in catalogue.problems(name)]
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        emit({"ok": not errors, "tables": chosen, "problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        console.print(
            t(
                f"{len(chosen)} tables: {errors} errors, {len(problems) - errors} warnings",
                f"{len(chosen)} 个代码表：{errors} 个错误，{len(problems) - errors} 个警告",
            )
        )
    if errors:
        sys.exit(1)


def _side(config: Path, wanted: str) -> CodeTable:
    from hub.mapping.tables import load_table

    if not wanted.lower().endswith(".csv"):
        return _catalogue(config).get(wanted)
    path = Path(wanted)
    found, problems = load_table(path, path.stem)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ConfigError(errors)
    return found


@app.command(
    "compare",
    help=t(
        "Rows added, removed and changed from one table to another. Example: hub tables compare gender@2003 gender",
        "两个代码表之间新增、删除、更改的行。例：hub tables compare gender@2003 gender",
    ),
)
def compare(old: _Side, new: _Side, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    from hub.terminology import compare as difference

    found = difference(_side(config, old), _side(config, new)).as_dict()
    if as_json:
        return emit({"old": old, "new": new, **found})
    for key, values in found["head"].items():
        console.print(f"# {key}: {values['old'] or '-'} → {values['new'] or '-'}", markup=False)
    rows = [("-", row["from"], row["to"], "", row["note"], _span(row)) for row in found["removed"]]
    rows += [("+", row["from"], "", row["to"], row["note"], _span(row)) for row in found["added"]]
    for pair in found["changed"]:
        before, after = pair["old"], pair["new"]
        rows.append(
            (
                "~",
                before["from"],
                before["to"],
                after["to"],
                _both(before["note"], after["note"]),
                _both(_span(before), _span(after)),
            )
        )
    if rows:
        table(
            ["", t("from", "原值"), t("old", "旧"), t("new", "新"), t("note", "说明"), t("valid", "有效期")],
            sorted(rows, key=lambda row: row[1]),
        )
    console.print(
        t(
            f"{len(found['added'])} added, {len(found['removed'])} removed, {len(found['changed'])} changed, {found['same']} the same",
            f"新增 {len(found['added'])}，删除 {len(found['removed'])}，更改 {len(found['changed'])}，相同 {found['same']}",
        )
    )


def _both(old: str, new: str) -> str:
    return old if old == new else f"{old or '-'} → {new or '-'}"


@app.command(
    "import",
    help=t(
        "Make a table from two columns of a CSV or TSV file, as a draft. Example: hub tables import icd.csv --from-column code --to-column name --name icd10_name",
        "由 CSV 或 TSV 文件的两列生成代码表（草稿）。例：hub tables import icd.csv --from-column code --to-column name --name icd10_name",
    ),
)
def import_file(
    file: Annotated[Path, typer.Argument(help=t("the file", "文件"))],
    from_column: Annotated[
        str, typer.Option("--from-column", help=t("column of the values to translate", "原值所在列"))
    ],
    to_column: Annotated[str, typer.Option("--to-column", help=t("column of what they become", "目标值所在列"))],
    name: Annotated[
        str, typer.Option("--name", help=t("name of the table, NAME or NAME@VERSION", "代码表名称，NAME 或 NAME@版本"))
    ],
    note_column: Annotated[str, typer.Option("--note-column", help=t("column of the notes", "说明所在列"))] = "",
    version: Annotated[str, typer.Option("--version", help=t("# version:", "# version:"))] = "",
    source: Annotated[str, typer.Option("--source", help=t("# source: where it is from", "# source: 来源"))] = "",
    valid_from: Annotated[
        str, typer.Option("--valid-from", help=t("# valid_from: 2024-04-01", "# valid_from: 2024-04-01"))
    ] = "",
    encoding: Annotated[
        str, typer.Option("--encoding", help=t("character set, found out when not given", "字符集，缺省自动识别"))
    ] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    from hub.terminology import import_table

    folders = _loaded(config).mapping_folders
    if not folders:
        raise HubError(t("mappings: names no folder", "mappings: 未列出任何目录"))
    head = {"version": version, "source": source, "valid_from": valid_from, "review": "draft"}
    made = import_table(
        file, folders[0] / "tables", name, (from_column, to_column, note_column), head, encoding=encoding
    )
    if as_json:
        return emit({"file": str(made.file), "rows": made.rows, "repeated": made.repeated, "empty": made.empty})
    console.print(
        t(
            f"{made.file}: {made.rows} rows; {made.repeated} repeated ones taken once, {made.empty} without a value left out",
            f"{made.file}：{made.rows} 行；重复 {made.repeated} 行已合并，无原值 {made.empty} 行已略去",
        ),
        markup=False,
    )


@app.command(
    "unmapped",
    help=t(
        "Values the running hub looked up and no table listed, with counts, since its start.",
        "正在运行的枢纽自启动以来查过而代码表未列出的取值及次数。",
    ),
)
def unmapped(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    answer = ask(site(config), "GET", "/api/v1/tables/unmapped")
    if as_json:
        return emit(answer)
    table(
        [
            t("table", "代码表"),
            t("value", "取值"),
            t("count", "次数"),
            t("first seen", "首次"),
            t("last seen", "最近"),
            t("mapping", "映射"),
            t("target field", "目标字段"),
        ],
        [
            [
                row["table"],
                t("(all others)", "（其余）") if row["value"] is None else row["value"],
                row["count"],
                row["first_seen"],
                row["last_seen"],
                row["mapping"],
                row["field"],
            ]
            for row in answer["unmapped"]
        ],
    )
