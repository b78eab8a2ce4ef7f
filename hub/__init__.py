"""Tongqu (通衢): the kernel of the integration hub.

The kernel knows messages, deliveries and plugins; it knows no protocol and no external system.
Adapters and plugins reach it through :mod:`hub.api` only.
"""

__version__ = "0.1.0"
