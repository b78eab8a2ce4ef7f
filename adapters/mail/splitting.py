"""What messages a mail holds."""

from __future__ import annotations

from hashlib import blake2b

from adapters.mail.addresses import address_of, matches
from adapters.mail.mime import Headers, attachments, decode_words, head_of, text_of
from adapters.mail.options import MailListen
from hub.api import Confidential, Item, PermanentError
from hub.i18n import t

__all__ = ["messages_of"]

_LONGEST_SUBJECT = 500


def messages_of(raw: bytes, options: MailListen, encoding: str) -> list[Item]:
    """The messages of one mail, ``encoding`` being the character set of those that are text.

    Raises :class:`PermanentError` for a mail that is refused.
    """
    headers = head_of(raw)
    sender = _sender(headers, options)
    identity = headers.get("message-id")
    # The Message-ID and not the UID: a mail that a server delivered twice, or that comes again because the mailbox was made anew,
    # is the same. Hashed, since its characters are the sender's choice.
    basis = identity.encode("utf-8", "replace") if identity else raw
    control = blake2b(basis, digest_size=16).hexdigest()
    params = {"sender": Confidential(sender), "subject": Confidential(_subject(headers))}
    if options.content == "raw":
        return [Item(raw, control, params)]
    if options.content == "text":
        text = text_of(raw, options.max_parts)
        if text is None:
            raise PermanentError(t("the mail has no plain text", "邮件没有纯文本正文"), code="mail.text")
        return [Item(text.encode(encoding, "replace"), control, params)]
    found = attachments(raw, options.match, options.max_parts)
    if not found:
        raise PermanentError(t("the mail has no attachment that matches", "邮件没有匹配的附件"), code="mail.attachment")
    return [
        Item(part.content(), f"{control}.{number}", {**params, "name": Confidential(part.name)})
        for number, part in enumerate(found, 1)
    ]


def _sender(headers: Headers, options: MailListen) -> str:
    """The address in From; "" where it can't be told and everybody may write."""
    found = headers.all("from")
    try:
        if len(found) != 1:
            raise ValueError("not one")
        address = address_of(found[0])[1]
    except ValueError:
        if not options.senders:
            return ""
        text = t("the sender of the mail can't be told", "无法确定邮件发件人")
        raise PermanentError(text, code="mail.sender") from None
    if not matches(address, options.senders):
        raise PermanentError(t("this sender may not write here", "该发件人不在允许列表中"), code="mail.sender")
    return address


def _subject(headers: Headers) -> str:
    text = decode_words(headers.get("subject"))
    return "".join(c for c in text if c.isprintable())[:_LONGEST_SUBJECT]
