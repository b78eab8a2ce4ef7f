"""Blocks as a self-contained HTML page: no external resources, readable on a screen, on paper and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape

from hub.handbook.blocks import Block, Bullets, Code, Fold, Heading, Inline, Link, Note, Para, Pre, Strong, Table, plain
from hub.i18n import language, t

__all__ = ["document", "inline"]

_STYLE = """
@page { size: A4; margin: 15mm 14mm; }
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --line: #d5dae0; --back: #fff; --tint: #f4f6f8; --mark: #0b5cad; --warn: #fff6dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --soft: #9aa4b0; --line: #3a424c; --back: #16191d; --tint: #20252b; --mark: #7db7f5; --warn: #3a3113; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; color: var(--ink); background: var(--back); font: 15px/1.6 "Noto Sans", "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", system-ui, sans-serif; }
.page { display: grid; grid-template-columns: minmax(0, 1fr); max-width: 1240px; margin: 0 auto; padding: 0 20px 60px; }
@media (min-width: 1000px) { .page.with-nav { grid-template-columns: 250px minmax(0, 1fr); gap: 40px; } }
nav { font-size: 13px; line-height: 1.45; }
@media (min-width: 1000px) { nav { position: sticky; top: 0; max-height: 100vh; overflow-y: auto; padding: 26px 0; align-self: start; } }
nav ul { list-style: none; margin: 0; padding: 0; } nav li { margin: 3px 0; } nav .deep { padding-left: 14px; }
nav a { color: var(--soft); text-decoration: none; } nav a:hover { color: var(--mark); }
.tongues { margin: 0 0 14px; }
main { padding-top: 20px; min-width: 0; }
a { color: var(--mark); }
h1 { font-size: 27px; line-height: 1.25; margin: 6px 0 14px; } h2 { font-size: 20px; margin: 40px 0 12px; padding-bottom: 5px; border-bottom: 1px solid var(--line); }
h3 { font-size: 16px; margin: 26px 0 8px; } h4 { font-size: 14.5px; margin: 20px 0 6px; }
p, ul, ol { margin: 0 0 11px; } li { margin: 3px 0; }
code { font: 0.88em/1.5 ui-monospace, "SF Mono", Consolas, "Noto Sans Mono CJK SC", monospace; background: var(--tint); padding: 1px 4px; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 5px; padding: 11px 13px; overflow: auto; max-height: 460px; margin: 0 0 14px; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: 0 0 16px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; line-height: 1.5; }
th, td { border: 1px solid var(--line); padding: 5px 8px; text-align: left; vertical-align: top; overflow-wrap: break-word; }
thead th { background: var(--tint); font-weight: 600; white-space: nowrap; }
.facts th { width: 170px; background: var(--tint); font-weight: 600; }
.fields td:first-child, .codes td:first-child { min-width: 90px; }
.systems td:nth-child(3) div { font-size: 12.5px; line-height: 1.65; min-width: 300px; max-height: 6.6em; overflow: hidden; } .systems tr:hover td:nth-child(3) div { max-height: none; }
.systems td:nth-child(1) { min-width: 190px; } .systems td:nth-child(2) { min-width: 100px; } .systems td:last-child { white-space: nowrap; }
.note { background: var(--warn); border-left: 4px solid #d9a514; padding: 9px 13px; margin: 0 0 14px; }
details { border: 1px solid var(--line); border-radius: 5px; padding: 0 13px; margin: 0 0 9px; } details[open] { padding-bottom: 8px; }
summary { cursor: pointer; padding: 7px 0; font-weight: 600; }
input[type=search] { width: 100%; font: inherit; color: inherit; background: var(--back); padding: 9px 12px; border: 1px solid var(--line); border-radius: 6px; margin: 4px 0 10px; }
[hidden] { display: none !important; }
@media print { nav, input { display: none; } body { font-size: 10pt; } pre, .systems div { max-height: none !important; white-space: pre-wrap; } thead { display: table-header-group; } tr { break-inside: avoid; } h2, h3, h4 { break-after: avoid; } }
"""
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:|^//")


def document(
    title: str,
    blocks: Sequence[Block],
    *,
    other: tuple[str, str] | None = None,
    home: str = "",
    script: str = "",
    search: str = "",
) -> str:
    """The page. ``other`` is (name, file) of the page in the other language, ``home`` the file of the index.

    ``search`` are the words of a box that ``script`` makes work; without scripts it is hidden.
    """
    parts = list(map(_block, blocks))
    if search:
        parts.insert(2, f'<input type="search" placeholder="{escape(search)}" aria-label="{escape(search)}" hidden>\n')
    body = "".join(parts)
    links = []
    if home:
        links.append(f'<a href="{escape(home)}">{escape(t("All systems", "全部系统"))}</a>')
    if other is not None:
        links.append(f'<a href="{escape(other[1])}">{escape(other[0])}</a>')
    tongues = f'<p class="tongues">{" · ".join(links)}</p>' if links else ""
    contents = _contents(blocks)
    nav = f"<nav>{tongues}{contents}</nav>" if links or contents else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{"zh-CN" if language() == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(_shown(title))}</title>\n'
        f'<style>{_STYLE}</style>\n</head>\n<body>\n<div class="page{" with-nav" if contents else ""}">\n'
        f"{nav}\n<main>\n{body}</main>\n</div>\n{f'<script>{script}</script>' if script else ''}</body>\n</html>\n"
    )


def inline(text: Inline) -> str:
    return "".join(map(_span, text))


@lru_cache(maxsize=1 << 15)
def _span(span: object) -> str:
    match span:
        case str():
            return escape(_shown(span))
        case Code(text):
            return f"<code>{escape(_shown(text))}</code>"
        case Strong(text):
            return f"<strong>{escape(_shown(text))}</strong>"
        case Link(text, target):
            if _SCHEME.match(target):  # only places of the handbook itself are linked
                return escape(_shown(text))
            return f'<a href="{escape(target)}">{escape(_shown(text))}</a>'
    raise TypeError(type(span).__name__)


def _shown(text: str) -> str:
    """Control characters and marks of direction, which could make a text look like another, as a dot."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t\u3000" else "·" for char in text)


