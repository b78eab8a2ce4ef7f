"""Ways around a scheme whose signature is good: what is not signed, what is written in another way, what two threads see."""

from __future__ import annotations

import base64
import secrets
import threading
from typing import Any

import orjson
import pytest

from hub.crypto.classic import hmac_digest
from hub.security import Opening, Protection, Refused, ReplayGuard, Scheme, Wire
from hub.security.schemes.encryption import Encryption, EncryptionOptions
from tests.security.test_named_schemes import BOTH_SIDES, NOW, code_of, make, opened, post

KEY, FORMER = "0123456789abcdeffedcba9876543210", "f0" * 16


def test_logink_names_a_header_as_signed_that_is_not_there() -> None:
    ours, theirs, body = BOTH_SIDES["logink"]
    scheme: Any = make("logink", **ours)
    wire = post(body)
    scheme.seal_request(wire)
    for name in ("x-ca-nonce", "x-ca-timestamp", "x-ca-key"):
        call = Wire(wire.body, dict(wire.headers), wire.method, wire.target, wire.host)
        del call.headers[name]
        call.headers["x-ca-signature"] = scheme._signature(call, scheme._SIGNED)  # as good as one can make it
        assert code_of(make("logink", **theirs), call) == "security.signature_wrong"


def test_aliyun_without_a_nonce() -> None:
    ours, theirs, body = BOTH_SIDES["aliyun_acs3"]
    scheme: Any = make("aliyun_acs3", **ours)
    wire = post(body)
    scheme.seal_request(wire)
    names = wire.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    del wire.headers["x-acs-signature-nonce"]
    head = wire.headers["authorization"].partition("Signature=")[0]
    wire.headers["authorization"] = f"{head}Signature={scheme._signature(wire, names)}"
    assert code_of(make("aliyun_acs3", **theirs), wire) == "security.signature_wrong"


@pytest.mark.parametrize("stamp", ["999999999999", "99999999999", "0", "-1", "1e9", "１７６４３０００００"])
def test_a_time_that_is_none_is_refused_and_nothing_else_happens(stamp: str) -> None:
    ours, theirs, body = BOTH_SIDES["tencent_tc3"]
    wire = post(body)
    make("tencent_tc3", **ours).seal_request(wire)
    wire.headers["x-tc-timestamp"] = stamp
    with pytest.raises(Refused):
        opened(make("tencent_tc3", **theirs), wire)


def test_a_signature_that_does_not_cover_the_body_is_good_for_one_call_only() -> None:
    ours, theirs, body = BOTH_SIDES["hunan_insurance"]
    receiver = make("hunan_insurance", **theirs)
    wire = post(body)
    make("hunan_insurance", **ours).seal_request(wire)
    opened(receiver, wire)
    assert code_of(receiver, Wire(b'{"infno":"2207","amount":"9"}', dict(wire.headers), "POST")) == "security.replayed"


def test_the_same_signature_written_in_another_way_is_the_same_call() -> None:
    """The last character of base64 has bits that mean nothing."""
    ours, theirs, body = BOTH_SIDES["mobile_insurance"]
    receiver = make("mobile_insurance", **theirs)
    wire = post(body)
    make("mobile_insurance", **ours).seal_request(wire)
    tree = orjson.loads(wire.body)
    opened(receiver, wire)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sign = tree["signData"]
    at = len(sign.rstrip("=")) - 1
    other = sign[:at] + alphabet[alphabet.index(sign[at]) ^ 1] + sign[at + 1 :]
    assert base64.b64decode(other) == base64.b64decode(sign)
    assert code_of(receiver, post({**tree, "signData": other})) == "security.replayed"


@pytest.mark.parametrize("code", ["10003", "40004", "10000", "", None])
def test_what_alipays_business_says_has_to_be_signed(code: str | None) -> None:
    ours, _, _ = BOTH_SIDES["alipay"]
    body = {"alipay_trade_query_response": {"code": code, "trade_status": "TRADE_SUCCESS"}}
    with pytest.raises(Refused):
        make("alipay", **ours).open_reply(Wire(orjson.dumps(body)))


