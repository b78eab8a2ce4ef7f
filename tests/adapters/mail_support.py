"""What the tests of the mail adapter share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from adapters.mail import MailAdapter
from adapters.mail.options import MailConnect, MailListen
from adapters.mail.receiver import MailReceiver
from adapters.mail.sender import MailSender
from adapters.polling import Run
from hub.api import Bound, IntakePort
from tests.adapters.files_support import Kept, bound

__all__ = ["Inbox", "connect", "listen", "receiver", "run", "sender", "tls"]


class Inbox(Kept):
    """The intake of the file tests, which can also be asked."""

    async def check(
        self, bound: Bound, raw: bytes, *, params: Mapping[str, str] | None = None
    ) -> Sequence[Mapping[str, str]]:
        self.step()
        bound.codec.decode(raw, encoding=bound.contract.encoding)
        return []


def connect(**options: Any) -> MailConnect:
    given = {"host": "127.0.0.1", "sender": "hub@hospital.cn", "to": ["lab@hospital.cn"], **options}
    if given.get("content") == "mail":
        given.pop("to")
    return MailConnect.model_validate(given)


def listen(**options: Any) -> MailListen:
    return MailListen.model_validate({"host": "127.0.0.1", "user": "hub", "password": "x", **options})


def sender(**options: Any) -> MailSender:
    found = MailAdapter().sender(bound(connect(**options), direction="out"))
    assert isinstance(found, MailSender)
    return found


def receiver(intake: Kept, **options: Any) -> MailReceiver:
    found = MailAdapter().receiver(bound(listen(**options)), cast(IntakePort, intake))
    assert isinstance(found, MailReceiver)
    return found


async def run(reader: MailReceiver) -> Run:
    found = Run(time.time(), "manual")
    await reader.read(found)
    return found


def tls(folder: Path, name: str = "ca") -> dict[str, str]:
    return {"ca": str(folder / f"{name}.pem")}