def _contents(blocks: Sequence[Block]) -> str:
    found = [block for block in blocks if isinstance(block, Heading) and block.level in (2, 3) and block.anchor]
    if len(found) < 3:
        return ""
    items = "".join(
        f'<li{"" if one.level == 2 else " class=deep"}><a href="#{escape(one.anchor)}">{escape(_shown(plain(one.text)))}</a></li>'
        for one in found
    )
    return f"<ul>{items}</ul>"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text, anchor):
            mark = f' id="{escape(anchor)}"' if anchor else ""
            return f"<h{level}{mark}>{inline(text)}</h{level}>\n"
        case Para(text):
            return f"<p>{inline(text)}</p>\n"
        case Note(text):
            return f'<p class="note">{inline(text)}</p>\n'
        case Bullets(items, ordered):
            kind = "ol" if ordered else "ul"
            return f"<{kind}>{''.join(f'<li>{inline(item)}</li>' for item in items)}</{kind}>\n"
        case Table(head, rows, kind):
            return _table(head, rows, kind)
        case Pre(text, _):
            return f"<pre><code>{escape(_shown(text.rstrip()))}</code></pre>\n"
        case Fold(title, inner):
            return f"<details><summary>{inline(title)}</summary>{''.join(map(_block, inner))}</details>\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Inline]], kind: str) -> str:
    if not head:
        body = "".join(f"<tr><th>{inline(row[0])}</th><td>{inline(row[1])}</td></tr>" for row in rows)
        return f'<div class="wide"><table class="facts"><tbody>{body}</tbody></table></div>\n'
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    opening, closing = ("<td><div>", "</div></td>") if kind == "systems" else ("<td>", "</td>")
    body = "".join(f"<tr>{''.join(f'{opening}{inline(cell)}{closing}' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>\n'
    )
