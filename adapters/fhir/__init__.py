"""FHIR over HTTP (R4, R4B, R5): a facade that others call, calls to servers of others, and servers that are read."""

from adapters.fhir.adapter import FhirAdapter, FhirPollAdapter

__all__ = ["FhirAdapter", "FhirPollAdapter"]
