"""The command line: ``hub run | check | send | messages | show | calls | dead | replay | plugins | verify-ledger | bench …``."""

from hub.cli.app import main

__all__ = ["main"]
