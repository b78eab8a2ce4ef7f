"""What a database's error means for a delivery: try again, never, or not there.

Never in a text: what the database says about data ("Key (id)=(123) already exists"). Texts here name the class, the code and,
where the driver tells them apart, constraint, table and column.

Codes: PostgreSQL, appendix A (SQLSTATE); MySQL and MariaDB server error reference; SQLite result codes; Oracle ORA- numbers;
SQL Server's SQLSTATE and native numbers.
"""

from __future__ import annotations

import re
import sqlite3
from enum import Enum
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from adapters.sql.products import Product
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Kind", "classify", "send_error"]


class Kind(Enum):
    """Classes of errors; the value is the code the call log shows."""

    CREDENTIALS = "sql.credentials"
    LOST = "sql.lost"
    DEADLOCK = "sql.deadlock"
    TIMEOUT = "sql.timeout"
    BUSY = "sql.busy"
    DUPLICATE = "sql.duplicate"
    CONSTRAINT = "sql.constraint"
    DATA = "sql.data"
    STATEMENT = "sql.statement"
    RAISED = "sql.raised"
    UNKNOWN = "sql.failed"


_TEXTS = {
    Kind.CREDENTIALS: ("user or password is refused", "用户名或密码被拒绝"),
    Kind.LOST: ("the connection broke", "连接中断"),
    Kind.DEADLOCK: (
        "the transaction was undone because of another one (deadlock)",
        "事务因与其他事务冲突（死锁）而回滚",
    ),
    Kind.TIMEOUT: ("a lock or the statement took too long", "等待锁或执行语句超时"),
    Kind.BUSY: ("the database can't take it now", "数据库暂时无法处理"),
    Kind.DUPLICATE: ("a row with this key exists already", "已存在相同键值的记录"),
    Kind.CONSTRAINT: ("a constraint forbids it", "违反约束"),
    Kind.DATA: ("a value does not fit its column", "值与列的类型或长度不符"),
    Kind.STATEMENT: ("the statement is not accepted", "语句不被接受"),
    Kind.RAISED: ("a procedure or trigger refuses it", "存储过程或触发器拒绝"),
    Kind.UNKNOWN: ("the database reports an error", "数据库报错"),
}
_PERMANENT = frozenset((Kind.DUPLICATE, Kind.CONSTRAINT, Kind.DATA, Kind.STATEMENT, Kind.RAISED))
#: Classes whose texts, masked, tell about names and places, not about data; or were written for people to read.
_TELLING = frozenset((Kind.CREDENTIALS, Kind.STATEMENT, Kind.LOST, Kind.RAISED))
#: MySQL's syntax errors cite the statement, into which its driver has pasted the values.
_CITING = frozenset(("1064", "1149"))
_TLS = re.compile(r"certificate|\b(?:SSL|TLS)\b", re.IGNORECASE)

_BY_STATE = {  # SQLSTATE, longest prefix first
    "23505": Kind.DUPLICATE,
    "25006": Kind.BUSY,  # read-only: a standby after a switch
    "40": Kind.DEADLOCK,
    "55P03": Kind.TIMEOUT,
    "57014": Kind.TIMEOUT,
    "HYT": Kind.TIMEOUT,
    "57P": Kind.LOST,
    "08": Kind.LOST,
    "28": Kind.CREDENTIALS,
    "3D": Kind.CREDENTIALS,
    "53": Kind.BUSY,
    "23": Kind.CONSTRAINT,
    "22": Kind.DATA,
    "42": Kind.STATEMENT,
    "0A": Kind.STATEMENT,
    "P0001": Kind.RAISED,
}


def _numbers(**groups: tuple[int, ...]) -> dict[int, Kind]:
    return {number: Kind[name.upper()] for name, numbers in groups.items() for number in numbers}


