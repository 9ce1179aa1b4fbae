"""An ONNX model whose inputs are columns, as one that takes a single matrix of float32, one row for each record.

A session that is fed a matrix answers in half the time: handing over an array costs as much as many trees, and an array
of texts more. So texts become numbers on the way into the matrix, by tables that the model file carries. Where a text
comes to one number only, as an ordinal or a target encoder has it, the table holds that number; where it comes to
several, as with one-hot encoding, the number of a row in a table within the graph. What texts come to is found by
running the graph on every text that it knows, and on one that it does not.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from pipeline import matrix
from pipeline.contract import Column
from pipeline.matrix import MatrixColumn

Array = np.ndarray[Any, Any]
# What may be done to a text: comparing it to constants, or passing it on. So all other texts come out alike.
COMPARING = {"LabelEncoder", "OneHotEncoder", "Where", "Equal"}
PASSING = {"Identity", "Reshape", "Concat", "Gather", "ArrayFeatureExtractor", "Cast"}
CELLS = 4_000_000  # of a table, at most
PROBED = 3  # rows, to learn the shapes


class NotLookups(ValueError):
    """A text is more to the model than a key of a table; the message says where."""


class Part(NamedTuple):
    """One column of a tensor."""

    depends: frozenset[str]  # columns of the model
    raw: str = ""  # the number column that it is, unchanged


Parts = dict[str, tuple[Part, ...]]  # of each tensor, however many axes its columns are on


def one_matrix(model: ModelProto, columns: Sequence[Column], refusing: Collection[str] = ()) -> ModelProto:
    """The model with one input, and what to put there in its metadata. Raises NotLookups where that cannot be.

    refusing: the text columns in which other texts than those it knows are to be refused, whatever the graph does.
    """
    texts = {column.name: _own_texts(model, column.name) for column in columns if column.type == "text"}
    usual = {name: known[0] if known else "" for name, known in texts.items()}
    probe = _run_all(model, columns, usual, {})
    for node in model.graph.node:
        for name in node.input:
            if probe.get(name, np.empty(0)).dtype == object and node.op_type not in COMPARING | PASSING:
                raise NotLookups(f"{node.op_type} takes a text")
    parts = _parts(model, columns, probe)
    kept, wanted = _needed(model, parts, probe, set(texts))
    tables = {
        name: _table(
            lambda asked: _run_all(model, columns, usual, asked), model, name, known, wanted, parts, name in refusing
        )
        for name, known in texts.items()
    }
    order = _order(wanted, parts)
    return _assembled(model, kept, wanted, parts, tables, order)


def _run_all(
    model: ModelProto, columns: Sequence[Column], usual: Mapping[str, str], asked: Mapping[str, Sequence[str]]
) -> dict[str, Array]:
    """Every tensor that the graph computes for the texts asked, with the usual text elsewhere, and zero as a number."""
    seen = ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    seen.graph.output.extend(ValueInfoProto(name=name) for node in model.graph.node for name in node.output if name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    count = max(map(len, asked.values()), default=PROBED)
    feed: dict[str, Array] = {}
    for name in (column.name for column in columns):
        if name in usual:
            feed[name] = np.array(asked.get(name, [usual[name]] * count), object).reshape(-1, 1)
        else:
            feed[name] = np.zeros((count, 1), np.float32)
    names = [output.name for output in seen.graph.output]
    try:
        session = onnxruntime.InferenceSession(seen.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return feed | dict(zip(names, session.run(names, feed), strict=True))
    except Exception as error:  # ONNX Runtime's own, which have no common base but this
        raise NotLookups(f"the graph does not run on texts that it may not know: {error}") from error


def _constants(model: ModelProto) -> dict[str, Array]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def _parts(model: ModelProto, columns: Sequence[Column], probe: Mapping[str, Array]) -> Parts:
    """What each column of each tensor depends on."""
    constants = _constants(model)
    parts: Parts = {
        column.name: (Part(frozenset({column.name}), column.name if column.type == "number" else ""),)
        for column in columns
    }
    for node in model.graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        passed = _passed_on(node, inputs, parts, constants, probe)
        depends = frozenset().union(*(part.depends for name in inputs for part in parts[name]))
        for name in filter(None, node.output):
            width = probe[name].size // PROBED if probe[name].shape[:1] == (PROBED,) else 0
            parts[name] = passed if len(passed) == width else (Part(depends),) * max(1, width)
    return parts


def _passed_on(
    node: NodeProto, inputs: Sequence[str], parts: Parts, constants: Mapping[str, Array], probe: Mapping[str, Array]
) -> tuple[Part, ...]:
    """The parts of a node that does nothing but pass columns on, along the last axis; none for others."""
    options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if not inputs or any(probe[name].size != PROBED * probe[name].shape[-1] for name in inputs):
        return ()
    last = (-1, probe[inputs[0]].ndim - 1)
    if node.op_type == "Concat" and options["axis"] in last and len(inputs) == len(node.input):
        return tuple(part for name in inputs for part in parts[name])
    given = parts[inputs[0]] if len(inputs) == 1 else ()
    picks = node.op_type == "ArrayFeatureExtractor" or (node.op_type == "Gather" and options.get("axis", 0) in last)
    if given and picks and node.input[1] in constants:
        return tuple(given[int(n)] for n in constants[node.input[1]].reshape(-1))
    if node.op_type == "Cast" and options["to"] != TensorProto.FLOAT:
        return tuple(Part(part.depends) for part in given)
    return given if node.op_type in ("Identity", "Reshape", "Cast") else ()


def _needed(
    model: ModelProto, parts: Parts, probe: Mapping[str, Array], texts: set[str]
) -> tuple[list[NodeProto], list[str]]:
    """The nodes that stay, and the tensors that they take out of the matrix and the tables."""

    def from_matrix(name: str) -> bool:
        found = probe.get(name, np.empty(0))
        if found.shape != (PROBED, len(parts.get(name, ()))) or found.dtype != np.float32:
            return False
        return all(part.raw or (len(part.depends) == 1 and part.depends <= texts) for part in parts[name])

    maker = {name: node for node in model.graph.node for name in node.output}
    constants, kept, wanted = _constants(model), set[str](), dict[str, None]()
    stack = [output.name for output in model.graph.output]
    while stack:
        name = stack.pop()
        if name in constants or not name:
            continue
        if from_matrix(name):
            wanted[name] = None
        elif name in texts:
            raise NotLookups(f"{name} is merged with other columns before it is a number")
        elif name not in kept:
            kept.update(maker[name].output)
            stack += maker[name].input
    return [node for node in model.graph.node if kept.intersection(node.output)], sorted(wanted)


class Table(NamedTuple):
    """What the texts of one column come to: a row of `values` for each of `texts`, and last for any other."""

    texts: list[str]
    values: Array
    others: bool  # whether there is a last row for others; else they are refused
    where: list[tuple[str, int]]  # tensor and column of it, for each column of `values`


def _table(
    run: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Array]],
    model: ModelProto,
    name: str,
    own: Sequence[str],
    wanted: Sequence[str],
    parts: Parts,
    refusing: bool,
) -> Table:
    where = [(each, n) for each in wanted for n, part in enumerate(parts[each]) if part.depends == {name}]

    def values(asked: Sequence[str]) -> Array:
        found = run({name: asked})
        return np.column_stack([found[each][:, n] for each, n in where]) if where else np.zeros((len(asked), 0))

    known = sorted({"", *_texts_in(model.graph.node), *_texts_in(model.graph.initializer)})
    if len(known) * len(where) > CELLS:
        raise NotLookups(f"the table of {name} would have {len(known):,} rows of {len(where):,}")
    if refusing and own:
        return Table(list(own), values(own), False, where)
    other = "?"
    while other in known:
        other += "?"
    try:
        found = values([*known, other])
    except NotLookups:
        if not own:
            raise
        return Table(list(own), values(own), False, where)
    differs = ~np.isclose(found, found[-1], rtol=0, atol=0, equal_nan=True).all(axis=1)
    differs[-1] = True
    return Table([text for text, own_row in zip(known, differs, strict=False) if own_row], found[differs], True, where)


def _own_texts(model: ModelProto, name: str) -> list[str]:
    """The texts that the graph compares this column to, as far as it is on its own."""
    constants, mine, found = set(_constants(model)), {name}, set[str]()
    for node in model.graph.node:
        given = {each for each in node.input if each and each not in constants}
        if given and given <= mine:
            mine.update(node.output)
            found.update(_texts_in([node]))
    return sorted(found)


def _texts_in(those: Iterable[NodeProto | TensorProto]) -> Iterator[str]:
    """All texts in nodes and constants to which anything may be compared."""
    for each in those:
        tensors = [each] if isinstance(each, TensorProto) else [a.t for a in each.attribute if a.HasField("t")]
        for tensor in tensors:
            yield from (text.decode() for text in tensor.string_data)
        for attribute in each.attribute if isinstance(each, NodeProto) else ():
            if attribute.name in ("keys_strings", "cats_strings"):
                yield from (text.decode() for text in attribute.strings)


def _order(wanted: Sequence[str], parts: Parts) -> list[str]:
    """The columns of the matrix in the order of the widest tensor, so that nothing is moved where it is all."""
    widest = max(wanted, key=lambda name: len(parts[name]), default="")
    first = [next(iter(part.depends)) for part in parts.get(widest, ())]
    used = [next(iter(part.depends)) for name in wanted for part in parts[name]]
    return list(dict.fromkeys([*first, *used]))


def _assembled(
    model: ModelProto,
    kept: Sequence[NodeProto],
    wanted: Sequence[str],
    parts: Parts,
    tables: Mapping[str, Table],
    order: Sequence[str],
) -> ModelProto:
    made, constants = list[NodeProto](), list[TensorProto]()
    names = _Names(model)
    source = matrix.INPUT

    def constant(values: Array) -> str:
        constants.append(numpy_helper.from_array(values, names.new("constant")))
        return constants[-1].name

    def add(operator: str, inputs: Sequence[str], output: str = "", **options: Any) -> str:
        made.append(helper.make_node(operator, inputs, [output or names.new("part")], **options))
        return str(made[-1].output[0])

    described, rows = [], dict[str, str]()
    for n, name in enumerate(order):
        table = tables.get(name)
        if table is None:
            described.append(MatrixColumn(name))
            continue
        direct = len(table.where) == 1
        numbers = table.values[:, 0] if direct else np.arange(len(table.values))
        found = [matrix.storable(number) for number in numbers.tolist()]
        others = found.pop() if table.others else None
        described.append(MatrixColumn(name, dict(zip(table.texts, found, strict=True)), others))
        if not direct:
            column = add("Gather", [source, constant(np.array(n))], axis=1)
            code = add("Cast", [column], to=TensorProto.INT64)
            rows[name] = add("Gather", [constant(table.values), code], axis=0)

    for name in wanted:
        pieces = []
        for group in _runs(parts[name], rows):
            if group[0][1] in rows:
                text = group[0][1]
                at = [tables[text].where.index((name, n)) for n, _ in group]
                whole = at == list(range(len(tables[text].where)))
                pieces.append(rows[text] if whole else add("Gather", [rows[text], constant(np.array(at))], axis=1))
            else:
                at = [order.index(each) for _, each in group]
                whole = at == list(range(len(order)))
                pieces.append(source if whole else add("Gather", [source, constant(np.array(at))], axis=1))
        if len(pieces) > 1:
            add("Concat", pieces, name, axis=1)
        else:
            add("Identity", pieces, name)

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.input[:], graph.initializer[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, [None, len(order)]))
    graph.node.extend([*made, *kept])
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(each for each in (*model.graph.initializer, *constants) if each.name in used)
    helper.set_model_props(result, {matrix.METADATA: matrix.encode(described)})
    return result


def _runs(parts: Sequence[Part], rows: Mapping[str, str]) -> list[list[tuple[int, str]]]:
    """The columns of a tensor in groups that come from one place: a table of a text, or the matrix itself."""
    groups: list[list[tuple[int, str]]] = []
    for n, part in enumerate(parts):
        column = next(iter(part.depends))
        place = rows.get(column, matrix.INPUT)
        if groups and rows.get(groups[-1][-1][1], matrix.INPUT) == place:
            groups[-1].append((n, column))
        else:
            groups.append([(n, column)])
    return groups


class _Names:
    """Names that the graph does not have."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.taken = {name for node in graph.node for name in (*node.input, *node.output)}
        self.taken.update(each.name for each in (*graph.initializer, *graph.input, *graph.output))

    def new(self, kind: str) -> str:
        name, n = kind, 0
        while name in self.taken:
            n += 1
            name = f"{kind}{n}"
        self.taken.add(name)
        return name
