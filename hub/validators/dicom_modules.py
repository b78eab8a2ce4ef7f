"""What the common kinds of DICOM data sets must hold: the essentials of PS3.3 and PS3.4, not every attribute of every module.

Type 1: there with a value. Type 2: there, may be empty (PS3.5, 7.4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["KINDS", "Kind", "kind_of"]


class Kind(NamedTuple):
    """A kind of data set: its attributes of type 1 and 2, and the same for the items of sequences, by keyword."""

    name: str
    required: tuple[str, ...]
    present: tuple[str, ...]
    items: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    modality: str = ""  # the one it must have, where there is only one


def _kind(
    name: str, required: str, present: str = "", *, base: Kind | None = None, modality: str = "", **items: str
) -> Kind:
    """``items``: keyword of a sequence -> attributes of type 1, a semicolon, attributes of type 2."""
    parsed = tuple(
        (sequence, tuple(text.partition(";")[0].split()), tuple(text.partition(";")[2].split()))
        for sequence, text in items.items()
    )
    one = (*base.required, *required.split()) if base else tuple(required.split())
    two = (*base.present, *present.split()) if base else tuple(present.split())
    return Kind(name, one, tuple(keyword for keyword in two if keyword not in one), parsed, modality)


# C.7.1.1 Patient, C.7.2.1 General Study, C.7.3.1 General Series, C.7.5.1 General Equipment, C.12.1 SOP Common
_INSTANCE = _kind(
    "instance",
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality",
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber"
    " ReferringPhysicianName SeriesNumber",
)
# C.7.6.1 General Image, C.7.6.3 Image Pixel
_IMAGE = _kind(
    "image",
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation",
    "InstanceNumber Manufacturer",
    base=_INSTANCE,
)
# C.7.4.1 Frame of Reference, C.7.6.2 Image Plane
_PLANE = _kind(
    "image in space",
    "FrameOfReferenceUID PixelSpacing ImageOrientationPatient ImagePositionPatient",
    "PositionReferenceIndicator SliceThickness",
    base=_IMAGE,
)
_CT = _kind("CT image", "ImageType RescaleIntercept RescaleSlope", "KVP", base=_PLANE, modality="CT")
_MR = _kind(
    "MR image",
    "ImageType ScanningSequence SequenceVariant",
    "ScanOptions MRAcquisitionType EchoTime EchoTrainLength",
    base=_PLANE,
    modality="MR",
)
_CR = _kind("CR image", "", "BodyPartExamined ViewPosition", base=_IMAGE, modality="CR")
_DX = _kind(
    "DX image",
    "PresentationIntentType ImageType PixelIntensityRelationship PixelIntensityRelationshipSign RescaleIntercept"
    " RescaleSlope BurnedInAnnotation ImageLaterality ImagerPixelSpacing",
    "DetectorType",
    base=_IMAGE,
)
_US = _kind("US image", "", "ImageType", base=_IMAGE)
_SC = _kind("secondary capture", "ConversionType", base=_IMAGE)
# C.17 of PS3.3
_SR = _kind(
    "structured report",
    "SeriesNumber InstanceNumber CompletionFlag VerificationFlag ContentDate ContentTime ValueType"
    " ConceptNameCodeSequence ContinuityOfContent",
    "Manufacturer ReferencedPerformedProcedureStepSequence PerformedProcedureCodeSequence",
    base=_INSTANCE,
    modality="SR",
    ConceptNameCodeSequence="CodeMeaning;",
)
_PDF = _kind(
    "encapsulated document",
    "InstanceNumber BurnedInAnnotation MIMETypeOfEncapsulatedDocument",
    "ContentDate ContentTime AcquisitionDateTime DocumentTitle ConceptNameCodeSequence",
    base=_INSTANCE,
)
# PS3.4 annex K, table K.6-1: what an answer returns
_WORKLIST = _kind(
    "worklist item",
    "PatientName PatientID StudyInstanceUID RequestedProcedureID ScheduledProcedureStepSequence",
    "PatientBirthDate PatientSex AccessionNumber ReferringPhysicianName",
    ScheduledProcedureStepSequence="Modality ScheduledStationAETitle ScheduledProcedureStepStartDate"
    " ScheduledProcedureStepStartTime ScheduledProcedureStepID;ScheduledPerformingPhysicianName",
)
# PS3.4 annex F, table F.7.2-1: N-CREATE; and what a final N-SET must have
_MPPS = _kind(
    "performed procedure step",
    "ScheduledStepAttributesSequence PerformedProcedureStepID PerformedStationAETitle PerformedProcedureStepStartDate"
    " PerformedProcedureStepStartTime PerformedProcedureStepStatus Modality",
    "PatientName PatientID PatientBirthDate PatientSex PerformedProcedureStepEndDate PerformedProcedureStepEndTime"
    " PerformedSeriesSequence",
    ScheduledStepAttributesSequence="StudyInstanceUID;AccessionNumber RequestedProcedureID ScheduledProcedureStepID",
)
_MPPS_END = _kind(
    "end of a performed procedure step",
    "PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedSeriesSequence",
    PerformedSeriesSequence="SeriesInstanceUID ProtocolName;RetrieveAETitle SeriesDescription OperatorsName",
)
# What an N-SET in between must have: table F.7.2-1 leaves it to the modality.
_MPPS_CHANGE = _kind("change of a performed procedure step", "")
_MPPS_CLASS = "1.2.840.10008.3.1.2.3.3"
# PS3.4 annex R, table R.3.2-1
_AVAILABLE = _kind(
    "instance availability",
    "StudyInstanceUID ReferencedSeriesSequence",
    ReferencedSeriesSequence="SeriesInstanceUID ReferencedSOPSequence;",
)
_AVAILABLE_CLASS = "1.2.840.10008.5.1.4.33"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
#: By SOP class, behind the root of the storage classes.
_CLASSES = {
    "1": _CR,
    "1.1": _DX,
    "1.1.1": _DX,
    "2": _CT,
    "4": _MR,
    "6.1": _US,
    "3.1": _US,
    "7": _SC,
    **dict.fromkeys(("88.11", "88.22", "88.33", "88.34"), _SR),
    "104.1": _PDF,
}
#: Every kind there is; the first is for instances of any other class.
KINDS = (_INSTANCE, *dict.fromkeys(_CLASSES.values()), _WORKLIST, _MPPS, _MPPS_CHANGE, _MPPS_END, _AVAILABLE)


def kind_of(tree: Any) -> Kind | None:
    """The kind of a data set by what is in it; None when nothing tells."""
    sop = tree.get("SOPClassUID")
    if sop == _AVAILABLE_CLASS:
        return _AVAILABLE
    if isinstance(sop, str) and sop != _MPPS_CLASS:  # files of messages name the class of what they carry
        return _CLASSES.get(sop.removeprefix(_STORAGE), _INSTANCE) if sop.startswith(_STORAGE) else None
    if tree.get("ScheduledProcedureStepSequence") is not None:
        return _WORKLIST
    status = tree.get("PerformedProcedureStepStatus")
    if status is not None:
        if tree.get("ScheduledStepAttributesSequence") is not None or tree.get("PerformedProcedureStepID") is not None:
            return _MPPS
        return _MPPS_END if status in ("COMPLETED", "DISCONTINUED") else _MPPS_CHANGE if sop is not None else None
    if sop is not None:
        return _MPPS_CHANGE
    return _INSTANCE if tree.get("SeriesInstanceUID") is not None else None
