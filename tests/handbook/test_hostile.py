"""Contracts are files of others: nothing in them becomes markup, a path or a script, and no secret leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from hub.handbook.blocks import Bullets, Code, Heading, Link, Para, Pre, Strong, Table, say
from hub.handbook.build import contents
from hub.handbook.html import document
from hub.handbook.markdown import markdown
from hub.handbook.material import gather
from hub.handbook.subject import of_plugin, of_system
from tests.handbook.support import HOSTILE, Site, described

H = json.dumps(HOSTILE, ensure_ascii=False)

PLUGIN = f"""\
# {HOSTILE}
id: odd
name: {H}
version: {H}
assumed: true
sources: [{H}]
settings:
  host: {{type: host, default: 127.0.0.1, description: {H}}}
  port: {{type: port, required: true, description: {H}}}
  mode: {{type: string, choices: [{H}]}}
  url: {{type: url, default: "https://example.com"}}
  token: {{type: secret, required: true, description: {H}}}
interfaces:
  in_:
    name: {H}
    direction: in
    adapter: http
    listen: {{host: "${{host}}", port: "${{port}}", path: /odd, auth: {{type: bearer, secret: "${{token}}"}},
             replies: {{refused: {{body: {H.replace("{", "{{")}}}}}}}
    codec: json
    validate: {{mode: strict, schema: odd/odd.json}}
    type: "'x'"
    keys: {{a: "b | default('<script>')"}}
    examples: [examples/odd.json, ../../../outside.json]
  out:
    name: {H}
    direction: out
    accepts: [{H}]
    adapter: http
    connect: {{url: "${{url}}", path: "/<script>", headers: {{X-A: {H.replace("{", "").replace(chr(0x202E), "")}}}}}
    codec: json
    errors:
      {H}: {{class: permanent, text: {H}}}
"""
SCHEMA = {
    "title": HOSTILE,
    "description": HOSTILE,
    "type": "object",
    "properties": {
        HOSTILE: {"title": HOSTILE, "enum": [HOSTILE], "description": HOSTILE, "x-source": HOSTILE},
        "elsewhere": {"$ref": "../../outside.json"},
        "remote": {"$ref": "https://example.com/x.json"},
        "itself": {"$ref": "#"},
    },
}


@pytest.fixture
def odd(site: Site, tmp_path: Path) -> Path:
    (tmp_path / "outside.json").write_text('{"title": "OUTSIDE-THE-FOLDERS"}')
    return site(
        {
            "plugins/some/odd/plugin.yaml": PLUGIN,
            "plugins/some/odd/examples/odd.json": json.dumps({HOSTILE: HOSTILE}),
            "schemas/odd/odd.json": json.dumps(SCHEMA),
        }
    )


def test_texts_of_contracts_stay_texts(odd: Path) -> None:
    files = described(odd, "odd")
    assert "odd/zh.html" in files
    for name, text in files.items():
        if name.endswith(".md"):
            text = MarkdownIt("commonmark").enable("table").render(text)
        elif not name.endswith(".html"):
            continue
        tree = lxml_html.fromstring(text)
        scripts = tree.xpath("//script")
        assert not any("alert" in (one.text or "") for one in scripts), name
        assert not tree.xpath("//img | //@onerror | //comment()"), name
        assert not any("javascript" in target for target in tree.xpath("//@href")), name
        assert "\u202e" not in lxml_html.tostring(tree, encoding="unicode") or name.endswith(".md"), name
        assert "alert(1)" in tree.text_content(), name


def test_nothing_outside_the_folders_is_read(odd: Path) -> None:
    for name, text in described(odd, "odd").items():
        assert "OUTSIDE-THE-FOLDERS" not in text, name


def test_machine_readable_files_hold_the_same_texts(odd: Path) -> None:
    files = described(odd, "odd")
    spec = json.loads(files["odd/openapi.en.json"])
    assert spec["info"]["title"] == HOSTILE
    assert "https://example.com" not in json.dumps(
        spec["components"]
    )  # a reference to elsewhere is not followed, nor passed on


SECRETS = ("S3CRET-of-the-setting", "S3CRET-in-a-header", "S3CRET-written-down", "S3CRET-default")
KEYS = f"""\
id: keys
name: keys
settings:
  port: {{type: port, required: true}}
  token: {{type: secret, required: true}}
  other: {{type: secret, default: "env:HANDBOOK_OTHER"}}
  url: {{type: url, required: true}}
