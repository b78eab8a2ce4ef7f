"""What a simulated DICOM peer refuses, and what it must remember to know: objects it was sent, procedure steps it was told of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from adapters.dicom.call_commit import COMMITMENT_INSTANCE
from adapters.dicom.queries import PATIENT_FIND, STUDY_FIND
from hub.codecs.dicom_dictionary import parse_name
from hub.codecs.dicom_set import DataSet
from hub.i18n import t
from hub.simulator.side import Unfit

__all__ = ["STEP_OVER", "Archive", "Asked", "references"]

Instance = tuple[str, str]  # SOP class, SOP instance

#: Objects and steps that are remembered.
_MOST = 100_000
#: Word for a change of a step that has ended, which is told with an error id of its own (PS3.4, F.7.2.2.2).
STEP_OVER = "dicom.step_over"
#: Composite objects of a patient have a study and a series (PS3.3, A.1.2); others, such as hanging protocols, don't.
_OF_PATIENTS = "1.2.840.10008.5.1.4.1.1."
#: PS3.4, table F.7.2-1: of type 1 when a step is created, and when it ends.
_AT_START = (
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "ScheduledStepAttributesSequence",
)
_AT_END = ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", "PerformedSeriesSequence")
_STATUS = "PerformedProcedureStepStatus"
_FINAL = ("COMPLETED", "DISCONTINUED")
#: PS3.4, C.6: levels from the top, each with its unique key.
_LEVELS = {
    STUDY_FIND: (("STUDY", "StudyInstanceUID"), ("SERIES", "SeriesInstanceUID"), ("IMAGE", "SOPInstanceUID")),
    PATIENT_FIND: (
        ("PATIENT", "PatientID"),
        ("STUDY", "StudyInstanceUID"),
        ("SERIES", "SeriesInstanceUID"),
        ("IMAGE", "SOPInstanceUID"),
    ),
}
_STORE_COMMITMENT = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``content``: its data set in ``syntax``; ``instance``: the SOP instance it names; ``action``: of N-ACTION."""

    service: Literal["store", "mpps", "commitment", "find", "worklist"]
    operation: str
    sop_class: str
    instance: str
    syntax: str
    content: bytes
    calling: str
    called: str
    action: int = 0
    too_large: bool = False


class Archive:
    """The memory of one simulated peer. ``lenient``: each request is looked at by itself. Called in threads."""

    def __init__(self, *, lenient: bool) -> None:
        self._lenient = lenient
        self._lock = threading.Lock()
        self._objects: OrderedDict[str, str] = OrderedDict()  # SOP instance -> class
        self._steps: OrderedDict[str, tuple[str, frozenset[str]]] = OrderedDict()  # -> status, what of _AT_END is known

    def check(self, asked: Asked, tree: DataSet) -> None:
        """Raises :class:`Unfit` for what a peer would not take; its business code is the status (PS3.7 annex C). Raises ``CodecError``."""
        match asked.service:
            case "store":
                _check_object(asked, tree)
            case "mpps":
                self._check_step(asked, tree)
            case "commitment":
                _check_commitment(asked, tree)
            case "find":
                _check_query(asked, tree)

    def take(self, asked: Asked, tree: DataSet) -> None:
        """Remember a request that was taken."""
        with self._lock:
            if asked.service == "store":
                self._objects[asked.instance] = asked.sop_class
                _trim(self._objects)
            elif asked.service == "mpps":
                status, known = self._steps.get(asked.instance, ("", frozenset()))
                said = frozenset(name for name in _AT_END if tree.get(name))
                self._steps[asked.instance] = (str(tree.get(_STATUS) or status), known | said)
                _trim(self._steps)

    def kept(self, instances: Iterable[Instance]) -> tuple[list[Instance], list[Instance]]:
        """(those that were stored, the others)"""
        asked = list(instances)
        with self._lock:
            kept = [one for one in asked if self._lenient or self._objects.get(one[1]) == one[0]]
        return kept, [one for one in asked if one not in set(kept)]

    def _check_step(self, asked: Asked, tree: DataSet) -> None:
        if not asked.instance:
            raise _unfit("0117", t("the request names no SOP instance", "请求未指明 SOP 实例"))
        with self._lock:
            known = None if self._lenient else self._steps.get(asked.instance)
        status = tree.get(_STATUS)
        for name in _AT_END:
            tree.get(name)  # what can't be read is refused now, not remembered
        if asked.operation == "N-CREATE":
            if known is not None:
                raise _unfit("0111", t("the step was created before", "该步骤已创建"))
            _need(tree, (*_AT_START, _STATUS))
            if status != "IN PROGRESS":
                raise _unfit("0106", t("a step is created IN PROGRESS", "步骤创建时须为 IN PROGRESS"))
            planned = _items(tree, "ScheduledStepAttributesSequence")
            if not planned:
                raise _unfit("0106", t("the sequence of scheduled steps is none", "预约步骤序列无效"))
            for item in planned:
                _need(item, ("StudyInstanceUID",))
            return
        if status is not None and status not in ("IN PROGRESS", *_FINAL):
            raise _unfit("0106", t(f"{_STATUS} has another value", f"{_STATUS} 取值不符"))
        if self._lenient:
            return
        if known is None:
            raise _unfit("0112", t("the step was never created", "该步骤未曾创建"))
        if known[0] in _FINAL:
            raise _unfit("0110", t(f"the step is {known[0]}", f"步骤已为 {known[0]}"), STEP_OVER)
        if status in _FINAL:
            _need(tree, [name for name in _AT_END if name not in known[1]])


