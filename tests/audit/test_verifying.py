"""Every way of tampering with the trail is found and named; what is sound is not blamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hub.audit import canonical, chain_hash
from hub.audit.checkpoint import checkpoint_entry
from hub.audit.copies import line_of
from hub.audit.errors import AuditUnreadable
from hub.audit.signing import Signature, Signer
from hub.crypto import provider
from tests.audit.audit_support import World

CHAINS = ["hub", "worker-00", "worker-01", "keys"]


def full(world: World) -> World:
    """Three entries and a checkpoint, and three more after it."""
    world.fill()
    world.keeper.checkpoint()
    world.fill()
    world.orders().rotate("audit", reason="test")
    assert world.verify().problems == []
    return world


def copy_of(world: World) -> Path:
    """What a collector has: every entry of every chain."""
    file = world.folder / "copy.jsonl"
    lines = [line_of(source.name, row) for source in world.keeper.chains() for row in source.rows()]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_sound_trail(signed: World) -> None:
    done = full(signed).verify()
    assert (done.problems, done.checkpoints, done.signed, done.archives) == ([], 1, 1, 0)
    assert done.entries == {"hub": 7, "worker-00": 6, "worker-01": 6, "keys": 4, "access": 0}
    assert "--against" in done.notes[0]
    done = signed.verify(copy_of(signed))
    assert (done.problems, done.notes, done.witnesses) == ([], [], 23)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("entry 2", """UPDATE {t} SET entry = replace(entry, '"actor":"', '"actor":"x') WHERE seq = 2"""),
        ("entry 2", "UPDATE {t} SET entry = entry || ' ' WHERE seq = 2"),
        ("entry 2", "UPDATE {t} SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 2"),
        ("entry 2", "UPDATE {t} SET at = at - 3600000000 WHERE seq = 2"),
        ("2", "UPDATE {t} SET entry = '' WHERE seq = 2"),
        ("entry 2 is missing", "DELETE FROM {t} WHERE seq = 2"),
        ("entry 1 is missing", "DELETE FROM {t} WHERE seq = 1"),
        ("entry 3 is missing", "UPDATE {t} SET seq = 100 WHERE seq = 3"),
    ],
)
def test_one_row(signed: World, chain: str, what: str, statement: str) -> None:
    full(signed).edit(chain, statement)
    problems = signed.verify().problems
    assert problems
    assert all(problem.startswith((f"{chain}: ", "checkpoint in hub")) for problem in problems)
    assert what in problems[0]


@pytest.mark.parametrize("chain", CHAINS)
def test_two_rows_change_places(signed: World, chain: str) -> None:
    full(signed).edit(
        chain,
        "UPDATE {t} SET seq = 0 WHERE seq = 2",
        "UPDATE {t} SET seq = 2 WHERE seq = 3",
        "UPDATE {t} SET seq = 3 WHERE seq = 0",
    )
    assert any("entry 2" in problem for problem in signed.verify().problems)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_row_is_put_in(signed: World, chain: str) -> None:
    full(signed).edit(
        chain,
        "UPDATE {t} SET seq = seq + 1000 WHERE seq >= 3",
        "INSERT INTO {t} SELECT 3, at, entry, hash FROM {t} WHERE seq = 2",
        "UPDATE {t} SET seq = seq - 999 WHERE seq >= 1000",
    )
    assert any("entry 3" in problem for problem in signed.verify().problems)


def rewritten(world: World, chain: str, start: int) -> None:
    """The rest of a chain as somebody would make it who can compute hashes."""
    previous = world.rows(chain)[start - 2]["hash"] if start > 1 else ""
    statements = []
    for row in world.rows(chain)[start - 1 :]:
        text = canonical({**json.loads(row["entry"]), "actor": "nobody"})
        previous = chain_hash(previous, text)
        quoted = text.replace("'", "''").replace("{", "{{").replace("}", "}}")
        statements.append(f"UPDATE {{t}} SET entry = '{quoted}', hash = '{previous}' WHERE seq = {row['seq']}")
    world.edit(chain, *statements)


@pytest.mark.parametrize("chain", ["worker-00", "worker-01", "keys"])
def test_a_chain_written_anew_contradicts_the_checkpoint(signed: World, chain: str) -> None:
    rewritten(full(signed), chain, 1)
    problems = signed.verify().problems
    assert problems
    assert any("written anew" in problem and problem.startswith(f"{chain}: ") for problem in problems)


@pytest.mark.parametrize("chain", CHAINS)
def test_rewritten_after_the_last_checkpoint_contradicts_the_copy(signed: World, chain: str) -> None:
    copy = copy_of(full(signed))
    last = len(signed.rows(chain))
    rewritten(signed, chain, last)
    problems = signed.verify(copy).problems
    assert [problem for problem in problems if problem.startswith(f"{chain}: entry {last}")]


@pytest.mark.parametrize("chain", ["worker-00", "keys"])
def test_cut_off_below_the_checkpoint(signed: World, chain: str) -> None:
    full(signed).edit(chain, "DELETE FROM {t} WHERE seq > 1")
    found = [problem for problem in signed.verify().problems if "cut off" in problem]
    assert [problem.partition(":")[0] for problem in found] == [chain]
    assert "the checkpoint in hub 4" in found[0]


@pytest.mark.parametrize("chain", CHAINS)
def test_cut_off_above_the_checkpoint_contradicts_the_copy(signed: World, chain: str) -> None:
    copy = copy_of(full(signed))
    last = len(signed.rows(chain))
    signed.edit(chain, f"DELETE FROM {{t}} WHERE seq = {last}")
    assert signed.verify().problems == []
    (problem,) = signed.verify(copy).problems
    assert problem.startswith(f"{chain}: entries {last} to {last} were cut off the end")
    assert "copy.jsonl has them" in problem


def test_everything_put_back(signed: World) -> None:
    """A whole backup of the data folder is sound in itself; the copy elsewhere tells."""
    full(signed)
    before = signed.folder / "before"
    signed.restart_keys()
    signed.keeper.trail.close()
    for catalog in signed.catalogs:
        catalog.close()
    shutil.copytree(signed.folder / "var", before)
    signed.catalogs[:] = [type(signed.catalogs[0])(signed.path(chain)) for chain in ("worker-00", "worker-01")]
    signed.fill(1)
    signed.keeper.checkpoint()
    copy = copy_of(signed)
    signed.close()
    shutil.rmtree(signed.folder / "var")
    before.rename(signed.folder / "var")
    assert signed.verify().problems == []
    problems = signed.verify(copy).problems
    assert {problem.partition(":")[0] for problem in problems} == {"hub", "worker-00", "worker-01"}


def test_put_back_and_gone_on(signed: World) -> None:
    full(signed)
    copy = copy_of(signed)
    signed.edit("worker-00", "DELETE FROM {t} WHERE seq = 6")
    signed.fill(2)
    assert signed.verify().problems == []
    (problem,) = signed.verify(copy).problems
    assert problem.startswith("worker-00: entry 6 is another one than copy.jsonl has")


def test_a_chain_is_missing(signed: World) -> None:
    full(signed)
    signed.close()
    signed.path("worker-01").unlink()
    problems = signed.verify().problems
    assert [problem for problem in problems if problem.startswith("worker-01: entries 1 to 3 were cut off")]
    shutil.rmtree(signed.path("worker-01").parent)
    assert "worker-01: the whole chain is missing" in signed.verify().problems


def test_a_file_that_is_no_database(signed: World) -> None:
    full(signed)
    signed.close()
    signed.path("worker-01").write_bytes(b"nonsense" * 1000)
    assert any(problem.startswith("worker-01: ") for problem in signed.verify().problems)


# -- signatures ------------------------------------------------------------------------------------------------------


def put_checkpoint(world: World, change: dict[str, object]) -> None:
    """A checkpoint as somebody would write it who can't sign."""
    heads = world.keeper.heads()
    made = checkpoint_entry(heads, Signer(world.config, world.file.parent))
    made["detail"] |= change
    world.keeper.trail.append(made)


