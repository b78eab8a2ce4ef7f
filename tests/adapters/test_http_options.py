"""adapters.http.options and templates: what may be written, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.http.options import HttpConnect, HttpListen
from adapters.template import MissingVariable, Template

OPEN = {"type": "none"}


def test_listen_defaults() -> None:
    options = HttpListen.model_validate({"path": "/in", "auth": OPEN})
    assert (options.host, options.port, options.methods, options.accepted_status) == ("127.0.0.1", 0, ["POST"], 202)


def test_no_tls_where_settings_give_no_certificate() -> None:
    assert HttpListen.model_validate({"path": "/in", "auth": OPEN, "tls": {}}).tls is None
    with pytest.raises(ValidationError):
        HttpListen.model_validate({"path": "/in", "auth": OPEN, "tls": {"key": "key.pem"}})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "auth"),
        ({"auth": {}}, "type"),
        ({"auth": {"type": "basic", "secret": "s"}}, "needs a user"),
        ({"auth": {"type": "basic", "user": "a:b", "secret": "s"}}, "colon"),
        ({"auth": {"type": "bearer"}}, "needs a secret"),
        ({"auth": {"type": "api_key"}}, "needs a secret"),
        ({"auth": {"type": "api_key", "secret": "s", "header": "a b"}}, "not a header name"),
        ({"auth": {"type": "api_key", "secret": "s"}, "log_headers": ["x-api-key"]}, "must not be logged"),
        ({"auth": OPEN, "host": "0.0.0.0"}, "who may connect"),
        ({"auth": OPEN, "allow": ["10.0.0.300"]}, "allow"),
        ({"auth": OPEN, "path": "in"}, "starts with /"),
        ({"auth": OPEN, "path": "/in?x=1"}, "no query"),
        ({"auth": OPEN, "path": "/a{b}"}, "whole segment"),
        ({"auth": OPEN, "path": "/{a}/{a}"}, "once"),
        ({"auth": OPEN, "methods": []}, "methods"),
        ({"auth": OPEN, "methods": ["HEAD"]}, "methods"),
        ({"auth": OPEN, "content_types": ["json"]}, "not a media type"),
        ({"auth": OPEN, "log_headers": ["Authorization"]}, "credentials"),
        ({"auth": OPEN, "log_headers": ["Cookie"]}, "credentials"),
        ({"auth": OPEN, "pth": "/"}, "pth"),
    ],
)
def test_listen_refuses(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HttpListen.model_validate({"path": "/in", **given})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "ftp://h/x"}, "http"),
        ({"url": "http:///x"}, "host"),
        ({"url": "http://h:99999/"}, "url"),
        ({"url": "http://u:p@h/"}, "credentials"),
        ({"url": "http://{host}/"}, "templates"),
        ({"url": "http://h/#x"}, "fragment"),
        ({"url": "http://a b/"}, "not a host"),
        ({"url": "http://h/{a"}, "template"),
        ({"path": "/x?y=1"}, "query"),
        ({"headers": {"Content-Length": "1"}}, "itself"),
        ({"headers": {"transfer-encoding": "chunked"}}, "itself"),
        ({"headers": {"X": "a\r\nY: b"}}, "control"),
        ({"headers": {"X Y": "a"}}, "not a header name"),
        ({"idempotency_header": "Host"}, "itself"),
        ({"idempotency_header": "X-Key", "headers": {"x-key": "1"}}, "twice"),
        ({"auth": {"type": "bearer", "secret": "s"}, "headers": {"Authorization": "x"}}, "twice"),
        ({"auth": {"type": "api_key", "secret": "s", "header": "Content-Length"}}, "itself"),
        ({"auth": {"type": "bearer", "secret": "a\r\nX: b"}}, "printable"),
        ({"auth": {"type": "bearer", "secret": "密"}}, "ASCII"),
        ({"auth": {"type": "none"}}, "type"),
        ({"content_type": "a\nb"}, "ASCII"),
        ({"url": "http://h/{id}", "probe": {}}, "probe"),
        ({"connections": 0}, "connections"),
    ],
)
def test_connect_refuses(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HttpConnect.model_validate({"url": "http://h/x", **given})


def test_secrets_are_not_shown() -> None:
    listen = HttpListen.model_validate({"path": "/", "auth": {"type": "bearer", "secret": "s3cret-token"}})
    connect = HttpConnect.model_validate({"url": "http://h", "auth": {"type": "bearer", "secret": "s3cret-token"}})
    assert "s3cret" not in f"{listen!r} {listen} {connect!r} {listen.model_dump_json()} {connect.model_dump_json()}"


def test_template_is_filled_and_encoded() -> None:
    template = Template("/p/{id}/v{n}")
    assert template.names == ["id", "n"]
    assert template.fill({"id": "a", "n": 3}, str.upper) == "/p/A/v3"


@pytest.mark.parametrize("variables", [{}, {"id": None}])
def test_template_names_what_is_missing(variables: dict[str, Any]) -> None:
    with pytest.raises(MissingVariable) as caught:
        Template("/{id}").fill(variables, str)
    assert caught.value.name == "id"


@given(st.text(alphabet="{}ab/ 1", max_size=12))
def test_template_sends_no_brace_it_did_not_understand(text: str) -> None:
    try:
        template = Template(text)
    except ValueError:
        return
    filled = template.fill(dict.fromkeys(template.names, "v"), str)
    assert "{" not in filled
    assert "}" not in filled


def test_a_refused_option_does_not_show_its_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        HttpListen.model_validate({"path": "/in", "auth": {"type": "basic", "secret": "s3cret-token"}})
    assert "s3cret" not in str(caught.value)
