"""Mail: messages sent by SMTP, and read from a mailbox by IMAP."""

from adapters.mail.adapter import MailAdapter

__all__ = ["MailAdapter"]
