"""One table: each figure as median (lowest to highest), the machine's own limit beside it, the goal.

``python -m benchmarks [--only TEXT] [--json] [--quick] [--full]``. ``--quick`` shows whether everything works, not how fast it is;
``--full`` stores ten million messages first where the default stores one million. Exit status 1: a run lost something.

``python -m benchmarks adapters [--only NAME] [--runs N] [--json] [--quick]``: each adapter beside the bare library or program that does
the same, with the median of N runs in turn. What is not installed here is skipped, with the command that installs it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import SERIES, Figure, Scale
from benchmarks.machine import describe, speed_ms
from benchmarks.rig import Failed

#: Busy and idle connections of one run, with room for files.
_DESCRIPTORS = 12_000


def _row(figure: Figure) -> str:
    values = figure.values
    spread = f"({min(values):,.4g} to {max(values):,.4g})" if values else ""
    median = f"{figure.median:,.4g}" if values else "-"
    goal = f"{'<=' if figure.at_most else '>='} {figure.goal:,.4g}" if figure.goal else ""
    limit = f"{figure.limit:,.0f} {figure.limit_name} ({figure.median / figure.limit:.2f})" if figure.limit else ""
    other = f"{min(figure.other):.0f} to {max(figure.other):.0f}" if figure.other else ""
    cells = (f"{figure.name:<66}", f"{median:>9}", f"{spread:<22}", f"{figure.unit:<11}", f"{goal:<11}")
    return "  ".join((*cells, f"{figure.verdict:<13}", f"{other:<10}", limit)).rstrip()


def _adapters(runs: int, only: str, *, quick: bool, as_json: bool) -> int:
    # What the adapters are compared with takes a while to load.
    from benchmarks.adapters.series import compare, print_table

    machine = describe(Path(tempfile.gettempdir()))
    machine["fixed loop at the start"] = f"{speed_ms():.2f} ms"
    if not as_json:
        print("\n".join(f"{name}: {value}" for name, value in machine.items()) + "\n")
    found = compare(max(1, runs), only, quick=quick)
    rows = list(found) if as_json else print_table(found)
    machine["fixed loop at the end"] = f"{speed_ms():.2f} ms"
    if as_json:
        print(json.dumps({"machine": machine, "adapters": [row.as_dict() for row in rows]}, indent=1))
    else:
        print(f"\nfixed loop at the end: {machine['fixed loop at the end']}")
    return 1 if not rows or any(row.failed for row in rows) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["hub", "adapters"], default="hub", help="what is measured")
    parser.add_argument("--runs", type=int, default=3, help="adapters: runs of each")
    parser.add_argument(
        "--only",
        default="",
        help=f"hub: series whose name contains this: {', '.join(SERIES)}; adapters: begins with this",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--quick", action="store_true", help="short runs, small stores")
    parser.add_argument("--full", action="store_true", help="ten million messages stored first")
    options = parser.parse_args()
    if options.what == "adapters":
        return _adapters(options.runs, options.only, quick=options.quick, as_json=options.json)
    chosen = [series for name, series in SERIES.items() if options.only in name]
    if not chosen:
        parser.error(f"no series is called {options.only!r}; there are {', '.join(SERIES)}")
    scale = Scale.quick() if options.quick else Scale()
    if options.full:
        scale.stored = 10_000_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_DESCRIPTORS, hard)), hard))
    machine = describe(Path(tempfile.gettempdir()))
    machine["fixed loop at the start"] = f"{speed_ms():.2f} ms"
    if not options.json:
        print("\n".join(f"{name}: {value}" for name, value in machine.items()))
        print(
            "figure, median (lowest to highest), unit, goal, verdict, others' processor time (% of a core), limit (ratio)\n"
        )
    figures: list[Figure] = []
    broken = False
    for series in chosen:
        try:
            for figure in series(scale):
                figures.append(figure)
                if not options.json:
                    print(_row(figure), flush=True)
        except Failed as error:
            broken = True
            print(f"{series.__name__.strip('_')}: FAILED {error}", file=sys.stderr, flush=True)
    machine["fixed loop at the end"] = f"{speed_ms():.2f} ms"
    if options.json:
        rows = [{**asdict(figure), "median": figure.median, "verdict": figure.verdict} for figure in figures]
        print(json.dumps({"machine": machine, "figures": rows}, indent=1))
    else:
        print(f"\nfixed loop at the end: {machine['fixed loop at the end']}")
    return 1 if broken or any(figure.failed for figure in figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
