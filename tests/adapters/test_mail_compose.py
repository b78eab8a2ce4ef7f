"""Mails that are sent: what is in them, what can't get into them, which options are refused."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.mail.addresses import address_of, is_address, matches
from adapters.mail.compose import Composer
from adapters.mail.mime import attachments, text_of
from hub.api import PermanentError
from tests.adapters.files_support import outgoing
from tests.adapters.mail_support import connect


def compose(body: bytes | dict[str, Any], key: str = "K1", options: dict[str, Any] | None = None, **keys: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Composer(connect(**(options or {}))).compose(outgoing(raw, key, **keys))


def read(data: bytes) -> EmailMessage:
    found = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


ANY = {"content": "mail", "recipients": ["*"]}


def test_a_text_by_templates() -> None:
    options = {
        "to": ["{doctor}", "lab@hospital.cn"],
        "cc": "office@hospital.cn",
        "subject": "危急值 {patient}",
        "sender_name": "集成平台",
        "recipients": ["@hospital.cn"],
    }
    mail = compose("血钾 7.1\n".encode(), options=options, doctor="Dr Li <li@hospital.cn>", patient="张三")
    assert mail.recipients == ["li@hospital.cn", "lab@hospital.cn", "office@hospital.cn"]
    assert mail.data.isascii()
    found = read(mail.data)
    assert found["To"] == "Dr Li <li@hospital.cn>, lab@hospital.cn"
    assert found["Cc"] == "office@hospital.cn"
    assert found["From"] == "集成平台 <hub@hospital.cn>"
    assert found["Subject"] == "危急值 张三"
    assert found["Message-ID"] == "<K1@hospital.cn>"
    assert found["Date"] == "Thu, 15 Jan 2026 01:30:15 +0000"
    assert found.get_content() == "血钾 7.1\r\n"


def test_the_message_as_an_attachment() -> None:
    options = {
        "content": "attachment",
        "name": "检验报告_{control_id}.pdf",
        "type": "application/pdf",
        "text": "请查收",
    }
    mail = compose(b"%PDF\x00\xff", options=options)
    assert text_of(mail.data, 9) == "请查收\r\n"
    (part,) = attachments(mail.data, ["*.PDF"], 9)
    assert (part.name, part.kind, part.content()) == ("检验报告_C1.pdf", "application/pdf", b"%PDF\x00\xff")
    (standard,) = read(mail.data).iter_attachments()
    assert standard.get_filename() == "检验报告_C1.pdf"


def test_a_mail_from_json() -> None:
    body = {
        "to": ["李四 <li@a.cn>", "wang@b.cn"],
        "cc": ["li@a.cn"],
        "bcc": ["secret@c.cn"],
        "subject": "检验",
        "text": "见附件",
        "html": "<p>见附件</p>",
        "attachments": [
            {"name": "结果.csv", "type": "text/csv", "base64": base64.b64encode("a,值\n".encode("gbk")).decode()},
            {"name": "b.bin", "base64": ""},
        ],
    }
    mail = compose(body, options=ANY)
    assert mail.recipients == ["li@a.cn", "wang@b.cn", "secret@c.cn"]
    assert b"secret" not in mail.data
    found = read(mail.data)
    assert found.get_body(("html",)).get_content() == "<p>见附件</p>\r\n"  # type: ignore[union-attr]
    assert found.get_body(("plain",)).get_content() == "见附件\r\n"  # type: ignore[union-attr]
    parts = attachments(mail.data, ["*"], 20)
    assert [(p.name, p.content()) for p in parts] == [("结果.csv", "a,值\n".encode("gbk")), ("b.bin", b"")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to": ["a@b.cn"], "subject": "x\r\nBcc: evil@b.cn"}, "mail.header"),
        ({"to": ["a@b.cn"], "subject": "x\u2028y"}, "mail.header"),
        ({"to": ["a@b.cn"], "subject": "x" * 2000}, "mail.header"),
        ({"to": ["a@b.cn\r\nRCPT TO:<e@b.cn>"]}, "mail.header"),
        ({"to": ["a@b.cn, e@b.cn"]}, "mail.address"),
        ({"to": ["a@b.cn> <e@b.cn"]}, "mail.address"),
        ({"to": ["x <a@b.cn> SIZE=1"]}, "mail.address"),
        ({"to": ["张@b.cn"]}, "mail.address"),
        ({"to": []}, "mail.body"),
        ({"to": "a@b.cn"}, "mail.body"),
        ({"to": ["a@b.cn"], "from": "boss@b.cn"}, "mail.body"),
        ({"to": [f"a{n}@b.cn" for n in range(51)]}, "mail.recipients"),
        ({"to": ["a@b.cn"], "attachments": [{"name": "a\nb", "base64": ""}]}, "mail.header"),
        ({"to": ["a@b.cn"], "attachments": [{"name": "a", "base64": "***"}]}, "mail.base64"),
        ({"to": ["a@b.cn"], "attachments": [{"name": "a", "base64": "", "type": "message/rfc822"}]}, "mail.type"),
        ({"to": ["a@b.cn"], "attachments": [{"name": "a", "base64": "", "type": "a/b\r\nX: y"}]}, "mail.type"),
        (b"{", "mail.body"),
        (b"[" * 100_000, "mail.body"),
        (b"\xff", "mail.body"),
        (b" " * 30_000_000, "mail.size"),
    ],
)
def test_what_can_not_be_sent(body: Any, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        compose(body, options=ANY)
    assert caught.value.code == code
    assert "evil" not in caught.value.text
    assert "boss" not in caught.value.text


def test_recipients_that_may_not_be_written_to() -> None:
    options = {"content": "mail", "recipients": ["@hospital.cn", "partner@lab.cn"]}
    assert compose({"to": ["a@Hospital.CN", "partner@lab.cn"]}, options=options).recipients
    for address in ("other@lab.cn", "a@x.hospital.cn", "a@evil-hospital.cn"):
        with pytest.raises(PermanentError) as caught:
            compose({"to": ["a@hospital.cn"], "cc": [address]}, options=options)
        assert caught.value.code == "mail.forbidden"
        assert address not in caught.value.text


def test_a_value_that_is_missing_and_a_text_that_is_none() -> None:
    for options, body, code in (
        ({"subject": "{patient}"}, b"x", "mail.variable"),
        ({}, b"\xff\xfe", "mail.text"),
        ({"subject": "{patient}"}, b"x", "mail.header"),
    ):
        keys = {"patient": "a\nBcc: e@b.cn"} if code == "mail.header" else {}
        with pytest.raises(PermanentError) as caught:
            compose(body, options=options, **keys)
        assert caught.value.code == code


@pytest.mark.parametrize("key", ["01ARZ3-x_9" * 6, "张三 110101", "a>\r\nX: y", "k" * 500, "a.b@c"])
def test_the_message_id_is_the_key_or_stands_for_it(key: str) -> None:
    options = {"sender": f"hub@{'long-' * 9}name.hospital.cn"}
    first, second = (compose(b"x", key, options).data for _ in range(2))
    lines = first.split(b"\r\n\r\n")[0].replace(b"\r\n ", b"").split(b"\r\n")
    (line,) = [line for line in lines if line.lower().startswith(b"message-id:")]
    identity = line.partition(b":")[2].strip()
    assert re.fullmatch(rb"<[A-Za-z0-9_-]{2,64}@[a-z.-]{1,70}>", identity)
    assert first == second


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120), st.text(max_size=120), st.text(min_size=1, max_size=60), st.text(max_size=60))
def test_nothing_gets_into_the_headers(subject: str, text: str, name: str, person: str) -> None:
    body = {"to": [f"{person} <a@b.cn>"], "subject": subject, "text": text}
    body["attachments"] = [{"name": name, "base64": "eA=="}]  # type: ignore[list-item]
    try:
        mail = compose(body, options=ANY)
    except PermanentError:
        return
    assert mail.recipients == ["a@b.cn"]
    assert max(map(len, mail.data.split(b"\r\n"))) <= 998
    head = mail.data.split(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
    assert [line.partition(b":")[0].lower() for line in head] == [
        b"date", b"message-id", b"from", b"to", b"subject", b"auto-submitted", b"mime-version", b"content-type",
    ]  # fmt: skip


_CHINESE = st.text(st.sampled_from("检验报告张三李四-_.（）0123abcXYZ 𠮷"), min_size=1, max_size=80)


@settings(max_examples=100, deadline=None)
@given(_CHINESE, _CHINESE)
def test_subjects_and_names_come_back(subject: str, name: str) -> None:
    options = {"content": "attachment", "subject": "{s}", "name": "{n}"}
    data = compose(b"x", options=options, s=subject, n=f"a{name}b").data
    assert " ".join(read(data)["Subject"].split()) == " ".join(subject.split())
    assert [part.name for part in attachments(data, ["*"], 9)] == [f"a{name}b"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"content": "mail", "recipients": []}, "who may be written to"),
        ({"to": ["{doctor}"]}, "who may be written to"),
        ({"to": []}, "at least one recipient"),
        ({"to": ["nobody"]}, "addresses"),
        ({"sender": "张@b.cn"}, "sender is an address"),
        ({"subject": "a\nb"}, "line ends"),
        ({"user": "hub"}, "user and password"),
        ({"user": "hub", "password": "a\nb"}, "line ends"),
        ({"type": "multipart/mixed"}, "media type"),
        ({"recipients": ["hospital.cn"]}, "@hospital.cn"),
        ({"helo": "a b"}, "host name"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        connect(**options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a@b", "a.b+c@x-y.cn", "A@B.CN", f"{'a' * 64}@b.cn"]
)  # fmt: skip
def test_addresses(text: str) -> None:
    assert is_address(text)
    assert address_of(f'"Li, \\"Dr\\"" <{text}>') == ('Li, "Dr"', text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "a", "a@", "@b", "a b@c", "a@b c", "a..b@c", ".a@b", "a@-b", "a@b_", "a@b\n", "a<@b", "a,b@c"),
        *('"a b"@c', "a@b@c", f"{'a' * 65}@b.cn", f"a@{'b.' * 130}cn", "a@[127.0.0.1]", "ａ@b.cn", "a@b.cn\0"),
    ],
)
def test_no_addresses(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(ValueError, match="address"):
        address_of(f"x <{text}>")


def test_lists_name_addresses_and_whole_domains() -> None:
    assert matches("A@b.cn", ["a@B.cn"])
    assert matches("a@b.cn", ["@B.cn"])
    assert matches("a@b.cn", [])
    assert not matches("a@sub.b.cn", ["@b.cn"])
    assert not matches("xa@b.cn", ["a@b.cn"])