interfaces:
  take:
    direction: in
    adapter: http
    listen: {{port: "${{port}}", path: /take, auth: {{type: api_key, secret: "${{token}}"}}}}
    codec: json
    security: [{{signature: {{secret: "${{token}}", text: "{{body}}{{secret}}", at: {{header: X-Sign}}}}}}]
  give:
    direction: out
    adapter: http
    connect: {{url: "${{url}}", auth: {{type: bearer, secret: "${{token}}"}}, headers: {{X-Token: "${{token}}"}}}}
    codec: json
    security:
      - encryption: {{algorithm: sm4-cbc, key: "${{other}}", iv: {{const: "{SECRETS[2]}"}}}}
"""


def test_secrets_of_a_system_are_not_in_its_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDBOOK_TOKEN", SECRETS[0])
    monkeypatch.setenv("HANDBOOK_OTHER", "00112233445566778899aabbccddeeff")
    config = site(
        {"plugins/some/keys/plugin.yaml": KEYS.replace(SECRETS[2], "00112233445566778899aabbccddeeff")},
        f"""systems:
  hospital:
    plugin: keys
    name: 医院
    settings: {{port: 18431, token: "env:HANDBOOK_TOKEN", url: "https://partner.example/api"}}
    interfaces: {{give: {{connect: {{headers: {{X-Secret-Code: {SECRETS[2]}, X-Api-Key: {SECRETS[1]}}}}}}}}}
""",
    )
    material = gather(config, quality=False)
    assert [str(one) for one in material.deployment.problems if one.severity == "error"] == []
    subject = of_system(material.deployment, "hospital")
    files = {name: text.decode() for name, text in contents(material, [subject], systems=True).items()}
    for name, text in files.items():
        assert not any(secret in text for secret in (*SECRETS, os.environ["HANDBOOK_OTHER"])), name
    assert "http://127.0.0.1:18431/take" in files["hospital/en.md"]  # but real addresses are
    assert "https://partner.example/api" in files["hospital/en.md"]
    assert "18431" in files["hospital/openapi.en.json"]


def test_a_secret_written_into_a_plugin_is_not_shown(site: Site) -> None:
    text = KEYS.replace('"${token}"', f'"{SECRETS[3]}"')
    material = gather(site({"plugins/some/keys/plugin.yaml": text}), quality=False)
    for name, content in contents(material, [of_plugin(material.plugin("keys"))]).items():
        assert not any(secret.encode() in content for secret in SECRETS), name


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_any_text_in_any_block_survives_as_text(one: str, other: str) -> None:
    blocks = [
        Heading(2, (one,), "a"),
        Para((other, Code(one), Strong(other), Link(one, other))),
        Bullets([(one,), say("see {x}", x=other)]),
        Table(["h"], [[(one,)], [(Code(other),)]]),
        Pre(one),
    ]
    tree = lxml_html.fromstring(document(one, blocks))
    assert not tree.xpath("//main//script | //main//img | //main//*[@onerror or @style]")
    assert len(tree.xpath("//main//tr")) == 3
    rendered = lxml_html.fromstring(
        "<div>" + MarkdownIt("commonmark").enable("table").render(markdown(blocks)) + "</div>"
    )
    assert len(rendered.xpath("//h2")) == 1
    assert len(rendered.xpath("//table//tr")) == 3
    assert not rendered.xpath("//script | //img")
