"""``encryption``: the body, or a field of it, under a key both sides have or in a digital envelope."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from hub.crypto import CryptoError, Order, load_sm2_private, load_sm2_public, provider
from hub.crypto.classic import (
    aes_decrypt,
    aes_encrypt,
    digest,
    load_rsa_private,
    load_rsa_public,
    rsa_decrypt,
    rsa_encrypt,
)
from hub.crypto.modes import Mode
from hub.crypto.padding import Padding
from hub.errors import CodecError, HubError, PermanentError
from hub.i18n import t
from hub.security.errors import Refused, no_key, unreadable
from hub.security.places import Encoding, Place, decode, encode, json_object, json_text, json_value
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["Encryption", "EncryptionOptions", "Envelope", "Iv", "Sealed"]

_IV_SIZES: dict[str, int] = {"ecb": 0, "cbc": 16, "ctr": 16, "gcm": 12}
_LETTERS = string.ascii_letters + string.digits
_LONGEST_KEY = 2048  # characters of an enveloped key that are looked at


class Iv(SchemeOptions):
    """The initial vector: ``const`` for each call, else random: before the ciphertext, or in a place of its own."""

    const: SecretStr = Field(SecretStr(""), description="always the same; not with gcm")
    const_form: Literal["hex", "base64", "text"] = "hex"
    at: Place | None = Field(None, description="where a random one is sent; default: before the ciphertext")
    encoding: Encoding = "hex"


class Envelope(SchemeOptions):
    """A key for each call, sent under the receiver's public key (数字信封)."""

    by: Literal["sm2", "rsa"] = "sm2"
    at: Place = Field(description="where the encrypted key stands")
    public: SecretStr = Field(SecretStr(""), description="the other side's public key: encrypts what leaves")
    private: SecretStr = Field(SecretStr(""), description="our private key: decrypts what comes")
    password: SecretStr = Field(SecretStr(""), description="of ``private``, where it is encrypted")
    order: Order = "c1c3c2"
    form: Literal["raw", "der"] = "raw"
    encoding: Encoding = "hex"
    text_key: bool = Field(
        False, description="the key is letters and digits, as platforms expect that treat it as text"
    )


class Sealed(SchemeOptions):
    """What is encrypted, and where it goes."""

    what: str = Field("", description="field of the JSON body that is encrypted; default: the whole body")
    content: Literal["json", "text"] = Field(
        "json", description="of ``what``: json: any value, text: what is encrypted is a string"
    )
    at: Place | None = Field(None, description="where the ciphertext stands; default: where the plain text was")
    encoding: Literal["hex", "HEX", "base64", "base64url", "raw"] = Field(
        "base64", description="raw: bytes, for a whole body only"
    )
    required: bool = Field(True, description="false: what comes in plain is taken as it is, e.g. error replies")
    limit: int = Field(0, ge=0, description="most characters of the ciphertext the other side takes; 0: any number")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.encoding == "raw" and (self.what or self.at is not None):
            raise ValueError("raw bytes can't stand in a field or header: choose hex or base64")
        return self


