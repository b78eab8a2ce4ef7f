"""The mock cluster of librdkafka as a program: real TCP, the real protocol, everything in memory, faults by command.

``python kafka_server.py CONTROL_PORT``. One command a line on the control port, one line in answer.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import confluent_kafka

_PRODUCER = 0


def _library() -> Any:
    spec = find_spec("confluent_kafka")
    assert spec is not None
    assert spec.origin is not None
    (path,) = (Path(spec.origin).parent.parent / "confluent_kafka.libs").glob("librdkafka-*")
    found = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(found, name).restype = ctypes.c_void_p
    found.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return found


class Cluster:
    """``topic NAME PARTITIONS``, ``down``, ``up``, ``advertise PORT``, ``fail API CODE COUNT``, ``bootstrap``."""

    def __init__(self) -> None:
        self._library = library = _library()
        text = ctypes.create_string_buffer(512)
        client = library.rd_kafka_new(_PRODUCER, ctypes.c_void_p(library.rd_kafka_conf_new()), text, 512)
        assert client, text.value
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), 1))
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 100)

    def do(self, command: str, *arguments: str) -> str:
        library, cluster = self._library, self._cluster
        if command == "bootstrap":
            return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())
        if command == "topic":
            done = library.rd_kafka_mock_topic_create(cluster, arguments[0].encode(), int(arguments[1]), 1)
        elif command == "down":
            done = library.rd_kafka_mock_broker_set_down(cluster, 1)
        elif command == "up":
            done = library.rd_kafka_mock_broker_set_up(cluster, 1)
        elif command == "advertise":
            done = library.rd_kafka_mock_broker_set_host_port(cluster, 1, b"127.0.0.1", int(arguments[0]))
        elif command == "fail":
            api, code, count = (int(each) for each in arguments)
            errors = (ctypes.c_int * count)(*([code] * count))
            library.rd_kafka_mock_push_request_errors_array(cluster, api, ctypes.c_size_t(count), errors)
            done = 0
        else:
            return f"unknown command {command}"
        return str(done)


def main(port: int) -> None:
    cluster = Cluster()
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            peer, _ = server.accept()
            with peer, peer.makefile("rw") as lines:
                for line in lines:
                    lines.write(cluster.do(*line.split()) + "\n")
                    lines.flush()


if __name__ == "__main__":
    assert confluent_kafka.libversion()
    main(int(sys.argv[1]))
