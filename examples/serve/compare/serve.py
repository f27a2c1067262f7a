"""The same network behind an ASGI server: PyTorch or ONNX Runtime, with the checkpoint that `train` has left.

    pip install uvicorn httptools uvloop numpy torch       # or: onnx onnxruntime in place of torch
    python3 serve.py torch ../../../target/penguins.safetensors 8081

One process with an event loop, as one is usually deployed per core. Rows of requests that are there at the same time are predicted
together, as in `src/service.rs`: while a thread works on some, others come, and are the next batch.
"""

import asyncio
import csv
import io
import json
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import uvicorn

backend, path, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
    data = file.read()
words = header.pop("__metadata__")


def tensor(name):
    start, end = header[name]["data_offsets"]
    return np.frombuffer(data[start:end], "<f4").reshape(header[name]["shape"])


columns = list(csv.reader(io.StringIO(words["attached columns"])))[1:]
species = list(csv.reader(io.StringIO(words["attached species"])))[1][4:]
mean, scale = tensor("logits.standardize1.running_mean"), 1 / np.sqrt(tensor("logits.standardize1.running_var"))
layers = [(tensor(f"logits.dense{n}.weight"), tensor(f"logits.dense{n}.bias")) for n in (1, 2, 3)]


def encode(body):
    rows = []
    for row in csv.DictReader(io.StringIO(body)):
        features = []
        for kind, name, *rest in columns:
            cell = "" if row[name] == "NA" else row[name]
            if kind == "number":
                features.append(float(cell or rest[0]))
            else:
                features.extend(float(cell == category) for category in rest[2:])
        rows.append(features)
    return np.array(rows, np.float32)


if backend == "torch":
    import torch

    torch.set_num_threads(1)

    class Penguins(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor(mean))
            self.register_buffer("scale", torch.tensor(scale))
            self.layers = torch.nn.ModuleList(torch.nn.Linear(w.shape[0], w.shape[1]) for w, _ in layers)
            for layer, (weight, bias) in zip(self.layers, layers):
                layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)

        def forward(self, x):
            x = (x - self.mean) * self.scale
            for layer in self.layers[:-1]:
                x = torch.relu(layer(x))
            return torch.softmax(self.layers[-1](x), -1)

    model = torch.jit.freeze(torch.jit.trace(Penguins().eval(), torch.zeros(2, len(mean))))

    def network(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

else:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    known = {"mean": mean, "scale": scale}
    for n, (weight, bias) in enumerate(layers):
        known |= {f"w{n}": weight, f"b{n}": bias}
    nodes = [helper.make_node("Sub", ["x", "mean"], ["apart"]), helper.make_node("Mul", ["apart", "scale"], ["h0"])]
    for n in range(3):
        nodes.append(helper.make_node("Gemm", [f"h{n}", f"w{n}", f"b{n}"], [f"z{n}"]))
        nodes.append(helper.make_node("Relu" if n < 2 else "Softmax", [f"z{n}"], [f"h{n + 1}"]))
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "penguins",
        [helper.make_tensor_value_info("x", number, ["batch", len(mean)])],
        [helper.make_tensor_value_info("h3", number, ["batch", len(species)])],
        [numpy_helper.from_array(value, name) for name, value in known.items()],
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    session = onnxruntime.InferenceSession(text, settings, providers=["CPUExecutionProvider"])

    def network(x):
        return session.run(None, {"x": x})[0]


jobs, pool = [], ThreadPoolExecutor(1)
busy = False


def work():
    """Predicts what is there, unless that is being done."""
    global busy, jobs
    if busy or not jobs:
        return
    batch, jobs, busy = jobs, [], True
    future = asyncio.get_running_loop().run_in_executor(pool, network, np.concatenate([rows for rows, _ in batch]))
    future.add_done_callback(lambda future: done(batch, future.result()))


def done(batch, found):
    global busy
    busy, at = False, 0
    for rows, reply in batch:
        reply.set_result(found[at : at + len(rows)])
        at += len(rows)
    work()


async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    reply = asyncio.get_running_loop().create_future()
    jobs.append((encode(body.decode()), reply))
    work()
    chances = await reply
    text = "species," + ",".join(species) + "\n"
    for row in chances:
        text += species[int(row.argmax())] + "".join(f",{chance:.4f}" for chance in row) + "\n"
    headers = [(b"content-type", b"text/csv"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


if __name__ == "__main__":
    uvicorn.run(app, port=port, access_log=False, log_level="warning", lifespan="off", http="httptools", loop="uvloop")
