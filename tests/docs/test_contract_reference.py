"""The contract reference says what the models say."""

from __future__ import annotations

from docs.generate import OUTPUT, reference
from hub.contract import Interface, RetryPolicy


def test_the_reference_is_current() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == reference(), "run `python docs/generate.py`"


def test_every_key_of_an_interface_is_listed() -> None:
    text = reference()
    for name, field in Interface.model_fields.items():
        assert f"| `{field.alias or name}` |" in text


def test_durations_and_sizes_are_written_as_people_write_them() -> None:
    lines = reference().splitlines()
    assert RetryPolicy().give_up_after == 7 * 86400
    assert next(line for line in lines if line.startswith("| `give_up_after`")).startswith(
        "| `give_up_after` | duration | `7d` |"
    )
    assert any(line.startswith("| `segment_messages` | whole number | `1000000` |") for line in lines)
    assert any(line.startswith("| `min_free_disk` | size | `256MB` |") for line in lines)
    assert any(line.startswith("| `duplicate_window` | duration |  |") for line in lines)
