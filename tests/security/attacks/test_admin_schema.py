"""Schemathesis on the admin API: calls made from its own OpenAPI, right and wrong ones, against a running hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.kernel.process import HubProcess, Sink
from tests.security.attacks.fortress import build

schemathesis = pytest.importorskip("schemathesis")

#: Would change what the other tests look at, or takes its time.
_LEFT_OUT = "/(reload|send|replay|probes?)$"
_EXAMPLES = 3


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """Not the one the other attacks are made on: what these calls change would be in their way."""
    sink = Sink()
    with HubProcess(build(tmp_path_factory.mktemp("own"), sink)) as hub:
        yield hub
    sink.close()


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_call_of_the_admin_api_makes_it_fail(own: HubProcess, mode: str) -> None:
    """Also what is answered is what the document says. The same calls each time."""
    from schemathesis import GenerationMode

    schema: Any = schemathesis.openapi.from_url(f"{own.url}/openapi.json").exclude(path_regex=_LEFT_OUT)
    kind = GenerationMode.POSITIVE if mode == "positive" else GenerationMode.NEGATIVE
    attack = _Attack(own.token)
    for found in schema.get_all_operations():
        attack.operation(found.ok(), kind)
    assert not attack.failures, "\n\n".join(f"{label}: {text}" for label, text in attack.failures.items())
    assert attack.statuses.total() > 50
    assert attack.statuses[200 if mode == "positive" else 400] > 20, attack.statuses
    assert not attack.statuses[401] > 100, "these calls came no further than the door"
    assert "Traceback" not in (own.config.parent / "run.log").read_text(encoding="utf-8")


class _Attack:
    def __init__(self, token: str) -> None:
        from schemathesis import checks

        self._token = token
        self._checks = [
            checks.content_type_conformance, checks.response_schema_conformance, checks.status_code_conformance
        ]  # fmt: skip
        self.statuses: Counter[int] = Counter()
        self.failures: dict[str, str] = {}

    def operation(self, operation: Any, kind: Any) -> None:
        run = settings(
            max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(case=operation.as_strategy(generation_mode=kind))(self._call))  # fmt: skip
        try:
            run()
        except Exception as error:
            if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):  # nothing of this call can be wrong
                self.failures.setdefault(operation.label, repr(error)[:500])

    def _call(self, case: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {self._token}"}
        response = case.call(timeout=20)
        self.statuses[response.status_code] += 1
        try:
            assert response.status_code < 500 or response.status_code in (501, 503), response.text[:300]
            assert self._token not in response.text
            case.validate_response(response, checks=self._checks)
        except BaseExceptionGroup as errors:
            self._failed(case, "; ".join(str(error)[:500] for error in errors.exceptions))
        except Exception as error:  # one failure of each operation is enough to know
            self._failed(case, str(error)[:1000])

    def _failed(self, case: Any, why: str) -> None:
        self.failures.setdefault(case.operation.label, why)
