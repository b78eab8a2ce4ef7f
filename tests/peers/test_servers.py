"""The servers themselves: they start, answer, survive a kill, and hang when told to."""

from __future__ import annotations

import pytest

from tests.peers.databases import MariaDb, PostgreSql
from tests.peers.process import port_open
from tests.peers.queues import ActiveMq, RabbitMq, Redis


@pytest.mark.xdist_group("postgresql")
def test_postgresql(postgresql: PostgreSql) -> None:
    postgresql.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    postgresql.kill()
    postgresql.start()
    assert postgresql.sql("SELECT n FROM kept; DROP TABLE kept") == "7\n"


@pytest.mark.xdist_group("mariadb")
def test_mariadb(mariadb: MariaDb) -> None:
    mariadb.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    mariadb.kill()
    mariadb.start()
    assert mariadb.sql("SELECT n FROM kept; DROP TABLE kept") == "7\n"


@pytest.mark.xdist_group("rabbitmq")
def test_rabbitmq(rabbitmq: RabbitMq) -> None:
    assert "/" in rabbitmq.control("list_vhosts")
    rabbitmq.kill()
    assert not port_open(rabbitmq.port)
    rabbitmq.start()
    assert "/" in rabbitmq.control("list_vhosts")


@pytest.mark.xdist_group("redis")
def test_redis(redis: Redis) -> None:
    redis.kill()
    assert not port_open(redis.port)
    redis.start()


@pytest.mark.xdist_group("activemq")
def test_activemq(activemq: ActiveMq) -> None:
    activemq.stop()
    assert not activemq.ready()
    activemq.start()
