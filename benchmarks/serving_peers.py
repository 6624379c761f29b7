"""Servers that ours is measured beside, each with the same ONNX file and one thread: bare, fastapi, litserve, bentoml.

python benchmarks/serving_peers.py fastapi model.onnx 8001
"""

from __future__ import annotations

import os
import sys
from typing import Any


def session(file: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def bare(file: str, port: int) -> None:
    """What uvicorn itself costs: it reads the body and sends fixed bytes."""
    import uvicorn

    body = b'{"predictions":[{"output":[0.123456789,0.987654321]}],"model":"mlp","version":"1"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, port=port, http="httptools", loop="uvloop", ws="none", lifespan="off", access_log=False,
                log_level="critical")  # fmt: skip


def fastapi(file: str, port: int) -> None:
    """As its tutorial does it: a pydantic model and a plain function."""
    import numpy as np
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    model = session(file)

    class Record(BaseModel):
        x: list[float]

    app = FastAPI()

    def predict(record):  # type: ignore[no-untyped-def]
        found = model.run(None, {"x": np.asarray([record.x], np.float32)})[0]
        return {"output": found[0].tolist()}

    predict.__annotations__["record"] = Record  # a class of this function, which its text could not name
    app.post("/predict")(predict)
    uvicorn.run(app, port=port, http="httptools", loop="uvloop", access_log=False, log_level="critical")


def litserve(file: str, port: int) -> None:
    """Its processes find the class by its module."""
    os.environ["TORCHKILN_MODEL"] = file
    import serving_lit

    serving_lit.main(port)


def bentoml(file: str, port: int) -> None:
    """The service below, as its own command serves it."""
    os.environ["TORCHKILN_MODEL"] = file
    folder = os.path.dirname(os.path.abspath(__file__))
    os.chdir(folder)
    words = [sys.executable, "-m", "bentoml", "serve", "serving_bento:Net", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, words)


if __name__ == "__main__":
    kinds = {"bare": bare, "fastapi": fastapi, "litserve": litserve, "bentoml": bentoml}
    kinds[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
