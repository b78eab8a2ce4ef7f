"""HTTP: interfaces that others call, calls to others, and sources that are read."""

from adapters.http.adapter import HttpAdapter, HttpPollAdapter

__all__ = ["HttpAdapter", "HttpPollAdapter"]
