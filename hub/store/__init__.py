"""The durable store: every message, delivery and call. :mod:`hub.store.base` is the interface, ``sqlite`` the default."""
