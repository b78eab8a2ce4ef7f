"""What the adapters that speak straight over TCP share: listening, one inbound connection, a pool of outgoing ones."""
