"""The tests share servers, hubs and long runs by groups and by files: those who share must be in one process."""

from __future__ import annotations

import os

import pytest

from tests.conftest import ByModule


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("group", ["one", pytest.param("one_two", marks=pytest.mark.xdist_group("two"))])
def test_the_group_of_a_test_is_in_its_name(request: pytest.FixtureRequest, group: str) -> None:
    """Where tests are shared out by it; else those of one group would be run by several processes, each with a server of its own."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.partition("@")[2] == (group if shared else "")


def test_tests_without_a_group_stay_with_their_file() -> None:
    split = ByModule.__new__(ByModule)._split_scope
    assert split("tests/a/test_b.py::test_c[x@y]") == "tests/a/test_b.py"
    assert split("tests/a/test_b.py::TestC::test_d") == "tests/a/test_b.py"
    assert split("tests/a/test_b.py::test_c[x@y]@redis") == split("tests/e/test_f.py::test_g@redis") == "redis"
    assert split("mappings/a/b.tests.yaml::one case") == "mappings/a/b.tests.yaml"