def test_a_checkpoint_with_other_heads(signed: World) -> None:
    full(signed)
    put_checkpoint(signed, {"heads": {"worker-00": {"seq": 1, "hash": "0" * 64}}})
    assert signed.verify().problems == ["checkpoint in hub 8: its signature is wrong"]


def test_a_checkpoint_signed_by_somebody_else(signed: World) -> None:
    full(signed)

    class Forger(Signer):
        def sign(self, text: bytes) -> Signature:
            import base64

            key = provider().sm2_generate()
            assert key.public is not None
            value = base64.b64encode(provider().sm2_sign(key, text)).decode()
            return Signature("audit@1", key.public.point.hex(), value)

    signed.keeper.trail.append(checkpoint_entry(signed.keeper.heads(), Forger(signed.config, signed.file.parent)))
    assert signed.verify().problems == ["checkpoint in hub 8: it was signed with a key that is not the hub's"]


@pytest.mark.parametrize("signature", ["", "AAAA", "no base64 ü", "MEUCIQ=="])
def test_a_checkpoint_without_a_signature(signed: World, signature: str) -> None:
    full(signed)
    put_checkpoint(signed, {"signature": signature})
    (problem,) = signed.verify().problems
    assert problem.startswith("checkpoint in hub 8: ")


def test_a_forged_checkpoint_proves_nothing(signed: World) -> None:
    """It must not make a sound chain look bad, nor a cut one look good."""
    full(signed)
    put_checkpoint(signed, {"heads": {"worker-00": {"seq": 99, "hash": "0" * 64}}, "public": "00"})
    problems = signed.verify().problems
    assert len(problems) == 1
    assert problems[0].startswith("checkpoint in hub 8")


