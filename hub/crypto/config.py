"""The part ``security.crypto`` of ``hub.yaml``: who does national cryptography, and where devices and servers are."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["CryptoConfig", "Pkcs11Config", "RemoteConfig", "RemoteOperation", "filled", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")
_KNOWN = {"key", "user_id", "user_id_hex", "data_base64", "data_hex", "digest_base64", "digest_hex"}


def _seconds(value: Any) -> float:
    from hub.contract import parse_duration  # late: the contract has this model as a part

    return parse_duration(value)


_Duration = Annotated[float, BeforeValidator(_seconds)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pkcs11Config(_Model):
    """A cryptographic device with a PKCS#11 module: an HSM, a card, a token."""

    module: str = Field(description="the maker's library, e.g. /usr/lib/softhsm/libsofthsm2.so")
    token: str = Field(description="label of the token")
    pin: str = Field(description="env:NAME or file:PATH")
    mechanisms: dict[
        Literal["sm2_sign", "sm2_decrypt", "sm4_ecb", "sm4_cbc"], Annotated[int, Field(ge=0, lt=1 << 32)]
    ] = Field(
        default_factory=dict,
        description="numbers of the maker's mechanisms, e.g. sm2_sign: 0x80000101; what has none is not offered",
    )
    sm2_ciphertext: Literal["raw", "raw04", "der"] = Field(
        "raw04", description="how the device wants an SM2 ciphertext: C1C3C2 without or with the leading 04, or DER"
    )


class RemoteOperation(_Model):
    """One call of a signature server."""

    path: str = Field(description="path of the call, after url")
    body: dict[str, Any] = Field(
        description="JSON to send; in its texts {key}, {user_id}, {user_id_hex}, {data_base64}, {data_hex}, {digest_base64} and "
        "{digest_hex} are filled in"
    )
    result: str = Field(description="where the result is in the reply's JSON, e.g. data.signature")
    encoding: Literal["base64", "hex"] = Field("base64", description="of the result")
    form: Literal["der", "raw"] = Field(
        "der", description="of the signature that comes back, or the ciphertext that is sent"
    )
    order: Literal["c1c3c2", "c1c2c3"] = Field("c1c3c2", description="of a raw ciphertext that is sent")
    code: str = Field("", description="where the reply's code is; '': the HTTP status says it all")
    success: list[str | int] = Field(["0"], description="codes of success")
    transient: list[str | int] = Field(default_factory=list, description="codes after which trying again makes sense")

    @model_validator(mode="after")
    def _known_placeholders(self) -> RemoteOperation:
        unknown = placeholders(self.body) - _KNOWN
        if unknown:
            raise ValueError(f"unknown placeholder {{{min(unknown)}}}; there are {', '.join(sorted(_KNOWN))}")
        return self


class RemoteConfig(_Model):
    """A signature server (签名验签服务器) that is asked by HTTP with JSON."""

    url: str = Field(pattern=r"^https?://[^/?#@]+(/[^?#]*)?$", description="e.g. https://sign.example.org/api")
    timeout: _Duration = Field(3.0, gt=0, description="longest call")
    connections: int = Field(8, ge=1, le=256, description="connections kept open, and calls under way at once")
    headers: dict[str, str] = Field(default_factory=dict, description="name -> env:NAME or file:PATH")
    ca: str = Field("", description="certificates the server's must come from, PEM; '': those of the system")
    certificate: str = Field("", description="certificate shown to the server, PEM")
    certificate_key: str = Field("", description="its key, PEM")
    sm2_sign: RemoteOperation | None = None
    sm2_decrypt: RemoteOperation | None = None

    @model_validator(mode="after")
    def _what_is_sent(self) -> RemoteConfig:
        for name, operation in (("sm2_sign", self.sm2_sign), ("sm2_decrypt", self.sm2_decrypt)):
            if operation is None:
                continue
            sent = placeholders(operation.body)
            wanted = {"data_base64", "data_hex"} | ({"digest_base64", "digest_hex"} if name == "sm2_sign" else set())
            if len({item.split("_")[0] for item in sent & wanted}) != 1:
                raise ValueError(f"{name}: the body must hold one of {', '.join(sorted(wanted))}")
        return self


class CryptoConfig(_Model):
    """Who does SM2, SM3 and SM4. Paths are relative to the file."""

    provider: Literal["auto", "openssl", "gmssl", "pkcs11", "remote"] = Field(
        "auto", description="auto: OpenSSL, where it has no SM2 gmssl"
    )
    libcrypto: str = Field("", description="a certain libcrypto (Tongsuo's, say) instead of the one Python runs on")
    pkcs11: Pkcs11Config | None = None
    remote: RemoteConfig | None = None

    @model_validator(mode="after")
    def _configured(self) -> CryptoConfig:
        if self.provider in ("pkcs11", "remote") and getattr(self, self.provider) is None:
            raise ValueError(f"provider: {self.provider} needs the part {self.provider}:")
        return self


def placeholders(template: Any) -> set[str]:
    """Names of the placeholders in the texts of a JSON template."""
    if isinstance(template, str):
        return set(_PLACEHOLDER.findall(template))
    if isinstance(template, dict):
        return set().union(*map(placeholders, template.values()))
    return set().union(*map(placeholders, template)) if isinstance(template, list) else set()


def filled(template: Any, values: dict[str, str]) -> Any:
    """The template with its placeholders replaced; what stands in a value is never taken for a placeholder."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), template)
    if isinstance(template, dict):
        return {name: filled(value, values) for name, value in template.items()}
    return [filled(value, values) for value in template] if isinstance(template, list) else template
