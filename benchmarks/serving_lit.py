"""What LitServe is measured with, in an environment of its own: its best batched setting, 64 rows and 2 ms."""

import os
from typing import Any

import litserve as ls
import numpy as np
from serving_peers import session


class Api(ls.LitAPI):
    """The net behind LitServe's own batching."""

    def setup(self, device: str) -> None:
        self.model = session(os.environ["TORCHKILN_MODEL"])

    def decode_request(self, request):  # it takes an annotation for a parameter of the query
        return np.asarray(request["x"], np.float32)

    def batch(self, inputs: Any) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        return self.model.run(None, {"x": x})[0]

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def encode_response(self, output: Any) -> Any:
        return {"output": output.tolist()}


def main(port: int) -> None:
    server = ls.LitServer(Api(max_batch_size=64, batch_timeout=0.002), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="critical")