# -- former keys without authentication ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sm4-cbc", "sm4-ctr", "aes-ctr", "sm4-ecb"])
def test_the_right_one_of_several_keys_is_found_though_nothing_authenticates(algorithm: str) -> None:
    """One in 256 wrong keys leaves a good padding, with ctr every one."""
    former = Encryption(EncryptionOptions.model_validate({"algorithm": algorithm, "key": FORMER}))
    now = Encryption(EncryptionOptions.model_validate({"algorithm": algorithm, "key": KEY, "earlier": [FORMER]}))
    body = orjson.dumps({"姓名": "张三", "text": "x" * 40})
    for _ in range(600 if algorithm == "sm4-cbc" else 20):
        wire = Wire(body)
        former.seal_request(wire)
        now.open_request(wire, Opening())
        assert wire.body == body


# -- replays -------------------------------------------------------------------------------------------------------------


def test_a_caller_does_not_choose_how_much_memory_its_nonces_take() -> None:
    guard = ReplayGuard(300, now=lambda: NOW)
    for number in range(100):
        guard.remember(f"{number}-" + "n" * 100_000)
    assert max(map(len, guard._seen)) <= 64
    with pytest.raises(Refused):
        guard.remember("7-" + "n" * 100_000)
    guard.forget("7-" + "n" * 100_000)
    guard.remember("7-" + "n" * 100_000)


def test_of_two_threads_with_the_same_call_one_is_let_in() -> None:
    guard = ReplayGuard(300, limit=1_000_000, now=lambda: NOW)
    nonces = [secrets.token_hex(8) for _ in range(2000)]
    taken: list[str] = []
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait(10)
        for nonce in nonces:
            try:
                guard.remember(nonce)
            except Refused:
                continue
            taken.append(nonce)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == sorted(nonces)


# -- errors --------------------------------------------------------------------------------------------------------------


class _NoKey(Scheme):
    name = "no_key"

    def open_request(self, wire: Wire, opening: Opening) -> None:
        from hub.security.errors import no_key

        raise no_key("public")


def test_what_is_the_hubs_own_fault_is_told_as_such() -> None:
    with pytest.raises(Refused) as caught:
        Protection([_NoKey(None)]).open_now(Wire(b"{}"))
    assert (caught.value.status, caught.value.retry_after > 0) == (503, True)


@pytest.mark.parametrize("mode", ["ecb", "cbc"])
def test_every_way_a_decryption_fails_has_one_answer(mode: str) -> None:
    """Else who can ask often enough decrypts without the key."""
    options = EncryptionOptions.model_validate({"algorithm": f"sm4-{mode}", "key": KEY, "encoding": "hex"})
    protection = Protection([Encryption(options)])
    answers = set()
    for _ in range(400):
        data = secrets.token_bytes(32 + (16 if mode == "cbc" else 0))
        for text in (data.hex(), data.hex()[:-2], data.hex() + "00", "zz"):
            try:
                protection.open_now(Wire(text.encode()))
            except Refused as error:
                answers.add((error.code, error.text, error.status))
    assert len(answers) == 1


def test_no_digest_is_compared_but_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing can't be measured here; that the one function is asked can."""
    import hub.crypto.classic as classic

    compared: list[tuple[bytes, bytes]] = []
    real = classic.hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(classic.hmac, "compare_digest", noted)
    for name in ("x_tif", "hunan_insurance", "bosssoft", "health_card", "tencent_health_card", "logink", "sinoiov",
                 "aliyun_acs3", "tencent_tc3"):  # fmt: skip
        ours, theirs, body = BOTH_SIDES[name]
        wire = post(body)
        make(name, **ours).seal_request(wire)
        compared.clear()
        opened(make(name, **theirs), wire)
        assert any(one == other and len(one) >= 16 for one, other in compared), name
    sign = hmac_digest("sha256", b"k", b"x")
    compared.clear()
    scheme = make("signature", secret="k" * 16, at={"header": "s"})
    with pytest.raises(Refused):
        opened(scheme, Wire(b"x", {"s": sign.hex()}))
    assert any(other == sign or one == sign for one, other in compared)
