"""SOAP 1.1 and 1.2: services that others call, and calls to services of others."""

from adapters.soap.adapter import SoapAdapter

__all__ = ["SoapAdapter"]
