"""Asks a service for predictions with Triton's own client, in JSON and in binary: records on stdin, answers on stdout.

Not a part of the tests' environment: the client holds packages back that others need newer.
"""

import json
import sys
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
    try:
        client.infer(model, inputs[1:])
    except triton.InferenceServerException as error:
        refused = str(error)
    print(json.dumps({"ready": ready, "answers": answers, "refused": refused}, default=bytes.decode))


if __name__ == "__main__":
    main(*sys.argv[1:])
