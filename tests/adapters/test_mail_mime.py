"""Mails that are read: also those by old programs, by hand, and by people who mean harm."""

from __future__ import annotations

import base64
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.mail.imap import folder_name
from adapters.mail.mime import Headers, attachments, decode_words, file_name, leaves, text_of
from adapters.mail.splitting import messages_of
from hub.api import Confidential, Item, PermanentError
from tests.adapters.mail_support import listen


def parts(raw: bytes, most: int = 50) -> list[tuple[str, str, bytes]]:
    return [(part.kind, part.name, part.content()) for part in leaves(raw, most)]


def code(raw: bytes, **options: object) -> str:
    try:
        messages_of(raw, listen(**options), "utf-8")
    except PermanentError as error:
        return error.code
    return ""


MIXED = (
    b"From: lis@hospital.cn\nContent-Type: multipart/mixed; boundary=\"a b\"\n\nto be ignored\n--a b\n"
    b"Content-Type: multipart/alternative; boundary=in\n\n--in\nContent-Type: text/plain; charset=gb2312\n"
    b"Content-Transfer-Encoding: 8bit\n\n" + "你好镕\n".encode("gb18030") + b"--in \nContent-Type: text/html\n\n<p>\n--in--\n"
    b"ignored\n--a b\nContent-Type: text/csv; name=x.csv\nContent-Transfer-Encoding: base64\n\nYSxi\n\n--a b\n"
    b'Content-Type: message/rfc822\nContent-Disposition: attachment; filename="in\\"ner.eml"\n\nSubject: x\n\n--a b--not\ny\n--a b--\n'
    b"--a b\nafter the end\n"
)  # fmt: skip


@pytest.mark.parametrize("raw", [MIXED, MIXED.replace(b"\n", b"\r\n")])
def test_parts_in_their_order(raw: bytes) -> None:
    end = b"\r\n" if b"\r" in raw else b"\n"
    assert parts(raw) == [
        ("text/plain", "", "你好镕".encode("gb18030")),
        ("text/html", "", b"<p>"),
        ("text/csv", "x.csv", b"a,b"),
        ("message/rfc822", 'in"ner.eml', b"Subject: x" + end * 2 + b"--a b--not" + end + b"y"),
    ]
    assert text_of(raw, 50) == "你好镕"
    assert [part.name for part in attachments(raw, ["*.CSV", "none"], 50)] == ["x.csv"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"filename*=gb2312''%BC%EC%D1%E9.pdf", "检验.pdf"),
        (b"filename*=UTF-8''%E6%A3%80%E9%AA%8C.pdf", "检验.pdf"),
        (b"filename*0*=utf-8''%E6%A3%80; filename*1*=%E9%AA%8C; filename*2=.pdf", "检验.pdf"),
        (b'filename="=?gbk?B?vOzR6S5wZGY=?="', "检验.pdf"),
        (b"filename==?utf-8?q?=E6=A3=80=E9=AA=8C.pdf?=", "检验.pdf"),
        (b'filename="=?gb2312?B?vOzR?=\n =?gb2312?B?6S5wZGY=?="', "检验.pdf"),  # a character cut in two
        (b'filename="' + "检验.pdf".encode("gbk") + b'"', "检验.pdf"),
        (b'filename="' + "检验.pdf".encode() + b'"', "检验.pdf"),
        (b'filename="C:\\\\data\\\\x.pdf"', "x.pdf"),
        (b'filename="../../etc/passwd"', "passwd"),
        (b'filename="a\x00\x07b\x7f.pdf"', "ab.pdf"),
        (b"filename=x.pdf", "x.pdf"),
        (b"filename*=nonsense''%BC%EC.pdf", "检.pdf"),
        (b"filename*=utf-8''%ZZ", "%ZZ"),
        (b'filename="=?utf-8?B?YQ"', "=?utf-8?B?YQ"),
    ],
)
def test_names_of_files(line: bytes, name: str) -> None:
    raw = b"Content-Disposition: attachment; " + line + b"\n\nx"
    (part,) = leaves(raw, 5)
    assert part.name == name
    assert part.attached


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("=?utf-8?B?5qOA6aqM?= =?utf-8?B?5oql5ZGK?= x", "检验报告 x"),
        ("plain", "plain"),
        ("=?gb18030?Q?=BC=EC?=", "检"),
        ("=?nonsense?Q?=BC=EC?=", "检"),
        ("=?utf-8?Q?", "=?utf-8?Q?"),
    ],
)
def test_encoded_words(text: str, found: str) -> None:
    assert decode_words(text) == found


