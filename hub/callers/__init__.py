"""Who may call: callers with their credentials, what they may do, how much, and from where.

:class:`hub.callers.door.Callers` decides about calls; :class:`hub.callers.orders.CallerOrders` changes the registry.
"""
