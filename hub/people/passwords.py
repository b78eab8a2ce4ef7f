"""Passwords: how they are kept (PBKDF2, RFC 8018, with HMAC-SM3, and a key outside of the database), and what they must be like.

600,000 iterations take 0.2 s of one core here, as many as are advised for SHA-256: whoever guesses with hardware made for it gains nothing by SM3.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import string
from itertools import pairwise

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from hub.crypto import provider
from hub.i18n import t
from hub.people.config import PasswordsConfig
from hub.people.errors import PeopleError
from hub.people.sealing import Sealing

__all__ = ["ITERATIONS", "STRENGTHS", "Passwords", "check_password", "strength_of", "temporary_password"]

ITERATIONS = 600_000
STRENGTHS = ("weak", "middle", "strong")
#: Bytes of a password that are looked at all; a check must not cost more for what can't be one.
LONGEST = 256
_SCHEME = "pbkdf2-sm3"


class Passwords:
    """Makes and checks what is stored of passwords: ``pbkdf2-sm3$iterations$key version$salt$hash``. Slow on purpose: never on the event loop."""

    def __init__(self, sealing: Sealing, iterations: int = ITERATIONS) -> None:
        self._sealing = sealing
        self._iterations = iterations

    def hash(self, password: str) -> str:
        salt = secrets.token_bytes(16)
        version, pepper = self._sealing.pepper()
        return self._text(password, self._iterations, version, pepper, salt)

    def verify(self, password: str, stored: str) -> bool:
        """False for a wrong password and for a stored text that is none."""
        try:
            scheme, iterations, version, salt, wanted = stored.split("$")
            count, found = int(iterations), base64.b64decode(salt, validate=True)
        except (ValueError, binascii.Error):
            return False
        if scheme != _SCHEME or not 1 <= count <= 10_000_000:
            return False
        made = self._text(password, count, version, self._sealing.pepper_of(version), found)
        return hmac.compare_digest(made.rpartition("$")[2], wanted)

    def verify_nobody(self, password: str) -> None:
        """The same work for a user there is none of: how long an answer takes must not tell."""
        version = self._sealing.pepper()[0]
        salt, mac = (base64.b64encode(secrets.token_bytes(count)).decode() for count in (16, 32))
        self.verify(password, "$".join((_SCHEME, str(self._iterations), version, salt, mac)))

    def outdated(self, stored: str) -> bool:
        """Should it be made anew at the next login?"""
        return stored.split("$")[1:3] != [str(self._iterations), self._sealing.pepper()[0]]

    def _text(self, password: str, iterations: int, version: str, pepper: bytes, salt: bytes) -> str:
        secret = password.encode("utf-8", "surrogatepass")[: LONGEST * 4]
        slow = PBKDF2HMAC(hashes.SM3(), 32, salt, iterations).derive(secret)
        mac = provider().hmac_sm3(pepper, slow)
        parts = (_SCHEME, str(iterations), version, base64.b64encode(salt).decode(), base64.b64encode(mac).decode())
        return "$".join(parts)


def _kinds(password: str) -> int:
    tests = (str.islower, str.isupper, str.isdigit, _is_special)
    return sum(any(test(c) for c in password) for test in tests)


def _is_special(char: str) -> bool:
    return char.isprintable() and not char.isalnum() and not char.isspace()


def strength_of(password: str) -> str:
    """weak, middle or strong. strong: 12 characters of three kinds; middle: 8 of two; repeats and runs count as one character."""
    steps = {0, 1, -1}
    runs = sum(1 for a, b in pairwise(password) if ord(b) - ord(a) in steps)
    length, kinds = len(password) - runs, _kinds(password)
    if length >= 12 and kinds >= 3:
        return "strong"
    return "middle" if length >= 8 and kinds >= 2 else "weak"


def check_password(password: str, policy: PasswordsConfig, user: str) -> None:
    """Raises :class:`PeopleError` with everything the policy misses in it, never with the password."""
    wrong = []
    if not policy.length <= len(password) <= policy.longest:
        wrong.append(t(f"{policy.length} to {policy.longest} characters", f"{policy.length} 至 {policy.longest} 位"))
    if policy.letter and not any(c in string.ascii_letters for c in password):
        wrong.append(t("a capital or small letter", "至少 1 位大写或小写字母"))
    if policy.digit and not any(c in string.digits for c in password):
        wrong.append(t("a digit", "至少 1 位数字"))
    if policy.special and not any(_is_special(c) for c in password):
        wrong.append(t("a special character", "至少 1 位特殊字符"))
    if any(not c.isprintable() for c in password):
        wrong.append(t("only characters that can be seen", "不含不可见字符"))
    if user.lower() in password.lower():
        wrong.append(t("not the user's name in it", "不含用户名"))
    if STRENGTHS.index(strength_of(password)) < STRENGTHS.index(policy.strength):
        words = {"weak": "弱", "middle": "中", "strong": "强"}
        wrong.append(t(f"at least of {policy.strength} strength", f"强度至少为{words[policy.strength]}"))
    if wrong:
        raise PeopleError(
            t(f"the password needs: {'; '.join(wrong)}", f"口令须满足：{'；'.join(wrong)}"), code="password.policy"
        )


def temporary_password(policy: PasswordsConfig) -> str:
    """One that meets every policy there can be, to be read out and typed: no characters that look alike."""
    length = min(policy.longest, max(policy.length, 14))
    letters, digits, special = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ", "23456789", "!#%+=?@"
    while True:
        made = [secrets.choice(letters + digits) for _ in range(length - 2)]
        made.insert(secrets.randbelow(len(made)), secrets.choice(special))
        made.insert(secrets.randbelow(len(made)), secrets.choice(digits))
        text = "".join(made)
        if strength_of(text) == "strong" or length < 12:
            return text
