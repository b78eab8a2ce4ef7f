"""Who signed in, or tried to, when and from where; and how often somebody failed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from hub.crypto import sm3_hex
from hub.people.book import Book
from hub.people.config import LoginConfig, networks

__all__ = ["LoginLog", "unknown"]

_MONTH_S = 2_629_746
#: Addresses and regions of successful logins count as usual for so long.
_USUAL_S = 90 * 86400
_MOST = 1000
#: Of attempts that are turned away unlooked at, one of an account from an address is kept in so long, seconds.
_REPEATED_S = 600


class LoginLog:
    """Blocks; in the thread of the book."""

    def __init__(self, book: Book, config: LoginConfig) -> None:
        self._book = book
        self._config = config
        self._regions = {name: networks(texts) for name, texts in config.regions.items()}

    def region(self, address: str) -> str:
        """A configured name, or the first 16 (IPv6: 32) bits of the address."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return ""
        for name, nets in self._regions.items():
            if any(found in net for net in nets):
                return name
        return str(ipaddress.ip_network(f"{address}/{16 if found.version == 4 else 32}", strict=False))

    def add(self, user: str, method: str, outcome: str, address: str, agent: str) -> None:
        """``user`` is a name there is, or :func:`unknown`: what is typed into a name field may be a password."""
        now = self._book.now()
        with self._book.write() as db:
            if outcome == "locked":  # whoever goes on trying fills no disk
                sql = "SELECT 1 FROM login WHERE address = ? AND at > ? AND outcome = 'locked' AND person = ?"
                if db.execute(sql, (address, now - _REPEATED_S, user)).fetchone() is not None:
                    return
            db.execute(
                "INSERT INTO login (at, person, method, outcome, address, region, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now, user, method, outcome, address, self.region(address), agent[:200]),
            )
            db.execute("DELETE FROM login WHERE at < ?", (now - self._config.keep_months * _MONTH_S,))

    def search(self, words: Mapping[str, str], since: int, until: int, before: int, limit: int) -> list[dict[str, Any]]:
        """By ``user``, ``address``, ``outcome`` and time, newest first (004:10299)."""
        where, values = ["id < ?", "at >= ?", "at < ?"], [before or 1 << 62, since, until or 1 << 62]
        for column, name in (("person", "user"), ("address", "address"), ("outcome", "outcome")):
            if words.get(name):
                where.append(f"{column} = ?")
                values.append(words[name])  # type: ignore[arg-type]
        columns = ("id", "at", "person", "method", "outcome", "address", "region", "agent")
        sql = f"SELECT {', '.join(columns)} FROM login WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608
        names = ("id", "at", "user", *columns[3:])
        rows = self._book.database.db.execute(sql, (*values, max(1, min(limit, _MOST))))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def is_usual(self, user: str, address: str) -> bool:
        """Did the user sign in from this very address of late?"""
        sql = "SELECT 1 FROM login WHERE person = ? AND at > ? AND address = ? AND outcome = 'ok'"
        found = self._book.database.db.execute(sql, (user, self._book.now() - _USUAL_S, address)).fetchone()
        return found is not None

    def from_elsewhere(self, user: str, address: str) -> bool:
        """Is the region none of those the user signed in from of late? The first login of all is from nowhere else."""
        sql = "SELECT DISTINCT region FROM login WHERE person = ? AND at > ? AND outcome = 'ok'"
        usual = {row[0] for row in self._book.database.db.execute(sql, (user, self._book.now() - _USUAL_S))}
        return bool(usual) and self.region(address) not in usual

    # -- failures ------------------------------------------------------------------------------------------------

    def whats(self, user: str, address: str) -> list[tuple[str, int]]:
        """What a failure counts for, with how many are allowed.

        An account is locked for addresses it is used from apart from all others: strangers can't lock out whoever signs in from their usual place.
        """
        where = address if self.is_usual(user, address) else "elsewhere"
        return [
            (f"user:{sm3_hex(user.encode('utf-8', 'surrogatepass'))[:32]}:{where}", self._config.tries),
            (f"address:{_counted(address)}", self._config.address_tries),
        ]

    def attempt(self, user: str, address: str) -> int:
        """Count an attempt as failed before it is made, so that many at once get no more tries. Returns seconds to wait; 0: go on."""
        now = self._book.now()
        lock = int(self._config.lock)
        with self._book.write() as db:
            db.execute("DELETE FROM failure WHERE last_at < ? AND locked_until < ?", (now - lock, now))
            counted = self.whats(user, address)
            rows = {}
            for what, _ in counted:
                row = db.execute("SELECT count, last_at, locked_until FROM failure WHERE what = ?", (what,)).fetchone()
                if row is not None and row[2] > now:
                    return int(row[2] - now)
                rows[what] = row[0] if row is not None and not row[2] else 0
            for what, allowed in counted:
                count = rows[what] + 1
                until = now + lock if count >= allowed else 0
                db.execute("INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?)", (what, count, now, until))
        return 0

    def succeeded(self, user: str, address: str, *, whole: bool) -> None:
        """Take an attempt back; after a ``whole`` login all failures of the account here are over and done with."""
        (own, _), (general, _) = self.whats(user, address)
        back = "UPDATE failure SET count = max(count - 1, 0), locked_until = 0 WHERE what = ?"
        with self._book.write() as db:
            db.execute("DELETE FROM failure WHERE what = ?" if whole else back, (own,))
            db.execute(back, (general,))

    def unlock(self, actor: str, user: str) -> int:
        """Forget the failures of a user, wherever; returns how many there were."""
        prefix = f"user:{sm3_hex(user.encode())[:32]}:"
        with self._book.change(actor, "user.unlock", user) as db:
            self._book.get(user)
            rows = list(db.execute("SELECT count FROM failure WHERE substr(what, 1, ?) = ?", (len(prefix), prefix)))
            db.execute("DELETE FROM failure WHERE substr(what, 1, ?) = ?", (len(prefix), prefix))
        return sum(row[0] for row in rows)


def _counted(address: str) -> str:
    """What counts as one address: of IPv6 whoever has one has 64 bits of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network(f"{address}/64", strict=False))


def unknown(user: str) -> str:
    """Stands for a name that is nobody's."""
    return "?" + sm3_hex(user.encode("utf-8", "surrogatepass"))[:16]
