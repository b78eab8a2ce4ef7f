"""Search parameters a criterion may use: which elements they look at (FHIR R4 and R5, search parameter registry)."""

from __future__ import annotations

from hub.codecs.fhir_definitions import Definitions

__all__ = ["parameter"]

#: Name of a parameter -> its type and the elements it may look at; a type of resource has those that it has.
_KNOWN: dict[str, tuple[str, str]] = {
    "_id": ("token", "id"),
    "_lastUpdated": ("date", "meta.lastUpdated"),
    "_profile": ("uri", "meta.profile"),
    "_tag": ("token", "meta.tag"),
    "_security": ("token", "meta.security"),
    "_source": ("uri", "meta.source"),
    "active": ("token", "active"),
    "author": ("reference", "author"),
    "authored": ("date", "authoredOn"),
    "authored-on": ("date", "authoredOn"),
    "authoredon": ("date", "authoredOn"),
    "based-on": ("reference", "basedOn"),
    "birthdate": ("date", "birthDate"),
    "category": ("token", "category"),
    "class": ("token", "class"),
    "clinical-status": ("token", "clinicalStatus"),
    "code": ("token", "code medicationCodeableConcept vaccineCode"),
    "date": (
        "date",
        "date effectiveDateTime effectivePeriod effectiveInstant performedDateTime performedPeriod period actualPeriod "
        "occurrenceDateTime occurrencePeriod recordedDate start",
    ),
    "encounter": ("reference", "encounter context.encounter context"),
    "family": ("string", "name.family"),
    "gender": ("token", "gender"),
    "given": ("string", "name.given"),
    "group-identifier": ("token", "groupIdentifier"),
    "identifier": ("token", "identifier"),
    "intent": ("token", "intent"),
    "issued": ("date", "issued"),
    "location": ("reference", "location.location location"),
    "name": ("string", "name"),
    "organization": ("reference", "managingOrganization organization"),
    "owner": ("reference", "owner"),
    "patient": ("reference", "patient subject for"),
    "performer": ("reference", "performer performer.actor"),
    "priority": ("token", "priority"),
    "recorded-date": ("date", "recordedDate"),
    "requester": ("reference", "requester"),
    "service-provider": ("reference", "serviceProvider"),
    "specimen": ("reference", "specimen"),
    "status": ("token", "status"),
    "subject": ("reference", "subject patient for"),
    "type": ("token", "type"),
    "verification-status": ("token", "verificationStatus"),
}


def parameter(known: Definitions, kind: str, name: str) -> tuple[str, tuple[tuple[str, ...], ...]] | None:
    """(type of the parameter, ways to its elements) for a type of resource; None for one that is not supported."""
    found = _KNOWN.get(name)
    structure = known.resource(kind)
    if found is None or structure is None:
        return None
    ways = [tuple(way.split(".")) for way in found[1].split()]
    here = tuple(way for way in ways if way[0] in structure.elements)
    return (found[0], here) if here else None
