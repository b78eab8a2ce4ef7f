"""OpenID Connect Core 1.0, the authorization code flow, with PKCE (RFC 7636); the configuration by Discovery 1.0, the keys as JWK set (RFC 7517)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt

from hub.i18n import t
from hub.people.ask_portal import ask_json, not_believed
from hub.people.config import OidcConfig
from hub.secrets import resolve

__all__ = ["OidcFlow"]

#: Public-key algorithms only: with a shared secret, or none, anybody who has it could have signed.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY_S = 60


class OidcFlow:
    """One login; see :class:`hub.people.portal.Flow`."""

    def __init__(self, config: OidcConfig, base: Path = Path()) -> None:
        self._config = config
        self._base = base

    async def _discovered(self) -> dict[str, Any]:
        issuer = self._config.issuer.rstrip("/")
        found = await ask_json(f"{issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != issuer:
            raise not_believed(t("it names another issuer", "签发方不符"))
        for key in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(key), str):
                raise not_believed(key)
        return found

    async def location(self, back: str, state: str) -> tuple[str, dict[str, str]]:
        found = await self._discovered()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": back,
            "scope": self._config.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = found["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", {"verifier": verifier, "nonce": nonce}

    async def claims(self, back: str, kept: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        code = query.get("code", "")
        if not code or "error" in query:
            raise not_believed(t("it refused the login", "门户拒绝登录"))
        found = await self._discovered()
        if query.get("iss") and query["iss"].rstrip("/") != self._config.issuer.rstrip("/"):  # RFC 9207
            raise not_believed(t("it names another issuer", "签发方不符"))
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": kept["verifier"],
            "client_id": self._config.client_id,
        }
        answer = await ask_json(found["token_endpoint"], form=form, headers=self._login(found, form))
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise not_believed("id_token")
        claims = self._checked(token, await ask_json(found["jwks_uri"]), kept["nonce"])
        endpoint = found.get("userinfo_endpoint")
        wanted = {self._config.user, self._config.name, self._config.groups, self._config.institution} - {""}
        if isinstance(endpoint, str) and isinstance(access, str) and not wanted <= claims.keys():
            more = await ask_json(endpoint, headers={"Authorization": f"Bearer {access}"})
            if more.get("sub") != claims["sub"]:
                raise not_believed(t("it speaks of another person", "用户信息不符"))
            claims = {**more, **claims}
        return claims

    def _login(self, found: Mapping[str, Any], form: dict[str, str]) -> dict[str, str]:
        """How the client proves who it is: in the header (RFC 6749, 2.3.1) unless the portal takes it in the form only."""
        if not self._config.client_secret:
            return {}
        secret = resolve(self._config.client_secret, self._base).reveal()
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            form["client_secret"] = secret
            return {}
        pair = f"{quote_plus(self._config.client_id)}:{quote_plus(secret)}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    def _checked(self, token: str, keys: dict[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is signed by the issuer, for this client, for this login (OIDC Core, 3.1.3.7)."""
        try:
            header = jwt.get_unverified_header(token)
            known = [key for key in jwt.PyJWKSet.from_dict(keys).keys if header.get("kid") in (None, key.key_id)]
            if not known or header.get("alg") not in _ALGORITHMS:
                raise not_believed(t("an unknown key or algorithm", "未知的密钥或算法"))
            claims: dict[str, Any] | None = None
            for key in known[:10]:
                try:
                    claims = jwt.decode(
                        token,
                        key,
                        algorithms=[header["alg"]],
                        audience=self._config.client_id,
                        issuer=[self._config.issuer, self._config.issuer.rstrip("/")],
                        leeway=_LEEWAY_S,
                        options={"require": ["exp", "iat", "iss", "aud", "sub"]},
                    )
                    break
                except jwt.InvalidSignatureError:
                    continue
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise not_believed(type(error).__name__) from error
        if claims is None:
            raise not_believed(t("the signature is wrong", "签名错误"))
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise not_believed(t("it is for another login", "不属于本次登录"))
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._config.client_id:
            raise not_believed(t("it is for another client", "不属于本客户端"))
        return claims
