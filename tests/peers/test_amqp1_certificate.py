"""``amqp1`` with TLS of RabbitMQ itself: the certificate of the hub is its login (SASL EXTERNAL)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.process import free_port, need_module, port_open

need_module("proton", "python-qpid-proton")

from adapters.amqp1.adapter import Amqp1Adapter  # noqa: E402
from hub.api import UnreachableError  # noqa: E402
from tests.adapters.certificates import Authority  # noqa: E402
from tests.peers.mq_support import MemoryIntake, outgoing, receiving, sending, until  # noqa: E402
from tests.peers.queues import RabbitMq  # noqa: E402

ADAPTER = Amqp1Adapter()


class TlsRabbitMq(RabbitMq):
    """Takes the common name of a client's certificate as its user."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tls = free_port()

    def prepare(self) -> None:
        super().prepare()
        authority = Authority(self.folder, "ca")
        authority.issue("server", "127.0.0.1")
        authority.issue("guest", "guest")
        authority.issue("nobody", "nobody")
        with (self.folder / "rabbitmq.conf").open("a") as file:
            file.write(
                f"listeners.ssl.1 = 127.0.0.1:{self.tls}\n"
                f"ssl_options.cacertfile = {self.folder}/ca.pem\n"
                f"ssl_options.certfile = {self.folder}/server.pem\n"
                f"ssl_options.keyfile = {self.folder}/server.key\n"
                "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
                "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\nssl_cert_login_from = common_name\n"
            )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_amqp1_0,rabbitmq_auth_mechanism_ssl].\n")

    def ready(self) -> bool:
        return super().ready() and port_open(self.tls)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRabbitMq]:
    found = TlsRabbitMq(tmp_path_factory.mktemp("rabbitmq_tls"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.mark.xdist_group("rabbitmq_tls")
async def test_the_certificate_is_the_login(server: TlsRabbitMq) -> None:
    intake = MemoryIntake()

    def options(name: str) -> dict[str, object]:
        tls = {"ca": f"{server.folder}/ca.pem"}
        own = {"certificate": f"{server.folder}/{name}.pem", "key": f"{server.folder}/{name}.key"}
        return {"host": "127.0.0.1", "port": server.tls, "external": True, "tls": tls | own}

    async with (
        receiving(ADAPTER, intake, **options("guest"), source="/queue/external"),
        sending(ADAPTER, **options("guest"), target="/queue/external") as sender,
    ):
        assert (await sender.send(outgoing(b"1"))).ok
        await until(lambda: intake.taken == [b"1"])
    async with sending(ADAPTER, **options("nobody"), target="/queue/external") as stranger:
        with pytest.raises(UnreachableError) as caught:
            await stranger.probe()
        assert caught.value.code == "mq.login"
