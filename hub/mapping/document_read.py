"""A mapping file read into rules. Knows YAML and the keys, nothing about formats or code.

YAML is read by the core schema of YAML 1.2: ``no`` is a text and not false, a date is a text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.document import Definition, Document, Field, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.document_lookups import read_lookups

__all__ = ["MAX_FILE", "Reader", "parse_document"]

#: The reader written in C where PyYAML was built with it: the same nodes, several times faster.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Largest mapping file, characters, and most YAML nodes in one.
MAX_FILE = 1 << 20
MAX_NODES = 50_000
_MAX_DEPTH = 40
_TOP = (
    "mapping",
    "description",
    "fragment",
    "from",
    "to",
    "when",
    "split",
    "lookups",
    "use",
    "define",
    "vars",
    "fields",
    "steps",
)
#: What a mapping of steps may have; everything else belongs to the mappings it names.
_WITH_STEPS = ("mapping", "description", "steps")
_QUOTED = ("'", '"', "|", ">")
_PREFIX = re.compile(r"[^\W\d][\w.-]*")
_SIGNATURE = re.compile(r"([a-z][a-z0-9_]*)\s*\(([^()]*)\)", re.ASCII)
#: What no namespace URI holds.
_NO_URI = re.compile(r"[\x00-\x20<>\"{}|\\^`\x7f]")
_INT = re.compile(r"[-+]?\d{1,300}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "Null": None,
    "~": None,
    "": None,
}


class Reader:
    """Makes a document of YAML nodes; what is wrong becomes a problem of the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def problem(self, node: yaml.Node | None, key: str, text: str, remedy: str = "") -> None:
        line = node.start_mark.line + 1 if node is not None else 0
        self.document.problems.append(Problem(text, self.document.file, line, key, remedy))

    # -- YAML ----------------------------------------------------------------------------------------------------

    def entries(self, node: yaml.Node, key: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """(key, key node, value node) of a YAML mapping; anything else is a problem."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, key, t("keys and values expected", "此处应为键值结构"))
            return []
        found: list[tuple[str, yaml.Node, yaml.Node]] = []
        seen: set[str] = set()
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self.problem(name, key, t("a key must be a single text", "键须为单个文本"))
                continue
            if name.value in seen:
                self.problem(name, _under(key, name.value), t("written twice", "重复"), t("remove one", "请删除其一"))
                continue
            seen.add(name.value)
            found.append((name.value, name, value))
        return found

    def constant(self, node: yaml.Node, key: str, depth: int = 0) -> Any:
        """A YAML value as plain data."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > _MAX_DEPTH:
            raise _TooLarge
        if isinstance(node, yaml.ScalarNode):
            text: str = node.value
            if node.style in _QUOTED:
                return text
            if text in _WORDS:
                return _WORDS[text]
            if _INT.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
                return number
            return text
        if isinstance(node, yaml.SequenceNode):
            return [self.constant(item, key, depth + 1) for item in node.value]
        return {name: self.constant(value, key, depth + 1) for name, _, value in self.entries(node, key)}

    def text(self, node: yaml.Node, key: str, what: str) -> Text | None:
        if isinstance(node, yaml.ScalarNode) and node.value.strip():
            return Text(node.value, node.start_mark.line + 1)
        self.problem(node, key, t(f"{what} expected", f"此处应为{what}"))
        return None

    def expression(self, node: yaml.Node, key: str) -> Text | None:
        return self.text(node, key, t("an expression", "表达式"))

    def flag(self, node: yaml.Node, key: str) -> bool:
        value = self.constant(node, key)
        if isinstance(value, bool):
            return value
        self.problem(node, key, t("true or false expected", "此处应为 true 或 false"))
        return False

    # -- the head ------------------------------------------------------------------------------------------------

    def document_of(self, root: yaml.Node) -> None:
        document = self.document
        entries = self.entries(root, "")
        stepped = any(key == "steps" for key, _, _ in entries)
        for key, name, node in entries:
            if stepped and key in _TOP and key not in _WITH_STEPS:
                self.problem(
                    name,
                    key,
                    t(f"{key}: does not go with steps:", f"{key}: 不能与 steps: 同用"),
                    t("write it in the mappings that are the steps", "请写在作为步骤的映射中"),
                )
                continue
            match key:
                case "mapping":
                    stated = self.text(node, key, t("a name", "名称"))
                    if stated and stated.text not in (document.name, document.name.rpartition("/")[2]):
                        self.problem(
                            node,
                            key,
                            t(f"{stated.text!r} is not the name of the file", f"{stated.text!r} 与文件名不一致"),
                            t(f"write {document.name}, or leave it out", f"请写 {document.name} 或省略"),
                        )
                case "description":
                    self.text(node, key, t("a text", "文本"))
                case "fragment":
                    document.fragment = self.flag(node, key)
                case "from":
                    self._from(node)
                case "to":
                    self._to(node)
                case "when":
                    document.when = self.expression(node, key)
                case "split":
                    document.split = self.text(node, key, t("a path", "路径"))
                case "vars":
                    for variable, variable_name, value in self.entries(node, key):
                        if not (variable.isidentifier() and variable not in ("settings", "message", "now", "number")):
                            self.problem(
                                variable_name,
                                f"vars.{variable}",
                                t("can't be the name of a variable", "不能作变量名"),
                                t(
                                    "letters, digits, _; not settings, message, now, number",
                                    "字母、数字、下划线；不可为 settings、message、now、number",
                                ),
                            )
                        elif expression := self.expression(value, f"vars.{variable}"):
                            document.variables[variable] = expression
                case "lookups":
                    document.lookups = read_lookups(self, node)
                case "use":
                    document.uses = self._names(
                        node, "use", t("the name of a file with define:", "带 define: 的文件名称")
                    )
                case "define":
                    for definition, definition_name, value in self.entries(node, key):
                        self._definition(definition, definition_name, value)
                case "fields":
                    document.fields_line = name.start_mark.line + 1
                    document.fields = self.rule(node, "", 0)
                case "steps":
                    document.steps = self._names(node, "steps", t("the name of a mapping", "映射名称"))
                case _:
                    self.problem(
                        name,
                        key,
                        t("unknown key", "未知的键"),
                        t(f"known: {', '.join(_TOP)}", f"可用：{', '.join(_TOP)}"),
                    )
        keys = {key for key, _, _ in entries}
        document.shared = "define" in keys and not keys & {"from", "to", "fields"}
        if stepped or document.shared:
            return
        for key, codec in (("from.codec", document.source_codec), ("to.codec", document.target_codec)):
            if not codec and not any(problem.key in (key, key.partition(".")[0]) for problem in document.problems):
                part = key.partition(".")[0]
                self.problem(root, part, t(f"{key} is missing", f"缺少 {key}"), f"{part}: {{codec: json}}")
        if document.fields is None and not document.base:
            self.problem(root, "fields", t("fields: is missing", "缺少 fields:"))

    def _from(self, node: yaml.Node) -> None:
        for key, name, value in self.entries(node, "from"):
            if key == "codec":
                stated = self.text(value, "from.codec", t("the name of a codec", "编解码器名称"))
                self.document.source_codec = stated.text if stated else ""
            elif key == "types":
                types = self.constant(value, "from.types")
                types = [types] if isinstance(types, str) else types
                if isinstance(types, list) and all(isinstance(item, str) for item in types):
                    self.document.types = tuple(types)
                else:
                    self.problem(value, "from.types", t("a list of message types expected", "此处应为消息类型列表"))
            elif key == "empty":
                stated = self.text(value, "from.empty", "absent")
                self.document.empty_absent = stated is not None and stated.text == "absent"
                if stated and not self.document.empty_absent:
                    self.problem(
                        value,
                        "from.empty",
                        t("the only choice is: absent", "empty 只能为 absent"),
                        t("leave it out where '' is a value", "'' 为有效值时请省略"),
                    )
            elif key == "namespaces":
                self.document.source_namespaces = self._namespaces(value, "from.namespaces")
            else:
                self.problem(
                    name,
                    f"from.{key}",
                    t("unknown key", "未知的键"),
                    t("known: codec, types, empty, namespaces", "可用：codec、types、empty、namespaces"),
                )

    def _to(self, node: yaml.Node) -> None:
        for key, name, value in self.entries(node, "to"):
            if key == "codec":
                stated = self.text(value, "to.codec", t("the name of a codec", "编解码器名称"))
                self.document.target_codec = stated.text if stated else ""
            elif key == "base":
                stated = self.text(value, "to.base", "source")
                self.document.base = stated is not None and stated.text == "source"
                if stated and not self.document.base:
                    self.problem(value, "to.base", t("the only base is: source", "base 只能为 source"))
            elif key == "remove":
                items = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for item in items:
                    if path := self.text(item, "to.remove", t("a path", "路径")):
                        self.document.remove.append(path)
            elif key == "namespaces":
                self.document.target_namespaces = self._namespaces(value, "to.namespaces")
            else:
                self.problem(
                    name,
                    f"to.{key}",
                    t("unknown key", "未知的键"),
                    t("known: codec, base, remove, namespaces", "可用：codec、base、remove、namespaces"),
                )

    def _names(self, node: yaml.Node, key: str, what: str) -> list[Text]:
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        if not items:
            self.problem(node, key, t(f"a list expected, each {what}", f"此处应为列表，每项为{what}"), f"{key}: [a, b]")
        found = [self.text(item, f"{key}[{number}]", what) for number, item in enumerate(items)]
        return [text for text in found if text is not None]

    def _definition(self, written: str, name: yaml.Node, node: yaml.Node) -> None:
        place = f"define.{written}"
        found = _SIGNATURE.fullmatch(written)
        parameters = tuple(part.strip() for part in found[2].split(",")) if found and found[2].strip() else ()
        taken = {*parameters} & {"settings", "message", "now", "number"}
        if not found or taken or len({*parameters}) < len(parameters) or not all(p.isidentifier() for p in parameters):
            self.problem(
                name,
                place,
                t("a name with its arguments expected", "此处应为函数名及参数"),
                "full_name(family, given): concat($family, $given)",
            )
        elif found[1] in self.document.definitions:
            self.problem(name, place, t("written twice", "重复"), t("remove one", "请删除其一"))
        elif body := self.expression(node, place):
            self.document.definitions[found[1]] = Definition(found[1], parameters, body, self.document.file)

    def _namespaces(self, node: yaml.Node, key: str) -> dict[str, str]:
        """Prefix to URI; the prefix ``""`` is the default namespace."""
        found: dict[str, str] = {}
        for prefix, name, value in self.entries(node, key):
            place = f"{key}.{prefix}"
            if (prefix and not _PREFIX.fullmatch(prefix)) or prefix in ("xml", "xmlns"):
                self.problem(
                    name,
                    place,
                    t(f"{prefix!r} can't be a prefix", f"{prefix!r} 不能作前缀"),
                    t("a word; '' for names without prefix", "应为单词；'' 表示无前缀的名称"),
                )
            elif not isinstance(value, yaml.ScalarNode) or _NO_URI.search(value.value):
                self.problem(value, place, t("a namespace URI expected", "此处应为命名空间 URI"))
            else:
                found[prefix] = value.value
        return found

    # -- rules ---------------------------------------------------------------------------------------------------

    def rule(self, node: yaml.Node, key: str, depth: int) -> Rules:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > _MAX_DEPTH:
            raise _TooLarge
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            if not node.value.strip():
                self.problem(
                    node,
                    key,
                    t("there is no rule", "缺少规则"),
                    t("write a path or expression, or {const: …}", "请写路径、表达式或 {const: …}"),
                )
            return Leaf(line, Text(node.value, line))
        if isinstance(node, yaml.SequenceNode):
            return ListRule(line, [self.rule(item, f"{key}[{n}]", depth + 1) for n, item in enumerate(node.value)])
        entries = self.entries(node, key)
        names = {name for name, _, _ in entries}
        if not names:
            self.problem(node, key, t("there is no rule", "缺少规则"), "{const: {}}")
        kinds = [kind for kind in ("const", "expr", "each", "include") if kind in names]
        if kinds in (["const"], ["expr"]):
            return self._leaf(entries, key, line)
        return self._object(entries, key, line, depth)

    def _leaf(self, entries: list[tuple[str, yaml.Node, yaml.Node]], key: str, line: int) -> Leaf:
        leaf = Leaf(line)
        for name, name_node, node in entries:
            place = _under(key, name)
            match name:
                case "const":
                    leaf.const = (self.constant(node, place),)
                case "expr":
                    leaf.expr = self.expression(node, place)
                case "default":
                    leaf.default = (self.constant(node, place),)
                case "required":
                    leaf.required = self.flag(node, place)
                case "keep_null":
                    leaf.keep_null = self.flag(node, place)
                case "when":
                    leaf.when = self.expression(node, place)
                case _:
                    self.problem(
                        name_node,
                        place,
                        t("does not go with const: or expr:", "不能与 const: 或 expr: 同用"),
                        t("known: default, required, keep_null, when", "可用：default、required、keep_null、when"),
                    )
        return leaf

    def _object(self, entries: list[tuple[str, yaml.Node, yaml.Node]], key: str, line: int, depth: int) -> ObjectRule:
        rule = ObjectRule(line)
        value_keys: list[tuple[str, yaml.Node, yaml.Node]] = []
        for name, name_node, node in entries:
            place = _under(key, name)
            match name:
                case "each":
                    rule.each = self.text(node, place, t("a path", "路径"))
                case "where":
                    rule.where = self.expression(node, place)
                case "distinct":
                    rule.distinct = self.expression(node, place)
                case "when":
                    rule.when = self.expression(node, place)
                case "include":
                    rule.include = self.text(node, place, t("the name of a mapping", "映射名称"))
                case "from":
                    rule.origin = self.text(node, place, t("a path", "路径"))
                case "without":
                    rule.without = self._names(node, place, t("a field of the included mapping", "被包含映射的字段"))
                case "const" | "expr" | "default" | "required" | "keep_null":
                    value_keys.append((name, name_node, node))
                case _:
                    rule.fields.append(Field(name, name_node.start_mark.line + 1, self.rule(node, place, depth + 1)))
        if value_keys:
            if rule.each is None or rule.include is not None or rule.fields:
                self.problem(
                    value_keys[0][1],
                    _under(key, value_keys[0][0]),
                    t("exactly one kind of rule is possible here", "此处只能有一种规则"),
                    t(
                        f"const, expr, each, include don't mix; a target field of that name is written ['{value_keys[0][0]}']",
                        f"const、expr、each、include 不能混用；同名目标字段请写 ['{value_keys[0][0]}']",
                    ),
                )
            else:
                rule.value = self._leaf(value_keys, key, line)
        for name, present, needs, needed in (
            ("where", rule.where, "each", rule.each),
            ("distinct", rule.distinct, "each", rule.each),
            ("from", rule.origin, "include", rule.include),
            ("without", rule.without[0] if rule.without else None, "include", rule.include),
        ):
            if present is not None and needed is None:
                self.document.problems.append(
                    Problem(
                        t(f"{name}: stands only with {needs}:", f"{name}: 只能与 {needs}: 同用"),
                        self.document.file,
                        present.line,
                        _under(key, name),
                        t(f"a target field of that name is written ['{name}']", f"同名目标字段请写 ['{name}']"),
                    )
                )
        return rule


class _TooLarge(Exception):
    pass


def _under(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def parse_document(text: str, name: str, file: str) -> Document:
    """Read a mapping file; whatever is wrong with its shape is in ``problems``."""
    document = Document(name, file)
    remedy = t("check indentation, colons and quotes", "请检查缩进、冒号和引号")
    if len(text) > MAX_FILE:
        document.problems.append(Problem(t(f"longer than {MAX_FILE} characters", f"超过 {MAX_FILE} 个字符"), file))
        return document
    try:
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            document.problems.append(Problem(t("the file is empty", "文件为空"), file, 1))
            return document
        Reader(document).document_of(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append(
            Problem(
                t(f"not YAML: {error.problem or error.context}", f"不是有效的 YAML：{error.problem or error.context}"),
                file,
                mark.line + 1 if mark else 0,
                remedy=remedy,
            )
        )
    except yaml.YAMLError:
        document.problems.append(Problem(t("not YAML", "不是有效的 YAML"), file, remedy=remedy))
    except (_TooLarge, RecursionError):
        document.problems.append(
            Problem(
                t("too large or too deeply nested", "规模过大或嵌套过深"),
                file,
                remedy=t("split it with include:", "请用 include: 拆分"),
            )
        )
    return document
