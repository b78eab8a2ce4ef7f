"""What is wrong with profiles that no plugin extends yet; those of others are checked with their plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hub.errors import Problem
from hub.plugin_file import parse_contract
from hub.profiles.compose import Composer
from hub.profiles.document import ComposedDocument
from hub.profiles.load import LoadedProfile
from hub.registry import LoadedPlugin, Registry
from hub.yaml_source import Document

__all__ = ["profile_problems"]

#: Stands for the value of a parameter that every plugin has to give.
_SAMPLE = "sample"


def profile_problems(registry: Registry, check: Callable[[LoadedPlugin], list[Problem]]) -> Iterator[Problem]:
    """Every profile nobody extends is tried as a plugin would take it over; ``check`` says what is wrong with a plugin.

    A profile may leave to its plugins what an interface must have; what it does say must be right.
    """
    used = {profile.contract.id for plugin in registry.plugins.values() for profile in plugin.profiles}
    used |= {parent for profile in registry.profiles.values() for parent in profile.contract.extends}
    for profile in registry.profiles.values():
        if profile.contract.id not in used and not registry.failed:  # plugins that failed may be those that extend it
            yield from _problems(profile, registry, check)


def _problems(
    profile: LoadedProfile, registry: Registry, check: Callable[[LoadedPlugin], list[Problem]]
) -> Iterator[Problem]:
    contract = profile.contract
    document = Document(
        profile.file,
        b"",
        {
            "id": contract.id,
            "name": contract.name,
            "extends": [contract.id],
            "with": {
                name: parameter.choices[0] if parameter.choices else _SAMPLE
                for name, parameter in contract.parameters.items()
                if parameter.required and parameter.default is None
            },
        },
    )
    problems: list[Problem] = []
    composer = Composer(registry.profiles, registry.failed_profiles, registry.adapters)
    composed, profiles = composer.compose(document, problems)
    if not any(problem.severity == "error" for problem in problems):
        assert isinstance(composed, ComposedDocument)  # noqa: S101 - it says ``extends``
        written = composed.data.get("interfaces", {})
        needed: dict[str, Any] = {"direction": "out", "adapter": next(iter(registry.adapters), ""), "codec": "json"}
        composed.data["interfaces"] = {name: needed | raw for name, raw in written.items()} or {_SAMPLE: needed}
        plugin = parse_contract(composed, problems)
        if plugin is not None:
            whole = {
                name: one for name, one in plugin.interfaces.items() if needed.keys() <= written.get(name, {}).keys()
            }
            plugin = plugin.model_copy(update={"interfaces": whole})
            problems += check(LoadedPlugin(plugin, profile.folder, profile.file, composed, profiles=tuple(profiles)))
    return (problem for problem in problems if not problem.key.startswith("with."))
