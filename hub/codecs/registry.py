"""The codecs that come with the hub."""

from __future__ import annotations

from hub.codecs.astm import AstmCodec
from hub.codecs.base import Codec
from hub.codecs.csv_codec import CsvCodec
from hub.codecs.dicom import DicomCodec
from hub.codecs.excel_codec import ExcelCodec
from hub.codecs.fhir import FhirCodec
from hub.codecs.fixed_codec import FixedCodec
from hub.codecs.form_codec import FormCodec
from hub.codecs.form_multipart import MultipartCodec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec, Hl7v3Codec
from hub.codecs.json_codec import JsonCodec
from hub.codecs.jsonl_codec import JsonLinesCodec
from hub.codecs.plain_codecs import BinaryCodec, TextCodec
from hub.codecs.xml_codec import XmlCodec

__all__ = ["builtin_codecs"]


def builtin_codecs() -> list[Codec]:
    """One instance of each; codecs are stateless."""
    return [
        Hl7Codec(),
        JsonCodec(),
        XmlCodec(),
        Hl7v3Codec(),
        CdaCodec(),
        FhirCodec(),
        DicomCodec(),
        JsonLinesCodec(),
        CsvCodec(),
        ExcelCodec(),
        FixedCodec(),
        AstmCodec(),
        FormCodec(),
        MultipartCodec(),
        TextCodec(),
        BinaryCodec(),
    ]
