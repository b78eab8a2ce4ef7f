"""TLS settings shared by the adapters that run over TCP, and the contexts made from them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.api import HubError
from hub.i18n import t

__all__ = ["ClientTls", "ServerTls", "client_context", "server_context"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _Tls(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    min_version: Literal["1.2", "1.3"] = Field("1.2", description="oldest TLS version accepted")
    key_password: str = Field("", repr=False, description="password of the private key, where the file is encrypted")


class ServerTls(_Tls):
    """TLS of a listening interface."""

    certificate: str = Field(description="PEM file: the server's certificate, then its intermediates")
    key: str = Field("", description="PEM file of the private key; default: in the certificate file")
    client_ca: str = Field(
        "", description="PEM file of authorities; when given, every client must show a certificate one of them issued"
    )


class ClientTls(_Tls):
    """TLS of an outgoing connection."""

    verify: bool = Field(True, description="check the server's certificate and name; false only for tests")
    ca: str = Field("", description="PEM file of authorities to trust instead of the system's")
    certificate: str = Field("", description="PEM file: the certificate the hub shows, then its intermediates")
    key: str = Field("", description="PEM file of its private key; default: in the certificate file")
    server_name: str = Field("", description="name expected in the server's certificate; default: the host")

    @model_validator(mode="after")
    def _key_belongs_to_certificate(self) -> ClientTls:
        if self.key and not self.certificate:
            raise ValueError("a key needs its certificate: give tls.certificate as well")
        return self


def server_context(options: ServerTls) -> ssl.SSLContext:
    """The context of a listener; raises :class:`HubError` naming the file when one can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[options.min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    _load_pair(context, options.certificate, options.key, options.key_password)
    if options.client_ca:
        _load_authorities(context, options.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(options: ClientTls) -> ssl.SSLContext:
    """The context of outgoing connections; raises :class:`HubError` naming the file when one can't be used.

    The expected name is not part of a context: pass ``options.server_name`` when connecting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[options.min_version]
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca:
        _load_authorities(context, options.ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if options.certificate:
        _load_pair(context, options.certificate, options.key, options.key_password)
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str, password: str) -> None:
    _must_be_readable(certificate)
    if key:
        _must_be_readable(key)
    try:
        # A callable, even for no password: otherwise OpenSSL asks for one on the terminal and the start hangs.
        context.load_cert_chain(certificate, key or None, password=lambda: password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise HubError(
            t(
                f"certificate {certificate} with key {key or certificate} can't be loaded: {_reason(error)}",
                f"证书 {certificate} 与私钥 {key or certificate} 无法加载：{_reason(error)}",
            ),
            code="tls.certificate",
            remedy=t(
                "both must be PEM, the key must belong to the first certificate; "
                "an encrypted key needs tls.key_password",
                "两者均须为 PEM 格式，私钥须与第一张证书匹配；加密的私钥需要 tls.key_password",
            ),
        ) from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _must_be_readable(path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise HubError(
            t(f"authorities {path} can't be loaded: {_reason(error)}", f"CA 文件 {path} 无法加载：{_reason(error)}"),
            code="tls.certificate",
            remedy=t("give a PEM file with the issuing certificates", "请提供包含签发证书的 PEM 文件"),
        ) from error


def _must_be_readable(path: str) -> None:
    """OpenSSL's own message for a missing file does not name it."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise HubError(
            t(f"file {path} can't be read: {error.strerror}", f"文件 {path} 无法读取：{error.strerror}"),
            code="tls.certificate",
            remedy=t(
                "check the path and that the hub's user may read the file",
                "请检查路径，以及运行用户是否有读取该文件的权限",
            ),
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "SSL error"
    return str(error)
