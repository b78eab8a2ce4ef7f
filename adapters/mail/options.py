"""Options of the adapter ``mail``."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from adapters.mail.addresses import check_patterns, is_address
from adapters.schedule import Schedule
from adapters.template import Template
from adapters.tls import ClientTls
from hub.contract import Duration, Names, Size

__all__ = ["MEDIA_TYPE", "MailConnect", "MailListen", "Server"]

#: What the type of an attachment may be; composite types have rules of their own (RFC 2046 section 5).
MEDIA_TYPE = re.compile(
    r"(?:text|image|audio|video|application|font|model)/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}", re.IGNORECASE
)
_FLAG = re.compile(r"\\(?:Seen|Flagged|Answered|Deleted|Draft)|[A-Za-z$][A-Za-z0-9_$-]{0,63}")


class Server(BaseModel):
    """How a mail server is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, description="name or address")
    port: int = Field(0, ge=0, le=65535, description="default: the usual one of the protocol and encryption")
    encryption: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="starttls: begins in the clear, never goes on so; implicit: TLS from the first byte; none: password "
        "and mails can be read on the way",
    )
    tls: ClientTls = Field(default_factory=ClientTls)
    user: str = ""
    password: SecretStr = SecretStr("")
    connect_timeout: Duration = Field(10.0, gt=0, description="longest time to connect, login included")

    @field_validator("host", "user")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("has no control characters")
        return value

    @model_validator(mode="after")
    def _usable_password(self) -> Server:
        if any(c in self.password.get_secret_value() for c in "\r\n\0"):
            raise ValueError("password has no line ends")
        if bool(self.user) != bool(self.password.get_secret_value()):
            raise ValueError("give user and password, or neither")
        return self


class MailConnect(Server):
    """``connect`` of an interface that sends mails by SMTP (RFC 5321)."""

    content: Literal["mail", "text", "html", "attachment"] = Field(
        "text",
        description="what the encoded message is: text, html: the text of the mail, in UTF-8; attachment: its attachment; "
        "mail: JSON {to, cc, bcc, subject, text, html, attachments: [{name, type, base64}]}",
    )
    sender: str = Field(description="address the mails come from, e.g. hub@hospital.cn")
    sender_name: str = Field("", description="name shown for it")
    to: Names = Field(default_factory=list, description="recipients; may be templates, e.g. '{doctor_mail}'")
    cc: Names = Field(default_factory=list, description="recipients of a copy; may be templates")
    subject: str = Field("{type} {control_id}", description="template; not for content: mail")
    text: str = Field("", description="attachment: text of the mail beside it; template")
    name: str = Field("{key}.dat", description="attachment: its file name; template")
    type: str = Field("application/octet-stream", description="attachment: its media type, e.g. application/pdf")
    recipients: Names = Field(
        default_factory=list,
        description="who may be written to, addresses or @domain; needed where recipients come from the message",
    )
    partial: Literal["refuse", "send"] = Field(
        "refuse",
        description="some recipients are refused by the server: refuse: nobody gets it, the delivery fails; send: the "
        "others get it, the delivery is done",
    )
    max_size: Size = Field(20 << 20, ge=1024, le=256 << 20, description="largest mail, encoded, bytes")
    max_recipients: int = Field(50, ge=1, le=1000)
    helo: str = Field("", description="name the hub greets with; default: its address")
    connections: int = Field(2, ge=1, le=16, description="mails sent at once, each over a connection of its own")
    idle_timeout: Duration = Field(30.0, gt=0, description="an unused connection is closed after so long")

    @property
    def at_port(self) -> int:
        return self.port or {"starttls": 587, "implicit": 465, "none": 25}[self.encryption]

    @field_validator("sender")
    @classmethod
    def _address(cls, value: str) -> str:
        if not is_address(value):
            raise ValueError("sender is an address; write e.g. hub@hospital.cn")
        return value

    @field_validator("recipients")
    @classmethod
    def _patterns(cls, values: list[str]) -> list[str]:
        if values != ["*"]:
            check_patterns(values)
        return values

    @field_validator("type")
    @classmethod
    def _media_type(cls, value: str) -> str:
        if not MEDIA_TYPE.fullmatch(value):
            raise ValueError("type is a media type of one body, e.g. application/pdf")
        return value

    @field_validator("sender_name", "subject", "name", "helo")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("has no line ends or control characters")
        return value

    @field_validator("helo")
    @classmethod
    def _host_name(cls, value: str) -> str:
        if value and not is_address(f"x@{value}"):
            raise ValueError("helo is a host name, e.g. hub.hospital.cn")
        return value

    @model_validator(mode="after")
    def _recipients_known(self) -> MailConnect:
        templates = [Template(value) for value in (*self.to, *self.cc, self.subject, self.text, self.name)]
        if self.content == "mail":
            if self.to or self.cc:
                raise ValueError("content: mail takes its recipients from the message; remove to and cc")
        elif not self.to:
            raise ValueError("to: give at least one recipient")
        open_ended = self.content == "mail" or any(t.names for t in templates[: len(self.to) + len(self.cc)])
        if open_ended and not self.recipients:
            raise ValueError(
                "recipients come from the message: say who may be written to, e.g. recipients: ['@hospital.cn'], "
                "or ['*'] for everybody"
            )
        for value in (*self.to, *self.cc):
            if "{" not in value and not is_address(value):
                raise ValueError("to and cc are addresses, e.g. lab@hospital.cn, or templates")
        return self


