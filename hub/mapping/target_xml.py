"""Targets that are XML documents, written in the shape of the document: a key is an element, ``@name`` an attribute, ``#text`` text.

Either a new document, or a copy of the source with changes, where a key first looks for an element that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.functions.documents import document_of
from hub.mapping.nodes import ExpressionError, PathNode
from hub.mapping.paths import Scope
from hub.mapping.paths_xml import XmlFormat
from hub.mapping.paths_xml_parse import HL7_V3, PREFIXES, PREFIXES_V3
from hub.mapping.target_xml_keys import CDATA, COPY, TEXT, KeyProblem, Keys, Part, Place, Step
from hub.mapping.target_xml_runtime import XML_TARGET_RUNTIME

__all__ = ["XmlTarget"]

#: How much of a document is copied for one step of a run's budget.
_BYTES_OF_STEP = 128


class XmlTarget:
    """Writes the statements that build a document. ``v3``: names without prefix are of HL7 v3."""

    def __init__(self, builder: Builder, *, v3: bool) -> None:
        self._builder = builder
        self._writer = builder.generator.writer
        self._base = False
        self._roots = 0
        self._document = ""
        self._implied = PREFIXES | (PREFIXES_V3 | {"": HL7_V3} if v3 else {})
        self._declared = {"": HL7_V3, "xsi": PREFIXES["xsi"]} if v3 else {}  # at the root of a new document
        builder.generator.namespace.update(XML_TARGET_RUNTIME)

    def build(self, document: Document, scope: Scope) -> str:
        """The variable that holds the document."""
        self._base = document.base
        self._document = self._writer.temp("t")
        if document.base:
            if not isinstance(self._builder.generator.source, XmlFormat):
                self._builder.problem(
                    1,
                    "to.base",
                    t("base: source needs a source of the same format", "base: source 要求来源为同一格式"),
                    "from: {codec: xml}",
                )
                return "None"
            if document.split is not None:
                # Each target is a copy of the whole; a step of the budget for so many bytes.
                self._writer.line(f"left -= 1 + len(tree.raw) // {_BYTES_OF_STEP}")
                self._writer.line("if left < 0: over_budget()")
            self._writer.line(f"{self._document} = tree.copy()")
            for path in document.remove:
                self._remove(path)
        else:
            self._declared |= document.target_namespaces
            self._writer.line(f"{self._document} = None")
        if document.fields is not None:
            self._root(document.fields, document.fields_line, scope)
        if not document.base:
            self._builder.at(document.fields_line, "fields")
            self._writer.line(f"if {self._document} is None: no_root()")
        return self._document

    def _remove(self, path: Text) -> None:
        with self._builder.guard(path, "to.remove"):
            self._builder.at(path.line, "to.remove", path.text)
            generator = self._builder.generator
            node = self._builder.path(path)
            name = ""
            if node.steps and node.steps[-1].kind == "attribute":
                name, node = node.steps[-1].name, PathNode(node.at, node.up, node.steps[:-1], node.text)
            if not node.steps or node.steps[-1].kind not in ("child", "descendant"):
                raise ExpressionError(
                    t("only elements and attributes can be removed", "只能删除元素和属性"),
                    remedy="remove: [order/note, order/@draft]",
                )
            found = generator.source.elements(generator, node, Scope("root", self._document)).plain
            self._writer.line(f"removed({found}, {name!r})")

    # -- names ---------------------------------------------------------------------------------------------------

    def _clark(self, prefix: str, name: str) -> str:
        """A name with its namespace, by the file it stands in, then by the mapping."""
        document = self._builder.document
        names = self._declared | document.target_namespaces
        if self._base:
            names = document.source_namespaces | document.target_namespaces
        uri = names.get(prefix)
        if uri is None and not prefix and self._base:
            return f"{{*}}{name}"
        uri = self._implied.get(prefix, "" if not prefix else None) if uri is None else uri
        if uri is None:
            raise KeyProblem(
                t(f"the prefix {prefix!r} is not declared", f"前缀 {prefix!r} 未声明"),
                f"to: {{codec: …, namespaces: {{{prefix}: 'urn:…'}}}}",
            )
        return f"{{{uri}}}{name}" if uri else name

    # -- the document ----------------------------------------------------------------------------------------------

    def _root(self, rule: Rules, line: int, scope: Scope) -> None:
        if isinstance(rule, Leaf) and self._builder.makes_tree(rule) and rule.expr is not None and not self._base:
            with self._builder.guard(rule.expr, "fields"):
                self._builder.at(rule.expr.line, "fields", rule.expr.text)
                self._builder.generator.namespace["document_of"] = document_of
                value = self._builder.expression(rule.expr, scope)
                self._writer.line(f"{self._document} = document_of({value.text})")
        elif isinstance(rule, ObjectRule) and rule.each is None:
            with self._builder.when(rule.when, scope, ""):
                self._parts(rule, scope, "", "")
        else:
            self._builder.problem(
                line,
                "fields",
                t("a document has one root element", "文档只有一个根元素"),
                t("write it as the only key of fields:", "请把它写成 fields: 下唯一的键"),
            )

    def _parts(self, rule: ObjectRule, scope: Scope, target: str, parent: str) -> None:
        """Everything inside an element; ``parent`` "": the document itself."""
        include = rule.include
        if include is not None:
            with self._builder.guard(include, target), self._builder.include(rule, scope, target) as (document, inner):
                fields = document.fields
                if isinstance(fields, ObjectRule) and fields.each is None:
                    with self._builder.when(fields.when, inner, target):
                        self._parts(fields, inner, target, parent)
                else:
                    self._builder.problem(
                        include.line,
                        target,
                        t(f"{document.name} has no elements", f"{document.name} 没有元素"),
                    )
        parts: list[Place | Part] = []
        keys = Keys(self._clark, copy=self._base)
        for entry in rule.fields:
            try:
                keys.insert(parts, entry, at_root=not parent)
            except KeyProblem as problem:
                self._builder.problem(entry.line, f"{target}/{entry.key}".lstrip("/"), problem.text, problem.remedy)
        self._write(parts, scope, target, parent)

    def _write(self, parts: list[Place | Part], scope: Scope, target: str, parent: str) -> None:
        for part in parts:
            if isinstance(part, Place):
                self._place(part, scope, f"{target}/{part.key}".lstrip("/"), parent)
            elif not parent:
                self._builder.problem(
                    part.line,
                    part.key,
                    t("a document has one root element", "文档只有一个根元素"),
                    t("name it first: root/@name", "请先写根元素：root/@name"),
                )
            else:
                self._part(part, scope, f"{target}/{part.key}", parent)

    def _place(self, place: Place, scope: Scope, target: str, parent: str) -> None:
        rule = place.rule
        if not parent:
            self._roots += 1
            if self._roots > 1 or isinstance(rule, ListRule) or (isinstance(rule, ObjectRule) and rule.each):
                self._builder.problem(
                    place.line,
                    target,
                    t("a document has one root element", "文档只有一个根元素"),
                    t("put everything below it", "其余内容都放在它之下"),
                )
                return
        if rule is None:
            with self._element(place, target, parent) as element:
                self._write(place.parts, scope, target, element)
        elif isinstance(rule, Leaf):
            self._leaf(rule, place, scope, target, parent)
        elif isinstance(rule, ListRule):
            self._list(rule, place, scope, target, parent)
        elif rule.each is not None:
            self._each(rule, rule.each, place, scope, target, parent)
        else:
            with self._builder.when(rule.when, scope, target), self._element(place, target, parent) as element:
                self._parts(rule, scope, target, element)

    # -- elements --------------------------------------------------------------------------------------------------

    @contextmanager
    def _element(self, place: Place, target: str, parent: str, slot: str = "") -> Iterator[str]:
        """Make or find an element; one that was made goes again if nothing is put into it. Gives its variable."""
        fixed = 1 if place.step.attribute else 0
        self._builder.at(place.line, target)
        if slot:
            element = self._opened(place.step, parent, slot)
            yield element
            self._writer.line(f"{slot}.close({element}, {fixed})")
        elif not parent:
            yield self._opened(place.step, parent, slot)
        elif self._base:
            before = self._writer.assign(f"len({parent})")
            element = self._opened(place.step, parent, slot)
            yield element
            self._writer.line(f"if len({parent}) > {before}: close({parent}, {element}, {fixed})")
        else:
            element = self._opened(place.step, parent, slot)
            yield element
            self._writer.line(f"close({parent}, {element}, {fixed})")

    def _opened(self, step: Step, parent: str, slot: str) -> str:
        if not parent:
            root = self._writer.temp("e")
            if self._base:
                self._writer.line(f"{root} = root_of({self._document}, {step.name!r})")
            else:
                names = {prefix or None: uri for prefix, uri in self._declared.items() if uri}
                constant = self._builder.generator.constant(names)
                self._writer.line(f"{self._document} = new_document({step.name!r}, {constant})")
                self._writer.line(f"{root} = {self._document}.root")
                if step.attribute:
                    self._writer.line(f"{root}.set({step.attribute!r}, {step.value!r})")
            return root
        if slot:
            return self._writer.assign(f"{slot}.add()")
        return self._writer.assign(
            f"{self._finder()}({parent}, {step.name!r}, {self._own_prefix(step)}, {step.number}, "
            f"{step.attribute!r}, {step.value!r})"
        )

    def _finder(self) -> str:
        return "found_or_added" if self._base else "added"

    def _own_prefix(self, step: Step) -> str:
        """The declaration an element needs by itself: of a prefix the root of a new document doesn't have."""
        uri = step.name[1:].partition("}")[0] if step.name.startswith("{") else ""
        if not uri or uri == "*" or uri in self._declared.values():
            return "None"
        return self._builder.generator.constant({step.prefix or None: uri})

    def _slot(self, place: Place, parent: str) -> str:
        """Of a copy: what puts elements in the place of those that are there; of a new document they just follow."""
        step = place.step
        return self._writer.assign(
            f"slot({parent}, {step.name!r}, {self._own_prefix(step)}, {step.attribute!r}, {step.value!r}, {self._base})"
        )

    def _list(self, rule: ListRule, place: Place, scope: Scope, target: str, parent: str) -> None:
        self._builder.at(rule.line, target)
        slot = self._slot(place, parent)
        if any(isinstance(item, ObjectRule) and item.distinct is not None for item in rule.items):
            self._writer.line(f"{slot}_seen = {{}}")
        for number, item in enumerate(rule.items, 1):
            self._item(item, place, scope, f"{target}[{number}]", parent, slot)

    def _item(self, item: Rules, place: Place, scope: Scope, target: str, parent: str, slot: str) -> None:
        if isinstance(item, Leaf):
            self._leaf(item, place, scope, target, parent, slot)
        elif isinstance(item, ListRule):
            self._builder.problem(item.line, target, t("lists don't nest in XML", "XML 中列表不能嵌套"))
        elif item.each is not None:
            self._each(item, item.each, place, scope, target, parent, slot)
        else:
            with self._builder.when(item.when, scope, target), self._element(place, target, parent, slot) as element:
                self._parts(item, scope, target, element)

    def _each(
        self, rule: ObjectRule, path: Text, place: Place, scope: Scope, target: str, parent: str, slot: str = ""
    ) -> None:
        self._builder.at(path.line, target, path.text)
        if not slot:
            slot = self._slot(place, parent)
            if rule.distinct is not None:
                self._writer.line(f"{slot}_seen = {{}}")
        with (
            self._builder.guard(path, target),
            self._builder.each(path, rule, scope, target) as inner,
            self._builder.distinct(rule.distinct, inner, f"{target}[]", f"{slot}_seen"),
        ):
            if rule.value is not None:
                self._leaf(rule.value, place, inner, f"{target}[]", parent, slot)
            else:
                with self._element(place, f"{target}[]", parent, slot) as element:
                    self._parts(rule, inner, f"{target}[]", element)

    def _leaf(self, leaf: Leaf, place: Place, scope: Scope, target: str, parent: str, slot: str = "") -> None:
        """An element with text; a list makes several."""
        text = leaf.expr or Text("", leaf.line)
        step = place.step
        if not self._scalar(leaf, target):
            return
        with self._builder.when(leaf.when, scope, target), self._builder.guard(text, target):
            self._builder.at(text.line, target, text.text)
            value = self._builder.leaf(leaf, scope, target)
            with self._writer.block(f"if {value.present}:") if value.present else nullcontext():
                if not parent:
                    self._writer.line(f"set_text({self._opened(step, '', '')}, {value.text})")
                elif slot:
                    self._spend(f"{slot}.put({value.text})")
                else:
                    self._spend(
                        f"put_element({self._finder()}, {parent}, {value.text}, {step.name!r}, {self._own_prefix(step)}, "
                        f"{step.number}, {step.attribute!r}, {step.value!r})"
                    )

    def _spend(self, work: str) -> None:
        """Write what returns how much of the run's budget it took."""
        self._writer.line(f"left -= {work}")
        self._writer.line("if left < 0: over_budget()")

    def _scalar(self, leaf: Leaf, target: str) -> bool:
        if leaf.const is not None and isinstance(leaf.const[0], dict | list):
            self._builder.problem(
                leaf.line,
                target,
                t("an element or attribute holds a single value", "元素或属性只有单个值"),
                t("write its parts as keys", "请把各部分写成键"),
            )
            return False
        return True

    # -- attributes, text, copies ------------------------------------------------------------------------------------

    def _part(self, part: Part, scope: Scope, target: str, element: str) -> None:
        leaf = part.rule
        if part.kind == TEXT and isinstance(leaf, ObjectRule) and leaf.each is not None and leaf.value is not None:
            self._texts(leaf, leaf.each, leaf.value, scope, target, element)
            return
        if not isinstance(leaf, Leaf):
            self._builder.problem(
                part.line,
                target,
                t("this takes a single value", "此处只能是单个值"),
                t("write one rule", "请只写一条规则"),
            )
            return
        if not self._scalar(leaf, target):
            return
        text = leaf.expr or Text("", leaf.line)
        with self._builder.when(leaf.when, scope, target), self._builder.guard(text, target):
            self._builder.at(text.line, target, text.text)
            if part.kind == COPY:
                self._copies(leaf, scope, element)
                return
            value = self._builder.leaf(leaf, scope, target)
            if part.kind == TEXT:
                statement = f"{self._text_writer()}({element}, {value.text})"
            elif part.kind == CDATA:
                statement = f"set_cdata({element}, {value.text})"
            else:
                statement = f"set_attribute({element}, {part.kind[1:]!r}, {value.text})"
            self._writer.line(f"if {value.present}: {statement}" if value.present else statement)

    def _text_writer(self) -> str:
        return "set_own_text" if self._base else "add_text"

    def _texts(self, rule: ObjectRule, path: Text, leaf: Leaf, scope: Scope, target: str, element: str) -> None:
        """The texts of a loop, one after the other: what people read of rows where elements are not allowed."""
        if not self._scalar(leaf, target):
            return
        text = leaf.expr or Text("", leaf.line)
        found = self._writer.temp("t")
        self._builder.at(path.line, target, path.text)
        self._writer.line(f"{found} = []")
        if rule.distinct is not None:
            self._writer.line(f"{found}_seen = {{}}")
        with (
            self._builder.guard(path, target),
            self._builder.each(path, rule, scope, target) as inner,
            self._builder.distinct(rule.distinct, inner, f"{target}[]", f"{found}_seen"),
            self._builder.when(leaf.when, inner, target),
            self._builder.guard(text, target),
        ):
            self._builder.at(text.line, f"{target}[]", text.text)
            value = self._builder.leaf(leaf, inner, target)
            statement = f"{found}.append({value.text})"
            self._writer.line(f"if {value.present}: {statement}" if value.present else statement)
        self._builder.at(path.line, target, path.text)
        self._writer.line(f"if {found}: {self._text_writer()}({element}, run_together({found}))")

    def _copies(self, leaf: Leaf, scope: Scope, element: str) -> None:
        generator = self._builder.generator
        if leaf.expr is None or leaf.default is not None or leaf.keep_null:
            raise ExpressionError(t("* takes the path of the elements to copy", "* 须为所复制元素的路径"))
        if not isinstance(generator.source, XmlFormat):
            raise ExpressionError(t("elements are copied from XML only", "只能从 XML 复制元素"))
        found = generator.source.elements(generator, self._builder.path(leaf.expr), scope)
        if found.kind != "element":
            raise ExpressionError(t("only elements can be copied", "只能复制元素"))
        name = self._writer.assign(found.plain)
        if leaf.required:
            self._writer.line(f"if not {name}: missing()")
        self._spend(f"add_copies({element}, {name})")
