"""JSON Schemas (draft 2020-12) of mapping files and of their tests, for completion, hover and checks in editors.

They describe the shape of a file. What only the compiler knows (whether an expression can be understood, whether a mapping or table
exists) is told by ``hub mapping check``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.base import Codec
from hub.i18n import t
from hub.mapping.functions.base import Function

__all__ = ["mapping_schema", "tests_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALAR = ["string", "number", "boolean"]
#: Keys that qualify a value, and those that make a loop or take in another mapping.
_VALUE_KEYS = ("const", "expr", "default", "required", "keep_null")


def _both(en: str, zh: str) -> str:
    """Editors show one text to everybody."""
    return f"{zh}\n{en}" if t("en", "zh") == "zh" else f"{en}\n{zh}"


def _expression(en: str, zh: str, functions: str = "") -> dict[str, Any]:
    return {"type": _SCALAR, "description": _both(en, zh) + functions}


def _path(en: str, zh: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "description": _both(en, zh)}


def _codec(codecs: Mapping[str, Codec], en: str, zh: str) -> dict[str, Any]:
    return {
        "description": _both(en, zh),
        "anyOf": [{"enum": sorted(codecs)}, {"type": "string", "minLength": 1}],
    }


def mapping_schema(codecs: Mapping[str, Codec], functions: Mapping[str, Function]) -> dict[str, Any]:
    """The schema of a mapping file; codecs are offered, functions listed in the hover of expressions."""
    listed = "\n\n" + "\n".join(f"{f.usage}: {f.summary}" for f in functions.values())
    rule = {"$ref": "#/$defs/rule"}
    return {
        "$schema": _DRAFT,
        "title": _both("Mapping", "映射"),
        "type": "object",
        "additionalProperties": False,
        "anyOf": [
            {"required": ["steps"], "properties": dict.fromkeys(("from", "to", "fields"), False)},
            {"required": ["define"], "properties": dict.fromkeys(("from", "to", "fields", "steps"), False)},
            {"required": ["from", "to", "fields"]},
            {"required": ["from", "to"], "properties": {"to": {"required": ["base"]}}},
        ],
        "properties": {
            "mapping": {
                "type": "string",
                "description": _both(
                    "The name again; must agree with the file. May be left out.", "名称，须与文件一致，可省略。"
                ),
            },
            "description": {"type": "string", "description": _both("For people.", "供人阅读的说明。")},
            "fragment": {
                "type": "boolean",
                "description": _both("Only included by other mappings.", "仅供其他映射包含。"),
            },
            "from": {
                "type": "object",
                "additionalProperties": False,
                "required": ["codec"],
                "description": _both("The source.", "来源。"),
                "properties": {
                    "codec": _codec(codecs, "Codec of the source.", "来源的编解码器。"),
                    "types": {
                        "description": _both("Message types it is for.", "适用的消息类型。"),
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                        "examples": [["ADT^A01", "ADT^A08"]],
                    },
                    "empty": {
                        "const": "absent",
                        "description": _both("JSON: an empty text is no value.", "JSON：空文本视为没有值。"),
                    },
                    "namespaces": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": _both("XML: prefixes of paths.", "XML：路径中的前缀。"),
                    },
                },
            },
            "to": {
                "type": "object",
                "additionalProperties": False,
                "required": ["codec"],
                "description": _both("The target.", "目标。"),
                "properties": {
                    "codec": _codec(codecs, "Codec of the target.", "目标的编解码器。"),
                    "base": {
                        "const": "source",
                        "description": _both(
                            "HL7 v2: start from a copy of the source.", "HL7 v2：以来源消息的副本为基础。"
                        ),
                    },
                    "remove": {
                        "description": _both(
                            "HL7 v2: segments or fields taken out first.", "HL7 v2：先删除的段或字段。"
                        ),
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                        "examples": [["NTE", "PID-19"]],
                    },
                    "namespaces": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": _both("XML: prefixes of elements.", "XML：元素的前缀。"),
                    },
                },
            },
            "steps": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "minLength": 1},
                "description": _both(
                    "Mappings that run one after the other, each on what the one before makes. Nothing but mapping: and description: goes with it.",
                    "依次执行的映射，每个以前一个的结果为来源；只能与 mapping:、description: 同用。",
                ),
                "examples": [["canonical/lab_report_from_v2", "cda/lab_report"]],
            },
            "when": _expression(
                "A condition; when it does not hold there is no target.", "条件；不成立时没有目标。", listed
            ),
            "split": _path("One target for each element this path reaches.", "路径所及的每个元素各生成一份目标。"),
            "lookups": {
                "type": "object",
                "description": _both(
                    "Values from earlier messages or from other systems, found before the mapping runs, used as $name.",
                    "取自此前消息或其他系统的值，映射执行前查得，以 $名称 引用。",
                ),
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "oneOf": [
                        {
                            "required": ["system", "request"],
                            "properties": dict.fromkeys(("source", "keys", "serial"), False),
                        },
                        {
                            "required": ["store", "keys"],
                            "properties": dict.fromkeys(("request", "cache", "cache_by"), False),
                        },
                        {"required": ["serial"], "maxProperties": 1},
                    ],
                    "properties": {
                        "system": _path("The interface that is asked: system/interface.", "被查询的接口：系统/接口。"),
                        "request": {**rule, "description": _both("The request, as fields.", "请求，写法同 fields。")},
                        "store": _path("The type of the messages searched.", "所查消息的类型。"),
                        "source": _path("The system or interface they came from.", "消息来源的系统或接口。"),
                        "keys": {
                            "type": "object",
                            "additionalProperties": _expression("The value of a business key.", "业务键的取值。"),
                            "description": _both("Business keys.", "业务键。"),
                        },
                        "codec": _codec(
                            codecs, "Of request and reply, or of the message.", "请求与应答或消息的编解码器。"
                        ),
                        "read": {
                            **rule,
                            "description": _both("What is taken from the answer.", "从应答中读取的内容。"),
                        },
                        "when": _expression("Asked only when this holds.", "仅当成立时查询。", listed),
                        "cache": {
                            "type": "string",
                            "pattern": r"^\d{1,6}[smhd]$",
                            "description": _both("How long an answer is used again.", "应答的复用时长。"),
                            "examples": ["10m"],
                        },
                        "cache_by": {
                            **rule,
                            "description": _both(
                                "An answer is used again for the same value of these.", "这些值相同时复用应答。"
                            ),
                        },
                        "serial": {
                            "type": "boolean",
                            "description": _both(
                                "Which message of its second it is, as $serial.",
                                "该消息在其所在秒内的序号，即 $serial。",
                            ),
                        },
                        "required": {
                            "type": "boolean",
                            "description": _both("Nothing found is an error.", "没有结果即为错误。"),
                        },
                    },
                },
            },
            "use": {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "description": _both("Files whose definitions are used.", "所用定义的文件。"),
            },
            "define": {
                "type": "object",
                "propertyNames": {"pattern": r"^[a-z][a-z0-9_]*\s*\([^()]*\)$"},
                "additionalProperties": _expression(
                    "The body; arguments are $name.", "函数体，参数写作 $名称。", listed
                ),
                "description": _both(
                    "Functions of this mapping: full_name(family, given): concat($family, $given).",
                    "本映射的函数：full_name(family, given): concat($family, $given)。",
                ),
            },
            "vars": {
                "type": "object",
                "description": _both(
                    "Named expressions, computed once and in order, used as $name.",
                    "命名表达式，按序计算一次，以 $名称 引用。",
                ),
                "propertyNames": {
                    "pattern": r"^[^\W\d]\w*$",
                    "not": {"enum": ["settings", "message", "now", "number"]},
                },
                "additionalProperties": _expression("A value, used as $name.", "以 $名称 引用的值。", listed),
            },
            "fields": {
                **rule,
                "description": _both("The rules, in the shape of the target.", "规则，按目标的结构书写。"),
            },
        },
        "$defs": {
            "rule": {
                "anyOf": [
                    _expression("A path or expression.", "路径或表达式。", listed),
                    {
                        "type": "array",
                        "items": rule,
                        "description": _both("A list, each item a rule of its own.", "列表，每项一条规则。"),
                    },
                    {"$ref": "#/$defs/object"},
                ]
            },
            "object": {
                "type": "object",
                "minProperties": 1,
                "properties": {
                    "const": {"description": _both("A constant: any YAML.", "常量：任意 YAML。")},
                    "expr": _expression("A path or expression.", "路径或表达式。", listed),
                    "default": {"description": _both("The constant when the value is absent.", "取值缺失时的常量。")},
                    "required": {
                        "type": "boolean",
                        "description": _both("An absent value is an error.", "取值缺失即为错误。"),
                    },
                    "keep_null": {
                        "type": "boolean",
                        "description": _both("An absent value is written as null.", "取值缺失时写 null。"),
                    },
                    "each": _path(
                        "One entry for each element; relative paths start at it.", "每个元素一项；相对路径由此开始。"
                    ),
                    "where": _expression("Which elements count.", "哪些元素计入。", listed),
                    "distinct": _expression(
                        "Of the entries of a list with the same value only the first is written.",
                        "列表中取值相同的各项只写第一项。",
                        listed,
                    ),
                    "when": _expression("Written only when this holds.", "仅当成立时写出。", listed),
                    "include": _path("The fields of another mapping.", "另一映射的字段。"),
                    "from": _path("Where relative paths of the included mapping start.", "被包含映射的相对路径起点。"),
                    "without": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1},
                        "minItems": 1,
                        "description": _both(
                            "Fields of the included mapping that are left out.", "被包含映射中不采用的字段。"
                        ),
                    },
                },
                "dependentRequired": {
                    "where": ["each"],
                    "distinct": ["each"],
                    "from": ["include"],
                    "without": ["include"],
                },
                "if": {"anyOf": [{"required": [key]} for key in _VALUE_KEYS]},
                "then": {
                    "properties": dict.fromkeys((*_VALUE_KEYS, "each", "where", "distinct", "when"), True),
                    "additionalProperties": False,
                    "oneOf": [{"required": ["const"]}, {"required": ["expr"]}],
                },
                "else": {
                    "properties": dict.fromkeys(
                        ("each", "where", "distinct", "when", "include", "from", "without"), True
                    ),
                    "additionalProperties": rule,
                },
            },
        },
    }


def tests_schema() -> dict[str, Any]:
    """The schema of a file of tests."""
    given = _given()
    any_tree = "The text of an HL7 v2 message, or the tree of a JSON document."
    any_tree_zh = "HL7 v2 消息文本，或 JSON 文档的数据。"
    return {
        "$schema": _DRAFT,
        "title": _both("Tests of a mapping", "映射的测试"),
        "type": "object",
        "additionalProperties": False,
        "required": ["cases"],
        "properties": {
            "description": {"type": "string", "description": _both("For people.", "供人阅读的说明。")},
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "description": _both("For every case that does not say otherwise.", "适用于未另行说明的所有用例。"),
                "properties": given,
            },
            "cases": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/case"}},
        },
        "$defs": {
            "case": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "oneOf": [{"required": ["input"]}, {"required": ["input_file"]}],
                "anyOf": [
                    {"required": [key]}
                    for key in ("output", "output_file", "contains", "paths", "count", "asks", "error")
                ],
                "if": {"required": ["error"]},
                "then": {
                    "properties": dict.fromkeys(("output", "output_file", "contains", "paths", "count", "asks"), False),
                },
                "not": {"required": ["output", "output_file"]},
                "properties": {
                    "name": {
                        "type": "string",
                        "minLength": 1,
                        "description": _both("What is shown by this case, as a sentence.", "本用例说明什么，一句话。"),
                    },
                    **given,
                    "input": {"description": _both(any_tree, any_tree_zh)},
                    "input_file": {
                        "type": "string",
                        "description": _both("A file, relative to this one.", "输入文件，相对本文件。"),
                    },
                    "output": {
                        "description": _both(
                            "The whole output; of a mapping with split: the list of its outputs.",
                            "完整输出；带 split: 的映射为输出列表。",
                        )
                    },
                    "output_file": {
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                        "description": _both(
                            "The whole output, as a file, or one for each.", "完整输出的文件，或逐个列出。"
                        ),
                    },
                    "contains": {
                        "description": _both(
                            "A part of the output; null means that nothing is there.",
                            "输出的一部分；null 表示没有该值。",
                        )
                    },
                    "paths": {
                        "type": "object",
                        "description": _both(
                            "Values of single places: a.b[0], PID-5.1; null means that nothing is there.",
                            "单个位置的值：a.b[0]、PID-5.1；null 表示没有该值。",
                        ),
                    },
                    "count": {
                        "type": "integer",
                        "minimum": 0,
                        "description": _both("How many outputs there are.", "输出的个数。"),
                    },
                    "asks": {
                        "type": "object",
                        "description": _both("What lookups ask for; null: nothing.", "各查询的请求；null 表示不查询。"),
                    },
                    "error": {
                        "type": "object",
                        "additionalProperties": False,
                        "minProperties": 1,
                        "description": _both("The error the mapping ends with.", "映射以此错误结束。"),
                        "properties": {
                            "code": {"type": "string", "examples": ["mapping.failed"]},
                            "target": {
                                "type": "string",
                                "description": _both("Path of the target field.", "目标字段路径。"),
                            },
                            "text": {
                                "type": "string",
                                "description": _both("A part of its text.", "错误文本的一部分。"),
                            },
                        },
                    },
                },
            }
        },
    }


def _given() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "settings": {"type": "object", "description": _both("Seen as $settings.x.", "以 $settings.x 引用。")},
        "variables": {
            "type": "object",
            "description": _both("Provided by the caller, seen as $name.", "由调用方提供，以 $名称 引用。"),
        },
        "lookups": {
            "type": "object",
            "description": _both("What lookups find, by name.", "各查询的结果，按名称。"),
        },
        "message": {
            "type": "object",
            "additionalProperties": False,
            "description": _both("What $message tells.", "$message 的内容。"),
            "properties": {
                "id": {
                    **text,
                    "minLength": 13,
                    "maxLength": 13,
                    "description": _both("13 characters.", "13 个字符。"),
                },
                "source": {**text, "examples": ["his/adt"]},
                "type": {**text, "examples": ["ADT^A01"]},
                "control_id": text,
                "received_at": {**text, "examples": ["2026-11-20T08:12:00+08:00"]},
                "correlation": text,
                "keys": {"type": "object", "additionalProperties": text},
            },
        },
        "now": {
            **text,
            "examples": ["2026-11-20T08:12:00+08:00"],
            "description": _both("The time of the run.", "运行时间。"),
        },
        "encoding": {**text, "description": _both("Character set of the input.", "输入的字符集。")},
        "input_format": {
            "type": "object",
            "description": _both(
                "Options of the source's codec, as format: of an interface.", "来源编解码器的选项，同接口的 format:。"
            ),
        },
        "output_format": {
            "type": "object",
            "description": _both(
                "Options of the target's codec, as format: of an interface.", "目标编解码器的选项，同接口的 format:。"
            ),
        },
    }
