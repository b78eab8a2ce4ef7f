"""Subscriptions of others to what the hub routes to a feed: kept, matched, and told to each subscriber (FHIR R4 and R5, rest-hook)."""