_MYSQL = _numbers(
    credentials=(1044, 1045, 1049, 1130, 1698, 3118),
    lost=(1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2002, 2003, 2005, 2006, 2013, 2055, 4031),
    deadlock=(1213, 1020),
    timeout=(1205, 1317, 1969, 3024, 3572),
    busy=(1021, 1037, 1038, 1040, 1041, 1114, 1203, 1226, 1290, 1792, 1836, 3100),
    duplicate=(1022, 1062, 1169, 1586),
    constraint=(1048, 1216, 1217, 1364, 1451, 1452, 1557, 1761, 1762, 3819, 4025),
    data=(1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1690, 3140, 3156),
    raised=(1644,),
    statement=(1054, 1064, 1103, 1136, 1142, 1143, 1146, 1149, 1166, 1227, 1305, 1318, 1370, 1582),
)
_ORACLE = _numbers(
    credentials=(1005, 1017, 1045, 12505, 12514, 28000, 28001),
    lost=(
        28,
        1012,
        1033,
        1034,
        1089,
        1090,
        1092,
        2396,
        3113,
        3114,
        3135,
        12170,
        12528,
        12537,
        12541,
        12543,
        12547,
        12571,
    ),
    deadlock=(60, 8177),
    timeout=(51, 54, 1013, 3136, 30006),
    busy=(18, 20, 1653, 1654, 1688, 12516, 12519, 12520, 16000),
    duplicate=(1,),
    constraint=(1400, 1407, 2290, 2291, 2292),
    data=(1401, 1426, 1438, 1722, 1830, 1839, 1843, 1847, 1858, 1861, 12899),
    statement=(900, 903, 904, 905, 907, 911, 917, 923, 933, 936, 942, 947, 1008, 1031, 1036, 6550),
)
_SQLSERVER = _numbers(
    credentials=(4060, 18456, 18470, 18488),
    deadlock=(1205, 3960),
    timeout=(1222,),
    busy=(701, 1105, 9002, 3906, 10928, 10929, 40501, 40613),
    duplicate=(2601, 2627),
    constraint=(515, 547),
    data=(220, 241, 242, 245, 248, 2628, 8114, 8115, 8152),
    statement=(102, 156, 201, 207, 208, 229, 2812, 8144, 8145),
)
_SQLITE = (  # by name, longest prefix first
    ("SQLITE_CONSTRAINT_PRIMARYKEY", Kind.DUPLICATE),
    ("SQLITE_CONSTRAINT_UNIQUE", Kind.DUPLICATE),
    ("SQLITE_CONSTRAINT", Kind.CONSTRAINT),
    ("SQLITE_BUSY", Kind.TIMEOUT),
    ("SQLITE_LOCKED", Kind.TIMEOUT),
    ("SQLITE_INTERRUPT", Kind.TIMEOUT),
    ("SQLITE_CANTOPEN", Kind.LOST),
    ("SQLITE_FULL", Kind.BUSY),
    ("SQLITE_IOERR", Kind.BUSY),
    ("SQLITE_NOMEM", Kind.BUSY),
    ("SQLITE_READONLY", Kind.STATEMENT),
    ("SQLITE_NOTADB", Kind.STATEMENT),
    ("SQLITE_MISMATCH", Kind.DATA),
    ("SQLITE_TOOBIG", Kind.DATA),
    ("SQLITE_ERROR", Kind.STATEMENT),
)
#: Classes of the Python database interface (PEP 249), for what has no known code.
_BY_CLASS = {
    "IntegrityError": Kind.CONSTRAINT,
    "DataError": Kind.DATA,
    "ProgrammingError": Kind.STATEMENT,
    "NotSupportedError": Kind.STATEMENT,
    "InterfaceError": Kind.LOST,
    "OperationalError": Kind.LOST,
}
#: What PostgreSQL's server says when it refuses user, password or database, in its two languages here.
_REFUSED = re.compile(
    r"(?:FATAL|致命错误).*?(?:authentication|password|pg_hba|role|database \"|认证|验证|口令|密码|角色|数据库 \")",
    re.DOTALL,
)
_ORA = re.compile(r"\bORA-(\d{5})")
_NATIVE = re.compile(r"\((\d{2,6})\)")


