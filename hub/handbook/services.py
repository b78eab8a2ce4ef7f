"""Descriptions in a transport's own language, as the adapter serves them: the WSDL of a SOAP service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hub.errors import HubError
from hub.handbook.material import Material
from hub.handbook.subject import Subject, sample_settings

__all__ = ["descriptions"]

_WHOLE = re.compile(r"\$\{(\w+)\}")


def descriptions(material: Material, subject: Subject) -> dict[str, bytes]:
    """File name -> content, for every interface whose adapter has one."""
    found: dict[str, bytes] = {}
    samples = sample_settings(subject)
    for name, interface in subject.interfaces.items():
        adapter = material.registry.adapters.get(interface.adapter)
        if adapter is None or interface.direction != "in":
            continue
        bound = material.deployment.inbound.get(f"{subject.id}/{name}") if subject.system else None
        try:
            options = bound.options if bound is not None else None
            if options is None and adapter.listen_options is not None:
                options = adapter.listen_options.model_validate(_filled(interface.listen, samples))
            if options is None:
                continue
            for file, content in sorted(adapter.descriptions(options).items()):
                found[f"{name}.{re.sub(r'[^A-Za-z0-9_.-]', '_', file)}"] = content
        except (HubError, ValidationError):  # what needs a setting nobody has a sample of is described in words only
            continue
    return found


def _filled(value: Any, samples: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        filled = {key: _filled(item, samples) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None}
    if isinstance(value, list):
        return [_filled(item, samples) for item in value]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole is not None:
        return samples.get(whole[1])
    return _WHOLE.sub(lambda found: str(samples.get(found[1], found[1])), value)
