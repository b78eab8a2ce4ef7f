"""AMQP 1.0 (ISO/IEC 19464): ActiveMQ, Artemis, Azure Service Bus, Qpid, RabbitMQ with its plugin."""
