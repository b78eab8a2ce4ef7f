"""The security schemes the hub brings along, one module a family."""