def test_texts_in_each_character_set() -> None:
    for charset in ("gbk", "gb18030", "utf-8", "GB2312", "big5"):
        head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n".encode()
        word = "檢驗" if charset == "big5" else "检验"
        assert text_of(head + base64.b64encode(word.encode(charset)), 5) == word
    assert text_of(b"\n" + "检验".encode("gbk"), 5) == "检验"
    assert text_of(b"\r\n" + "检验".encode(), 5) == "检验"
    assert text_of(b"Content-Type: text/html\n\n<p>", 5) is None
    quoted = (
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=E6=A3=80=\n=E9=AA=8C"
    )
    assert text_of(quoted, 5) == "检验"


def test_messages_of_a_mail() -> None:
    raw = b"Message-ID: <1@a>\nSubject: =?gbk?B?vOzR6Q==?=\nContent-Type: text/plain\n" + MIXED.replace(
        b"Content-Type: multipart/mixed", b"X: y\nContent-Type: multipart/mixed", 1
    )
    raw = raw.replace(b"Content-Type: text/plain\nFrom", b"From", 1)
    (whole,) = messages_of(raw, listen(), "utf-8")
    assert (whole.raw, whole.params) == (raw, {"sender": "lis@hospital.cn", "subject": "检验"})
    (text,) = messages_of(raw, listen(content="text"), "gb18030")
    assert text.raw == "你好镕".encode("gb18030")
    csv, mail = messages_of(raw, listen(content="attachments"), "utf-8")
    assert csv == Item(
        b"a,b", whole.control_id + ".1", {"sender": "lis@hospital.cn", "subject": "检验", "name": "x.csv"}
    )
    assert mail.control_id == whole.control_id + ".2"
    assert csv.params is not None
    assert all(type(value) is Confidential for value in csv.params.values())
    again = messages_of(b"Received: elsewhere\n" + raw, listen(content="attachments"), "utf-8")
    assert again == [csv, mail]


@pytest.mark.parametrize(
    "line",
    [
        b"From: evil@x.cn",
        b"",
        b"From: lis@hospital.cn\nFrom: evil@x.cn",
        b"From: lis@hospital.cn, evil@x.cn",
        b"From: <lis@hospital.cn> <evil@x.cn>",
        b"From: lis@hospital.cn <evil@x.cn>",
        b"From: evil@x.cn (lis@hospital.cn)",
        b"From: lis@hospital.cn)evil@x.cn",
        b"From: x@sub.hospital.cn",
        b"From: " + b"<" * 100_000 + b"lis@hospital.cn>",
    ],
)
def test_senders_that_are_not_on_the_list(line: bytes) -> None:
    assert code(line + b"\n\nx", senders=["@hospital.cn"]) == "mail.sender"
    assert code(line + b"\n\nx") == ""


@pytest.mark.parametrize(
    "line", [b"lis@hospital.cn", b"=?gbk?B?vOzR6Q==?= <LIS@hospital.cn>", b'"a@b, c" <lis@Hospital.cn>']
)
def test_senders_that_are(line: bytes) -> None:
    assert code(b"from: " + line + b"\n\nx", senders=["@hospital.cn"]) == ""


def test_what_is_refused() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(40))
    attached = {"content": "attachments"}
    assert code(nested + b"\nx", **attached) == "mail.parts"
    flat = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 200
    assert code(flat, **attached) == "mail.parts"
    assert code(b"x" * 300_000, **attached) == "mail.parts"
    assert code(b"a: b\n\nx", **attached) == "mail.attachment"
    assert code(b"Content-Type: text/html\n\nx", content="text") == "mail.text"
    assert code(b"Content-Transfer-Encoding: x-uuencode\n\nx", content="text") == "mail.encoding"
    assert code(b"Content-Transfer-Encoding: base64\n\nYWJjZ\n", content="text") == "mail.encoding"


