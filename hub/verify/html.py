"""A report for people: one HTML file in both languages, plugin × check, that needs nothing but itself."""

from __future__ import annotations

from html import escape
from typing import Any

import orjson

from hub.i18n import language
from hub.verify.catalogue import CHECKS
from hub.verify.exports import as_dict
from hub.verify.levels import judge
from hub.verify.model import LEVELS, Report, Status

__all__ = ["as_html"]

_LEVEL_ZH = {"bronze": "铜", "silver": "银", "gold": "金", "platinum": "铂", "": "–"}
_MARKS = {
    Status.PASSED: ("✓", "p"),
    Status.FAILED: ("✗", "f"),
    Status.MISSING: ("–", "m"),
    Status.SKIPPED: ("○", "s"),
    None: ("", "n"),
}

_LEGEND = "✓ passed 通过 · ✗ failed 失败 · – missing 缺少 · ○ skipped 跳过"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --head: #f2f3f5; --ink: #15181c; --paper: #fff; --dim: #667; }
@media (prefers-color-scheme: dark) { :root { --head: #23262b; --ink: #e7e9ec; --paper: #16181b; --dim: #9aa; } }
* { box-sizing: border-box; }
body { margin: 0; font: 14px/1.45 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; color: var(--ink); background: var(--paper); }
body.zh .en, body:not(.zh) .zh { display: none; }
header { padding: 14px 18px 8px; } h1 { font-size: 20px; margin: 0 0 4px; } .dim { color: var(--dim); }
form { display: flex; gap: 8px; flex-wrap: wrap; padding: 8px 18px; align-items: center; }
input, select, button { font: inherit; padding: 4px 8px; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 4px; }
input { min-width: 220px; }
.wrap { overflow: auto; max-height: calc(100vh - 120px); border-top: 1px solid var(--line); }
table { border-collapse: separate; border-spacing: 0; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 8px; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--head); z-index: 2; font-weight: 600; }
thead th.c { height: 132px; padding: 4px 2px; vertical-align: bottom; } thead th.c span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
body.zh thead th.c span { transform: none; }
tbody th { position: sticky; left: 0; background: var(--paper); z-index: 1; font-weight: 600; white-space: nowrap; cursor: pointer; }
thead th:first-child { left: 0; z-index: 3; }
td.c { text-align: center; min-width: 26px; padding: 4px 2px; } td.c.b, th.c.b { border-left: 1px solid var(--line); }
.p { color: #16833f; } .f { color: #fff; background: #c62828; font-weight: 700; } .s { color: #b26a00; } .m { color: var(--dim); }
.lv { white-space: nowrap; } .lv b { padding: 1px 7px; border-radius: 9px; border: 1px solid currentColor; font-weight: 600; }
.bronze b { color: #9c5a1a; } .silver b { color: #66727f; } .gold b { color: #a67c00; } .platinum b { color: #2e7f95; }
tr.more td { background: var(--head); padding: 8px 14px; } tr.more table { width: 100%; } tr.more td td { background: none; padding: 2px 8px; border: 0; }
tr.more td td:first-child { white-space: nowrap; } .why { overflow-wrap: anywhere; } .num { text-align: right; white-space: nowrap; }
@media print { .wrap { max-height: none; overflow: visible; } form { display: none; } }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent), body = document.body;
const rows = [...document.querySelectorAll('tr[data-plugin]')];
const mark = {passed: ['✓', 'p'], failed: ['✗', 'f'], missing: ['–', 'm'], skipped: ['○', 's']};
const by = id => document.getElementById(id);
function cell(row, text, cls) { const td = row.insertCell(); td.textContent = text; if (cls) td.className = cls; return td; }
function open(row) {
  const next = row.nextElementSibling;
  if (next && next.className === 'more') { next.remove(); return; }
  const plugin = data.plugins.find(one => one.id === row.dataset.plugin);
  const more = document.createElement('tr'); more.className = 'more';
  const td = more.insertCell(); td.colSpan = row.cells.length;
  const table = td.appendChild(document.createElement('table'));
  const order = {failed: 0, missing: 1, skipped: 2, passed: 3};
  for (const one of [...plugin.results].sort((a, b) => order[a.status] - order[b.status])) {
    const line = table.insertRow(), [sign, cls] = mark[one.status], check = data.checks.find(c => c.id === one.check);
    cell(line, sign, cls); cell(line, body.classList.contains('zh') ? check.zh : check.en); cell(line, one.place, 'why');
    cell(line, one.why + (one.remedy ? ' → ' + one.remedy : ''), 'why'); cell(line, one.seconds.toFixed(2) + ' s', 'num');
  }
  row.after(more);
}
function filter() {
  const text = by('text').value.toLowerCase(), level = by('level').value, status = by('status').value;
  let shown = 0;
  document.querySelectorAll('tr.more').forEach(row => row.remove());
  for (const row of rows) {
    const fits = (!text || row.dataset.text.includes(text)) && (!level || row.dataset.level === level) && (!status || row.dataset.status.includes(status));
    row.hidden = !fits; shown += fits;
  }
  by('shown').textContent = shown + ' / ' + rows.length;
}
rows.forEach(row => row.cells[0].addEventListener('click', () => open(row)));
['text', 'level', 'status'].forEach(id => by(id).addEventListener('input', filter));
by('language').addEventListener('click', () => { body.classList.toggle('zh'); document.querySelectorAll('tr.more').forEach(row => row.remove()); });
document.querySelector('form').addEventListener('submit', event => event.preventDefault());
filter();
"""


def as_html(report: Report) -> bytes:
    """The page opens in the language of this process; a button changes it. Reasons are in the language of the run."""
    data = as_dict(report)
    counts = report.counts()
    summary = (
        f"{len(report.plugins)} · ✓ {counts[Status.PASSED]} · ✗ {counts[Status.FAILED]} · – {counts[Status.MISSING]} · ○ {counts[Status.SKIPPED]} · "
        f"{report.seconds:.1f} s · {report.at}"
    )
    failed = "".join(f"<p class='f'>{escape(name)}: {escape(why)}</p>" for name, why in report.not_loaded.items())
    return f"""<!doctype html>
<html lang="{"zh-CN" if language() == "zh" else "en"}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>hub verify · {escape(report.at)}</title><style>{_STYLE}</style></head>
<body class="{language()}"><header><h1>{_both("Contract tests of plugins", "插件契约测试")}</h1>
<div class="dim">{escape(summary)}</div>{failed}</header>
<form><input id="text" type="search" aria-label="filter" placeholder="id · name · group · 名称">
<select id="level">{_options()}</select>
<select id="status"><option value="">✓ ✗ – ○</option><option value="failed">✗</option><option value="missing">–</option><option value="skipped">○</option></select>
<button id="language" type="button">EN / 中文</button><span id="shown" class="dim"></span><span class="dim">{_LEGEND}</span></form>
<div class="wrap"><table><thead><tr><th>{_both("plugin", "插件")}</th><th>{_both("level", "等级")}</th>{_heads()}
<th>{_both("missing for the next level", "升级所缺")}</th></tr></thead><tbody>
{"".join(_row(report, name) for name in report.plugins)}
</tbody></table></div>
<script id="data" type="application/json">{_json(data)}</script><script>{_SCRIPT}</script></body></html>
""".encode()


def _both(en: str, zh: str) -> str:
    return f'<span class="en">{escape(en)}</span><span class="zh">{escape(zh)}</span>'


def _options() -> str:
    return '<option value="">★</option>' + "".join(
        f'<option value="{level or "none"}">{level or "–"} {_LEVEL_ZH[level] if level else ""}</option>'
        for level in (*LEVELS, "")
    )


def _heads() -> str:
    heads = []
    before = ""
    for check in CHECKS:
        border = " b" if check.level != before else ""
        before = check.level
        tip = escape(f"{check.level} · {check.proves_en} · {check.proves_zh}", quote=True)
        heads.append(f'<th class="c{border}" title="{tip}">{_both(check.title_en, check.title_zh)}</th>')
    return "".join(heads)


def _row(report: Report, name: str) -> str:
    plugin = report.plugins[name]
    quality = judge(plugin)
    cells = []
    before = ""
    for check in CHECKS:
        status = plugin.status(check.id)
        mark, kind = _MARKS[status]
        border = " b" if check.level != before else ""
        before = check.level
        bad = [f"{r.place}: {r.why}" for r in plugin.of(check.id) if r.status is not Status.PASSED][:3]
        tip = escape("\n".join([f"{check.title_en} · {check.title_zh}", *bad]), quote=True)
        cells.append(f'<td class="c {kind}{border}" title="{tip}">{mark}</td>')
    states = {str(result.status) for result in plugin.results}
    text = escape(f"{plugin.plugin} {plugin.name} {plugin.group}".lower(), quote=True)
    level = quality.level
    return (
        f'<tr data-plugin="{escape(name, quote=True)}" data-text="{text}" data-level="{level or "none"}" '
        f'data-status="{" ".join(sorted(states))}"><th scope="row">{escape(name)}<br>'
        f'<span class="dim">{escape(plugin.name)}</span></th><td class="lv {level}"><b>'
        f"{_both(level or '–', _LEVEL_ZH[level])}</b></td>{''.join(cells)}"
        f'<td class="why">{escape("; ".join(quality.missing)[:400])}</td></tr>\n'
    )


def _json(data: dict[str, Any]) -> str:
    """For a script element: nothing in it can end it."""
    slim = {
        "checks": [{"id": check.id, "en": check.title_en, "zh": check.title_zh} for check in CHECKS],
        "plugins": [{"id": one["id"], "results": one["results"]} for one in data["plugins"]],
    }
    return orjson.dumps(slim).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")
