"""What a browser is led by: its query as parameters, the address it is led to as the answer, a call to try."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator

from hub.handbook.material import Material
from hub.handbook.openapi import openapi
from hub.handbook.subject import of_plugin
from tests.handbook.support import ROOT, described


def test_a_login_by_redirection(repository: Material) -> None:
    document = openapi(repository, of_plugin(repository.registry.plugins["oa"]))
    assert document is not None
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    [told] = [
        item["get"] for item in document["paths"].values() if item.get("get", {}).get("tags") == ["sso_cas_login"]
    ]
    assert (set(told["responses"]) & {"200", "303"}, "requestBody" in told) == ({"303"}, False)
    assert "Location" in told["responses"]["303"]["headers"]
    [query] = [one for one in told["parameters"] if one["in"] == "query"]
    assert (query["style"], query["explode"], query["required"]) == ("form", True, True)
    assert "sso_cas_login" in str(query["schema"])


def test_the_call_to_try_has_its_query() -> None:
    pages = described(ROOT / "config" / "hub.yaml", "oa")
    text = next(content for name, content in pages.items() if name.endswith("en.md") and "oa" in name)
    assert "/sso/cas/login?service=https%3A%2F%2Foa.example%2F&renew=true" in text