def classify(error: BaseException, product: Product) -> tuple[Kind, str]:
    """Class and code of a driver's error, or of one of SQLAlchemy's around it."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code, kind = _known(origin, product)
    if kind is None:
        # Without a code of the server it comes from the driver: PostgreSQL's says so of a connection that broke.
        kind = next((found for base in type(origin).__mro__ if (found := _BY_CLASS.get(base.__name__))), Kind.UNKNOWN)
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            kind = Kind.LOST
        elif kind is Kind.UNKNOWN and isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
            kind = Kind.STATEMENT
    return kind, code


def _known(origin: BaseException, product: Product) -> tuple[str, Kind | None]:
    match product.family:
        case "postgresql":
            state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None) or ""
            if not state and _REFUSED.search(str(origin)):  # while connecting the driver tells no code
                return "", Kind.CREDENTIALS
            return state, _of_state(state)
        case "mysql":
            number = _first_number(origin)
            return str(number or ""), _MYSQL.get(number)
        case "sqlite":
            name = getattr(origin, "sqlite_errorname", None) or ""
            if isinstance(origin, sqlite3.ProgrammingError | sqlite3.InterfaceError):
                return name, Kind.STATEMENT
            if not name and isinstance(origin, sqlite3.OperationalError):
                return name, Kind.DATA  # text that is not Unicode, which the driver cites
            return name, next((kind for prefix, kind in _SQLITE if name.startswith(prefix)), None)
        case "oracle":
            found = _ORA.search(str(origin))
            number = int(found[1]) if found else abs(getattr(_first(origin), "code", 0) or 0)
            raised = Kind.RAISED if 20000 <= number <= 20999 else None
            return (f"ORA-{number:05d}" if found else str(number or "")), _ORACLE.get(number, raised)
        case "sqlserver":
            said = " ".join(str(part) for part in origin.args)
            numbers = [_first_number(origin), *(int(n) for n in _NATIVE.findall(said))]
            for number in numbers:
                if number in _SQLSERVER or number >= 50000:
                    return str(number), _SQLSERVER.get(number, Kind.RAISED)
            state = _first(origin)
            return (state, _of_state(state)) if isinstance(state, str) and len(state) == 5 else ("", None)


def _of_state(state: str) -> Kind | None:
    for length in (5, 3, 2):
        if len(state) == 5 and (kind := _BY_STATE.get(state[:length])):
            return kind
    return None


def _first(origin: BaseException) -> Any:
    return origin.args[0] if origin.args else None


def _first_number(origin: BaseException) -> int:
    first = _first(origin)
    return first if isinstance(first, int) else 0


def send_error(error: BaseException, product: Product, place: str, *, connecting: bool = False) -> SendError:
    """The hub's error for a database's. ``connecting``: nothing had been sent to the database yet."""
    kind, code = classify(error, product)
    texts = _TEXTS[kind]
    about = "" if code in _CITING else _about(error, kind)
    tail = f" [{code}]" if code else ""
    text = t(f"{place}: {texts[0]}{tail}{about}", f"{place}：{texts[1]}{tail}{about}")
    if connecting:
        if kind is Kind.LOST:
            return UnreachableError(text, code="sql.tls" if _TLS.search(about) else "sql.unreachable")
        return UnreachableError(text, code=kind.value)
    if kind in _PERMANENT:
        return PermanentError(text, code=kind.value)
    return TransientError(text, code=kind.value)


def _about(error: BaseException, kind: Kind) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    diagnosis = getattr(origin, "diag", None)
    names = [getattr(diagnosis, f"{what}_name", None) for what in ("table", "column", "constraint")]
    told = " ".join(name for name in names if isinstance(name, str))
    of_ours = isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError)
    if not told and (kind in _TELLING or of_ours):
        last = origin.args[-1] if origin.args else ""
        told = mask_text(" ".join(str(last).split())[:200])
    elif not told and kind is Kind.UNKNOWN:
        told = type(origin).__name__
    return f": {told}" if told else ""