class EncryptionOptions(Sealed):
    """Options of ``encryption``."""

    algorithm: Literal[
        "sm4-ecb", "sm4-cbc", "sm4-ctr", "sm4-gcm", "aes-ecb", "aes-cbc", "aes-ctr", "aes-gcm", "sm2"
    ] = Field("sm4-gcm", description="sm2: without a symmetric key, for short contents; needs envelope for the keys")
    key: SecretStr = Field(SecretStr(""), description="key both sides have; none with an envelope")
    key_form: Literal["hex", "base64", "text", "sha1prng"] = Field(
        "hex", description="sha1prng: a text from which Java's SHA1PRNG makes the key: 16 bytes of SHA-1 of SHA-1 of it"
    )
    earlier: list[SecretStr] = Field(default_factory=list, description="keys that still open what comes after a change")
    padding: Padding = Field("pkcs7", description="of ecb and cbc")
    aad: str = Field("", description="gcm: additional data both sides agreed")
    iv: Iv = Field(default_factory=Iv)
    envelope: Envelope | None = None
    reply: Sealed | None = Field(None, description="replies are encrypted too, in this way")
    requests: bool = Field(True, description="false: requests go in plain, only replies are encrypted")
    tell: bool = Field(
        False,
        description="a refused call is told which step failed, key, content or document: some protocols want that",
    )

    @model_validator(mode="after")
    def _keys(self) -> Self:
        if not self.requests and self.reply is None:
            raise ValueError("requests: false without reply encrypts nothing")
        if self.envelope is None and not self.key.get_secret_value():
            raise ValueError("give key, or envelope")
        if self.algorithm == "sm2" and self.envelope is None:
            raise ValueError("sm2 needs public or private: give them below envelope")
        if self.algorithm.endswith("gcm") and self.iv.const.get_secret_value():
            raise ValueError("gcm with a constant iv reveals the key: leave iv out")
        if self.aad and not self.algorithm.endswith("gcm"):
            raise ValueError("aad is for gcm only")
        return self


class _Cipher:
    """The symmetric part."""

    def __init__(self, options: EncryptionOptions) -> None:
        self._sm4 = options.algorithm.startswith("sm4")
        self.mode: Mode = options.algorithm.partition("-")[2] or "ecb"  # type: ignore[assignment]
        self._padding: Padding = options.padding
        self._aad = options.aad.encode()

    def encrypt(self, key: bytes, data: bytes, iv: bytes) -> bytes:
        if self._sm4:
            return provider().sm4_encrypt(key, data, mode=self.mode, iv=iv, padding=self._padding, aad=self._aad)
        return aes_encrypt(key, data, mode=self.mode, iv=iv, padding=self._padding, aad=self._aad)

    def decrypt(self, key: bytes, data: bytes, iv: bytes) -> bytes:
        if self._sm4:
            return provider().sm4_decrypt(key, data, mode=self.mode, iv=iv, padding=self._padding, aad=self._aad)
        return aes_decrypt(key, data, mode=self.mode, iv=iv, padding=self._padding, aad=self._aad)


class _Wrapping:
    """The envelope's public-key part."""

    def __init__(self, options: Envelope) -> None:
        self.options = options
        public, private = options.public.get_secret_value(), options.private.get_secret_value()
        password = options.password.get_secret_value() or None
        self._seal: Callable[[bytes], bytes] | None = None
        self._open: Callable[[bytes], bytes] | None = None
        order, form = options.order, options.form
        if options.by == "sm2":
            if public:
                sm2_public = load_sm2_public(public)
                self._seal = lambda data: provider().sm2_encrypt(sm2_public, data, order=order, form=form)
            if private:
                sm2_private = load_sm2_private(private, password)
                self._open = lambda data: provider().sm2_decrypt(sm2_private, data, order=order, form=form)
        else:
            if public:
                rsa_public = load_rsa_public(public)
                self._seal = lambda data: rsa_encrypt(rsa_public, data)
            if private:
                rsa_private = load_rsa_private(private, password)
                self._open = lambda data: rsa_decrypt(rsa_private, data)

    def seal(self, data: bytes) -> bytes:
        if self._seal is None:
            raise no_key("public")
        return self._seal(data)

    def open(self, data: bytes) -> bytes:
        if self._open is None:
            raise no_key("private")
        return self._open(data)


