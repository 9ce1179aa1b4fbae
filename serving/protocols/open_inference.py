"""The Open Inference Protocol (KServe V2), its extension for tensors in binary, and the model as Triton describes it.

Each field of the contract is a tensor of shape [rows] or [rows, 1]: FP64 or another number, or BYTES for a text.
https://github.com/kserve/open-inference-protocol
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md
"""

import struct
from functools import partial
from math import inf
from typing import Annotated, Any

import msgspec
import numpy as np

from serving.predictor import Scores
from serving.protocols.routes import ANYTHING, Headers, Model, Route, array, constant, header, prediction
from serving.records import parse
from serving.replies import JSON, Problem, Reply, as_json, bad_request, unprocessable

NUMBERS = {
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype("?"),
}
TYPES = {"number": "FP64", "text": "BYTES", "boolean": "BOOL", "date": "BYTES"}  # of a field's tensor
EXPECTED = 'expected {"inputs": [{"name": ..., "shape": [rows], "datatype": ..., "data": [...]}, ...]}'
HEAD_LENGTH = b"inference-header-content-length"
BINARY = "application/octet-stream"
PLATFORMS = {"onnx": "onnxruntime_onnx", "sklearn": "sklearn"}
ELSEWHERE = {"shared_memory_region", "classification"}  # parameters of Triton's extensions that change what is meant

# What is said of a tensor in /openapi.json; what is wrong with one, `_wrong` says better than msgspec.
Shape = Annotated[list[int], msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": 2})]
Datatype = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*NUMBERS, "BYTES"]})]
Data = Annotated[Any, msgspec.Meta(extra_json_schema={"type": "array"})]


class Tensor(msgspec.Struct, omit_defaults=True):
    name: str
    shape: Shape
    datatype: Datatype
    data: Data = None
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class InferenceRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] = []


class Output(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: Data = None


class InferenceResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Output]
    id: str = ""


def routes(model: Model) -> list[Route]:
    name, version, rows = model.card.name, model.card.version, model.examples
    extensions = ["binary_tensor_data", "model_configuration"]
    server = {"name": f"{name}-service", "version": version, "extensions": extensions}
    tag, ready = "Open Inference Protocol", as_json({"name": name, "ready": True})
    types = {field.name: TYPES[field.type] for field in model.contract.fields}
    tensors = [Tensor(each, [len(rows)], of, [row[each] for row in rows]) for each, of in types.items()]
    examples = {"columns": {"inputs": tensors}}
    outputs = [Output("value", "FP64", [-1])]
    if classes := model.contract.classes:
        outputs = [Output("label", "BYTES", [-1]), Output("probabilities", "FP64", [-1, len(classes)])]
    metadata = {
        "name": name,
        "versions": [version],
        "platform": PLATFORMS[model.card.runtime],
        "inputs": [Output(each, of, [-1]) for each, of in types.items()],
        "outputs": outputs,
    }
    table = [
        constant("/v2", as_json(server), "The server", tag),
        constant("/v2/health/live", as_json({"live": True}), "Whether it is alive", tag),
        constant("/v2/health/ready", as_json({"ready": True}), "Whether it is ready", tag),
    ]
    index = as_json([{"name": name, "version": version, "state": "READY", "reason": ""}])
    models = array(ANYTHING)
    table.append(
        Route("POST", "/v2/repository/index", lambda *_: index, inf, "The models", tag, models, request=ANYTHING)
    )
    config = {
        "name": name,
        "platform": PLATFORMS[model.card.runtime],
        "max_batch_size": 0,  # the shapes that follow are whole ones, with the rows
        "input": _configured([(each, of, [-1]) for each, of in types.items()]),
        "output": _configured([(each.name, each.datatype, each.shape) for each in outputs]),
    }
    infer = partial(_infer, model)
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        table += [
            constant(path, as_json(metadata), "Inputs and outputs of the model", tag),
            constant(f"{path}/ready", ready, "Whether the model is ready", tag),
            constant(f"{path}/config", as_json(config), "The same in Triton's words", tag),
            prediction(model, f"{path}/infer", infer, tag, InferenceRequest, InferenceResponse, examples),
        ]
    return table


def _configured(tensors: list[tuple[str, str, list[int]]]) -> list[dict[str, Any]]:
    """Names, data types and shapes as Triton's model configuration has them."""
    return [
        {"name": name, "data_type": "TYPE_STRING" if of == "BYTES" else f"TYPE_{of}", "dims": shape}
        for name, of, shape in tensors
    ]


def _infer(model: Model, body: bytes, headers: Headers) -> Reply:
    request, rest = _parsed(body, header(headers, HEAD_LENGTH))
    columns = {}
    for tensor in request.inputs:
        _check_parameters("input", tensor)
        if tensor.name in columns:
            raise bad_request(f"two inputs are called {tensor.name[:100]!r}")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            columns[tensor.name] = _from_json(tensor)
        else:
            columns[tensor.name], rest = _from_binary(tensor, rest, size)
    if len(rest):
        raise bad_request(f"{len(rest)} bytes are left after the last tensor")
    scores = model.predict(model.decode.columns(columns))
    return _answer(model, request, scores)


