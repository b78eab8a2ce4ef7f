"""``hub users …`` and ``hub approvals …``: who may look after this hub.

Users are changed in the data folder itself, with the rights of whoever may write there, so that the first administrator can be made and a hub
nobody can sign in to can be opened again; a running hub sees it at once. Approving needs a person: it signs in to the running hub.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, Limit, Site, ask, console, emit, site, table
from hub.cli.keys_open import actor, read_file
from hub.errors import HubError
from hub.i18n import t
from hub.keys.orders import Approver
from hub.people.opened import open_records
from hub.people.people import Records

__all__ = ["APPROVALS_HELP", "USERS_HELP", "app", "approvals", "approver"]

USERS_HELP = t(
    "Who may look after this hub. The first: hub users add NAME --role administrator",
    "谁可以管理本枢纽。首位管理员：hub users add 用户名 --role administrator",
)
APPROVALS_HELP = t("What waits for a second person's approval.", "等待第二人审批的申请。")

app = typer.Typer(no_args_is_help=True, help=USERS_HELP)
approvals = typer.Typer(no_args_is_help=True, help=APPROVALS_HELP)

User = Annotated[str, typer.Argument(help=t("the user's id", "用户名"))]
Role = Annotated[list[str] | None, typer.Option("--role", help=t("a role; repeatable", "角色，可重复"))]
Systems = Annotated[
    list[str] | None,
    typer.Option("--system", help=t("scope: systems, e.g. east_*; repeatable", "数据范围：系统，如 east_*，可重复")),
]
Institutions = Annotated[
    list[str] | None,
    typer.Option("--of-institution", help=t("scope: systems of an institution; repeatable", "数据范围：机构，可重复")),
]
Regions = Annotated[
    list[str] | None,
    typer.Option("--of-region", help=t("scope: systems of a region; repeatable", "数据范围：地区，可重复")),
]
Everything = Annotated[bool, typer.Option("--everything", help=t("scope: all systems", "数据范围：全部系统"))]
Why = Annotated[str, typer.Option("--reason", help=t("reason, for the journal", "理由，记入日志"))]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help=t(
            "file with the password, - to be asked or for standard input; default: a temporary one is made",
            "口令文件；- 为提示输入或标准输入；缺省生成临时口令",
        ),
    ),
]


@contextmanager
def _records(where: Site) -> Iterator[Records]:
    where.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    records = open_records(where.config, where.file.parent, where.data)
    try:
        yield records
    finally:
        records.close()


def approver(where: Site) -> Approver | None:
    """Asks for a second person's approval of what is done with keys; None where the configuration wants none."""
    if not any(action.startswith("keys.") for action in where.config.security.approvals.actions):
        return None

    def approve(action: str, subject: str, who: str, reason: str) -> None:
        with _records(where) as records:
            records.approvals.claim(action, subject, f"os:{who}", reason)

    return approve


def _scope(
    systems: list[str] | None, institutions: list[str] | None, regions: list[str] | None, everything: bool
) -> dict[str, Any] | None:
    if everything:
        return {"everything": True}
    if systems is None and institutions is None and regions is None:
        return None
    return {"systems": systems or [], "institutions": institutions or [], "regions": regions or []}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds") if seconds else ""


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return emit(answer)
    for name, value in answer.items():
        if value not in ("", 0, [], False):
            console.print(f"{name}: {value}", markup=False)


