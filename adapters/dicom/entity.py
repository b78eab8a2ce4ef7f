"""The AE of a listening interface: what it is called, and what it accepts, by the options."""

from __future__ import annotations

from pynetdicom import AE
from pynetdicom.presentation import PresentationContext

from adapters.dicom.call_commit import COMMITMENT
from adapters.dicom.listener import storage_contexts, verification_context
from adapters.dicom.network import context_of, local_entity
from adapters.dicom.options import DicomListen
from adapters.dicom.queries import find_classes
from adapters.dicom.steps import STEP

__all__ = ["contexts_of", "entity_of"]

_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def entity_of(options: DicomListen) -> AE:
    """Our side of its associations."""
    entity = local_entity(
        options.ae_title,
        max_pdu=options.max_pdu,
        acse=options.pdu_timeout,
        dimse=options.pdu_timeout,
        network=options.idle_timeout,
    )
    entity.maximum_associations = options.max_associations
    entity.require_called_aet = not options.any_called
    if options.calling:
        entity.require_calling_aet = list(options.calling)
    return entity


def contexts_of(options: DicomListen) -> list[PresentationContext]:
    """What it accepts."""
    wanted: dict[str, list[str]] = {}
    if "mpps" in options.services:
        wanted[STEP] = _UNCOMPRESSED
    if {"commitment", "results"} & set(options.services):
        wanted[COMMITMENT] = _UNCOMPRESSED
    for uid in find_classes(options.services):
        wanted[uid] = _UNCOMPRESSED
    storing = storage_contexts(options.sop_classes) if "store" in options.services else [verification_context()]
    contexts = [*storing, *(context_of(uid, syntaxes) for uid, syntaxes in wanted.items())]
    if "results" in options.services:
        for context in contexts:
            if context.abstract_syntax == COMMITMENT:  # who tells us is the provider, and asks for the association
                context.scu_role = context.scp_role = True
    return contexts