def references(tree: DataSet) -> Iterator[Instance]:
    """What a request for storage commitment names."""
    for item in _items(tree, "ReferencedSOPSequence"):
        yield str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")


def _check_object(asked: Asked, tree: DataSet) -> None:
    if not asked.instance:
        raise _unfit("0117", t("the request names no SOP instance", "请求未指明 SOP 实例"))
    needed = ["SOPClassUID", "SOPInstanceUID"]
    if asked.sop_class.startswith(_OF_PATIENTS):
        needed += ["StudyInstanceUID", "SeriesInstanceUID"]
    missing = [name for name in needed if not tree.get(name)]
    if missing:
        raise _unfit("A900", t(f"the object has no {missing[0]}", f"对象缺少 {missing[0]}"))
    if (tree.get("SOPClassUID"), tree.get("SOPInstanceUID")) != (asked.sop_class, asked.instance):
        raise _unfit("A900", t("the data set is another object than the request says", "数据集与请求所指的对象不一致"))


def _check_commitment(asked: Asked, tree: DataSet) -> None:
    if asked.action != _STORE_COMMITMENT:
        raise _unfit("0123", t("there is no such action", "没有该操作"))
    if asked.instance != COMMITMENT_INSTANCE:
        raise _unfit("0112", t("commitment is asked of another SOP instance", "存储确认请求指向其他 SOP 实例"))
    named = list(references(tree))
    if not tree.get("TransactionUID") or not named or not all(sop_class and uid for sop_class, uid in named):
        raise _unfit("0115", t("transaction or instances are missing", "缺少事务或实例"))


def _check_query(asked: Asked, tree: DataSet) -> None:
    level = tree.get("QueryRetrieveLevel")
    levels = _LEVELS[asked.sop_class]
    if level not in [name for name, _ in levels]:
        raise _unfit(
            "A900", t("QueryRetrieveLevel is missing or none of this model", "QueryRetrieveLevel 缺失或不属于该模型")
        )
    for name, key in levels:
        if name == level:
            return
        value = tree.get(key)
        if not isinstance(value, str) or not value or "*" in value or "?" in value:
            raise _unfit("A900", t(f"a query at {level} needs {key}", f"{level} 级查询须给出 {key}"))


def _items(tree: DataSet, name: str) -> list[DataSet]:
    """Of a sequence; none of what only says that it is one."""
    found = tree.get(name)
    return [one for one in found if isinstance(one, DataSet)] if isinstance(found, list) else []


def _need(tree: DataSet, names: Iterable[str]) -> None:
    for name in names:
        known = parse_name(name)
        if known is None or known.tag not in tree.places:
            raise _unfit("0120", t(f"{name} is missing", f"缺少 {name}"))
        if not tree.get(name):
            raise _unfit("0121", t(f"{name} has no value", f"{name} 没有值"))


def _unfit(status: str, text: str, code: str = "dicom.unfit") -> Unfit:
    return Unfit(code, text, 5, status)


def _trim(known: OrderedDict[str, Any]) -> None:
    while len(known) > _MOST:
        known.popitem(last=False)
