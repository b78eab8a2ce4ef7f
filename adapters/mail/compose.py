"""The mail that is sent for a message (RFC 5322, MIME), made so that nothing in the message can add a header or a recipient."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.mail.addresses import address_of, matches
from adapters.mail.options import MEDIA_TYPE, MailConnect
from adapters.template import MissingVariable, Template
from hub.api import Outgoing, PermanentError
from hub.i18n import t
from hub.ids import id_text, millis_of
from hub.masking import mask

__all__ = ["Composer", "Mail"]

#: Seven bits only: every server on the way takes it.
_POLICY = SMTP.clone(cte_type="7bit")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_HEADER = 1000
_MOST_ATTACHMENTS = 100


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Attachment(_Strict):
    name: str = Field(min_length=1, max_length=255)
    type: str = "application/octet-stream"
    base64: str


class _Body(_Strict):
    to: list[str] = Field(min_length=1)
    cc: list[str] = []
    bcc: list[str] = []
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: list[_Attachment] = Field([], max_length=_MOST_ATTACHMENTS)


@dataclass(frozen=True, slots=True)
class Mail:
    """What goes out: the recipients of the envelope and the bytes."""

    recipients: Sequence[str]
    data: bytes


@dataclass(slots=True)
class _Draft:
    to: list[Address]
    cc: list[Address]
    bcc: list[Address]
    subject: str
    text: str
    html: str
    attachments: list[tuple[str, str, bytes]]


class Composer:
    """Makes the mails of one interface."""

    def __init__(self, options: MailConnect) -> None:
        self._options = options
        self._to = [Template(value) for value in options.to]
        self._cc = [Template(value) for value in options.cc]
        self._subject, self._text, self._name = (Template(v) for v in (options.subject, options.text, options.name))
        self._domain = options.sender.rpartition("@")[2]

    def compose(self, outgoing: Outgoing) -> Mail:
        """Raises :class:`PermanentError` for what can't be sent."""
        options = self._options
        if len(outgoing.body) > options.max_size:
            raise self._too_large()
        draft = self._from_json(outgoing.body) if options.content == "mail" else self._from_templates(outgoing)
        recipients = list(dict.fromkeys(a.addr_spec for a in (*draft.to, *draft.cc, *draft.bcc)))
        if len(recipients) > options.max_recipients:
            raise PermanentError(
                t(
                    f"{len(recipients)} recipients, at most {options.max_recipients} are allowed",
                    f"收件人 {len(recipients)} 个，最多允许 {options.max_recipients} 个",
                ),
                code="mail.recipients",
            )
        data = self._message(draft, outgoing).as_bytes()
        if len(data) > options.max_size:
            raise self._too_large()
        return Mail(recipients, data)

    def _message(self, draft: _Draft, outgoing: Outgoing) -> EmailMessage:
        message = EmailMessage(_POLICY)
        # Of the delivery, not of now: a repetition is the same mail.
        moment = datetime.fromtimestamp(millis_of(outgoing.delivery_id) / 1000, UTC)
        message["Date"] = format_datetime(moment)
        message["Message-ID"] = f"<{_identifier(outgoing.idempotency_key)}@{self._domain}>"
        message["From"] = Address(self._options.sender_name, addr_spec=self._options.sender)
        message["To"] = draft.to
        if draft.cc:
            message["Cc"] = draft.cc
        message["Subject"] = _one_line(draft.subject, "subject")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of machines, please
        if draft.html and not draft.text:
            message.set_content(draft.html, subtype="html")
        else:
            message.set_content(draft.text)
            if draft.html:
                message.add_alternative(draft.html, subtype="html")
        for name, kind, content in draft.attachments:
            maintype, _, subtype = kind.partition("/")
            message.add_attachment(
                content, maintype=maintype, subtype=subtype, cte="base64", filename=_one_line(name, "attachment")
            )
        return message

    def _from_templates(self, outgoing: Outgoing) -> _Draft:
        options = self._options
        variables = {
            **outgoing.variables,
            "key": outgoing.idempotency_key,
            "delivery": id_text(outgoing.delivery_id),
            "type": outgoing.type,
            "control_id": outgoing.control_id,
        }
        content = ""
        if options.content != "attachment":
            try:
                content = outgoing.body.decode("utf-8")
            except UnicodeDecodeError as error:
                text = t(f"the text is not UTF-8 at byte {error.start}", f"正文在第 {error.start} 字节处不是 UTF-8")
                raise PermanentError(text, code="mail.text") from None
        attachment = options.content == "attachment"
        text = _fill(self._text, variables) if attachment else content if options.content == "text" else ""
        return _Draft(
            self._addresses([_fill(template, variables) for template in self._to], "to"),
            self._addresses([_fill(template, variables) for template in self._cc], "cc"),
            [],
            _fill(self._subject, variables),
            _text(text),
            _text(content) if options.content == "html" else "",
            [(_fill(self._name, variables), options.type, outgoing.body)] if attachment else [],
        )

    def _from_json(self, raw: bytes) -> _Draft:
        try:
            body = _Body.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            # A key that isn't known is the sender's text: only its place is told.
            known = [p for p in first["loc"] if isinstance(p, int) or p in _KNOWN]
            place = ".".join(str(part) for part in known) or "$"
            raise PermanentError(
                t(
                    f"the mail is not as it must be: {place}: {first['type']}",
                    f"邮件格式有误：{place}：{first['type']}",
                ),
                code="mail.body",
            ) from None
        attachments = []
        for number, item in enumerate(body.attachments):
            if not MEDIA_TYPE.fullmatch(item.type):
                text = t(f"attachments.{number}.type is no media type", f"attachments.{number}.type 不是有效的媒体类型")
                raise PermanentError(text, code="mail.type")
            try:
                content = base64.b64decode(item.base64, validate=True)
            except (binascii.Error, ValueError):
                text = t(f"attachments.{number}.base64 is no Base64", f"attachments.{number}.base64 不是有效的 Base64")
                raise PermanentError(text, code="mail.base64") from None
            attachments.append((item.name, item.type, content))
        return _Draft(
            self._addresses(body.to, "to"),
            self._addresses(body.cc, "cc"),
            self._addresses(body.bcc, "bcc"),
            body.subject,
            _text(body.text),
            _text(body.html),
            attachments,
        )

    def _addresses(self, values: Sequence[str], place: str) -> list[Address]:
        allowed = self._options.recipients
        found = []
        for number, value in enumerate(values):
            where = f"{place}[{number}]"
            try:
                name, address = address_of(_one_line(value, where))
            except ValueError:
                text = t(f"{where} is not one mail address", f"{where} 不是单个邮件地址")
                raise PermanentError(text, code="mail.address") from None
            if allowed != ["*"] and not matches(address, allowed):
                shown = mask(address)
                text = t(f"{where}: {shown} must not be written to", f"{where}：不允许向 {shown} 发送邮件")
                raise PermanentError(text, code="mail.forbidden")
            found.append(Address(name, addr_spec=address))
        return found

    def _too_large(self) -> PermanentError:
        size = self._options.max_size
        return PermanentError(t(f"the mail is larger than {size} bytes", f"邮件超过 {size} 字节"), code="mail.size")


_KNOWN = {*_Body.model_fields, *_Attachment.model_fields}


def _identifier(key: str) -> str:
    """The key itself where it may stand in a Message-ID; else what stands for it, the same each time."""
    return (
        key if _PLAIN_KEY.fullmatch(key) else blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    )


def _one_line(text: str, place: str) -> str:
    """Raises for what could end a header: control characters, line and paragraph separators, halves of pairs."""
    if len(text) > _LONGEST_HEADER or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise PermanentError(
            t(
                f"{place} has line ends or control characters, or is longer than {_LONGEST_HEADER} characters",
                f"{place} 含有换行或控制字符，或超过 {_LONGEST_HEADER} 个字符",
            ),
            code="mail.header",
        )
    return text


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _fill(template: Template, variables: Mapping[str, Any]) -> str:
    try:
        return template.fill(variables, str)
    except MissingVariable as error:
        raise PermanentError(
            t(f"the message has no {error.name} for the mail", f"消息中没有邮件所需的 {error.name}"),
            code="mail.variable",
        ) from None
