"""The service that BentoML is measured with, in an environment of its own; see serving_peers.py."""

import os

import bentoml
import numpy as np
from serving_peers import session


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 256})
class Net:
    """The net behind BentoML's own batching."""

    def __init__(self) -> None:
        self.model = session(os.environ["TORCHKILN_MODEL"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.run(None, {"x": x.astype(np.float32)})[0]
