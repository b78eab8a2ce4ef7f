"""Messages as nobody should send them, made from good ones: things left out, of another kind, far too large, unprintable, cut off."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["odd_bytes", "odd_trees"]

_LONG = "样" * 20_000
_ODD: tuple[Any, ...] = (
    None, "", " ", "\x00", "\x1b[2J\r\n\x07", "\u202e\ufeff", "\ud83d", _LONG, "9" * 400, "-1", "NaN", "2026-02-30", "2026-13-01T25:61:61Z",
    "' or 1=1 --", "${secret}", "{{name}}", "../../../../etc/passwd", "<!DOCTYPE a [<!ENTITY b 'c'>]>", 0, -1, 2**63, 10**30, 1e308, 1.5, True,
    [], {}, [[]], [None], {"": ""}, {"$ref": "#"}, [{}] * 300,
)  # fmt: skip
_DEPTH = 300


def _deep() -> Any:
    tree: Any = 1
    for _ in range(_DEPTH):
        tree = {"a": [tree]}
    return tree


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in below for place in ((*path, key), *_places(value, (*path, key)))]


def odd_trees(tree: Any, chance: random.Random, count: int) -> Iterator[Any]:
    """``count`` variants: of a place or two each left out, put into a list, or another value."""
    places = _places(tree)
    for _ in range(count):
        made = copy.deepcopy(tree)
        for path in chance.sample(places, min(len(places), chance.randint(1, 2))):
            _change(made, path, chance)
        yield made


def _change(tree: Any, path: tuple[Any, ...], chance: random.Random) -> None:
    """Nothing happens where an earlier change took the place away."""
    try:
        for key in path[:-1]:
            tree = tree[key]
        match chance.randrange(5):
            case 0:
                del tree[path[-1]]
            case 1:
                tree[path[-1]] = [tree[path[-1]]]
            case 2:
                tree[path[-1]] = _deep()
            case _:
                tree[path[-1]] = copy.deepcopy(chance.choice(_ODD))
    except (KeyError, IndexError, TypeError):
        return


def odd_bytes(raw: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """``count`` variants of a message: its members changed where it is JSON, else its bytes; always some of the latter."""
    try:
        tree = json.loads(raw)
    except ValueError:
        tree = None
    of_trees = count * 3 // 4 if isinstance(tree, dict | list) else 0
    for made in odd_trees(tree, chance, of_trees):
        yield json.dumps(made, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    changes: tuple[Callable[[bytes, int], bytes], ...] = (
        lambda text, at: text[:at],
        lambda text, at: text[:at] + b"\x00\xff\x1b" + text[at:],
        lambda text, at: text[:at] + text[at + 9 :],
        lambda text, at: text[:at] + text[at : at + 40] * 50 + text[at:],
        lambda text, at: text[:at] + bytes(255 - byte for byte in text[at : at + 3]) + text[at + 3 :],
        lambda text, at: b"[" * 5_000 + text,
    )
    for _ in range(count - of_trees):
        yield chance.choice(changes)(raw, chance.randrange(max(len(raw), 1)))
