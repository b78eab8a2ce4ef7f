"""Flows: declared exchanges of several steps over interfaces, with durable state (``docs/flows.md``).

``model`` says what may be written, ``core`` what follows from an event (a pure function), ``store`` keeps it, ``service`` lets it happen.
"""
