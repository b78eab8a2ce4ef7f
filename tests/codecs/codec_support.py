"""The sample messages and strategies the tests of the codecs share."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec, split_batch
from hub.errors import CodecError

CODEC = Hl7Codec()
SAMPLES = (
    Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")
    / "hl7v2"
)

ADT = (
    b"MSH|^~\\&|HIS|H1|HUB|C|20260101120000||ADT^A01^ADT_A01|MSG1|P|2.5\r"
    b"EVN|A01|20260101\r"
    b"PID|1||800^^^H1&1.2.3&ISO^MR~999^^^NH||Zhang^San^^^^^L|||F\r"
    b"PV1|1|I|W1^R2^B3\r"
    b"OBX|1|NM|WBC||7.1\r"
    b"OBX|2|NM|RBC||4.2\r"
)


def sample_files() -> list[Path]:
    return sorted(path for path in SAMPLES.rglob("*") if path.is_file()) if SAMPLES.is_dir() else []


def sample_messages() -> list[bytes]:
    """Every message of every sample, batches taken apart; what is no message is left out."""
    found: list[bytes] = []
    for path in sample_files():
        try:
            found += split_batch(path.read_bytes())
        except CodecError:
            continue
    return found


#: Characters that delimit, escape, end lines or take several bytes, more often than others.
texts = st.text(
    st.one_of(
        st.sampled_from("|^~\\&#\r\n\x0b\x1cFSTREPXHN.0D张三é€😀 "),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@st.composite
def delimiters(draw: st.DrawFn) -> str:
    """Field separator and four or five other delimiters."""
    size = draw(st.sampled_from((5, 6)))
    return "".join(
        draw(st.lists(st.sampled_from("|^~\\&#!$%*+-/:;<=>?@_§¦"), min_size=size, max_size=size, unique=True))
    )
