"""Apache Axis 1.4, which Chinese hospitals still run, as service and as client."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.peers.process import Server, need

__all__ = ["Axis"]

_JARS = [
    f"/usr/share/java/{name}.jar"
    for name in ("axis", "jaxrpc", "saaj", "commons-discovery", "commons-logging", "wsdl4j")
]
_SERVICE = """ <service name="{name}" provider="java:RPC"{style}>
  <parameter name="className" value="AxisPeer"/><parameter name="allowedMethods" value="HIPMessageServer call"/>
  <namespace>urn:hl7-org:v3</namespace></service>
"""


class Axis(Server):
    """The services ``Encoded`` (rpc/encoded) and ``Wrapped`` (document/literal) of ``AxisPeer.java``."""

    package: ClassVar[str] = "default-jdk-headless libaxis-java"

    def prepare(self) -> None:
        compiler = need("javac", self.package)
        need("java", self.package)
        if not Path(_JARS[0]).exists():
            need("axis.jar", self.package)
        source = Path(__file__).with_name("AxisPeer.java")
        # Axis reads parameter names from the class file, and no newer format than that of Java 8.
        command = [
            compiler,
            "-nowarn",
            "--release",
            "8",
            "-g",
            "-cp",
            ":".join(_JARS),
            "-d",
            str(self.folder),
            str(source),
        ]
        subprocess.run(command, check=True, capture_output=True)
        services = _SERVICE.format(name="Encoded", style="") + _SERVICE.format(
            name="Wrapped", style=' style="wrapped" use="literal"'
        )
        (self.folder / "server-config.wsdd").write_text(
            '<deployment xmlns="http://xml.apache.org/axis/wsdd/" xmlns:java="http://xml.apache.org/axis/wsdd/providers/java">\n'
            ' <handler name="URLMapper" type="java:org.apache.axis.handlers.http.URLMapper"/>\n'
            f"{services}"
            ' <transport name="http"><requestFlow><handler type="URLMapper"/></requestFlow></transport>\n</deployment>\n'
        )

    def command(self) -> Sequence[str]:
        options = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx128m"]
        return [
            need("java", self.package),
            *options,
            "-cp",
            ":".join([*_JARS, str(self.folder)]),
            "AxisPeer",
            str(self.port),
        ]

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port}/axis/services/{service}"
