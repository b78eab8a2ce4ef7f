"""From what a call shows to the credential it proves. Whatever is wrong, the answer is the same, and takes the same steps."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass

from hub.callers.content import Content
from hub.callers.model import Credential
from hub.callers.sealing import Secrets
from hub.callers.shown import LONGEST, basic_pair, certificate_names, halves, scheme_of
from hub.callers.tokens import OWN_KEY, HubTokens, JwtCheck, Verified, unverified
from hub.errors import HubError
from hub.logs import get_logger

__all__ = ["Authenticator", "Shown"]

log = get_logger(__name__)

_MOST_REMEMBERED = 20_000
#: Credentials of one issuer that are tried for a JWT that names none.
_MOST_TRIED = 8
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a call shows; what it does not show is empty."""

    authorization: str = ""  # the header as it came
    api_key: str = ""
    certificate: bytes = b""  # DER, verified by TLS

    def __bool__(self) -> bool:
        return bool(self.authorization or self.api_key or self.certificate)


class Authenticator:
    """Of one process. Results are remembered until the registry changes; what is remembered under is a hash, not the secret."""

    def __init__(self, secrets: Secrets, tokens: HubTokens, audience: str) -> None:
        self.tokens = tokens
        self._secrets = secrets
        self._audience = audience
        self._content = Content()
        self._known: dict[bytes, tuple[Credential, float]] = {}
        self._issuers: dict[str, list[Credential]] = {}
        self._checks: dict[str, JwtCheck | None] = {}
        self._key = hashlib.blake2b(secrets.jwt_key, digest_size=32).digest()

    def use(self, content: Content) -> None:
        self._content = content
        self._known.clear()
        self._checks.clear()
        self._issuers = {}
        for credential in content.credentials.values():
            if credential.kind == "jwt":
                issuer = credential.facts.get("iss") or credential.caller
                self._issuers.setdefault(issuer, []).append(credential)

    def credential(
        self, shown: Shown, accept: Collection[str], now: float, first: Callable[[str, str, float], bool]
    ) -> Credential | None:
        """The credential that was proved, of a kind in ``accept``; None for none. ``first``: see :meth:`hub.callers.traffic.Traffic.first`."""
        if shown.api_key and "api_key" in accept:
            return self._remembered(b"k", shown.api_key, accept, now, first)
        if shown.authorization:
            return self._remembered(b"a", shown.authorization, accept, now, first)
        if shown.certificate and "mtls" in accept:
            return self._of_certificate(shown.certificate)
        return None

    def _remembered(
        self, kind: bytes, text: str, accept: Collection[str], now: float, first: Callable[[str, str, float], bool]
    ) -> Credential | None:
        if len(text) > LONGEST:
            return None
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16, person=kind
        ).digest()
        found = self._known.get(digest)
        if found is not None:
            credential, until = found
            return credential if now < until and credential.kind in accept else None
        made = self._api_key(text) if kind == b"k" else self._authorized(text, accept, now)
        if made is None:
            return None
        proved = self._content.credentials.get(made.credential)
        if proved is None or proved.kind not in accept:
            return None
        if made.once:
            return proved if first(proved.id, made.once, made.until) else None
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[digest] = proved, made.until
        return proved

    def _api_key(self, text: str) -> Verified | None:
        return self._secret("api_key", *halves(text))

    def _authorized(self, header: str, accept: Collection[str], now: float) -> Verified | None:
        scheme, text = scheme_of(header)
        if scheme == "basic" and "basic" in accept:
            return self._secret("basic", *basic_pair(text))
        if scheme != "bearer":
            return None
        dots = text.count(".")
        if dots == 1 and "bearer" in accept:
            return self._secret("bearer", *halves(text))
        if dots == 2:
            return self._jwt(text, accept, now)
        if not dots and "oauth2" in accept:
            return self._own(text, now)
        return None

    def _secret(self, kind: str, credential: str, secret: str) -> Verified | None:
        """The same steps for an id that is not known as for a wrong secret."""
        known = self._content.credentials.get(credential)
        right = known is not None and known.kind == kind
        expected = known.hash if known is not None and right else b"\0" * 32
        same = hmac.compare_digest(self._secrets.hash(credential, secret), expected)
        return Verified(credential, _FOREVER) if same and right else None

    def secret(self, kind: str, credential: str, secret: str) -> Credential | None:
        """A client that shows id and secret, at the token endpoint."""
        found = self._secret(kind, credential, secret) if len(credential) + len(secret) <= LONGEST else None
        return self._content.credentials.get(found.credential) if found is not None else None

    def _own(self, text: str, now: float) -> Verified | None:
        found = self.tokens.verify(text, now)
        known = self._content.credentials.get(found.credential) if found is not None else None
        return found if known is not None and known.kind == "oauth2" else None

    def _jwt(self, text: str, accept: Collection[str], now: float) -> Verified | None:
        kid, issuer = unverified(text)
        if kid == OWN_KEY:
            return self._own(text, now) if "oauth2" in accept else None
        if "jwt" not in accept:
            return None
        named = self._content.credentials.get(kid)
        tried = [named] if named is not None and named.kind == "jwt" else self._issuers.get(issuer, [])[:_MOST_TRIED]
        for credential in tried:
            check = self._check(credential)
            found = check.verify(text, now) if check is not None else None
            if found is not None:
                return found
        return None

    def _check(self, credential: Credential) -> JwtCheck | None:
        if credential.id not in self._checks:
            try:
                made: JwtCheck | None = JwtCheck(credential, self.unsealed(credential), self._audience)
            except HubError as error:  # the key store is not to be had, or the key was damaged
                log.error("credential %s of %s can't be used: %s", credential.id, credential.caller, error)
                return None
            self._checks[credential.id] = made
        return self._checks[credential.id]

    def unsealed(self, credential: Credential) -> str:
        """The secret the hub itself needs; "" where there is none. Raises :class:`HubError` when it can't be had."""
        return self._secrets.open(credential.sealed, sealed_for(credential)) if credential.sealed else ""

    def _of_certificate(self, der: bytes) -> Credential | None:
        digest = hashlib.blake2b(der, digest_size=16, person=b"c").digest()
        found = self._known.get(digest)
        if found is not None:
            return found[0]
        certificates = self._content.certificates
        proved = next((certificates[name] for name in certificate_names(der) if name in certificates), None)
        if proved is not None:
            self._known[digest] = proved, _FOREVER
        return proved


def sealed_for(credential: Credential) -> str:
    """What a sealed secret is bound to: it can't be moved to another credential."""
    return f"credential:{credential.caller}:{credential.id}:{credential.kind}"
