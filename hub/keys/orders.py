"""What people, and the hub by its policy, do with keys. Every order is one transaction together with its entry in the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hub.audit import entry
from hub.i18n import t
from hub.keys import material
from hub.keys.errors import KeysError
from hub.keys.master import MasterSource
from hub.keys.material import Material
from hub.keys.model import DAY, FIXED_PURPOSES, OWN_PURPOSES, Key, Kind, Policy, State, Version, check_name
from hub.keys.store import KeyStore
from hub.keys.vault import Draft

__all__ = ["Approver", "Orders"]

#: Asked before private keys leave the store, or keys are destroyed: (action, key, actor, reason). Refuses by raising HubError.
Approver = Callable[[str, str, str, str], None]


class Orders:
    """Orders of one person, or of the hub. Every method raises :class:`KeysError` for what can't be done, and then does nothing."""

    def __init__(self, store: KeyStore, *, actor: str, approve: Approver | None = None) -> None:
        self._store = store
        self._actor = actor
        self._approve = approve

    # -- making --------------------------------------------------------------------------------------------------

    def generate(
        self,
        name: str,
        kind: Kind,
        purpose: str,
        *,
        owner: str = "",
        policy: Policy,
        bits: int = 0,
        pending: bool = False,
    ) -> Version:
        """A new key with its first version."""
        return self._new(name, kind, purpose, owner, policy, material.generate(kind, bits), pending, "keys.generate")

    def import_(
        self,
        name: str,
        kind: Kind,
        purpose: str,
        found: Material,
        *,
        owner: str = "",
        policy: Policy,
        pending: bool = False,
    ) -> Version:
        """A key that was made elsewhere; a name that is known gets a new version, of the same kind."""
        known = self._store.refresh().keys.get(name)
        if known is None:
            return self._new(name, kind, purpose, owner, policy, found, pending, "keys.import")
        with self._store.change() as draft:
            key = draft.content.key(name)
            if key.kind is not kind:
                raise KeysError(
                    t(f"key {name} is of kind {key.kind}, not {kind}", f"密钥 {name} 的类型为 {key.kind}，不是 {kind}"),
                    code="keys.kind",
                )
            version = self._add(draft, key, found, pending)
            self._note(draft, "keys.import", version)
        return version

    def ensure_data_key(self, purpose: str) -> None:
        """The hub's own key for a purpose, unless there is one."""
        known = self._store.content.keys.get(purpose)
        if known is None:
            policy = self._store.usual.fitting(Kind.DATA, purpose)
            with self._store.change() as draft:
                if purpose not in draft.content.keys:  # another process may have been quicker
                    key = Key(purpose, Kind.DATA, purpose, "", policy, self._now())
                    draft.put_key(key)
                    version = self._add(draft, key, material.generate(Kind.DATA, 0), False)
                    self._note(draft, "keys.generate", version)
            known = self._store.content.keys[purpose]
        if known.kind is not Kind.DATA or known.purpose != purpose:
            raise KeysError(
                t(
                    f"key {purpose} is not the hub's own data key: it is of kind {known.kind}, for {known.purpose}",
                    f"密钥 {purpose} 不是枢纽自有的数据密钥：类型 {known.kind}，用途 {known.purpose}",
                ),
                code="keys.kind",
            )

    def _new(
        self,
        name: str,
        kind: Kind,
        purpose: str,
        owner: str,
        policy: Policy,
        found: Material,
        pending: bool,
        action: str,
    ) -> Version:
        check_name(name, purpose)
        policy.check()
        with self._store.change() as draft:
            if name in draft.content.keys:
                raise KeysError(
                    t(f"there is a key {name} already", f"密钥 {name} 已存在"),
                    code="keys.exists",
                    remedy=t(f"hub keys rotate {name}, or choose another name", f"hub keys rotate {name}，或另取名称"),
                )
            key = Key(name, kind, purpose, owner, policy, self._now())
            draft.put_key(key)
            version = self._add(draft, key, found, pending)
            self._note(draft, action, version, kind=kind, purpose=purpose, owner=owner)
        return version

    def _now(self) -> int:
        return int(self._store.clock())

    def _add(self, draft: Draft, key: Key, found: Material, pending: bool) -> Version:
        """A new version; unless ``pending`` it replaces the active one."""
        versions = draft.content.versions[key.name]
        version = Version(
            key.name,
            max(versions, default=0) + 1,
            State.PENDING,
            self._now(),
            expires_at=found.expires_at,
            fingerprint=found.fingerprint,
            public=found.public,
        )
        version = draft.add(version, found.secret)
        return version if pending else self._activate(draft, version)

    def _activate(self, draft: Draft, version: Version) -> Version:
        key = draft.content.keys[version.name]
        now = self._now()
        before = draft.content.active(key.name)
        if before is not None:
            self._let_retire(draft, before, key.policy.overlap_days)
        expires = version.expires_at if key.kind is Kind.CERTIFICATE else now + key.policy.validity_days * DAY
        return draft.alter(version, state=State.ACTIVE, active_from=now, expires_at=expires)

    def _let_retire(self, draft: Draft, version: Version, days: int | None) -> Version:
        until = 0 if days is None else self._now() + days * DAY
        return draft.alter(version, state=State.RETIRING, opens_until=until)

    def _note(self, draft: Draft, action: str, version: Version, reason: str = "", **more: Any) -> None:
        detail = {"version": version.number, "state": version.state, "fingerprint": version.fingerprint, **more}
        draft.note(entry(self._actor, action, version.name, detail, reason))

    # -- the life of versions ------------------------------------------------------------------------------------

    def rotate(self, name: str, *, reason: str = "", pending: bool = False) -> Version:
        """A new version made by the hub. It replaces the active one, or waits, pending, for :meth:`activate`."""
        with self._store.change() as draft:
            key = draft.content.key(name)
            if key.purpose in FIXED_PURPOSES and not reason:
                raise KeysError(
                    t(
                        f"what {name} makes is compared with what it made before: a new version breaks every comparison",
                        f"{name} 的输出要与以往的输出比对：更换版本会使所有比对失效",
                    ),
                    code="keys.fixed",
                    remedy=t("plan it, then give --reason", "请先做好计划，再用 --reason 说明理由"),
                )
            newest = draft.content.versions[name][max(draft.content.versions[name])]
            found = material.generate(key.kind, material.bits_of(key.kind, newest.public))
            version = self._add(draft, key, found, pending)
            self._note(draft, "keys.rotate", version, reason)
        return version

    def rotate_due(self) -> list[Version]:
        """New versions of the hub's own keys whose time has come; only the first of several processes finds any."""
        if not self._due(self._store.content.keys):
            return []
        made = []
        with self._store.change() as draft:
            for name in self._due(draft.content.keys, draft):
                key = draft.content.keys[name]
                version = self._add(draft, key, material.generate(key.kind, 0), False)
                self._note(draft, "keys.rotate", version, "policy")
                made.append(version)
        return made

    def _due(self, keys: dict[str, Key], draft: Draft | None = None) -> list[str]:
        content = draft.content if draft is not None else self._store.content
        now = self._now()
        found = []
        for name, key in keys.items():
            active = content.active(name)
            if key.policy.rotation == "auto" and active and now >= active.active_from + key.policy.rotate_days * DAY:
                found.append(name)
        return found

    def activate(self, name: str, number: int) -> Version:
        """A pending version becomes the active one; the one before it retires."""
        with self._store.change() as draft:
            version = self._in_state(draft, name, number, State.PENDING)
            version = self._activate(draft, version)
            self._note(draft, "keys.activate", version)
        return version

    def retire(self, name: str, number: int, *, opens_days: int | None = None, reason: str = "") -> Version:
        """The active version is used for nothing new, or a retiring one gets another end: it opens for so many days, None: on and on.

        An end for a key of the hub's own data needs a reason: what was sealed with it can't be read any more then.
        """
        if opens_days is not None and self._store.refresh().key(name).purpose in OWN_PURPOSES:
            self._wants(reason)
        with self._store.change() as draft:
            version = self._in_state(draft, name, number, State.ACTIVE, State.RETIRING)
            version = self._let_retire(draft, version, opens_days)
            self._note(draft, "keys.retire", version, reason, opens_until=version.opens_until)
        return version

    def revoke(self, name: str, number: int, *, reason: str) -> Version:
        """A version is used for nothing any more, at once; not to be taken back."""
        self._wants(reason)
        with self._store.change() as draft:
            version = self._in_state(draft, name, number, State.PENDING, State.ACTIVE, State.RETIRING)
            version = draft.alter(version, state=State.REVOKED)
            self._note(draft, "keys.revoke", version, reason)
        return version

    def destroy(self, name: str, number: int, *, reason: str) -> Version:
        """The secret of a version is removed: what was sealed with it is lost. Not for the active version."""
        self._wants(reason)
        self._ask("keys.destroy", f"{name}@{number}", reason)
        with self._store.change() as draft:
            version = self._in_state(draft, name, number, State.PENDING, State.RETIRING, State.REVOKED)
            version = draft.alter(version, state=State.DESTROYED)
            self._note(draft, "keys.destroy", version, reason)
        return version

    def _in_state(self, draft: Draft, name: str, number: int, *wanted: State) -> Version:
        version = draft.content.version(name, number)
        if version.state not in wanted:
            allowed = ", ".join(wanted)
            raise KeysError(
                t(
                    f"key {name}@{number} is {version.state}, not {allowed}",
                    f"密钥 {name}@{number} 的状态为 {version.state}，不是 {allowed}",
                ),
                code="keys.state",
            )
        return version

    def _wants(self, reason: str) -> None:
        if not reason.strip():
            raise KeysError(t("a reason is needed", "须说明理由"), code="keys.reason", remedy="--reason …")

    def _ask(self, action: str, subject: str, reason: str) -> None:
        if self._approve is not None:
            self._approve(action, subject, self._actor, reason)

    def set_policy(self, name: str, policy: Policy, *, reason: str = "") -> Key:
        """Another policy for a key; validity and overlap count from the next version on."""
        policy.check()
        with self._store.change() as draft:
            key = replace(draft.content.key(name), policy=policy)
            draft.put_key(key)
            draft.note(entry(self._actor, "keys.policy", name, policy.as_dict(), reason))
        return key

    # -- out of the store ----------------------------------------------------------------------------------------

    def export_public(self, name: str, number: int = 0) -> bytes:
        """PEM of the public part; without a number that of the active version. Not recorded: it is public."""
        content = self._store.refresh()
        version = content.version(name, number) if number else content.sealing(name, self._store.clock())
        return material.public_pem(content.keys[name].kind, version.public)

    def export_private(self, name: str, number: int, recipient: bytes, *, reason: str) -> bytes:
        """The secret of a version for whoever has the private key of ``recipient``, a PEM certificate with an RSA key.

        CMS EnvelopedData (RFC 5652), AES-256, as PEM: ``openssl cms -decrypt -inform PEM`` opens it.
        """
        self._wants(reason)
        sealer = material.recipient(recipient)
        self._ask("keys.export", f"{name}@{number}", reason)
        with self._store.change() as draft:
            version = draft.content.version(name, number)
            if not version.sealed:
                raise KeysError(
                    t(f"key {name}@{number} has no secret", f"密钥 {name}@{number} 没有可导出的密钥内容"),
                    code="keys.state",
                )
            kind = draft.content.keys[name].kind
            sealed = sealer.seal(material.text(kind, draft.unseal(version)))
            self._note(draft, "keys.export", version, reason, recipient=sealer.fingerprint)
        return sealed

    # -- the master key ------------------------------------------------------------------------------------------

    def rotate_master(self, cipher: str, *, to: MasterSource | None = None, reason: str = "") -> int:
        """A new master key and a new root key; everything is sealed anew, in one transaction. Returns how many secrets.

        A master key in a file is replaced there. Otherwise ``to`` is where the new one is; then the configuration has to name it.
        """
        source = self._store.master
        self._ask("keys.master", "", reason)
        with self._store.change() as draft:
            following = to.make() if to is not None else source.prepare(draft.master)
            count = draft.new_root(following, cipher)
            detail = {"cipher": cipher, "master": following.id, "sealed": count}
            draft.note(entry(self._actor, "keys.master", "", detail, reason))
        self._store.settle_master()
        return count
