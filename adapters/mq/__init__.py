"""Message queues: AMQP and others through kombu (``mq``), Redis lists and streams (``redis``), STOMP (``stomp``).

Each protocol is a module of its own, so that a missing library takes only its own adapter away.
"""
