"""Options of the adapters ``file``, ``ftp`` and ``sftp``: where the place is, what is read there and how, what is written.

Names of files: pattern, date and number are checked as 002:940 demands.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from adapters.files.naming import Template, check_folder, check_template
from adapters.schedule import Schedule
from adapters.tls import ClientTls
from hub.contract import Duration, Names, Size

__all__ = [
    "Answer",
    "Complete",
    "FileConnect",
    "FileListen",
    "FtpConnect",
    "FtpListen",
    "FtpPlace",
    "LocalPlace",
    "Naming",
    "Reading",
    "Records",
    "SftpConnect",
    "SftpListen",
    "SftpPlace",
    "Writing",
]

#: What is known of a file by its name.
NAME_FIELDS = ("name", "stem", "ext")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# -- where -------------------------------------------------------------------------------------------------------------


class _Place(_Options):
    names: Literal["utf-8", "gb18030", "gbk", "big5", "latin-1"] = Field(
        "utf-8", description="character set of the names of files"
    )


class LocalPlace(_Place):
    root: str = Field(
        description="folder of this machine, absolute; everything else is relative to it and stays below it"
    )

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or "\0" in value:
            raise ValueError("root is an absolute path; write e.g. /data/exchange/lis")
        return value


class _RemotePlace(_Place):
    host: str = Field(min_length=1, description="name or address")
    root: str = Field(
        ".", min_length=1, description="folder there; everything else is relative to it; .: where a login starts"
    )
    user: str = Field(min_length=1)
    password: SecretStr = SecretStr("")
    connect_timeout: Duration = Field(10.0, gt=0, description="longest time to connect, login included")
    timeout: Duration = Field(
        30.0, gt=0, description="longest wait for one answer, or for the next bytes of a transfer"
    )

    @model_validator(mode="after")
    def _one_line(self) -> _RemotePlace:
        for value in (self.host, self.root, self.user, self.password.get_secret_value()):
            if any(c in value for c in "\r\n\0"):
                raise ValueError("host, root, user and password have no line ends")
        return self


class FtpPlace(_RemotePlace):
    port: int = Field(0, ge=0, le=65535, description="default: 21, with implicit encryption 990")
    encryption: Literal["explicit", "implicit", "none"] = Field(
        "explicit",
        description="explicit: AUTH TLS (RFC 4217); implicit: TLS from the first byte; none: password and files "
        "can be read on the way",
    )
    tls: ClientTls = Field(default_factory=ClientTls)

    @property
    def at_port(self) -> int:
        return self.port or (990 if self.encryption == "implicit" else 21)


class SftpPlace(_RemotePlace):
    port: int = Field(22, ge=1, le=65535)
    key: str = Field("", description="file of the private key, OpenSSH or PEM")
    key_password: SecretStr = Field(SecretStr(""), description="where the key file is encrypted")
    known_hosts: str = Field("", description="file of the host keys that are trusted, as ssh writes it")
    host_keys: Names = Field(
        default_factory=list, description="fingerprints trusted instead, e.g. SHA256:… as ssh-keygen -l shows them"
    )

    @field_validator("host_keys")
    @classmethod
    def _fingerprints(cls, values: list[str]) -> list[str]:
        for value in values:
            if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", value):
                raise ValueError("host_keys: a fingerprint is SHA256: and 43 characters, as ssh-keygen -lf shows it")
        return values

    @model_validator(mode="after")
    def _can_be_trusted(self) -> SftpPlace:
        if bool(self.known_hosts) == bool(self.host_keys):
            raise ValueError(
                "give known_hosts or host_keys, one of them: a server that anybody can pretend to be is refused"
            )
        if not self.password.get_secret_value() and not self.key:
            raise ValueError("give key or password")
        return self


# -- reading -----------------------------------------------------------------------------------------------------------


class Complete(_Options):
    """When a file is whole."""

    by: Literal["stable", "marker", "name"] = Field(
        "stable",
        description="stable: size and time the same at two looks; marker: another file says so; name: the sender renames "
        "it when it is whole, anything that is not ignored is",
    )
    settle: Duration = Field(2.0, gt=0, le=3600, description="stable: time between the two looks")
    marker: str = Field(
        "{name}.ok", description="marker: its name, from {name}, {stem}, {ext}; removed before the file is"
    )

    @field_validator("marker")
    @classmethod
    def _another_name(cls, value: str) -> str:
        check_template(value, NAME_FIELDS)
        if not ({"name", "stem"} & set(Template(value).names)) or value == "{name}":
            raise ValueError(
                "marker is made of {name} or {stem} and something else; write e.g. {name}.ok or {stem}.done"
            )
        return value


class Naming(_Options):
    """How names must be; a file that breaks it is refused with the reason (002:940)."""

    pattern: str = Field(description="regular expression for the whole name, with groups such as (?P<day>\\d{8})")
    date: str = Field("", description="group that is a date")
    date_format: str = Field("%Y%m%d", description="how it is written")
    max_age: Duration | None = Field(None, gt=0, description="refuse dates further back; dates after today always are")
    sequence: str = Field("", description="group that is a number which grows by one from file to file")
    per: Names = Field(default_factory=list, description="groups for each of which numbers are counted anew, e.g. day")
    start: int | None = Field(None, ge=0, description="first number; default: whatever comes first")
    gaps: Literal["refuse", "wait"] = Field("refuse", description="wait: leave a file until those before it have come")

    @model_validator(mode="after")
    def _groups_exist(self) -> Naming:
        groups = _groups(self.pattern)
        for name in (self.date, self.sequence, *self.per):
            if name and name not in groups:
                raise ValueError(f"naming: the pattern has no group {name}; write (?P<{name}>…)")
        return self


class Records(_Options):
    """How a file is split into messages."""

    by: Literal["lines", "hl7", "length"] = Field(
        description="lines: CSV, fixed width, JSON Lines …; hl7: messages of a batch file; length: records without line ends"
    )
    length: int = Field(0, ge=0, le=1 << 20, description="length: bytes of one record")
    header: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="lines before the records, put before every message; default for csv: its header",
    )
    quotes: bool | None = Field(
        None, description="line ends between quotation marks belong to the record; default: for csv"
    )
    per_message: int = Field(1, ge=1, le=100_000, description="records of one message")
    max_record: Size = Field(1 << 20, ge=16, le=64 << 20, description="longest record, bytes")

    @model_validator(mode="after")
    def _fits(self) -> Records:
        if (self.by == "length") != bool(self.length):
            raise ValueError("records: length belongs to by: length, and is needed there")
        if self.by != "lines" and (self.header or self.quotes):
            raise ValueError("records: header and quotes belong to by: lines")
        if self.by == "hl7" and self.per_message != 1:
            raise ValueError("records: an HL7 message is one message")
        return self


class Answer(_Options):
    """A file that tells the sender what became of each record."""

    folder: str = Field("answer", description="where it is put")
    name: str = Field("{name}.answer.csv", description="from {name}, {stem}, {ext} and the groups of the name")
    format: Literal["csv", "jsonl"] = "csv"
    only_refused: bool = Field(False, description="leave accepted records out")

    @field_validator("folder")
    @classmethod
    def _folder(cls, value: str) -> str:
        return check_folder(value)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_template(value, None)
        return value


class Reading(_Options):
    """What is read, and what becomes of it."""

    folder: str = Field("", description="folder below root that is read")
    recurse: int = Field(0, ge=0, le=16, description="how many levels of folders below it are read as well")
    match: Names = Field(["*"], min_length=1, description="names that are read, e.g. '*.csv'; * ? [] as in a shell")
    ignore: Names = Field(
        [".*", "~*", "*.tmp", "*.temp", "*.part", "*.filepart", "*.crdownload", "*.swp"],
        description="names never read: files on their way",
    )
    case: bool = Field(True, description="false: capital and small letters are the same in match and ignore")
    complete: Complete = Complete()
    order: Literal["name", "time"] = Field("name", description="which of several files comes first")
    max_files: int = Field(200_000, ge=1, le=1_000_000, description="entries of a folder that are looked at")
    after: Literal["archive", "delete", "rename", "leave"] = Field(
        "archive", description="what becomes of a file once it is stored; leave: it is remembered"
    )
    archive: str = Field("archive/%Y-%m-%d", description="archive: folder, %Y %m %d %H as the clock of schedule.tz")
    rename_to: str = Field("{name}.done", description="rename: from {name}, {stem}, {ext}")
    error: str = Field("error", description="folder for files that are refused, with the reason beside them")
    naming: Naming | None = None
    records: Records | None = Field(None, description="default: a file is one message")
    unpack: Literal["no", "gzip", "zip", "auto"] = Field("no", description="auto: by the ending .gz or .zip")
    max_unpacked: Size = Field(
        1 << 30, ge=1, description="most bytes a gzip file may unpack to; 200 times its size at most"
    )
    max_size: Size = Field(64 << 20, ge=1, le=1 << 30, description="largest file that is one message, bytes")
    answer: Answer | None = None
    page: int = Field(500, ge=1, le=10_000, description="messages stored in one commit")
    page_size: Size = Field(4 << 20, ge=1, le=256 << 20, description="bytes after which a page ends")
    schedule: Schedule = Schedule()

    @field_validator("folder", "error")
    @classmethod
    def _folders(cls, value: str) -> str:
        return check_folder(value)

    @field_validator("archive")
    @classmethod
    def _archive(cls, value: str) -> str:
        check_folder(value)
        if "/" not in value.split("%")[0] or re.search(r"%[^YmdHj%]", value):
            raise ValueError(
                "archive begins with the name of a folder and knows %Y %m %d %H %j; write e.g. archive/%Y-%m-%d"
            )
        return value

    @field_validator("rename_to")
    @classmethod
    def _another_name(cls, value: str) -> str:
        check_template(value, NAME_FIELDS)
        if not ({"name", "stem"} & set(Template(value).names)) or value in ("{name}", "{stem}{ext}"):
            raise ValueError("rename_to is made of {name} or {stem} and something else; write e.g. {name}.done")
        return value

    @model_validator(mode="after")
    def _folders_differ(self) -> Reading:
        own = [(self.archive.split("%")[0] + "x").rpartition("/")[0] if self.after == "archive" else "", self.error]
        own.append(self.answer.folder if self.answer else "")
        for folder in own:
            if folder and folder == self.folder:
                raise ValueError("archive, error and answer folder must differ from the folder that is read")
        if not self.error and self.after != "leave":
            raise ValueError("error: name a folder for what is refused")
        if self.answer is not None and self.answer.folder == "":
            raise ValueError("answer: name a folder")
        if self.naming is not None and self.answer is not None:
            known = {*NAME_FIELDS, *_groups(self.naming.pattern)}
        else:
            known = set(NAME_FIELDS)
        for name in Template(self.answer.name).names if self.answer else ():
            if name not in known:
                raise ValueError(f"answer: nothing gives {{{name}}}; it can be a group of naming.pattern")
        return self


class FileListen(LocalPlace, Reading):
    """``listen`` of an interface that reads a folder of this machine."""


class FtpListen(FtpPlace, Reading):
    """``listen`` of an interface that reads a folder of an FTP server."""


class SftpListen(SftpPlace, Reading):
    """``listen`` of an interface that reads a folder of an SFTP server."""


# -- writing -----------------------------------------------------------------------------------------------------------


class Writing(_Options):
    """What is written."""

    folder: str = Field("", description="folder below root; may hold {name} templates; made where it is missing")
    name: str = Field(
        "{key}.dat",
        description="name of the file; {key}: the delivery's idempotency key, {delivery}, {type}, {control_id}, {date} and "
        "{time}: of the delivery, not of a repetition, and the business keys of the message",
    )
    exists: Literal["refuse", "replace", "keep"] = Field(
        "refuse", description="another file of this name with other content: refuse the message, replace it, or keep it"
    )
    marker: str = Field("", description="empty file written after it, from {name}, {stem}, {ext}, e.g. {name}.ok")
    temporary: str = Field(
        "",
        description="folder for files on their way, on the same file system; default: beside, with a dot before the name",
    )
    mode: str = Field("", description="permissions, e.g. '0640'; default: those of the account")
    tz: str = Field("Asia/Shanghai", description="time zone of {date} and {time}")
    resume: bool = Field(True, description="go on with a transfer that was cut off where it ended")
    connections: int = Field(2, ge=1, le=32, description="files written at once, each over a connection of its own")
    idle_timeout: Duration = Field(60.0, gt=0, description="an unused connection is closed after so long")

    @field_validator("folder", "temporary")
    @classmethod
    def _folder(cls, value: str) -> str:
        check_folder(value)
        check_template(value, None, folder=True)
        return value

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_template(value, None)
        if not Template(value).names:
            raise ValueError(
                "name needs something that tells one message from the next; write e.g. {control_id}_{key}.xml"
            )
        return value

    @field_validator("marker")
    @classmethod
    def _marker(cls, value: str) -> str:
        if value:
            check_template(value, NAME_FIELDS)
            if value == "{name}" or not ({"name", "stem"} & set(Template(value).names)):
                raise ValueError("marker is made of {name} or {stem} and something else; write e.g. {name}.ok")
        return value

    @field_validator("mode")
    @classmethod
    def _octal(cls, value: str) -> str:
        if value and not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError("mode is written in octal digits; write e.g. '0640'")
        return value

    @field_validator("tz")
    @classmethod
    def _zone(cls, value: str) -> str:
        return Schedule(tz=value).tz


class FileConnect(LocalPlace, Writing):
    """``connect`` of an interface that writes into a folder of this machine."""


class FtpConnect(FtpPlace, Writing):
    """``connect`` of an interface that writes to an FTP server."""


class SftpConnect(SftpPlace, Writing):
    """``connect`` of an interface that writes to an SFTP server."""


def _groups(pattern: str) -> dict[str, int]:
    try:
        return dict(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
