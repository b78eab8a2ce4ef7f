"""RabbitMQ (AMQP 0.9.1 and 1.0), Redis and ActiveMQ (STOMP)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers.process import Server, free_port, need, port_open

__all__ = ["ActiveMq", "RabbitMq", "Redis"]


class RabbitMq(Server):
    """User ``guest`` with password ``guest``, virtual host ``/``."""

    package = "rabbitmq-server"
    user = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._epmd, self._dist = free_port(), free_port()

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = true\nlog.file = false\n"
            "vm_memory_high_watermark.absolute = 2GB\ndisk_free_limit.absolute = 50MB\n"
        )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_amqp1_0].\n")

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"tongqu{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_SCHEMA_DIR": str(self.folder / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def command(self) -> Sequence[str]:
        need("rabbitmq-server", self.package)
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def control(self, *arguments: str) -> str:
        """``rabbitmqctl`` with these arguments."""
        return self.run("/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *arguments)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"


class Redis(Server):
    """Password ``secret``; appends to its file with every write, so that a kill loses nothing it confirmed."""

    package = "redis-server"

    def command(self) -> Sequence[str]:
        return [
            need("redis-server", self.package),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", "secret"),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(self.folder)),
        ]

    @property
    def url(self) -> str:
        return f"redis://:secret@127.0.0.1:{self.port}/0"


class ActiveMq(Server):
    """ActiveMQ 5 with STOMP on ``stomp``; user ``hub`` with password ``secret``. Debian's build has no AMQP 1.0."""

    package = "activemq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stomp = free_port()

    def prepare(self) -> None:
        (self.folder / "activemq.xml").write_text(f"""
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="tongqu" dataDirectory="{self.folder}/data" useJmx="false">
    <persistenceAdapter><kahaDB directory="{self.folder}/kahadb"/></persistenceAdapter>
    <plugins><simpleAuthenticationPlugin><users>
      <authenticationUser username="hub" password="secret" groups="users,admins"/>
    </users></simpleAuthenticationPlugin></plugins>
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:{self.port}"/>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:{self.stomp}"/>
    </transportConnectors>
  </broker>
</beans>
""")

    def command(self) -> Sequence[str]:
        need("activemq", self.package)
        java = need("java", "default-jre-headless")
        home = "/usr/share/activemq"
        classes = ":".join([f"{home}/lib/*", f"{home}/lib/optional/*", "/usr/share/java/*"])
        return [
            java,
            "-Xmx256m",
            f"-Dactivemq.home={home}",
            f"-Dactivemq.base={self.folder}",
            f"-Dactivemq.data={self.folder}/data",
            f"-Djava.io.tmpdir={self.folder}",
            *("-cp", classes, "org.apache.activemq.console.Main", "start", f"xbean:file:{self.folder}/activemq.xml"),
        ]

    def ready(self) -> bool:
        return port_open(self.port) and port_open(self.stomp)

    def forget(self) -> None:
        """Drop every stored message; while it is stopped."""
        shutil.rmtree(self.folder / "kahadb", ignore_errors=True)
