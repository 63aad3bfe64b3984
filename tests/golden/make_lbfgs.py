#!/usr/bin/env python3
"""Makes lbfgs.json: trajectories of torch.optim.LBFGS.

make_lbfgs.py [FOLDER]        (needs torch; Debian: python3-torch)

A 2-3-1 net of sigmoids learns eight samples by mean squared error, in double
precision. Each trajectory holds, for 20 iterations, the loss and all parameters
after it (weights [3, 2], biases [3], weights [1, 3], bias [1], in C order), as
one call of step() for each iteration gives them.
"""
import json
import sys
from pathlib import Path

import torch
import torch.nn as nn

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
ITERATIONS = 20
x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.25], [-0.5, 1.5],
                  [1.25, -0.75], [-1, -0.5]], dtype=torch.float64)
y = torch.tensor([[0.3], [0.05], [0.65], [0.1], [0.35], [0.0], [0.8], [0.15]],
                 dtype=torch.float64)
# From here neither rounding nor float32 is blown up over 20 iterations, as the
# method does from most points.
start = [-0.375, 1.25, 2.0, 0.625, -1.125, -2.0, -1.125, 0.625, -1.75, 0.5,
         -0.5, -0.25, 0.5]
cases = [
    {"text": "lbfgs:history=100", "lr": 1, "history": 100, "search": True},
    {"text": "lbfgs:history=3", "lr": 1, "history": 3, "search": True},
    {"text": "lbfgs:history=10", "lr": 0.25, "history": 10, "search": True},
    {"text": "lbfgs:history=100,line_search=none", "lr": 0.5,
     "history": 100, "search": False},
    {"text": "lbfgs:history=5,line_search=none", "lr": 0.25, "history": 5,
     "search": False},
]


def run(case):
    net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1),
                        nn.Sigmoid()).double()
    nn.utils.vector_to_parameters(torch.tensor(start, dtype=torch.float64),
                                  net.parameters())
    optimizer = torch.optim.LBFGS(
        net.parameters(), lr=case["lr"], max_iter=1,
        history_size=case["history"],
        line_search_fn="strong_wolfe" if case["search"] else None)

    def loss():
        return nn.functional.mse_loss(net(x), y)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    points = []
    for _ in range(ITERATIONS):
        optimizer.step(closure)
        vector = nn.utils.parameters_to_vector(net.parameters())
        points.append([loss().item()] + vector.tolist())
    return {"text": case["text"], "lr": case["lr"], "points": points}


text = json.dumps({"x": x.tolist(), "y": y.flatten().tolist(), "start": start,
                   "trajectories": [run(case) for case in cases]}, indent=1)
(folder / "lbfgs.json").write_text(text + "\n")
