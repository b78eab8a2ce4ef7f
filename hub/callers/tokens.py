"""Bearer tokens: JWTs of callers (RFC 7519, checked as RFC 8725 advises), and the access tokens the hub issues (RFC 6749, RFC 9068).

Which algorithm counts is part of the credential, never of the token: a token with another one, or with none, is no token.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from hub.callers.model import Credential
from hub.callers.sealing import Secrets, new_secret
from hub.callers.shown import LONGEST
from hub.errors import HubError
from hub.i18n import t

__all__ = ["ALGORITHMS", "OWN_KEY", "HubTokens", "JwtCheck", "Verified", "check_public"]

#: What a credential may be pinned to: HS256 takes the hub's sealed secret, the others a registered public key or JWK set.
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "HS256")
#: ``kid`` of the tokens the hub issues itself.
OWN_KEY = "hub"
LEEWAY_S = 30
#: Longest life of a caller's JWT unless its credential says otherwise, seconds.
LONGEST_S = 3600
_OPAQUE = "tqt_"
_MOST_KEYS = 20


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that is what it says: of which credential, how long, and under which id if it counts only once."""

    credential: str
    until: float
    once: str = ""


class JwtCheck:
    """The JWTs of one credential; raises :class:`HubError` when its key can't be used."""

    def __init__(self, credential: Credential, secret: str, audience: str) -> None:
        facts = credential.facts
        self._credential = credential.id
        self._algorithm = facts["alg"]
        self._issuer = facts.get("iss") or credential.caller
        self._audience = facts.get("aud") or audience
        self._once = bool(facts.get("once"))
        self._longest = int(facts.get("longest", LONGEST_S))
        self._keys = (
            {"": secret.encode()} if self._algorithm == "HS256" else _public_keys(credential.public, self._algorithm)
        )

    def verify(self, token: str, now: float) -> Verified | None:
        """None for any token that is not a valid one of this credential."""
        try:
            header = jwt.get_unverified_header(token)
            if "crit" in header:  # RFC 7515, 4.1.11: none is understood
                return None
            key = self._keys.get("") or self._keys.get(str(header.get("kid", "")))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "jti"] if self._once else ["exp"]},
            )
            until, issued = float(claims["exp"]), float(claims.get("iat", now))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        if until - issued > self._longest + LEEWAY_S or until - now > self._longest + LEEWAY_S:
            return None
        once = str(claims["jti"])[:256] if self._once else ""
        if self._once and not once:
            return None
        return Verified(self._credential, until + LEEWAY_S, once)


class HubTokens:
    """Access tokens that this hub issues and takes, in whichever of its processes."""

    def __init__(self, secrets: Secrets, issuer: str, clock: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._issuer = issuer
        self._clock = clock

    def issue(self, credential: Credential, until: int, form: str) -> str:
        """``form``: opaque, or jwt for clients that read when it expires."""
        now = int(self._clock())
        if form == "opaque":
            content = orjson.dumps({"c": credential.id, "e": until})
            return _OPAQUE + base64.urlsafe_b64encode(self._secrets.seal_token(content)).rstrip(b"=").decode()
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": credential.caller,
            "client_id": credential.id,
            "iat": now,
            "exp": until,
            "jti": new_secret()[:16],
        }
        return jwt.encode(claims, self._secrets.jwt_key, "HS256", headers={"kid": OWN_KEY, "typ": "at+jwt"})

    def verify(self, token: str, now: float) -> Verified | None:
        """None for anything but a valid token of this hub."""
        if token.startswith(_OPAQUE):
            found = self._opened(token.removeprefix(_OPAQUE))
        else:
            found = self._decoded(token)
        return found if found is not None and now < found.until else None

    def _opened(self, text: str) -> Verified | None:
        try:
            content = self._secrets.open_token(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            return None
        if content is None:
            return None
        facts = orjson.loads(content)
        return Verified(facts["c"], facts["e"])

    def _decoded(self, token: str) -> Verified | None:
        try:
            claims = jwt.decode(
                token,
                self._secrets.jwt_key,
                algorithms=["HS256"],
                audience=self._issuer,
                issuer=self._issuer,
                options={"require": ["exp", "iss", "aud", "client_id"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return Verified(str(claims["client_id"]), float(claims["exp"]))


def unverified(token: str) -> tuple[str, str]:
    """``kid`` and ``iss`` as a token says them, to find the credential it has to prove; both empty where it is no JWT."""
    if len(token) > LONGEST:
        return "", ""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return "", ""
    return str(header.get("kid", "")), str(claims.get("iss", ""))


def check_public(public: str, algorithm: str) -> None:
    """Raises :class:`HubError` unless it is a public key, certificate or JWK set for this algorithm."""
    _public_keys(public, algorithm)


def _public_keys(public: str, algorithm: str) -> dict[str, Any]:
    """``kid`` -> key; of a single key the kid is empty."""
    try:
        if public.lstrip().startswith("{"):
            found = json.loads(public)
            entries = found.get("keys", [found])
            if len(entries) > _MOST_KEYS or any("d" in entry or entry.get("kty") == "oct" for entry in entries):
                raise ValueError("private or symmetric keys")
            usable = [
                jwt.PyJWK(entry, algorithm)
                for entry in entries
                if entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm
            ]
            keys: dict[str, Any] = {key.key_id or "": key.key for key in usable}
            if len(keys) != len(usable) or not keys:
                raise ValueError("no kid")
            return {"": next(iter(keys.values()))} if len(keys) == 1 else keys
        if "PRIVATE" in public:
            raise ValueError("a private key")
        return {"": jwt.get_algorithm_by_name(algorithm).prepare_key(_of_certificate(public))}
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HubError(
            t(f"this is no public key for {algorithm}", f"不是 {algorithm} 的公钥"),
            code="callers.key",
            remedy=t(
                "give a PEM public key or certificate, or a JWK set with public keys only",
                "请提供 PEM 格式的公钥或证书，或只含公钥的 JWK 集合",
            ),
        ) from error


def _of_certificate(text: str) -> str:
    if "BEGIN CERTIFICATE" not in text:
        return text
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = x509.load_pem_x509_certificate(text.encode()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
