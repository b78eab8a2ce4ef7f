"""The second factor: codes of applications, codes that are sent, recovery; fresh proof before what is sensitive; passwords that must change."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.people.totp import code_at, hotp, matching_step, uri
from tests.people.conftest import PASSWORD, OpenPlace

LOGIN = "/api/v1/login"
SECOND = "/api/v1/login/second"


# RFC 6238, appendix B: the secrets are the digits repeated to the length of the hash.
@pytest.mark.parametrize(
    ("now", "sha1", "sha256", "sha512"),
    [
        (59, "94287082", "46119246", "90693936"),
        (1111111109, "07081804", "68084774", "25091201"),
        (1111111111, "14050471", "67062674", "99943326"),
        (1234567890, "89005924", "91819424", "93441116"),
        (2000000000, "69279037", "90698825", "38618901"),
        (20000000000, "65353130", "77737706", "47863826"),
    ],
)
def test_vectors_of_rfc_6238(now: int, sha1: str, sha256: str, sha512: str) -> None:
    digits = b"1234567890" * 7
    assert code_at(digits[:20], now, 8) == sha1
    assert code_at(digits[:32], now, 8, "sha256") == sha256
    assert code_at(digits[:64], now, 8, "sha512") == sha512


def test_vectors_of_rfc_4226() -> None:
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [hotp(b"12345678901234567890", counter) for counter in range(10)] == codes


@given(st.binary(min_size=20, max_size=20), st.integers(1000, 2**40), st.integers(-3, 3), st.booleans())
def test_a_code_counts_once_and_for_three_steps(secret: bytes, now: int, away: int, used: bool) -> None:
    step = now // 30 + away
    if step < 1:
        return
    code = hotp(secret, step)
    found = matching_step(secret, code, now, step if used else 0)
    if used:
        assert found == 0 or found > step  # another step may have the same six digits
    elif abs(away) <= 1:
        assert found
    assert matching_step(secret, code[:5], now, 0) == 0


@given(st.text(max_size=40))
def test_anything_may_be_typed_as_a_code(text: str) -> None:
    assert matching_step(b"0" * 20, text, 1_800_000_000, 2**60) == 0


def test_what_applications_read() -> None:
    text = uri(b"12345678901234567890", "zhang.san", "通衢")
    assert text.startswith("otpauth://totp/%E9%80%9A%E8%A1%A2:zhang.san?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&")


async def test_an_authenticator_from_setting_up_to_signing_in(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    client = await here.sign_in("zhang")
    secret = await here.with_totp(client)
    await client.done("GET", "/api/v1/status")
    again = here.client()
    step = await again.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    assert (step["state"], step["methods"]) == ("second", ["totp", "recovery"])
    again.token = step["token"]
    await again.refused(401, "login.step", "GET", "/api/v1/status")
    assert (await again.done("GET", "/api/v1/me"))["state"] == "second"
    # The code that confirmed the authenticator is used up.
    used = code_at(secret, here.clock.now)
    await again.refused(401, "login.code", "POST", SECOND, {"method": "totp", "code": used})
    here.clock.now += 30
    code = code_at(secret, here.clock.now)
    done = await again.done("POST", SECOND, {"method": "totp", "code": code})
    assert done["state"] == "full"
    await again.refused(401, "auth.required", "GET", "/api/v1/status")  # the token of the step before is over
    again.token = done["token"]
    await again.done("GET", "/api/v1/status")
    # The same code again, in another login.
    thief = here.client()
    thief.token = (await thief.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD}))["token"]
    await thief.refused(401, "login.code", "POST", SECOND, {"method": "totp", "code": code})


async def test_wrong_codes_end_the_login_and_lock_the_account(place: OpenPlace) -> None:
    here = await place({"login": {"tries": 7}})
    await here.person("zhang", "monitor")
    await here.with_totp(await here.sign_in("zhang"))
    here.clock.now += 300
    client = here.client()
    client.token = (await client.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD}))["token"]
    for _ in range(5):
        await client.refused(401, "login.code", "POST", SECOND, {"code": "abcdef"})
    await client.refused(401, "login.over", "POST", SECOND, {"code": "abcdef"})
    client.token = ""
    client.token = (await client.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD}))["token"]
    for _ in range(2):  # the right password has not ended the row
        await client.refused(401, "login.code", "POST", SECOND, {"code": "abcdef"})
    await client.refused(429, "login.locked", "POST", SECOND, {"code": "abcdef"})
    await here.client().refused(429, "login.locked", "POST", LOGIN, {"user": "zhang", "password": PASSWORD})


async def test_recovery_codes_count_once(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    client = await here.sign_in("zhang")
    made = await client.done("POST", "/api/v1/second-factor/totp")
    secret = base64.b32decode(made["secret"])
    confirmed = await client.done(
        "POST", "/api/v1/second-factor/totp/confirm", {"code": code_at(secret, here.clock.now)}
    )
    assert len(set(confirmed["recovery"])) == 10
    code = confirmed["recovery"][3]
    for number in range(2):
        login = here.client()
        login.token = (await login.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD}))["token"]
        order = {"method": "recovery", "code": code.upper() if number == 0 else code}
        if number == 0:
            assert (await login.done("POST", SECOND, order))["state"] == "full"
        else:
            await login.refused(401, "login.code", "POST", SECOND, order)


async def test_a_role_that_must_have_a_second_factor_sets_one_up_first(place: OpenPlace) -> None:
    here = await place({"second_factor": {"roles": ["administrator"]}})
    await here.person("boss", "administrator")
    await here.person("zhang", "monitor")
    await here.sign_in("zhang")
    boss = here.client()
    step = await boss.done("POST", LOGIN, {"user": "boss", "password": PASSWORD})
    assert (step["state"], step["methods"]) == ("enrol", [])
    boss.token = step["token"]
    await boss.refused(401, "login.step", "GET", "/api/v1/status")
    await boss.refused(403, "login.step", "POST", "/api/v1/password", {"old": PASSWORD, "new": "Another#2027x"})
    made = await boss.done("POST", "/api/v1/second-factor/totp")
    await boss.refused(401, "login.code", "POST", "/api/v1/second-factor/totp/confirm", {"code": "000"})
    secret = base64.b32decode(made["secret"])
    done = await boss.done("POST", "/api/v1/second-factor/totp/confirm", {"code": code_at(secret, here.clock.now)})
    assert (done["state"], len(done["recovery"])) == ("full", 10)
    boss.token = done["token"]
    await boss.done("GET", "/api/v1/users")


async def test_codes_by_text_message(place: OpenPlace) -> None:
    here = await place({"second_factor": {"required": True, "sms": "his/in", "valid": "5m"}})
    await here.person("zhang", "monitor", phone="13800000001")
    client = here.client()
    step = await client.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    assert (step["state"], step["methods"]) == ("second", ["sms"])
    client.token = step["token"]
    await client.refused(422, "login.method", "POST", "/api/v1/login/code", {"method": "mail"})
    await client.done("POST", "/api/v1/login/code", {"method": "sms"}, 202)
    where, sent, _ = here.sent[-1]
    assert (where, sent["to"], len(sent["code"]), sent["minutes"]) == ("his/in", "13800000001", 6, 5)
    await client.refused(429, "login.code_sent", "POST", "/api/v1/login/code", {"method": "sms"})
    wrong = f"{(int(sent['code']) + 1) % 10**6:06d}"
    await client.refused(401, "login.code", "POST", SECOND, {"method": "sms", "code": wrong})
    here.clock.now += 301
    await client.refused(401, "login.code", "POST", SECOND, {"method": "sms", "code": sent["code"]})
    await client.done("POST", "/api/v1/login/code", {"method": "sms"}, 202)
    code = here.sent[-1][1]["code"]
    done = await client.done("POST", SECOND, {"method": "sms", "code": code})
    assert done["state"] == "full"
    client.token = done["token"]
    await client.refused(401, "login.code", "POST", "/api/v1/session/verify", {"method": "sms", "code": code})


async def test_sensitive_orders_want_a_fresh_proof(place: OpenPlace) -> None:
    here = await place({"second_factor": {"fresh": "10m"}})
    await here.person("boss", "administrator")
    boss = await here.sign_in("boss")
    new = {"id": "li", "roles": ["monitor"], "scope": {"everything": True}}
    await boss.refused(403, "auth.verify", "POST", "/api/v1/users", new)
    await boss.refused(401, "login.code", "POST", "/api/v1/session/verify", {"method": "password", "code": "x"})
    await boss.done("POST", "/api/v1/session/verify", {"method": "password", "code": PASSWORD})
    await boss.done("POST", "/api/v1/users", new, 201)
    here.clock.now += 601
    await boss.refused(403, "auth.verify", "POST", "/api/v1/users", {**new, "id": "wang"})
    secret = await here.with_totp(boss)
    here.clock.now += 601
    await boss.refused(422, "login.method", "POST", "/api/v1/session/verify", {"method": "password", "code": PASSWORD})
    await boss.refused(
        403, "auth.verify", "POST", "/api/v1/second-factor/totp"
    )  # nor is another authenticator set up without it
    await boss.done("POST", "/api/v1/session/verify", {"method": "totp", "code": code_at(secret, here.clock.now)})
    await boss.done("POST", "/api/v1/users", {**new, "id": "wang"}, 201)


# -- passwords ---------------------------------------------------------------------------------------------------------


async def test_a_temporary_password_has_to_be_changed_and_lapses(place: OpenPlace) -> None:
    here = await place({"passwords": {"temporary": "1h"}})
    await here.person("boss", "administrator")
    boss = await here.fresh("boss")
    new = {"id": "li", "roles": ["monitor"], "scope": {"everything": True}}
    temporary = (await boss.done("POST", "/api/v1/users", new, 201))["temporary_password"]
    li = here.client()
    step = await li.done("POST", LOGIN, {"user": "li", "password": temporary})
    assert step["state"] == "change"
    li.token = step["token"]
    await li.refused(401, "login.step", "GET", "/api/v1/status")
    await li.refused(422, "password.history", "POST", "/api/v1/password", {"old": temporary, "new": temporary})
    await li.refused(401, "login.code", "POST", "/api/v1/password", {"old": "wrong", "new": "Mountain#77"})
    done = await li.done("POST", "/api/v1/password", {"old": temporary, "new": "Mountain#77"})
    assert done["state"] == "full"
    li.token = done["token"]
    await li.done("GET", "/api/v1/status")
    reset = (await boss.done("POST", "/api/v1/users/li/password", {"reason": "forgotten"}))["temporary_password"]
    await li.refused(401, "auth.required", "GET", "/api/v1/status")
    here.clock.now += 3601
    await here.client().refused(401, "login.wrong", "POST", LOGIN, {"user": "li", "password": reset})


async def test_a_password_lapses_and_its_end_is_told(place: OpenPlace) -> None:
    here = await place({"passwords": {"valid_days": 30}})
    await here.person("zhang", "monitor")
    assert (await (await here.sign_in("zhang")).done("GET", "/api/v1/me"))["notices"] == []
    here.clock.now += 24 * 86400
    notices = (await (await here.sign_in("zhang")).done("GET", "/api/v1/me"))["notices"]
    assert "6 days" in notices[0]
    here.clock.now += 7 * 86400
    step = await here.client().done("POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    assert step["state"] == "change"


async def test_history_and_the_pause_between_two_changes(place: OpenPlace) -> None:
    here = await place({"passwords": {"history": 3, "change_days": 1}})
    await here.person("zhang", "monitor")
    client = await here.sign_in("zhang")
    await client.refused(422, "password.interval", "POST", "/api/v1/password", {"old": PASSWORD, "new": "Mountain#1x"})
    old = PASSWORD
    for new in ("Mountain#1x", "Mountain#2y", "Mountain#3z"):
        here.clock.now += 86401
        client = await here.sign_in("zhang", old)
        bystander = await here.sign_in("zhang", old)
        await client.done("POST", "/api/v1/password", {"old": old, "new": new})
        await client.done("GET", "/api/v1/status")
        await bystander.refused(401, "auth.required", "GET", "/api/v1/status")
        old = new
    here.clock.now += 86401
    client = await here.sign_in("zhang", old)
    for past in ("Mountain#1x", "Mountain#2y", "Mountain#3z"):
        await client.refused(422, "password.history", "POST", "/api/v1/password", {"old": old, "new": past})
    await client.done("POST", "/api/v1/password", {"old": old, "new": PASSWORD})


async def test_a_hash_of_older_times_is_made_anew_at_the_login(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    records = here.people.records

    def stored() -> str:
        return records.book.get("zhang").password

    before = await here.people.run(stored)
    records.passwords._iterations = 30
    await here.sign_in("zhang")
    after = await here.people.run(stored)
    assert before.split("$")[1] == "20"
    assert after.split("$")[1] == "30"
    await here.sign_in("zhang")
    assert await here.people.run(stored) == after
