"""HTTP: interfaces that others call, and calls to others."""

from adapters.http.adapter import HttpAdapter

__all__ = ["HttpAdapter"]
