"""Plain pages on flows for a browser: lists by state, one instance with its picture, messages and history, and what a person may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from hub.i18n import language, t

__all__ = ["SCRIPT", "instance_page", "list_page"]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:75rem;padding:0 1rem;color:#1f2933}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d9e2ec;vertical-align:top}
th{background:#f5f7fa}a{color:#1a5fb4}.state{padding:.1rem .5rem;border-radius:.6rem;background:#eef1f4;white-space:nowrap}
.held,.failed{background:#ffd9d6}.running,.active{background:#fff3c4}.ended,.done{background:#d9f2df}.compensating,.undone{background:#e4defa}
nav a{margin-right:.8rem}fieldset{margin:1rem 0;border:1px solid #cbd2d9;border-radius:6px}label{display:block;margin:.4rem 0}button{margin:.3rem .5rem .3rem 0;padding:.35rem .8rem}
svg{max-width:100%;height:auto;border:1px solid #d9e2ec;border-radius:6px}pre{white-space:pre-wrap;margin:0}#told{font-weight:bold}
"""
#: Sends what a form says to the admin API; the session's token against forged calls is asked for first.
SCRIPT = """
document.querySelectorAll("form[data-order]").forEach(form => form.addEventListener("submit", async event => {
  event.preventDefault();
  const order = {}, fields = {};
  for (const [name, value] of new FormData(form)) {
    if (name.startsWith("field:")) {
      const kind = form.elements[name].dataset.kind;
      if (value !== "") fields[name.slice(6)] = kind === "number" ? Number(value) : kind === "boolean" ? value === "true" : value;
    } else order[name] = value;
  }
  if (event.submitter && event.submitter.name) order[event.submitter.name] = event.submitter.value;
  if (Object.keys(fields).length) order.fields = fields;
  const me = await fetch("/api/v1/me"), headers = {"Content-Type": "application/json"};
  if (me.ok) headers["X-CSRF-Token"] = (await me.json()).csrf || "";
  const answer = await fetch(form.dataset.order, {method: "POST", headers, body: JSON.stringify(order)});
  if (answer.ok) location.reload();
  else document.getElementById("told").textContent = (await answer.json()).detail || answer.status;
}));
"""
_STATES = ("open", "running", "held", "compensating", "ended", "failed", "cancelled")


