"""What people do with mappings before they go live: check, test, run, see what they cover, explain one value, write the reference page.

The language itself is :mod:`hub.mapping`; nothing here runs for a message under way.
"""

from __future__ import annotations

from hub.mapping_tools.workbench import Workbench, open_workbench

__all__ = ["Workbench", "open_workbench"]