def _parsed(body: bytes, length: str) -> tuple[InferenceRequest, memoryview]:
    """The request, and the binary tensors after it."""
    data = memoryview(body)
    if length and not (length.isdecimal() and len(length) < 12 and int(length) <= len(body)):
        raise bad_request("Inference-Header-Content-Length is no length of a part of the body")
    end = int(length) if length else len(body)
    document = parse(data[:end], EXPECTED)
    try:
        request = msgspec.convert(document, InferenceRequest)
    except msgspec.ValidationError:
        try:
            request = msgspec.convert(_without_nulls(document), InferenceRequest)
        except msgspec.ValidationError as error:
            raise unprocessable(f"the body is no inference request: {error}") from None
    if not request.inputs:
        raise unprocessable(f"inputs is an empty list; {EXPECTED}")
    return request, data[end:]


def _without_nulls(document: Any) -> Any:
    """The same where what may be left out is null, as servers of this protocol have it."""
    if type(document) is not dict:
        return document
    left = {key: value for key, value in document.items() if value is not None}
    for key in ("inputs", "outputs"):
        if type(tensors := left.get(key)) is list:
            left[key] = [
                {name: value for name, value in each.items() if value is not None} if type(each) is dict else each
                for each in tensors
            ]
    return left


def _check_parameters(kind: str, tensor: Tensor | Wanted) -> None:
    """Raises Problem (422) where Triton would read or answer something else than is in the request."""
    if odd := ELSEWHERE & tensor.parameters.keys():
        raise unprocessable(f"{kind} {tensor.name[:100]!r}: the parameter {min(odd)} is not taken")


def _rows(tensor: Tensor) -> int:
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise _wrong(tensor, f"has the shape {shape}; expected [rows] or [rows, 1]")
    return shape[0]


def _from_json(tensor: Tensor) -> list[Any]:
    _known(tensor)
    data = tensor.data
    if type(data) is not list or len(data) != _rows(tensor):
        raise _wrong(tensor, f"is to have a list of {_rows(tensor)} values as data")
    return data


def _from_binary(tensor: Tensor, rest: memoryview, size: Any) -> tuple[list[Any], memoryview]:
    rows, dtype = _rows(tensor), _known(tensor)
    if type(size) is not int or not 0 <= size <= len(rest):
        raise _wrong(tensor, f"says that it has {size} bytes; {len(rest)} are left")
    mine, rest = rest[:size], rest[size:]
    if dtype is not None:
        if size != rows * dtype.itemsize:
            raise _wrong(tensor, f"has {size} bytes; {rows} values of {tensor.datatype} have {rows * dtype.itemsize}")
        return [None if value != value else value for value in np.frombuffer(mine, dtype).tolist()], rest  # noqa: PLR0124
    return _texts(tensor, bytes(mine), rows), rest


def _texts(tensor: Tensor, data: bytes, rows: int) -> list[str]:
    """Texts, each behind its length in 4 bytes."""
    texts: list[str] = []
    at, end = 0, len(data)
    try:
        while at + 4 <= end:
            start = at + 4
            at = start + int.from_bytes(data[at:start], "little")
            texts.append(data[start:at].decode())
    except UnicodeDecodeError:
        raise _wrong(tensor, f"value {len(texts)} is no text in UTF-8") from None
    if at != end or len(texts) != rows:
        raise _wrong(tensor, f"does not hold {rows} values, each behind its length in 4 bytes")
    return texts


def _known(tensor: Tensor) -> np.dtype[Any] | None:
    """The type of a tensor's numbers, None for texts."""
    if tensor.datatype not in (*NUMBERS, "BYTES"):
        raise _wrong(tensor, f"is {tensor.datatype[:20]}; expected BYTES, or one of {', '.join(NUMBERS)}")
    return NUMBERS.get(tensor.datatype)


def _wrong(tensor: Tensor, detail: str) -> Problem:
    return unprocessable(f"input {tensor.name[:100]!r} {detail}")


def _answer(model: Model, request: InferenceRequest, scores: Scores) -> Reply:
    classes = model.contract.classes
    tensors: dict[str, Any] = {"value": ("FP64", [len(scores)], [row[0] for row in scores])}
    if classes:
        labels = [classes[row.index(max(row))] for row in scores]
        probabilities = [value for row in scores for value in row]
        tensors = {
            "label": ("BYTES", [len(scores)], labels),
            "probabilities": ("FP64", [len(scores), len(classes)], probabilities),
        }
    if unknown := [wanted.name for wanted in request.outputs if wanted.name not in tensors]:
        raise unprocessable(f"no output {unknown[0][:100]!r}; there are {', '.join(tensors)}")
    for each in request.outputs:
        _check_parameters("output", each)
    usual = bool(request.parameters.get("binary_data_output"))
    wanted = {each.name: bool(each.parameters.get("binary_data", usual)) for each in request.outputs}
    outputs, binary = [], b""
    for name, in_binary in (wanted or dict.fromkeys(tensors, usual)).items():
        datatype, shape, data = tensors[name]
        if in_binary:
            part = _in_binary(datatype, data)
            outputs.append(Output(name, datatype, shape, {"binary_data_size": len(part)}))
            binary += part
        else:
            outputs.append(Output(name, datatype, shape, data=data))
    head = msgspec.json.encode(InferenceResponse(model.card.name, model.card.version, outputs, request.id))
    if not binary:
        return Reply(200, JSON, head, len(scores))
    fields = ((HEAD_LENGTH, b"%d" % len(head)),)
    return Reply(200, BINARY, head + binary, len(scores), fields)


def _in_binary(datatype: str, data: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in (str(value).encode() for value in data))
    return np.array(data, NUMBERS[datatype]).tobytes()
