"""C-STORE received: an object becomes a message, and its study an index message once nothing more comes."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from pynetdicom.dimse_primitives import C_STORE

from adapters.dicom.objects import Incoming
from adapters.dicom.state import Instance, State
from hub.api import HubError, StoreBusy
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.codecs.dicom_write import write_new
from hub.i18n import t

__all__ = ["AVAILABILITY", "comment", "index_message", "instance_of", "message_of", "response_to", "status_of"]

#: Instance Availability Notification (PS3.4 annex R): what the index message of a study is.
AVAILABILITY = "1.2.840.10008.5.1.4.33"
_MISMATCH = "dicom.mismatch"


def message_of(incoming: Incoming) -> tuple[bytes, DicomTree]:
    """The message of an object, which is on the disk then if it is large. Raises :class:`HubError` and ``OSError``."""
    if incoming.problem is not None:
        raise incoming.problem
    raw = incoming.whole()
    if raw is None:
        raw = incoming.keep()
    tree = DicomTree(raw, read_file(raw), "")
    stated = (incoming.instance, incoming.sop_class)
    if stated != ("", "") and (tree.get("SOPInstanceUID"), tree.get("SOPClassUID")) != stated:
        raise HubError(
            t(
                "SOP class or instance of the data set are not those of the request",
                "数据集的 SOP 类或实例与请求不一致",
            ),
            code=_MISMATCH,
        )
    return raw, tree


def instance_of(tree: DicomTree) -> Instance:
    def text(key: str) -> str:
        value = tree.get(key)
        return value if isinstance(value, str) else ""

    return Instance(
        text("SOPInstanceUID"),
        text("SOPClassUID"),
        text("SeriesInstanceUID"),
        text("StudyInstanceUID"),
        text("Modality"),
    )


def index_message(state: State, study: str) -> tuple[bytes, str, int] | None:
    """(message, its number, how many objects it tells of); None where everything was told already.

    The same objects give the same message, so one that is told again after a crash is recognised.
    """
    patient, accession, told, instances = state.study(study)
    if len(instances) <= told:
        return None
    digest = hashlib.sha256("\n".join(one.uid for one in instances).encode()).digest()
    number = f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
    series: dict[str, list[Instance]] = {}
    for one in instances:
        series.setdefault(one.series, []).append(one)
    tree: dict[str, Any] = {
        "SOPClassUID": AVAILABILITY,
        "SOPInstanceUID": number,
        "ReferencedPerformedProcedureStepSequence": None,
        "StudyInstanceUID": study,
        "PatientID": patient or None,
        "AccessionNumber": accession or None,
        "ModalitiesInStudy": sorted({one.modality for one in instances if one.modality}) or None,
        "NumberOfStudyRelatedSeries": len(series),
        "NumberOfStudyRelatedInstances": len(instances),
        "ReferencedSeriesSequence": [
            {
                "SeriesInstanceUID": uid or None,
                "NumberOfSeriesRelatedInstances": len(members),
                "ReferencedSOPSequence": [
                    {
                        "ReferencedSOPClassUID": one.sop_class,
                        "ReferencedSOPInstanceUID": one.uid,
                        "InstanceAvailability": "ONLINE",
                    }
                    for one in members
                ],
            }
            for uid, members in series.items()
        ],
    }
    return write_new(tree), number, len(instances)


def status_of(error: BaseException) -> int:
    """What a refused C-STORE is answered with: later (A700), never for this object (A900, C000)."""
    if isinstance(error, StoreBusy | OSError | TimeoutError):
        return 0xA700
    return 0xA900 if isinstance(error, HubError) and error.code == _MISMATCH else 0xC000


def response_to(request: Any, status: int, said: str = "") -> Any:
    response: Any = C_STORE()
    response.MessageID = request.MessageID
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = request.AffectedSOPClassUID
    response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
    response.Status = status
    if status and said:
        response.ErrorComment = comment(said)
    return response


def comment(text: str) -> str:
    """(0000,0902) is LO in the default character set: 64 characters, ASCII, no backslash."""
    return "".join(char if " " <= char <= "~" and char != "\\" else "?" for char in text)[:64]
