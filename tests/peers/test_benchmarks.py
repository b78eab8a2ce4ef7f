"""The comparisons of the adapters: on tiny sizes each runs, and everything arrives. Some need what has to be installed."""

from __future__ import annotations

import pytest

from benchmarks.adapters.series import compare
from tests.peers.process import need

_PROGRAMS = {
    "dicom": ("storescp", "dcmtk"),
    "mq": ("rabbitmq-server", "rabbitmq-server"),
    "amqp1": ("rabbitmq-server", "rabbitmq-server"),
    "redis": ("redis-server", "redis-server"),
    "stomp": ("activemq", "activemq"),
    "sftp": ("sshd", "openssh-server"),
    "mail": ("dovecot", "dovecot-imapd"),
    "sql": ("postgres", "postgresql"),
}


@pytest.mark.peers
@pytest.mark.parametrize("name", [*_PROGRAMS, "ftp", "kafka", "http", "soap", "fhir", "mllp", "tcp", "dicomweb"])
def test_every_case_runs_and_counts_what_arrives(name: str) -> None:
    if name in _PROGRAMS:
        need(*_PROGRAMS[name])
    rows = [row for row in compare(1, name, quick=True) if row.adapter == name or row.failed]
    assert {row.direction[:2] for row in rows} == {"in", "ou"}
    assert [(row.failed, row.skipped) for row in rows] == [("", "")] * len(rows)
    assert all(row.ours[0].count >= 10 and row.bare for row in rows)
