"""The adapter ``mail``."""

from __future__ import annotations

from adapters.mail.options import MailConnect, MailListen
from adapters.mail.receiver import MailReceiver
from adapters.mail.sender import MailSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["MailAdapter"]


class MailAdapter(Adapter):
    """SMTP out, IMAP in."""

    name = "mail"
    listen_options = MailListen
    reads_source = True
    connect_options = MailConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return MailReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return MailSender(bound)