def test_rotated_keys_still_verify_and_revoked_ones_are_told(signed: World) -> None:
    signed.fill(1)
    signed.keeper.checkpoint()
    signed.orders().rotate("audit")
    signed.fill(1)
    signed.keeper.checkpoint()
    keys = [json.loads(row["entry"])["detail"].get("key") for row in signed.rows("hub") if "heads" in row["entry"]]
    assert keys == ["audit@1", "audit@2"]
    done = signed.verify()
    assert (done.problems, done.signed) == ([], 2)
    signed.orders().revoke("audit", 1, reason="lost")
    assert signed.verify().problems == ["checkpoint in hub 2: it was signed with audit@1, which is revoked"]


def test_without_a_key_store_checkpoints_still_count(world: World) -> None:
    world.fill()
    world.keeper.checkpoint()
    assert "not signed" not in world.verify().problems
    assert world.keeper.status()["signed"] is False
    assert "hub keys init" in world.keeper.status()["trouble"][0]
    done = world.verify()
    assert (done.problems, done.checkpoints, done.signed) == ([], 1, 0)
    assert "no checkpoint is signed" in done.notes
    world.edit("worker-00", "DELETE FROM {t} WHERE seq > 1")
    assert len(world.verify().problems) == 1


def test_a_locked_key_store_is_no_proof_and_no_problem(signed: World) -> None:
    full(signed)
    signed.restart_keys()
    (signed.folder / "var" / "master.key").unlink()
    done = signed.verify()
    assert done.problems == []
    assert "can't be verified" in done.notes[0]


# -- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_as_a_collector_of_syslog_keeps_it(signed: World) -> None:
    full(signed)
    file = signed.folder / "messages"
    lines = [f"Nov 28 12:00:00 host tongqu: audit - {line}" for line in copy_of(signed).read_text().splitlines()]
    file.write_text("\n".join(["something else", *lines, '{"chain":3}', '{"chain":"x"']) + "\n")
    assert (signed.verify(file).problems, signed.verify(file).witnesses) == ([], 23)


def test_a_file_without_entries_is_no_proof(signed: World, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.write_text("nothing\n")
    with pytest.raises(AuditUnreadable, match="no entry"):
        full(signed).verify(file)
    with pytest.raises(AuditUnreadable, match="can't be read"):
        signed.verify(tmp_path / "nowhere")


def test_the_keeper_notices_at_a_start(signed: World) -> None:
    full(signed)
    assert signed.keeper.set_back() == []
    signed.edit("worker-00", "DELETE FROM {t} WHERE seq > 1")
    (problem,) = signed.keeper.set_back()
    assert "worker-00" in problem
