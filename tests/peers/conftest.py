"""Fixtures: one server of each kind for all tests of a process; a test that stops one starts it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.peers.databases import MariaDb, PostgreSql
from tests.peers.fhir_peer import FhirStarter
from tests.peers.files import OpenSsh, PyFtpd, Vsftpd
from tests.peers.http_proxies import Tinyproxy
from tests.peers.imaging import Orthanc
from tests.peers.kafka_peer import KafkaMock
from tests.peers.mail import AioSmtpd, Dovecot
from tests.peers.process import Server
from tests.peers.queues import ActiveMq, RabbitMq, Redis
from tests.peers.soap_stacks import Axis

S = TypeVar("S", bound=Server)


def _running(kind: type[S], factory: pytest.TempPathFactory) -> Iterator[S]:
    server = kind(factory.mktemp(kind.__name__.lower()))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    yield from _running(PostgreSql, tmp_path_factory)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    yield from _running(MariaDb, tmp_path_factory)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    yield from _running(RabbitMq, tmp_path_factory)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from _running(Redis, tmp_path_factory)


@pytest.fixture(scope="session")
def activemq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActiveMq]:
    yield from _running(ActiveMq, tmp_path_factory)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaMock]:
    yield from _running(KafkaMock, tmp_path_factory)


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    yield from _running(Orthanc, tmp_path_factory)


@pytest.fixture(scope="session")
def axis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Axis]:
    yield from _running(Axis, tmp_path_factory)


@pytest.fixture(scope="session")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    yield from _running(OpenSsh, tmp_path_factory)


@pytest.fixture(scope="session")
def vsftpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsftpd]:
    yield from _running(Vsftpd, tmp_path_factory)


@pytest.fixture(scope="session")
def pyftpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PyFtpd]:
    yield from _running(PyFtpd, tmp_path_factory)


@pytest.fixture(scope="session")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tinyproxy]:
    yield from _running(Tinyproxy, tmp_path_factory)


@pytest.fixture(scope="session")
def fhirstarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirStarter]:
    yield from _running(FhirStarter, tmp_path_factory)


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    yield from _running(Dovecot, tmp_path_factory)


@pytest.fixture(scope="session")
def aiosmtpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AioSmtpd]:
    yield from _running(AioSmtpd, tmp_path_factory)