@app.command("list", help=t("Users, their roles and scopes.", "用户及其角色与数据范围。"))
def list_(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    with _records(site(config)) as records:
        rows = [person.shown() for person in records.book.everybody()]
    if as_json:
        return emit({"users": rows})
    table(
        [
            t("user", "用户"),
            t("name", "姓名"),
            t("state", "状态"),
            t("roles", "角色"),
            t("scope", "数据范围"),
            t("last login", "最近登录"),
        ],
        [[r["id"], r["name"], r["state"], " ".join(r["roles"]), r["scope"], _time(r["login_at"])] for r in rows],
    )


@app.command(
    "add",
    help=t(
        "A new user. Example: hub users add zhang.san --role monitor --of-institution 东院",
        "新增用户。例：hub users add zhang.san --role monitor --of-institution 东院",
    ),
)
def add(
    user: User,
    config: Config = DEFAULT_CONFIG,
    role: Role = None,
    name: Annotated[str, typer.Option(help=t("the person's name", "姓名"))] = "",
    institution: Annotated[str, typer.Option(help=t("where the person works", "所属机构"))] = "",
    phone: Annotated[str, typer.Option(help=t("for codes by text message", "手机号，用于短信验证码"))] = "",
    mail: Annotated[str, typer.Option(help=t("for codes by mail", "邮箱，用于邮件验证码"))] = "",
    system: Systems = None,
    of_institution: Institutions = None,
    of_region: Regions = None,
    everything: Everything = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    password = _password(password_file)
    scope = _scope(system, of_institution, of_region, everything or "administrator" in (role or []))
    given = {"id": user, "name": name, "institution": institution, "phone": phone, "mail": mail, "roles": role or []}
    with _records(site(config)) as records:
        if password:
            from hub.people.passwords import check_password  # before the user is made

            check_password(password, records.config.passwords, user)
        records.book.add(actor(), {**given, "scope": scope or {}}, records.roles)
        temporary = records.first_password(actor(), user, password)
        person = records.book.get(user).shown()
    _show({**person, **({"temporary_password": temporary} if temporary else {})}, as_json)


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        found = read_file(file).rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise HubError(t("the password is not UTF-8", "口令不是 UTF-8 文本")) from None
    if not found:
        raise HubError(t("the password is empty", "口令为空"))
    return found


@app.command(
    "set", help=t("Change roles or scope of a user; they are signed out.", "修改用户的角色或数据范围；其登录随即失效。")
)
def set_(
    user: User,
    config: Config = DEFAULT_CONFIG,
    role: Role = None,
    system: Systems = None,
    of_institution: Institutions = None,
    of_region: Regions = None,
    everything: Everything = False,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    fields: dict[str, Any] = {} if role is None else {"roles": role}
    scope = _scope(system, of_institution, of_region, everything)
    if scope is not None:
        fields["scope"] = scope
    with _records(site(config)) as records:
        person = records.book.set(actor(), user, fields, records.roles, reason=reason)
    _show(person.shown(), as_json)


@app.command(
    "state",
    help=t("normal, frozen or closed; needs --reason.", "normal 正常、frozen 冻结、closed 注销；须给 --reason。"),
)
def state(
    user: User,
    state: Annotated[str, typer.Argument(help="normal, frozen, closed")],
    config: Config = DEFAULT_CONFIG,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    with _records(site(config)) as records:
        person = records.book.set_state(actor(), user, state, reason=reason)
    _show(person.shown(), as_json)


@app.command(
    "reset-password",
    help=t(
        "A temporary password, or one from a file; all sessions of the user end.",
        "生成临时口令，或取自文件；该用户的登录全部失效。",
    ),
)
def reset_password(
    user: User, config: Config = DEFAULT_CONFIG, password_file: PasswordFile = None, as_json: AsJson = False
) -> None:
    password = _password(password_file)
    with _records(site(config)) as records:
        records.book.get(user)
        temporary = records.first_password(actor(), user, password)
    _show({"user": user, **({"temporary_password": temporary} if temporary else {"changed": True})}, as_json)


@app.command("reset-second-factor", help=t("Take away an authenticator that was lost.", "移除已丢失的身份验证器。"))
def reset_second_factor(user: User, config: Config = DEFAULT_CONFIG, reason: Why = "") -> None:
    with _records(site(config)) as records:
        records.reset_second_factor(actor(), user, reason)


@app.command("unlock", help=t("Forget the failed logins of a user.", "清除用户的登录失败记录。"))
def unlock(user: User, config: Config = DEFAULT_CONFIG) -> None:
    with _records(site(config)) as records:
        failures = records.log.unlock(actor(), user)
    console.print(t(f"{failures} failures forgotten", f"已清除 {failures} 次失败"), markup=False)


@app.command("log", help=t("Logins and failed ones, newest first.", "登录与失败记录，新的在前。"))
def log(
    config: Config = DEFAULT_CONFIG,
    user: Annotated[str, typer.Option(help=t("of this user", "此用户"))] = "",
    address: Annotated[str, typer.Option(help=t("from this address", "此地址"))] = "",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with _records(site(config)) as records:
        rows = records.log.search({"user": user, "address": address}, 0, 0, 0, limit)
    if as_json:
        return emit({"logins": rows})
    table(
        [
            t("at", "时间"),
            t("user", "用户"),
            t("how", "方式"),
            t("outcome", "结果"),
            t("address", "地址"),
            t("region", "地区"),
        ],
        [[_time(r["at"]), r["user"], r["method"], r["outcome"], r["address"], r["region"]] for r in rows],
    )


# -- approvals ---------------------------------------------------------------------------------------------------------


@approvals.command("list", help=t("What was asked for, newest first.", "全部申请，新的在前。"))
def approvals_list(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    with _records(site(config)) as records:
        now = records.book.now()
        rows = [found.shown(now) for found in records.approvals.listed()]
    if as_json:
        return emit({"approvals": rows})
    table(
        [
            "id",
            t("action", "操作"),
            t("subject", "对象"),
            t("asked by", "申请人"),
            t("reason", "理由"),
            t("state", "状态"),
            t("until", "有效至"),
        ],
        [
            [r["id"], r["action"], r["subject"], r["requester"], r["reason"], r["state"], _time(r["ends_at"])]
            for r in rows
        ],
    )


Number = Annotated[str, typer.Argument(help=t("id of the request", "申请编号"))]
Person = Annotated[str, typer.Option("--user", help=t("who decides", "审批人"))]


@approvals.command("approve", help=t("Approve; what was asked for is done at once.", "批准；所申请的操作随即执行。"))
def approve(
    number: Number, user: Person, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False
) -> None:
    _show(_decide(site(config), number, "approve", user, reason), as_json)


@approvals.command("reject", help=t("Reject; needs --reason.", "驳回；须给 --reason。"))
def reject(
    number: Number, user: Person, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False
) -> None:
    _show(_decide(site(config), number, "reject", user, reason), as_json)


def _decide(where: Site, number: str, decision: str, user: str, reason: str) -> dict[str, Any]:
    """As a person who signs in, proves it again and signs out."""
    password = _typed(t("password: ", "口令："))
    step = ask(where, "POST", "/api/v1/login", body={"user": user, "password": password}, token="-")  # noqa: S106 - nobody yet
    token = step["token"]
    try:
        proof = {"method": "password", "code": password}
        if step["methods"]:
            method = "totp" if "totp" in step["methods"] else step["methods"][0]
            if method != "totp":
                ask(where, "POST", "/api/v1/login/code", body={"method": method}, token=token)
            proof = {"method": method, "code": _typed(t(f"code ({method}): ", f"验证码（{method}）："))}
        if step["state"] == "second":
            step = ask(where, "POST", "/api/v1/login/second", body=proof, token=token)
            token = step["token"]
        elif step["state"] == "full":
            ask(where, "POST", "/api/v1/session/verify", body=proof, token=token)
        answer: dict[str, Any] = ask(
            where, "POST", f"/api/v1/approvals/{number}/{decision}", body={"reason": reason}, token=token
        )
        return answer
    finally:
        ask(where, "POST", "/api/v1/logout", body={}, token=token)


def _typed(prompt: str) -> str:
    """From the terminal without showing it, or a line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return os.fsdecode(sys.stdin.buffer.readline()).rstrip("\r\n")