class Encryption(Scheme):
    """``encryption``: encrypts what leaves, decrypts what comes."""

    name = "encryption"
    options = EncryptionOptions

    def __init__(self, options: EncryptionOptions) -> None:
        super().__init__(options)
        self._own = options
        self._cipher = _Cipher(options) if options.algorithm != "sm2" else None
        self._wrapping = _Wrapping(options.envelope) if options.envelope is not None else None
        form = options.key_form
        given = [options.key, *options.earlier] if options.key.get_secret_value() else []
        self._keys = [_bytes_of(each.get_secret_value(), form, "key") for each in given]
        iv = options.iv.const.get_secret_value()
        self._iv = _bytes_of(iv, options.iv.const_form, "iv") if iv else b""
        if self._cipher is not None:
            for key in self._keys:  # a key or iv of a wrong size is told at the start, not with the first message
                self._cipher.encrypt(key, bytes(16), self._iv or bytes(_IV_SIZES[self._cipher.mode]))

    def seal_request(self, wire: Wire) -> None:
        if self._own.requests:
            self._seal(wire, self._own)

    def open_reply(self, wire: Wire) -> None:
        if self._own.reply is not None:
            self._open(wire, self._own.reply)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        if self._own.requests:
            self._open(wire, self._own)

    def seal_reply(self, wire: Wire) -> None:
        if self._own.reply is not None:
            self._seal(wire, self._own.reply)

    # -- out -----------------------------------------------------------------------------------------------------

    def _seal(self, wire: Wire, rule: Sealed) -> None:
        plain, tree = self._plain(wire, rule)
        places: list[tuple[Place, str]] = []
        if self._cipher is None:
            assert self._wrapping is not None  # noqa: S101 - checked with the options
            data = self._wrapping.seal(plain)
        else:
            key = self._new_key(places)
            iv = self._iv or secrets.token_bytes(_IV_SIZES[self._cipher.mode])
            data = self._cipher.encrypt(key, plain, iv)
            own = self._own.iv
            if iv and not self._iv and own.at is not None:
                places.append((own.at, encode(iv, own.encoding)))
            elif not self._iv:
                data = iv + data
        if rule.what:
            _take_out(tree, rule.what)
            wire.body = json_text(tree)
        if rule.encoding == "raw":
            wire.body = data
        else:
            written = encode(data, rule.encoding)
            if rule.limit and len(written) > rule.limit:
                raise _too_long(len(written), rule.limit, len(plain))
            place = rule.at or (Place(field=rule.what) if rule.what else None)
            if place is None:
                wire.body = written.encode()
            else:
                if not rule.what:
                    wire.body = b""
                place.write(wire, written)
        for place, text in places:
            place.write(wire, text)

    def _plain(self, wire: Wire, rule: Sealed) -> tuple[bytes, dict[str, Any]]:
        if not rule.what:
            return wire.body, {}
        tree = json_object(wire.body)
        value = _at(tree, rule.what)
        if rule.content == "text":
            if not isinstance(value, str):
                text = t(f"{rule.what}: what is to be encrypted is no text", f"{rule.what}：待加密内容不是文本")
                raise HubError(text, code="security.body")
            return value.encode(), tree
        return json_text(value), tree

    def _new_key(self, places: list[tuple[Place, str]]) -> bytes:
        if self._wrapping is None:
            return self._keys[0]
        options = self._wrapping.options
        if options.text_key:
            key = "".join(secrets.choice(_LETTERS) for _ in range(16)).encode()
        else:
            key = secrets.token_bytes(16)
        places.append((options.at, encode(self._wrapping.seal(key), options.encoding)))
        return key

    # -- in ------------------------------------------------------------------------------------------------------

    def _open(self, wire: Wire, rule: Sealed) -> None:
        place = rule.at or (Place(field=rule.what) if rule.what else None)
        data: bytes | None
        if place is not None:
            given = place.read(wire)
            if not given:
                return self._not_encrypted(rule)
            data = decode(given, rule.encoding)  # type: ignore[arg-type]
        elif rule.encoding == "raw":
            data = wire.body
        else:
            data = decode(wire.body.decode("ascii", "replace").strip(), rule.encoding)
        if data is None:
            if not rule.required:
                return
            raise self._unreadable("content")
        try:
            plain = self._decrypted(wire, data)
        except CryptoError as error:
            if error.code == "crypto.unavailable":
                raise
            raise self._unreadable("content") from error
        if not rule.what:
            wire.body = plain
            return
        tree = json_object(wire.body)
        if place is not None and place.field:
            _take_out(tree, place.field)
        wire.body = json_text(tree)
        if rule.content == "text":
            try:
                value: Any = plain.decode()
            except UnicodeDecodeError:
                raise self._unreadable("document") from None
        else:
            try:
                value = json_value(plain)
            except CodecError:
                raise self._unreadable("document") from None
        tree = json_object(wire.body)
        _put(tree, rule.what, value)
        wire.body = json_text(tree)

    def _decrypted(self, wire: Wire, data: bytes) -> bytes:
        if self._cipher is None:
            assert self._wrapping is not None  # noqa: S101 - checked with the options
            return self._wrapping.open(data)
        iv = self._iv
        if not iv:
            own, size = self._own.iv, _IV_SIZES[self._cipher.mode]
            if size and own.at is not None:
                iv = decode(own.at.read(wire), own.encoding) or b""
            else:
                iv, data = data[:size], data[size:]
            if len(iv) != size:
                raise unreadable()
        keys = self._keys
        if self._wrapping is not None:
            given = self._wrapping.options.at.read(wire)
            wrapped = decode(given, self._wrapping.options.encoding) if len(given) <= _LONGEST_KEY else None
            if not wrapped:
                raise self._unreadable("key")
            try:
                keys = [self._wrapping.open(wrapped)]
            except CryptoError as error:
                if error.code == "crypto.unavailable":
                    raise
                raise self._unreadable("key") from error
        if len(keys) == 1 or self._cipher.mode == "gcm":
            return self._opened(keys, data, iv)
        # Without authentication a wrong key goes unnoticed now and then (with ctr always): text tells the right one.
        found: bytes | None = None
        for key in keys:
            try:
                plain = self._cipher.decrypt(key, data, iv)
            except CryptoError:
                continue
            if _is_text(plain):
                return plain
            found = plain if found is None else found
        if found is None:
            raise unreadable()
        return found

    def _opened(self, keys: Sequence[bytes], data: bytes, iv: bytes) -> bytes:
        assert self._cipher is not None  # noqa: S101 - asked by the caller
        for key in keys[:-1]:
            try:
                return self._cipher.decrypt(key, data, iv)
            except CryptoError:
                continue
        return self._cipher.decrypt(keys[-1], data, iv)

    def _unreadable(self, step: str) -> Refused:
        return unreadable(step if self._own.tell else "")

    def _not_encrypted(self, rule: Sealed) -> None:
        if rule.required:
            raise Refused(
                t("the content is not encrypted", "内容未加密"),
                code="security.plain",
                remedy=t("encrypt it as agreed for this interface", "请按该接口的约定加密"),
                status=400,
            )


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(tree, dict) or part not in tree:
            raise HubError(
                t(f"the body has no field {path} to encrypt", f"正文没有待加密的字段 {path}"), code="security.body"
            )
        tree = tree[part]
    return tree


def _take_out(tree: Any, path: str) -> None:
    *above, last = path.split(".")
    for part in above:
        tree = tree.get(part) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        tree.pop(last, None)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for part in above:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise unreadable()
    tree[last] = value


def _too_long(length: int, limit: int, plain: int) -> PermanentError:
    return PermanentError(
        t(
            f"encrypted, the document has {length} characters, the other side takes {limit}; it is {length - limit} too long "
            f"({plain} bytes before encryption)",
            f"加密后报文为 {length} 个字符，对方最多接收 {limit} 个，超出 {length - limit} 个（加密前 {plain} 字节）",
        ),
        code="security.too_long",
    )


def _bytes_of(text: str, form: str, name: str) -> bytes:
    if form == "text":
        return text.encode()
    if form == "sha1prng":
        return digest("sha1", digest("sha1", text.encode()))[:16]
    data = decode(text.strip(), "hex" if form == "hex" else "base64")
    if data is None:
        raise HubError(
            t(f"{name} is not {form}", f"{name} 不是 {form}"),
            code="security.key",
            remedy=t("correct it, or say key_form / const_form", "请更正，或说明 key_form / const_form"),
        )
    return data
