"""A whole hub from a mailbox to a mail server, killed in the middle: every mail is taken once and arrives."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.kernel.process import HubProcess, wait_for
from tests.peers.mail import AioSmtpd, Dovecot

MAILS = 300
_PLUGIN = """
id: post
name: 邮件
settings:
  imap: {type: integer, required: true}
  smtp: {type: integer, required: true}
  imap_password: {type: secret, required: true}
  smtp_password: {type: secret, required: true}
  imap_ca: {type: string, required: true}
  smtp_ca: {type: string, required: true}
interfaces:
  inbox:
    direction: in
    adapter: mail
    codec: json
    type: "'report'"
    keys: {number: number, about: $subject, who: $sender}
    listen:
      host: 127.0.0.1
      port: "${imap}"
      user: hub
      password: "${imap_password}"
      tls: {ca: "${imap_ca}"}
      content: text
      senders: "@hospital.cn"
      page: 10
      schedule: {every: 100ms}
  outbox:
    direction: out
    adapter: mail
    codec: json
    connect:
      host: 127.0.0.1
      port: "${smtp}"
      user: hub
      password: "${smtp_password}"
      tls: {ca: "${smtp_ca}"}
      sender: hub@hospital.cn
      to: lab@hospital.cn
      subject: "报告 {number}: {about}"
    order_by: ""
    retry: {attempts: 1000, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""


def make_site(folder: Path, dovecot: Dovecot, aiosmtpd: AioSmtpd, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("plugins/post", "mappings", "config"):
        (folder / name).mkdir(parents=True)
    (folder / "plugins" / "post" / "plugin.yaml").write_text(_PLUGIN, encoding="utf-8")
    monkeypatch.setenv("POST_IMAP", dovecot.password)
    monkeypatch.setenv("POST_SMTP", aiosmtpd.password)
    values = {
        "imap": dovecot.port,
        "smtp": aiosmtpd.port,
        "imap_password": "env:POST_IMAP",
        "smtp_password": "env:POST_SMTP",
        "imap_ca": str(dovecot.folder / "ca.pem"),
        "smtp_ca": str(aiosmtpd.folder / "ca.pem"),
    }
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {"post": {"plugin": "post", "settings": values}},
        "routes": {"through": {"from": "post/inbox", "to": "post/outbox"}},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.xdist_group("mail")
def test_every_mail_arrives_through_kill_9(
    tmp_path: Path, dovecot: Dovecot, aiosmtpd: AioSmtpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_site(tmp_path, dovecot, aiosmtpd, monkeypatch)
    dovecot.empty()
    aiosmtpd.empty()
    for number in range(MAILS):
        head = f"From: lis@hospital.cn\nMessage-ID: <{number}@lis>\nSubject: =?gbk?B?vOzR6Q==?=\n\n"
        body = f'{{"number": {number}}}\n' if number != 70 else "no JSON\n"
        dovecot.put(f"{number:04}.x", (head + body).encode())
    for _ in range(3):
        hub = HubProcess(config)
        before = len(aiosmtpd.mails())
        wait_for(lambda least=before + 40: len(aiosmtpd.mails()) > least, "mails arrive")
        os.kill(hub.pid, signal.SIGKILL)
        hub.kill()
    with HubProcess(config) as hub:
        wait_for(lambda: len(dovecot.mails("Processed")) == MAILS - 1, "the mailbox is put in order")
        wait_for(lambda: len(_numbers(aiosmtpd)) == MAILS - 1, "all mails have arrived")
        hub.settled()
    assert (dovecot.mails(), len(dovecot.mails("Error"))) == ([], 1)
    counts = _numbers(aiosmtpd)
    assert sorted(counts) == [number for number in range(MAILS) if number != 70]
    # What was sent but not yet stored as sent when the process died goes out again, as the same mail.
    assert len(set(aiosmtpd.mails())) == MAILS - 1
    identities = [re.search(rb"Message-ID: (\S+)", content)[1] for content in aiosmtpd.mails()]  # type: ignore[index]
    assert len(set(identities)) == MAILS - 1
    log = (config.parent / "run.log").read_text()
    assert dovecot.password not in log
    assert aiosmtpd.password not in log


def _numbers(server: AioSmtpd) -> Counter[int]:
    found: Counter[int] = Counter()
    for content in server.mails():
        number = re.search(rb'\{"number": ?(\d+)\}', content)
        assert number is not None
        found[int(number[1])] += 1
    return found
