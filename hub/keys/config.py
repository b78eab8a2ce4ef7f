"""The part ``keys:`` of ``hub.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["CHANGED", "KeysConfig"]

#: A file beside the key store whose content changes with every change of a key: what is watched for reloads.
CHANGED = "changed"


class KeysConfig(BaseModel):
    """The sealed key store; made by ``hub keys init``. Paths are relative to the file.

    Validity 30 to 365 days: 004:10327. Rotation at most 90 days apart: 002:742.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field("../var/keys", description="folder of the key store, apart from the data folder")
    master: str = Field(
        "file:../var/master.key",
        description="where the master key is: file:PATH, env:NAME, or pkcs11:LABEL for a key in a device; keep it apart from ``path``",
    )
    cipher: Literal["aes", "sm4"] = Field(
        "aes", description="what seals the keys: AES-256-GCM, or SM4-GCM with SM3 throughout; used when sealing anew"
    )
    validity_days: int = Field(180, ge=30, le=365, description="new versions of keys are valid for so long")
    rotate_days: int = Field(90, ge=1, le=90, description="a version is due for rotation after so long")
    overlap_days: int = Field(
        7, ge=0, le=365, description="a replaced version still opens and verifies what is in flight for so long"
    )
    warn_days: int = Field(30, ge=1, le=180, description="what expires within so many days is told")

    @model_validator(mode="after")
    def _rotated_before_it_expires(self) -> KeysConfig:
        if self.rotate_days > self.validity_days:
            raise ValueError("rotate_days must not be longer than validity_days")
        return self
