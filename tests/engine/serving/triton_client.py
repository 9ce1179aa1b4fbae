"""Asks a service for predictions with Triton's own client, in JSON and in binary: records on stdin, answers on stdout.

Not a part of the tests' environment: the client holds packages back that others need newer.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton  # type: ignore[import-not-found]


def main(address: str, model: str) -> None:
    records, answers = json.load(sys.stdin), []
    client = triton.InferenceServerClient(address)
    ready = [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)]
    about = client.get_model_metadata(model)
    for binary in (False, True):
        inputs = []
        for each in about["inputs"]:
            dtype: Any = np.object_ if each["datatype"] == "BYTES" else np.float64
            values = np.array([record[each["name"]] for record in records], dtype)
            inputs.append(triton.InferInput(each["name"], list(values.shape), each["datatype"]))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        outputs = [triton.InferRequestedOutput(each["name"], binary_data=binary) for each in about["outputs"]]
        result = client.infer(model, inputs, outputs=outputs, request_id="7")
        assert result.get_response()["id"] == "7"
        answers.append({each["name"]: result.as_numpy(each["name"]).tolist() for each in about["outputs"]})
    for coding in ("gzip", "deflate"):
        both = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
        result = client.infer(model, inputs, outputs=outputs, **both)
        answers.append({each["name"]: result.as_numpy(each["name"]).tolist() for each in about["outputs"]})
    version = about["versions"][0]
    found = {
        "ready": ready,
        "answers": answers,
        "metadata": about,
        "configs": [client.get_model_config(model), client.get_model_config(model, version)],
        "index": client.get_model_repository_index(),
    }
    refused = {
        "a missing input": lambda: client.infer(model, inputs[1:]),
        "classes": lambda: client.infer(
            model, inputs, outputs=[triton.InferRequestedOutput(about["outputs"][0]["name"], class_count=2)]
        ),
        "shared memory": lambda: client.register_system_shared_memory("mine", "/mine", 8),
        "its status": client.get_system_shared_memory_status,
        "on the GPU": lambda: client.register_cuda_shared_memory("mine", b"handle", 0, 8),
        "load": lambda: client.load_model(model),
        "unload": lambda: client.unload_model(model),
        "statistics": lambda: client.get_inference_statistics(model),
        "trace": client.get_trace_settings,
        "log": lambda: client.update_log_settings({"log_info": False}),
    }
    print(json.dumps(found | {"refused": {what: why(ask) for what, ask in refused.items()}}, default=bytes.decode))


def why(ask: Callable[[], object]) -> str:
    """What the client is told; empty where it is not refused."""
    try:
        ask()
    except triton.InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
