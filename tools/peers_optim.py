"""Updates of parameters: every rule here and its namesake in PyTorch, with
foreach=True and foreach=False. Part optim of tools/bench_peers.
"""
import os
import statistics
import sys

from bars_svg import Bars
from peers_common import (BOUND, ROOT, describe, median, publish, quern, table,
                          timed)

FIGURE = ROOT / "docs/optimizers.svg"
# Before torch is imported.
os.environ.update(BOUND)
import torch  # noqa: E402
from torch import optim  # noqa: E402


# ---- quern ----

def time_quern(options, name):
    return quern(options, "bench", "optim", "--optimizer", name, "--seconds",
                 options.seconds, "--parameters", options.parameters)


# ---- PyTorch ----

PEERS = {
    "sgd": lambda p, **k: optim.SGD(p, 1e-2, **k),
    "momentum": lambda p, **k: optim.SGD(p, 1e-2, momentum=0.9, **k),
    "nesterov": lambda p, **k: optim.SGD(p, 1e-2, momentum=0.9,
                                         nesterov=True, **k),
    "adagrad": lambda p, **k: optim.Adagrad(p, **k),
    "rmsprop": lambda p, **k: optim.RMSprop(p, **k),
    "adadelta": lambda p, **k: optim.Adadelta(p, **k),
    "adam": lambda p, **k: optim.Adam(p, **k),
    "adamw": lambda p, **k: optim.AdamW(p, **k),
    "amsgrad": lambda p, **k: optim.Adam(p, amsgrad=True, **k),
    "adamax": lambda p, **k: optim.Adamax(p, **k),
    "nadam": lambda p, **k: optim.NAdam(p, **k),
    "radam": lambda p, **k: optim.RAdam(p, **k),
    "rprop": lambda p, **k: optim.Rprop(p, **k),
    "asgd": lambda p, **k: optim.ASGD(p, **k),
}
SIDE = 1024


def make_tensors(count):
    """Weights and biases as in quern bench optim, with gradients."""
    tensors = []
    while count > 0:
        most = SIDE if len(tensors) % 2 else SIDE * SIDE
        shape = [min(count, most)]
        if not len(tensors) % 2 and count >= most:
            shape = [SIDE, SIDE]
        p = torch.empty(shape).uniform_(-0.1, 0.1).requires_grad_()
        p.grad = torch.empty(shape).uniform_(-0.01, 0.01)
        tensors.append(p)
        count -= p.numel()
    return tensors


def time_torch(options, name, foreach):
    """Seconds of a step."""
    rule = PEERS[name](make_tensors(options.parameters), foreach=foreach)
    return timed(rule.step, options.seconds)


# ---- rounds ----

def take_rounds(options, names):
    """name -> the runs' results, one of each round; and the device."""
    told = {name: {"quern": [], True: [], False: []} for name in names}
    for number in range(options.rounds):
        for name in names:
            one = told[name]
            device = time_quern(options, name)
            one["quern"].append(device["results"][0])
            for foreach in (True, False) if name in PEERS else ():
                one[foreach].append(time_torch(options, name, foreach))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return told, device


def summarise(name, told):
    ours = told["quern"]
    row = {"name": name, "launches": ours[0]["launches"],
           "bytes": round(ours[0]["bytes_per_parameter"])}
    for key in ("gbps", "copy_gbps", "in_place_gbps"):
        row[key] = median([one[key] for one in ours], 1)
    for key in ("copy_share", "in_place_share"):
        row[key] = median([one[key] for one in ours], 2)
    row["ms"] = median([1e3 * one["seconds"] for one in ours], 2)
    row["torch_ms"] = [median([1e3 * s for s in told[foreach]], 2)
                       for foreach in (True, False) if told[foreach]]
    # Against the faster of the two in each round.
    best = list(map(min, told[True], told[False]))
    row["faster"] = median([b / one["seconds"] for b, one in zip(best, ours)],
                           1) if best else None
    # PyTorch's own way may pass over memory more often; counted are the same
    # bytes, which is what the user wants moved.
    row["torch_gbps"] = median(
        [one["gbps"] * one["seconds"] / b for b, one in zip(best, ours)],
        1) if best else None
    return row


# ---- reports ----

TITLES = ["rule", "launches", "bytes a parameter", "ms an update", "GB/s",
          "of a copy", "of a pass in place", "PyTorch foreach, ms",
          "PyTorch loop, ms", "times as fast"]


def cells(row):
    torch_ms = [f"{ms:.2f}" for ms in row["torch_ms"]] or ["–", "–"]
    faster = f"{row['faster']:.1f}" if row["faster"] else "–"
    return [row["name"], str(row["launches"]), str(row["bytes"]),
            f"{row['ms']:.2f}", f"{row['gbps']:.1f}",
            f"{row['copy_share']:.2f}", f"{row['in_place_share']:.2f}",
            *torch_ms, faster]


def conditions(options, device):
    return (
        f"{describe(device)} "
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads "
        f"bound to cores. {options.parameters:,} parameters in float32, "
        f"{options.rounds} rounds.")


def draw(options, device, rows):
    bars = Bars(
        f"Updating {options.parameters / 1e6:g} million parameters: GB/s of "
        "what must be read and written",
        f"{device['platform']} {device['driver']}, "
        f"{device['compute_units']} cores; medians of {options.rounds} "
        "interleaved rounds",
        ["Quern", f"PyTorch {torch.__version__}, its faster way"],
        "a copy in as much memory")
    for row in rows:
        bars.add(row["name"], [row["gbps"], row["torch_gbps"]],
                 row["copy_gbps"])
    FIGURE.write_text(bars.text())


def run(options):
    torch.set_num_threads(options.threads)
    names = [row["name"] for row in quern(options, "list")["optimizers"]
             if row["kind"] == "mini-batches"]
    if options.optimizer:
        wanted = options.optimizer.split(",")
        names = [name for name in names if name in wanted]
        if not names or len(names) != len(wanted):
            sys.exit(f"--optimizer {options.optimizer}: not all of them are "
                     "in quern list optimizers")
    told, device = take_rounds(options, names)
    rows = [summarise(name, told[name]) for name in names]
    publish(options, "optim", conditions(options, device) + "\n\n" +
            table(TITLES, [cells(row) for row in rows]))
    if options.docs:
        draw(options, device, rows)
