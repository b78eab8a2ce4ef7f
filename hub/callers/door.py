"""Deciding about calls of one interface: who is it, may it call this, from there, now."""

from __future__ import annotations

from collections.abc import Collection

from hub.callers import errors
from hub.callers.addresses import origin
from hub.callers.authenticate import Shown
from hub.callers.content import Known
from hub.callers.model import Credential
from hub.callers.registry import Callers
from hub.errors import HubError
from hub.logs import get_logger

__all__ = ["Callers", "Door"]

log = get_logger(__name__)


class Door:
    """One interface that asks who calls. ``accept``: kinds of credentials it takes."""

    def __init__(self, callers: Callers, place: str, accept: Collection[str]) -> None:
        self.callers = callers
        self.place = place
        self._accept = frozenset(accept)

    def admit(self, *, authorization: str = "", api_key: str = "", certificate: bytes = b"", remote: str) -> str:
        """The id of the caller that may make this call; counted. Raises :class:`hub.callers.errors.CallerRefused`.

        ``authorization``: the header as it came; ``certificate``: that of the client in DER, verified by TLS.
        """
        callers = self.callers
        shown = Shown(authorization, api_key, certificate)
        with callers.lock:
            now = self._arrived(remote)
            credential = callers.who.credential(shown, self._accept, now, callers.traffic.first)
            if credential is None:
                raise self.not_proved(remote, missing=not shown)
            return self.let_in(credential, remote, now)

    def admit_peer(self, remote: str) -> str:
        """The same for a transport without headers: the caller is the one whose own allow list has the address."""
        callers = self.callers
        with callers.lock:
            now = self._arrived(remote)
            known = callers.peer(remote)
            if known is None:
                raise self.not_proved(remote)
            return self._let_in(known, remote, now)

    def look_up(self, credential: str, kinds: Collection[str], remote: str) -> Credential | None:
        """The credential of a call that is yet to be verified by whoever asks; then :meth:`let_in` or :meth:`not_proved`."""
        with self.callers.lock:
            self._arrived(remote)
        found = self.callers.content.credentials.get(credential)
        return found if found is not None and found.kind in kinds else None

    def key_of(self, credential: Credential) -> str:
        """The secret both sides know, or the caller's public key. Raises :class:`hub.callers.errors.CallerRefused` when it can't be had."""
        try:
            return credential.public or self.callers.who.unsealed(credential)
        except HubError as error:
            log.error("credential %s of %s can't be used: %s", credential.id, credential.caller, error)
            raise errors.not_available() from error

    def token(self, client: str, secret: str, remote: str) -> Credential | None:
        """The OAuth2 client that shows id and secret at the token endpoint; None where they are wrong."""
        callers = self.callers
        now = self._arrived(remote)
        found = callers.who.secret("oauth2", client, secret)
        known = callers.known(found) if found is not None else None
        if found is None or known is None:
            self.not_proved(remote)
            return None
        callers.check_restriction("caller", known.caller.id, now)
        callers.check_caller_address(known, remote, now)
        return found

    def _arrived(self, remote: str) -> float:
        callers = self.callers
        callers.refresh()
        now = callers.clock()
        try:
            callers.check_restriction("address", origin(remote), now)
            callers.check_address(remote, now)
        except errors.CallerRefused:
            callers.counted("", self.place, False, now)
            raise
        return now

    def not_proved(self, remote: str, *, missing: bool = False) -> errors.CallerRefused:
        """Whatever was wrong, to be raised; counted against the address."""
        error = errors.no_credentials() if missing else errors.wrong_credentials()
        with self.callers.lock:
            self.callers.counted("", self.place, False, self.callers.clock())
            self.callers.offended("address", origin(remote), error.code)
        return error

    def let_in(self, credential: Credential, remote: str, now: float = 0.0) -> str:
        """The second half of :meth:`admit`, for a credential that was proved."""
        with self.callers.lock:
            known = self.callers.known(credential)
            if known is None:
                raise self.not_proved(remote)
            return self._let_in(known, remote, now or self.callers.clock())

    def _let_in(self, known: Known, remote: str, now: float) -> str:
        callers, caller = self.callers, known.caller.id
        try:
            callers.check_restriction("caller", caller, now)
            callers.check_caller_address(known, remote, now)
            if not known.places.fullmatch(self.place):
                raise errors.place_refused()
            callers.check_limits(known, now)
        except errors.CallerRefused as error:
            callers.counted(caller, self.place, False, now)
            if error.code not in ("caller.restricted", "caller.unavailable"):
                callers.offended("caller", caller, error.code)
            raise
        callers.counted(caller, self.place, True, now)
        return caller
