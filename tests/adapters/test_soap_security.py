"""WS-Security: user name tokens, signatures, and those who try to get around them. The judge of our signatures is xmlsec, and its are
what ours are judged by."""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xmlsec
import zeep.wsse.signature
import zeep.wsse.username
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from adapters.soap.envelope import Envelope, envelope_bytes, read_envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import Version
from adapters.soap.options import SoapListen
from adapters.soap.security import Inspector, Nonces, Stamp
from adapters.soap.security_options import InboundSecurity, OutboundSecurity
from hub.api import HubError, PermanentError, Reply
from tests.adapters.http_support import OPEN, MemoryIntake, outgoing
from tests.adapters.soap_support import HIP, KINDS, V11, V12, calling, envelope, fault_of, hip_call, listening, post
from tests.adapters.test_soap_receiver import MTOM, multipart

WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
DS = "http://www.w3.org/2000/09/xmldsig#"
USER = {"username": "his", "password": "s3cr&t"}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def certificate(
    folder: Path, name: str, key: Key, issuer: tuple[str, Key] | None = None, days: int = 30, ca: bool = False
) -> None:
    """``name.pem`` and ``name.key``."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by, by_key = issuer or (name, key)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(by_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    authority = rsa.generate_private_key(65537, 2048)
    certificate(folder, "authority", authority, ca=True)
    certificate(folder, "his", rsa.generate_private_key(65537, 2048))
    certificate(folder, "curve", ec.generate_private_key(ec.SECP256R1()))
    certificate(folder, "issued", ec.generate_private_key(ec.SECP384R1()), ("authority", authority))
    certificate(folder, "old", ec.generate_private_key(ec.SECP256R1()), days=-1)
    certificate(folder, "weak", rsa.generate_private_key(65537, 1024))
    return folder


def signing(keys: Path, name: str, **more: Any) -> Stamp:
    files = {"certificate": str(keys / f"{name}.pem"), "key": str(keys / f"{name}.key")}
    return Stamp(OutboundSecurity.model_validate({"sign": files, **more}))


def trusting(keys: Path, name: str, **more: Any) -> Inspector:
    return Inspector(
        InboundSecurity.model_validate({"trusted": str(keys / f"{name}.pem"), **more}), user=bool(more.get("username"))
    )


def made(
    stamp: Stamp, version: Version = Version.V11, body: str = "<m:a xmlns:m='urn:m'>x\n<b>张&#13;</b></m:a>"
) -> bytes:
    return stamp.signed(envelope_bytes(version, body, stamp.header()))


def code(inspector: Inspector, data: bytes | etree._Element) -> str:
    """What it is refused for; "" for nothing."""
    raw = data if isinstance(data, bytes) else etree.tostring(data)
    try:
        inspector.check(read_envelope(raw, ""))
    except FaultRefusal as refusal:
        return refusal.code
    return ""


# -- user name tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("kind", ["text", "digest"])
def test_our_token_is_taken_once(version: Version, kind: str) -> None:
    stamp = Stamp(OutboundSecurity.model_validate({**USER, "password_type": kind, "timestamp": True}))
    inspector = Inspector(InboundSecurity.model_validate({**USER, "password_type": kind}), user=True)
    data = made(stamp, version)
    assert code(inspector, data) == ""
    assert code(inspector, data) == "soap.replayed"
    assert code(inspector, made(stamp, version)) == ""
    assert b"s3cr&t" not in data or kind == "text"


@pytest.mark.parametrize("digest", [True, False])
def test_a_token_of_zeep_is_taken(digest: bool) -> None:
    root = etree.fromstring(envelope("<a/>", "<x/>"))
    zeep.wsse.username.UsernameToken("his", "s3cr&t", use_digest=digest).apply(root, {})
    assert code(Inspector(InboundSecurity.model_validate(USER), user=True), root) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "wrong"}, "soap.user_wrong"),
        ({"username": "somebody"}, "soap.user_wrong"),
        ({"password_type": "text"}, "soap.user_wrong"),  # the interface asks for a digest
    ],
)
def test_wrong_users_and_passwords_are_refused(change: dict[str, Any], expected: str) -> None:
    inspector = Inspector(InboundSecurity.model_validate({**USER, "password_type": "digest"}), user=True)
    assert code(inspector, made(Stamp(OutboundSecurity.model_validate({**USER, **change})))) == expected


def _cut(path: str) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        found = root.find(path)
        assert found is not None
        parent = found.getparent()
        assert parent is not None
        parent.remove(found)

    return change


def _twice(path: str) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        found = root.find(path)
        assert found is not None
        found.addnext(copy.deepcopy(found))

    return change


def _write(path: str, text: str) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        for found in root.findall(path):
            found.text = text

    return change


SECURITY = f".//{{{WSSE}}}Security"
TOKEN = f".//{{{WSSE}}}UsernameToken"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_cut(SECURITY), "soap.security_missing"),
        (_twice(SECURITY), "soap.security_missing"),
        (_cut(TOKEN), "soap.user_missing"),
        (_twice(TOKEN), "soap.user_missing"),
        (_cut(f".//{{{WSSE}}}Nonce"), "soap.nonce"),
        (_write(f".//{{{WSSE}}}Nonce", "!"), "soap.nonce"),
        (_write(f".//{{{WSSE}}}Nonce", "AAAA"), "soap.user_wrong"),
        (_cut(f".//{{{WSU}}}Timestamp/{{{WSU}}}Created"), "soap.timestamp"),
        (_twice(f".//{{{WSU}}}Timestamp"), "soap.timestamp"),
        (_write(f".//{{{WSU}}}Expires", "2001-01-01T00:00:00Z"), "soap.expired"),
        (_write(f".//{{{WSU}}}Timestamp/{{{WSU}}}Created", "2001-01-01T00:00:00Z"), "soap.expired"),
        (_write(f".//{{{WSU}}}Timestamp/{{{WSU}}}Created", "9999-12-31T23:59:59Z"), "soap.expired"),
        (_write(f".//{{{WSU}}}Timestamp/{{{WSU}}}Created", "yesterday"), "soap.timestamp"),
        (_write(f"{TOKEN}/{{{WSU}}}Created", "2001-01-01T00:00:00Z"), "soap.user_wrong"),
    ],
)
def test_headers_that_lack_something_are_refused(change: Callable[[etree._Element], None], expected: str) -> None:
    root = etree.fromstring(made(Stamp(OutboundSecurity.model_validate({**USER, "timestamp": True}))))
    change(root)
    assert code(Inspector(InboundSecurity.model_validate(USER), user=True), root) == expected


def test_a_digest_of_an_old_time_is_refused() -> None:
    nonce, created = b"0123456789abcdef", "2001-01-01T00:00:00Z"
    digest = base64.b64encode(hashlib.sha1(nonce + created.encode() + b"s3cr&t").digest()).decode()
    root = etree.fromstring(made(Stamp(OutboundSecurity.model_validate(USER))))
    for path, text in (
        (f"{{{WSSE}}}Password", digest),
        (f"{{{WSSE}}}Nonce", "MDEyMzQ1Njc4OWFiY2RlZg=="),
        (f"{{{WSU}}}Created", created),
    ):
        _write(f"{TOKEN}/{path}", text)(root)
    assert code(Inspector(InboundSecurity.model_validate(USER), user=True), root) == "soap.expired"


def test_nonces_are_forgotten_when_their_time_is_over() -> None:
    nonces = Nonces(10.0)
    assert nonces.first(b"a", 100.0)
    assert not nonces.first(b"a", 109.9)
    assert nonces.first(b"b", 109.9)
    assert nonces.first(b"a", 110.0)
    assert not nonces.first(b"b", 111.0)


# -- signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize(("name", "trusted"), [("his", "his"), ("curve", "curve"), ("issued", "authority")])
def test_our_signature_is_taken_by_us(keys: Path, version: Version, name: str, trusted: str) -> None:
    data = made(signing(keys, name), version)
    assert code(trusting(keys, trusted), data) == ""
    other = {"his": "curve", "curve": "his", "issued": "his"}[name]
    assert code(trusting(keys, other), data) == "soap.certificate_unknown"


def test_our_signature_is_taken_by_xmlsec(keys: Path) -> None:
    root = etree.fromstring(made(signing(keys, "his", **USER)))
    key = xmlsec.Key.from_file(str(keys / "his.pem"), xmlsec.constants.KeyDataFormatCertPem, None)
    context = xmlsec.SignatureContext()
    context.key = key
    for element in root.iter():
        if element.get(f"{{{WSU}}}Id"):
            context.register_id(element, "Id", WSU)
    signature = root.find(f".//{{{DS}}}Signature")
    context.verify(signature)
    signed = {reference.get("URI") for reference in root.iter(f"{{{DS}}}Reference")}
    assert len(signed) == 3  # body, timestamp, user name token
    body = root.find(f"{{{V11}}}Body")
    assert body is not None
    body[0].text = "changed"
    context = xmlsec.SignatureContext()
    context.key = key
    for element in root.iter():
        if element.get(f"{{{WSU}}}Id"):
            context.register_id(element, "Id", WSU)
    with pytest.raises(xmlsec.Error):
        context.verify(signature)


def _by_xmlsec(keys: Path, kind: Any, sha1: bool = False) -> etree._Element:
    data = envelope("<m:a xmlns:m='urn:m'>x<b/></m:a>", f"<w:Security xmlns:w='{WSSE}'/>")
    root = etree.fromstring(data)
    security = root.find(f".//{{{WSSE}}}Security")
    assert security is not None
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stamp = etree.SubElement(security, f"{{{WSU}}}Timestamp")
    etree.SubElement(stamp, f"{{{WSU}}}Created").text = now
    methods = (
        {} if sha1 else {"signature_method": xmlsec.Transform.RSA_SHA256, "digest_method": xmlsec.Transform.SHA256}
    )
    kind(str(keys / "his.key"), str(keys / "his.pem"), **methods).apply(root, {})
    return root


@pytest.mark.parametrize("kind", [zeep.wsse.signature.Signature, zeep.wsse.signature.BinarySignature])
def test_a_signature_of_xmlsec_is_taken_by_us(keys: Path, kind: Any) -> None:
    root = _by_xmlsec(keys, kind)
    assert code(trusting(keys, "his"), root) == ""
    body = root.find(f"{{{V11}}}Body")
    assert body is not None
    body[0].set("b", "c")
    assert code(trusting(keys, "his"), root) == "soap.signature_digest"


def test_sha1_is_taken_only_where_it_is_allowed(keys: Path) -> None:
    root = _by_xmlsec(keys, zeep.wsse.signature.BinarySignature, sha1=True)
    assert code(trusting(keys, "his"), root) == "soap.signature_algorithm"
    assert code(trusting(keys, "his", sha1=True), root) == ""


@pytest.mark.parametrize(("name", "expected"), [("old", "soap.certificate_expired"), ("weak", "soap.signature_value")])
def test_certificates_that_should_not_be_used_are_refused(keys: Path, name: str, expected: str) -> None:
    assert code(trusting(keys, name), made(signing(keys, name))) == expected


def _moved(root: etree._Element) -> etree._Element:
    """The signed body moved into a header, another in its place."""
    body = root.find(f"{{{V11}}}Body")
    header = root.find(f"{{{V11}}}Header")
    assert body is not None
    assert header is not None
    other = etree.SubElement(root, body.tag)
    etree.SubElement(other, "evil")
    etree.SubElement(header, "wrapper").append(body)
    return other


def test_a_signed_body_that_was_moved_proves_nothing(keys: Path) -> None:
    inspector = trusting(keys, "his")
    root = etree.fromstring(made(signing(keys, "his")))
    signed_id = root.find(f"{{{V11}}}Body").get(f"{{{WSU}}}Id")  # type: ignore[union-attr]
    other = _moved(root)
    assert code(inspector, root) == "soap.signature_reference"
    other.set(f"{{{WSU}}}Id", signed_id or "")
    assert code(inspector, root) == "soap.signature_digest"


def test_a_signed_body_as_a_header_block_does_not_cover_the_body(keys: Path) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    body = root.find(f"{{{V11}}}Body")
    header = root.find(f"{{{V11}}}Header")
    assert body is not None
    assert header is not None
    other = etree.SubElement(root, body.tag)
    etree.SubElement(other, "evil")
    header.append(body)
    assert code(trusting(keys, "his"), root) == "soap.signature_scope"


def test_the_same_id_twice_is_refused(keys: Path) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    header = root.find(f"{{{V11}}}Header")
    body = root.find(f"{{{V11}}}Body")
    assert header is not None
    assert body is not None
    etree.SubElement(header, "x").set(f"{{{WSU}}}Id", body.get(f"{{{WSU}}}Id") or "")
    assert code(trusting(keys, "his"), root) == "soap.signature_reference"


def test_an_unsigned_timestamp_does_not_count(keys: Path) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    security = root.find(SECURITY)
    assert security is not None
    stamp = security.find(f"{{{WSU}}}Timestamp")
    assert stamp is not None
    etree.SubElement(root.find(f"{{{V11}}}Header"), "w").append(stamp)  # type: ignore[arg-type]
    assert code(trusting(keys, "his"), root) == "soap.timestamp"
    fresh = copy.deepcopy(stamp)
    fresh.attrib.clear()
    security.insert(0, fresh)
    assert code(trusting(keys, "his"), root) == "soap.signature_reference"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_cut(f".//{{{DS}}}Signature"), "soap.signature_missing"),
        (_twice(f".//{{{DS}}}Signature"), "soap.signature_missing"),
        (_cut(f".//{{{DS}}}SignedInfo"), "soap.signature_form"),
        (_cut(f".//{{{DS}}}KeyInfo"), "soap.signature_form"),
        (_cut(f".//{{{WSSE}}}BinarySecurityToken"), "soap.signature_key"),
        (_write(f".//{{{WSSE}}}BinarySecurityToken", "AAAA"), "soap.signature_key"),
        (_write(f".//{{{DS}}}SignatureValue", "AAAA"), "soap.signature_value"),
        (_write(f".//{{{DS}}}SignatureValue", "?"), "soap.signature_value"),
        (_write(f".//{{{DS}}}DigestValue", "AAAA"), "soap.signature_value"),
        (_cut(f".//{{{DS}}}Transform"), "soap.signature_transform"),
        (_twice(f".//{{{DS}}}Transform"), "soap.signature_transform"),
    ],
)
def test_broken_signatures_are_refused(keys: Path, change: Callable[[etree._Element], None], expected: str) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    change(root)
    assert code(trusting(keys, "his"), root) == expected


@pytest.mark.parametrize(
    ("element", "algorithm", "expected"),
    [
        ("CanonicalizationMethod", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "soap.signature_transform"),
        ("Transform", "http://www.w3.org/TR/1999/REC-xslt-19991116", "soap.signature_transform"),
        ("Transform", "http://www.w3.org/2002/06/xmldsig-filter2", "soap.signature_transform"),
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#hmac-sha1", "soap.signature_algorithm"),
        ("DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#md5", "soap.signature_algorithm"),
    ],
)
def test_other_algorithms_are_refused(keys: Path, element: str, algorithm: str, expected: str) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    for found in root.iter(f"{{{DS}}}{element}"):
        found.set("Algorithm", algorithm)
    assert code(trusting(keys, "his"), root) == expected


def test_a_certificate_can_be_named_instead_of_sent(keys: Path) -> None:
    root = etree.fromstring(made(signing(keys, "his")))
    token = root.find(f".//{{{WSSE}}}BinarySecurityToken")
    reference = root.find(f".//{{{WSSE}}}SecurityTokenReference")
    assert token is not None
    assert reference is not None
    token.getparent().remove(token)  # type: ignore[union-attr]
    reference.remove(reference[0])
    cert = x509.load_pem_x509_certificate((keys / "his.pem").read_bytes())
    for kind, name in (
        ("X509SubjectKeyIdentifier", x509.SubjectKeyIdentifier.from_public_key(cert.public_key()).digest),
        ("ThumbprintSHA1", cert.fingerprint(hashes.SHA1())),
    ):
        identifier = etree.SubElement(reference, f"{{{WSSE}}}KeyIdentifier", ValueType=f"urn:x#{kind}")
        identifier.text = base64.b64encode(name).decode()
        assert code(trusting(keys, "his"), root) == ""
        assert code(trusting(keys, "curve"), root) == "soap.signature_key"
        reference.remove(identifier)


def test_files_that_cant_be_used_are_named(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for trusted in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(HubError) as caught:
            Inspector(InboundSecurity.model_validate({"trusted": str(trusted)}), user=False)
        assert (caught.value.code, str(trusted) in caught.value.text) == ("soap.certificate", True)
    files = {"certificate": str(keys / "his.pem"), "key": str(keys / "curve.key")}
    options = OutboundSecurity.model_validate({"sign": files})
    with pytest.raises(HubError) as caught:
        Stamp(options)
    assert caught.value.code == "soap.certificate"


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({}, {"username": "a"}, {"password": "a"}):
        with pytest.raises(ValueError):
            InboundSecurity.model_validate(options)
        with pytest.raises(ValueError):
            OutboundSecurity.model_validate(options)
    listen = {"path": "/hip", "auth": OPEN, "payload": "envelope", "security": USER}
    with pytest.raises(ValueError, match="would be stored"):
        SoapListen.model_validate(listen)
    SoapListen.model_validate({**listen, "security": {**USER, "password_type": "digest"}})


# -- over the wire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [V11, V12])
async def test_a_service_asks_for_a_user_and_signs_its_answers(keys: Path, space: str) -> None:
    intake = MemoryIntake()
    sign = {"certificate": str(keys / "his.pem"), "key": str(keys / "his.key")}
    user = Stamp(OutboundSecurity.model_validate(USER)).header().replace("soap:", "s:")
    async with listening(intake, security={**USER, "sign": sign}, accepted="ok", **HIP) as receiver:
        nobody = await post(receiver, hip_call("M", space=space), KINDS[space])
        good = await post(receiver, hip_call("M", space=space, header=user), KINDS[space])
        again = await post(receiver, hip_call("M", space=space, header=user), KINDS[space])
    assert (nobody.status, fault_of(nobody)[0]) == (500 if space == V11 else 400, "InvalidSecurity")
    assert fault_of(again)[0::2] == ("FailedAuthentication", "soap.replayed")
    assert len(intake.taken) == 1
    assert [raw for _, raw, _ in intake.refused] == [b"", b""]
    for answer in (nobody, good, again):
        read: Envelope = read_envelope(answer.body, "")
        assert read.version.value == space
        assert code(trusting(keys, "his"), answer.body) == ""


async def test_a_security_header_nobody_checks_is_not_understood() -> None:
    intake = MemoryIntake()
    user = Stamp(OutboundSecurity.model_validate(USER)).header().replace("soap:", "s:")
    async with listening(intake, **HIP) as receiver:
        answer = await post(receiver, hip_call("M", header=user))
    assert fault_of(answer)[0] == "MustUnderstand"


async def test_attachments_are_part_of_what_is_signed(keys: Path) -> None:
    intake = MemoryIntake()
    content = b"%PDF " + bytes(range(256))
    text = base64.b64encode(content).decode()
    inline = made(signing(keys, "his"), body=f"<HIPMessageServer><message>{text}</message></HIPMessageServer>")
    include = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:att@x"/>'
    envelope_with = inline.replace(text.encode(), include.encode())
    security = {"trusted": str(keys / "his.pem")}
    async with listening(intake, security=security, binary=True, **HIP) as receiver:
        good = await post(receiver, multipart(envelope_with, ("att@x", content)), MTOM)
        bad = await post(receiver, multipart(envelope_with, ("att@x", content + b"x")), MTOM)
    assert (good.status, [taken.raw for taken in intake.taken]) == (200, [content])
    assert fault_of(bad)[0::2] == ("FailedCheck", "soap.signature_digest")


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_both_sides_sign_and_check(keys: Path, version: str) -> None:
    intake = MemoryIntake()
    hub = {"certificate": str(keys / "issued.pem"), "key": str(keys / "issued.key")}
    his = {"certificate": str(keys / "his.pem"), "key": str(keys / "his.key")}
    asked = {**USER, "trusted": str(keys / "his.pem"), "sign": hub}
    shown = {**USER, "sign": his, "trusted": str(keys / "authority.pem")}
    call = {
        "operation": "HIPMessageServer",
        "namespace": "urn:hl7-org:v3",
        "parameters": {"action": "A", "message": "{body}"},
        "result": "HIPMessageServerResult",
        "version": version,
    }
    async with listening(intake, security=asked, accepted="ok", **HIP) as receiver:
        url = f"http://127.0.0.1:{receiver.status()['port']}/hip"

        async def send(**security: Any) -> Reply:
            async with calling(url, security={**shown, **security}, addressing=True, **call) as sender:
                return await sender.send(outgoing("<m>张\r</m>".encode()))

        good = await send()
        wrong = await send(password="wrong")
        unsigned = await send(sign=None)
        with pytest.raises(PermanentError) as caught:
            await send(trusted=str(keys / "curve.pem"))
    assert (good.ok, good.body, intake.taken[0].raw) == (True, b"ok", "<m>张\r</m>".encode())
    assert (wrong.ok, wrong.code, wrong.transient) == (False, "FailedAuthentication", False)
    assert (unsigned.ok, unsigned.code) == (False, "InvalidSecurity")
    assert caught.value.code == "soap.certificate_unknown"
    assert b"ok" in caught.value.response