class MailListen(Server):
    """``listen`` of an interface that reads a mailbox by IMAP4rev1 (RFC 3501)."""

    folder: str = Field("INBOX", min_length=1, max_length=200, description="folder that is read")
    search: str = Field(
        "ALL", description="which mails, as IMAP's SEARCH says it, e.g. 'UNSEEN SINCE 1-Jan-2026'; ASCII only"
    )
    content: Literal["raw", "attachments", "text"] = Field(
        "raw",
        description="what a message is: raw: the whole mail as it came; attachments: each one that matches; text: its "
        "first text/plain part",
    )
    match: Names = Field(["*"], min_length=1, description="attachments: names that are taken, e.g. '*.csv'")
    senders: Names = Field(
        default_factory=list,
        description="who may write: addresses or @domain, as From says it; others are refused. Empty: everybody",
    )
    after: Literal["move", "flag", "delete", "leave"] = Field(
        "move", description="what becomes of a mail once it is stored; leave: the mailbox is opened read-only"
    )
    archive: str = Field("Processed", min_length=1, max_length=200, description="move: folder; made where missing")
    flags: Names = Field(["\\Seen"], min_length=1, description="flag: flags and keywords that are set")
    error: str = Field("Error", max_length=200, description="folder for mails that are refused; not for after: leave")
    max_size: Size = Field(32 << 20, ge=1024, le=256 << 20, description="largest mail, bytes; larger ones are refused")
    max_parts: int = Field(100, ge=1, le=1000, description="most parts of a mail")
    page: int = Field(50, ge=1, le=1000, description="mails stored in one commit")
    page_size: Size = Field(8 << 20, ge=1, le=256 << 20, description="bytes after which a page ends")
    timeout: Duration = Field(60.0, gt=0, description="longest time for one command, the fetching of a mail included")
    schedule: Schedule = Schedule()

    @property
    def at_port(self) -> int:
        return self.port or (993 if self.encryption == "implicit" else 143)

    @field_validator("folder", "archive", "error")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("has no line ends or control characters")
        return value

    @field_validator("search")
    @classmethod
    def _criteria(cls, value: str) -> str:
        if not value.strip() or not value.isascii() or not value.isprintable() or "{" in value:
            raise ValueError("search has printable ASCII characters only and no {literals}; write e.g. UNSEEN")
        return value

    @field_validator("senders")
    @classmethod
    def _patterns(cls, values: list[str]) -> list[str]:
        check_patterns(values)
        return values

    @field_validator("flags")
    @classmethod
    def _sound_flags(cls, values: list[str]) -> list[str]:
        for value in values:
            if not _FLAG.fullmatch(value):
                raise ValueError("flags are \\Seen, \\Flagged, \\Answered or keywords such as Taken")
        return values

    @model_validator(mode="after")
    def _sound(self) -> MailListen:
        if not self.user:
            raise ValueError("give user and password")
        if self.after != "leave" and not self.error:
            raise ValueError("error: name a folder for what is refused")
        own = [self.error, self.archive] if self.after == "move" else [self.error] if self.after != "leave" else []
        if self.folder.casefold() in (name.casefold() for name in own):
            raise ValueError("archive and error must differ from the folder that is read")
        return self