def _page(title: str, body: str) -> str:
    lang = "zh-CN" if language() == "zh" else "en"
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>{body}<script src="/console/flows.js"></script></body></html>'
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML."""
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _state(word: str) -> str:
    return f'<span class="state {escape(word)}">{escape(_word(word))}</span>' if word else ""


def _word(state: str) -> str:
    words = {
        "open": t("open", "未结束"),
        "running": t("running", "运行中"),
        "held": t("held", "挂起"),
        "compensating": t("being undone", "补偿中"),
        "ended": t("ended", "已结束"),
        "failed": t("failed", "失败"),
        "cancelled": t("cancelled", "已取消"),
        "active": t("at it", "进行中"),
        "done": t("done", "完成"),
        "skipped": t("left out", "跳过"),
        "dropped": t("dropped", "放弃"),
        "undone": t("undone", "已补偿"),
        "waiting": t("to be handed in", "待提交"),
        "sent": t("under way", "处理中"),
    }
    return words.get(state, state)


def _event(what: str) -> str:
    """A line of the history."""
    words = {
        "started": t("began", "开始"),
        "received": t("message taken", "收到消息"),
        "kept": t("message kept until it is waited for", "消息暂存"),
        "ignored": t("message without use", "消息未使用"),
        "late": t("message after the end", "结束后收到消息"),
        "unused": t("kept message not used", "暂存消息未使用"),
        "refused": t("message refused", "消息被拒绝"),
        "sends": t("sends", "发送"),
        "delivered": t("delivered", "已送达"),
        "waits": t("waits", "等待"),
        "begun": t("begun", "已进入"),
        "chosen": t("way chosen", "选择分支"),
        "completed": t("decided", "已办理"),
        "timeout": t("not in time", "超时"),
        "deadline": t("deadline of the flow passed", "超过流程期限"),
        "retried": t("tried again by a person", "人工重试"),
        "compensating": t("is being undone", "开始补偿"),
        "undoing": t("undoes", "执行补偿"),
        "undo_failed": t("undoing failed", "补偿失败"),
    }
    return words.get(what) or _word(what)


def list_page(
    flows: Sequence[Mapping[str, Any]], instances: Sequence[Mapping[str, Any]], query: Mapping[str, str]
) -> str:
    """Flows with their counts, and instances, newest first."""
    kinds = _table(
        [t("flow", "流程"), t("name", "名称"), *(_word(state) for state in _STATES[1:])],
        (
            [
                f'<a href="?{urlencode({"flow": flow["flow"]})}">{escape(flow["flow"])}</a>',
                escape(flow["name"]),
                *(
                    f'<a href="?{urlencode({"flow": flow["flow"], "state": state})}">{flow["states"].get(state, 0)}</a>'
                    for state in _STATES[1:]
                ),
            ]
            for flow in flows
        ),
    )
    chosen = {name: value for name, value in query.items() if name in ("flow", "state") and value}
    ways = "".join(
        f'<a href="?{urlencode({**chosen, "state": state})}">{escape(_word(state))}</a>' for state in _STATES
    )
    rows = _table(
        [
            t("instance", "实例"),
            t("flow", "流程"),
            t("key", "业务键"),
            t("state", "状态"),
            t("at", "所在步骤"),
            t("since", "起始"),
            t("due", "到期"),
        ],
        (
            [
                f'<a href="/console/flows/{escape(one["id"])}">{escape(one["id"])}</a>',
                escape(one["flow"]),
                escape(one["key"]),
                _state(one["state"]) + " " + escape(one["end_name"] or one["end"]),
                escape(", ".join(one["at"])),
                escape(one["started_at"][:19]),
                escape(one["due"][:19]),
            ]
            for one in instances
        ),
    )
    more = ""
    if instances and len(instances) >= int(query.get("limit", "50")):
        older = urlencode({**chosen, "before": instances[-1]["id"]})
        more = f'<a href="?{older}">{escape(t("older", "更早"))}</a>'
    return _page(t("Flows", "流程"), f"{kinds}<nav>{ways}</nav>{rows}{more}")


def instance_page(one: Mapping[str, Any], svg: str) -> str:
    """One instance; ``svg`` is its picture."""
    steps = _table(
        [
            t("step", "步骤"),
            t("name", "名称"),
            t("state", "状态"),
            t("runs", "次数"),
            t("since", "起"),
            t("until", "止"),
            t("due", "到期"),
            t("why", "原因"),
        ],
        (
            [
                escape(step["id"]),
                escape(step["name"]),
                _state(step["state"]),
                str(step["run"] or ""),
                escape(step["since"][:19]),
                escape(step["ended"][:19]),
                escape(step["due"][:19]),
                escape(f"{step['code']} {step['text']}".strip()),
            ]
            for step in one["steps"]
        ),
    )
    sent = _table(
        [
            t("message", "消息"),
            t("step", "步骤"),
            t("to", "目标"),
            t("type", "类型"),
            t("state", "状态"),
            t("undoes", "补偿"),
        ],
        (
            [
                f'<a href="/api/v1/messages/{escape(row["message"])}">{escape(row["message"])}</a>',
                escape(row["step"]),
                escape(row["target"]),
                escape(row["type"]),
                escape(_word(row["state"])),
                "✓" if row["undo"] else "",
            ]
            for row in one["sent"]
        ),
    )
    versions = _table(
        [t("document", "文档"), t("version", "版本"), t("at", "时间"), t("content", "内容")],
        (
            [
                escape(row["name"]),
                str(row["version"]),
                escape(row["at"][:19]),
                f"<pre>{escape(_shown(row['data']))}</pre>",
            ]
            for row in one["versions"]
        ),
    )
    history = _table(
        [t("at", "时间"), t("what", "事件"), t("step", "步骤"), "", t("message", "消息")],
        (
            [
                escape(row["at"][:19]),
                escape(_event(row["what"])),
                escape(row["step"]),
                escape(row["text"]),
                f'<a href="/api/v1/messages/{escape(row["message"])}">{escape(row["message"])}</a>',
            ]
            for row in one["history"]
        ),
    )
    head = f"<p>{escape(one['flow'])} · {escape(one['key'])} · {_state(one['state'])} {escape(one['end_name'] or one['end'])} {escape(one['reason'])}</p>"
    variables = f"<pre>{escape(_shown(one['variables']))}</pre>"
    parts = [
        head,
        '<p id="told"></p>',
        _orders(one),
        svg,
        _part(t("Steps", "步骤"), steps),
        _part(t("Messages sent", "已发消息"), sent),
        _part(t("Documents", "文档版本"), versions),
        _part(t("Variables", "变量"), variables),
        _part(t("History", "历史"), history),
    ]
    back = f'<nav><a href="/console/flows">{escape(t("all flows", "全部流程"))}</a></nav>'
    return _page(f"{one['name'] or one['flow']} · {one['id']}", back + "".join(parts))


def _part(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _shown(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _orders(one: Mapping[str, Any]) -> str:
    """Forms for what may be done now."""
    if one["ended_at"]:
        return ""
    base = f"/api/v1/flows/instances/{escape(one['id'])}"
    forms = []
    for step in one["steps"]:
        manual = step.get("manual")
        if manual:
            shown = "".join(
                f"<li>{escape(name)}: {escape(str(one['variables'].get(name, '')))}</li>" for name in manual["show"]
            )
            fields = "".join(_field(name, told) for name, told in manual["fields"].items())
            buttons = "".join(
                f'<button name="choice" value="{escape(choice)}">{escape(name or choice)}</button>'
                for choice, name in manual["choices"].items()
            )
            forms.append(
                f'<form data-order="{base}/complete"><fieldset><legend>{escape(manual["title"] or step["id"])} ({escape(manual["role"])})</legend>'
                f'<ul>{shown}</ul>{fields}<input type="hidden" name="step" value="{escape(step["id"])}">{buttons}</fieldset></form>'
            )
        if step["state"] == "held":
            forms.append(_retry(base, step["id"], t("held", "挂起")))
    closing = one.get("closing") or {}
    if closing.get("held"):
        forms.append(_retry(base, closing["step"], t("can't be undone", "补偿失败")))
    if closing:
        return "".join(forms)
    forms.append(
        f'<form data-order="{base}/cancel"><label>{escape(t("reason", "原因"))} <input name="reason" required maxlength="500"></label>'
        f"<button>{escape(t('cancel and undo', '取消并补偿'))}</button></form>"
    )
    return "".join(forms)


def _retry(base: str, step: str, why: str) -> str:
    return (
        f'<form data-order="{base}/retry"><fieldset><legend>{escape(why)}: {escape(step)}</legend>'
        f'<input type="hidden" name="step" value="{escape(step)}"><button>{escape(t("try again", "重试"))}</button>'
        f'<button name="skip" value="1">{escape(t("leave it out", "跳过"))}</button></fieldset></form>'
    )


def _field(name: str, told: Mapping[str, Any]) -> str:
    required = " required" if told["required"] else ""
    label = escape(told["name"] or name)
    named = f'name="field:{escape(name)}" data-kind="{told["type"]}"{required}'
    if told["type"] == "boolean":
        return f"<label>{label} <select {named}><option></option><option>true</option><option>false</option></select></label>"
    kind = "number" if told["type"] == "number" else "text"
    return f'<label>{label} <input type="{kind}" step="any" {named}></label>'