def test_made_up_mails_are_read_as_quickly_as_others() -> None:
    """Each keeps a parser that is quadratic in one of these busy for very long."""
    attached = {"content": "attachments"}
    assert code(b'Content-Type: text/x; name="' + b";" * 250_000 + b"\n\nx", **attached) == ""
    assert code(b"Content-Disposition: attachment" + b"; filename*0=x" * 15_000 + b"\n\nx", **attached) == ""
    assert code(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b" * 2_000_000, **attached) == "mail.attachment"
    assert code(b"Subject: " + b"=?utf-8?q?x?= " * 15_000 + b"\n\nx") == ""
    assert code(b"Subject: =?idna?q?" + b"x." * 100_000 + b"?=\n\nx") == ""
    assert code(b"Content-Type: text/plain; charset=idna\n\n" + b"x" * 5_000_000, content="text") == ""
    assert code(b"From: " + b'"' * 200_000 + b"\n\nx", senders=["@b.cn"]) == "mail.sender"
    assert code(b"a:\n" * 80_000 + b"\n\nx", **attached) == "mail.attachment"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"\n",
                b"\r\n",
                b"--b",
                b"--",
                b"Content-Type: ",
                b"multipart/mixed; boundary=b",
                b"boundary*=b''%",
                b"=?",
                b"?=",
                b"Content-Transfer-Encoding: base64",
                b"message/rfc822",
                b"text/plain; charset=",
                b"\xff\x00",
                b"filename*0*=''",
                b"Content-Disposition: attachment; filename=",
                b"From: ",
                b"Subject: ",
                b"utf-8",
                b"=",
                b";",
                b'"',
                b"x ",
            ]
        ),
        max_size=40,
    ).map(b"".join)
    | st.binary(max_size=300)
)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for content in ("raw", "text", "attachments"):
        try:
            items = messages_of(raw, listen(content=content), "utf-8")
        except PermanentError:
            continue
        assert all(isinstance(item.raw, bytes) for item in items)
        assert content != "raw" or [item.raw for item in items] == [raw]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.sampled_from("检a.b"), min_size=1, max_size=30), st.binary(max_size=200)), max_size=4)
)
def test_attachments_that_python_writes_come_back(files: list[tuple[str, bytes]]) -> None:
    message = EmailMessage()
    message.set_content("你好")
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="x", filename=name)
    raw = bytes(message)
    assert [(part.name, part.content()) for part in attachments(raw, ["*"], 50)] == files
    assert (text_of(raw, 50) or "").strip() == "你好"


def test_header_lines() -> None:
    headers = Headers(b"Subject: a\r\n b\r\nX:1\nx: 2\nno colon\n: empty")
    assert (headers.get("subject"), headers.all("x"), headers.get("none")) == ("a b", ["1", "2"], "")
    assert file_name("a" * 500) == "a" * 200


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", '"INBOX"'),
        ("已处理", '"&XfJZBHQG-"'),
        ("A&B", '"A&-B"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("台北 Mail/日本語", '"&U,BTFw- Mail/&ZeVnLIqe-"'),
    ],
)
def test_names_of_folders(name: str, wire: str) -> None:
    assert folder_name(name) == wire


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"search": "ALL\r\nx LOGOUT"}, "printable"),
        ({"search": "SUBJECT {3}"}, "literals"),
        ({"search": " "}, "search"),
        ({"folder": "a\nb"}, "line ends"),
        ({"flags": ["\\Seen)"]}, "flags are"),
        ({"archive": "inbox"}, "differ"),
        ({"error": ""}, "error: name a folder"),
        ({"user": "", "password": ""}, "user and password"),
        ({"senders": ["hospital"]}, "addresses or domains"),
    ],
)
def test_options_that_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        listen(**options)
    assert text in str(caught.value)
