"""One worker of several, in a process of its own that :mod:`hub.run` starts.

``python -m hub.run_worker --config FILE --workers N --worker K``. A program of its own and not a command of ``hub``: what only people
need (the command line, the admin API's users, callers and audit) takes 15 MB, and each worker would load it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from hub.admin.backend import NodeBackend
from hub.admin.serve import AdminServer, token_of
from hub.config import load_config
from hub.errors import ConfigError, HubError
from hub.folders import data_folder, worker_folder
from hub.i18n import set_language
from hub.logs import setup
from hub.node import Node
from hub.process_loop import calm_collector, hold_collector, start_loop, stop_event
from hub.tasks import stopped

__all__ = ["main", "run_worker"]

#: Answers of the admin API under way are waited for so long, seconds.
STOP_S = 10.0


async def run_worker(config_file: Path, worker: int, workers: int) -> int:
    """One worker of several; its admin API listens on a socket file in its folder. Ends with its supervisor."""
    stop = stop_event()
    node = Node(config_file, worker=worker, workers=workers)
    await node.start()
    calm_collector()
    config = node.deployment.config
    data = data_folder(config_file, config)
    admin = AdminServer(NodeBackend(node), token_of(config.admin, config_file, data))
    await admin.listen_on_socket(worker_folder(data, worker) / "admin.sock")
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)  # the supervisor's end of the pipe closes when it dies
    print(f"worker {worker} ready", flush=True)
    try:
        await stop.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
        await stopped("admin API", admin.stop(), STOP_S)
        await node.stop()
    return 0


def main() -> int:
    """Returns the exit status; what a person can act on is told without a traceback."""
    parser = argparse.ArgumentParser(prog="python -m hub.run_worker")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--worker", type=int, required=True)
    options = parser.parse_args()
    file: Path = options.config
    try:
        loaded = load_config(file)
        if loaded.unusable:
            raise ConfigError(loaded.errors)
        if loaded.hub.language:
            set_language(loaded.hub.language)
        setup(loaded.hub.log)
        hold_collector()
        return start_loop(lambda: run_worker(file, options.worker, options.workers))
    except ConfigError as error:
        print("\n".join(f"{problem.severity}: {problem}" for problem in error.problems), file=sys.stderr)
    except HubError as error:
        print(f"hub: {error.text}" + (f"\n  -> {error.remedy}" if error.remedy else ""), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
