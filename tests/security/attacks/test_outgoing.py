"""What a message can make the hub do to others: addresses, headers, file names, SQL, settings of its own."""

from __future__ import annotations

import http.server
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from hub.deployment import load_deployment
from hub.errors import HubError
from hub.mapping import Context, compile_expression
from tests.kernel.process import wait_for
from tests.security.attacks.fortress import OUT_TOKEN, PASSWORD, Fortress


@pytest.fixture
def inside() -> Iterator[tuple[str, list[str]]]:
    """A server the hub must never call, and the requests it got."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = do_GET

        def log_message(self, *arguments: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def send(fort: Fortress, **body: Any) -> None:
    number = orjson.dumps(body)
    assert fort.http("json", number).status == 202
    fort.hub.settled()


@pytest.mark.parametrize(
    "where",
    [
        "http://{inside}/",
        "//{inside}/",
        "@{inside}/",
        "x@{inside}",
        "..%2f..%2f@{inside}",
        "/../../{inside}",
        "\\\\{inside}\\",
        "#@{inside}",
        "?@{inside}",
        ":80@{inside}",
        "x HTTP/1.1\r\nHost: {inside}\r\n\r\nGET /",
        "\u2025\u2215{inside}",
        "http:\\\\{inside}",
    ],
)
def test_a_value_in_an_address_leads_nowhere_else(fort: Fortress, inside: tuple[str, list[str]], where: str) -> None:
    host, seen = inside
    before = len(fort.sink.bodies)
    send(fort, type="web", id="ssrf" + str(zlib.crc32(where.encode())), where=where.replace("{inside}", host), name="x")
    assert seen == []
    for path, _ in fort.sink.bodies[before:]:
        assert path.startswith("/in/")
        assert "/" not in path.removeprefix("/in/")  # percent-encoded, one step


def test_a_redirect_is_not_followed_and_the_token_stays(fort: Fortress, inside: tuple[str, list[str]]) -> None:
    host, seen = inside

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"http://{host}/steal")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            return

    # The sink of the hub itself answers with a redirect for one call.
    handler = fort.sink._server.RequestHandlerClass
    old = handler.do_POST  # type: ignore[attr-defined]
    handler.do_POST = Redirect.do_POST  # type: ignore[attr-defined]
    try:
        send(fort, type="web", id="redirect", where="a", name="x")
    finally:
        handler.do_POST = old  # type: ignore[attr-defined]
    assert seen == []
    dead = fort.hub.call("GET", "/api/v1/deliveries?state=dead&limit=50").json["deliveries"]
    assert any("redirect" in row["reason"] for row in dead)
    assert OUT_TOKEN not in json.dumps(dead)


def test_what_is_asked_for_goes_out(fort: Fortress) -> None:
    """Else the tests here would prove nothing."""
    send(fort, type="web", id="honest-web", where="ward 7", name="x")
    assert fort.sink.bodies[-1][0] == "/in/ward%207"
    send(fort, type="file", id="honest-out")
    assert (fort.folder / "out" / "honest-out.json").exists()


@pytest.mark.parametrize(
    "name",
    ["x\r\nX-Evil: 1", "x\nAuthorization: Bearer evil", "x\x00y", "张三\r\n\r\nGET / HTTP/1.1", "\u560a\u560dX: y"],
)
def test_a_value_in_a_header_makes_no_header(fort: Fortress, name: str) -> None:
    seen: list[list[tuple[str, str]]] = []
    handler = fort.sink._server.RequestHandlerClass
    old = handler.do_POST  # type: ignore[attr-defined]

    def noted(self: Any) -> None:
        seen.append([(key.lower(), value) for key, value in self.headers.items()])
        old(self)

    handler.do_POST = noted  # type: ignore[attr-defined]
    try:
        send(fort, type="web", id="header" + str(zlib.crc32(name.encode())), where="a", name=name)
    finally:
        handler.do_POST = old  # type: ignore[attr-defined]
    for headers in seen:
        assert not {"x-evil", "x"} & {key for key, _ in headers}
        assert [value for key, value in headers if key == "authorization"] == [f"Bearer {OUT_TOKEN}"]


@pytest.mark.parametrize(
    "number",
    [
        "../../evil",
        "/etc/cron.d/evil",
        "..\\..\\evil",
        "a/../../../evil",
        "evil\x00.txt",
        ".",
        "..",
        "~/evil",
        "%2e%2e%2fevil",
        "\u2025/evil",
        "con/../evil",
        "evil\n.json",
        "e" * 240,
    ],
)
def test_a_file_stays_in_its_folder(fort: Fortress, number: str) -> None:
    out, folder = fort.folder / "out", fort.folder
    outside = {path for path in folder.rglob("*") if not path.is_relative_to(out) and "var" not in path.parts}
    send(fort, type="file", id=number)
    now = {path for path in folder.rglob("*") if not path.is_relative_to(out) and "var" not in path.parts}
    assert now == outside
    for path in out.rglob("*"):
        assert path.parent == out
        assert path.name.isprintable()


def test_a_link_in_a_drop_folder_leads_out_of_nothing(fort: Fortress) -> None:
    """Whoever may write there gets no file of the hub's own read."""
    secret = fort.folder / "config" / "token"
    secret_json = fort.folder / "secret.json"
    secret_json.write_text('{"type":"t","id":"linked","text":"' + secret.read_text() + '"}', encoding="utf-8")
    drop = fort.folder / "drop"
    (drop / "link.json").symlink_to(secret_json)
    (drop / "folder.json").symlink_to(fort.folder / "config")
    (drop / "honest.json").write_text('{"type":"t","id":"honest-file"}', encoding="utf-8")

    def honest() -> bool:
        return any(row["control_id"] == "honest-file" for row in fort.messages())

    try:
        wait_for(honest, "the honest file is read", 20)
        assert not [row for row in fort.messages() if row["control_id"] == "linked"]
        assert secret_json.exists()
        assert secret.exists()
    finally:
        for name in ("link.json", "folder.json"):
            (drop / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "x'); DROP TABLE visit; --",
        "x' || (SELECT password FROM secrets) || '",
        '"; DELETE FROM visit; --',
        "x\\'; DROP TABLE secrets; --",
        "%s%s%n {0} :name ? $1",
        "1; ATTACH DATABASE '/tmp/x' AS y",
    ],
)
def test_a_value_is_never_sql(fort: Fortress, text: str) -> None:
    send(fort, type="db", id=text, name=text, key=text)
    with sqlite3.connect(fort.folder / "his.db") as database:
        rows = database.execute("SELECT id, name FROM visit WHERE id = ?", (text,)).fetchall()
        assert rows == [(text, text)]
        assert database.execute("SELECT password FROM secrets").fetchall() == [(PASSWORD,)]


@pytest.mark.parametrize(
    "field", ["type", "source", "control_id", "state", "target", "text", "key.id_number", "after", "before", "limit"]
)
@pytest.mark.parametrize(
    "value",
    [
        "'%20OR%20'1'='1",
        "%22);DROP%20TABLE%20messages;--",
        "1%20UNION%20SELECT%20*%20FROM%20sqlite_master",
        "*%20NEAR(a%20b)%22",
    ],
)
def test_a_search_is_never_sql(fort: Fortress, field: str, value: str) -> None:
    count = len(fort.messages())
    for path in ("messages", "deliveries", "calls"):
        answer = fort.hub.call("GET", f"/api/v1/{path}?{field}={value}")
        assert answer.status in (200, 400), answer.body
        assert b"syntax" not in answer.body.lower()
        assert b"no such" not in answer.body.lower()
    assert len(fort.messages()) == count


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')",
        "().__class__.__bases__[0].__subclasses__()",
        "open('/etc/passwd')",
        "eval('1')",
        "(lambda: 1)()",
        "a.__globals__",
        "[x for x in ().__class__.__mro__]",
        "f'{a.__class__}'",
        "name.format(name)",
        "9 ** 9 ** 9",
        "'a' * 999999999",
        "x := 1",
        "import os",
        "$secrets.token",
        "settings['__class__']",
    ],
)
def test_an_expression_reaches_the_message_and_nothing_else(text: str) -> None:
    """They are compiled from a small language of their own."""
    try:
        with_message = compile_expression(text, "json")({"a": "b", "name": "n"}, Context())
    except HubError:
        return
    assert not callable(with_message)
    assert len(str(with_message)) < 1000


def test_settings_say_no_to_addresses_that_are_none(fort: Fortress) -> None:
    file = fort.folder / "config" / "hub.yaml"
    text = file.read_text(encoding="utf-8")
    for url in (
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "http://user:planted@h/",
        "http://h/\r\nX: y",
        "ftp://h/",
        "http://",
    ):
        probe = file.with_name("probe.yaml")
        probe.write_text(text.replace(fort.sink.url, json.dumps(url)), encoding="utf-8")
        try:
            problems = load_deployment(probe).problems
        finally:
            probe.unlink()
        assert [p for p in problems if p.severity == "error"], url
        assert "planted" not in "".join(map(str, problems))
