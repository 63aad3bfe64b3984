#!/usr/bin/env python3
"""Convolutions: part conv of tools/bench_peers."""
import re
import sys

from peers_common import (Worker, announce, describe, median, publish, quern,
                          serve, table, timed, torch_version)

PACKAGES = {"PyTorch": "python3-torch"}


# ---- PyTorch, in a process of its own ----

def parse(text):
    """As in quern bench conv."""
    c, h, w, o, k = map(int, re.match(r"(\d+)x(\d+)x(\d+)-(\d+)k(\d+)",
                                      text).groups())
    more = dict(re.findall(r"([sgp])(\d+)", text.partition("k")[2]))
    return (c, h, w, o, k, int(more.get("s", 1)), int(more.get("g", 1)),
            int(more.get("p", k // 2)))


def make(name, threads):
    import torch
    torch.set_num_threads(threads)
    version = torch_version(torch, warm_up=False)

    def answer(request):
        c, h, w, o, k, stride, groups, pad = parse(request["shape"])
        x = torch.rand(request["batch"], c, h, w)
        weight = torch.rand(o, c // groups, k, k)
        with torch.no_grad():
            y = torch.conv2d(x, weight, None, stride, pad, 1, groups)
        dy = torch.rand_like(y)

        def forward():
            torch.conv2d(x, weight, None, stride, pad, 1, groups)

        def backward():
            torch.ops.aten.convolution_backward(
                dy, x, weight, None, [stride] * 2, [pad] * 2, [1, 1], False,
                [0, 0], groups,
                [request["pass"] == "input_gradient",
                 request["pass"] == "weight_gradient", False])
        run = forward if request["pass"] == "forward" else backward
        with torch.no_grad():
            return {"seconds": timed(run, request["seconds"])}
    has = torch.backends.mkldnn.is_available()
    return version + (", oneDNN" if has else ""), answer


# ---- rounds ----

def take_rounds(options, worker):
    """(shape, pass) -> results of quern, seconds of PyTorch, by round."""
    flags = ["--convs", options.convs] if options.convs else []
    told = {}
    for number in range(options.rounds):
        if not told:
            device = quern(options, "bench", "conv", "--seconds", 0.1,
                           "--batch", options.batch, *flags)
            shapes = list(dict.fromkeys(r["shape"] for r in device["results"]))
            told = {(shape, r["pass"]): ([], []) for shape in shapes
                    for r in device["results"]}
        for shape in shapes:
            device = quern(options, "bench", "conv", "--convs", shape,
                           "--batch", options.batch, "--seconds",
                           3 * options.seconds)
            for ours in device["results"]:
                one = told[shape, ours["pass"]]
                one[0].append(ours)
                answer = worker.ask({
                    "shape": shape, "pass": ours["pass"],
                    "batch": options.batch, "seconds": options.seconds})
                if answer:
                    one[1].append(answer["seconds"])
        print(f"conv: round {number + 1} of {options.rounds}",
              file=sys.stderr)
    return told, device


def cells(shape, way, ours, theirs):
    seconds = median([r["seconds"] for r in ours])
    gflop = median([r["gflops"] * r["seconds"] for r in ours])
    line = [shape, way.replace("_", " "), ours[0]["kernel"],
            f"{1e3 * seconds:.3f}", f"{gflop / seconds:.0f}",
            f"{median([r['fma_share'] for r in ours]):.2f}",
            f"{max(r['error'] for r in ours):.0e}"]
    if not theirs:
        return line + ["–", "–"]
    return line + [f"{1e3 * median(theirs):.3f}",
                   f"{median(theirs) / seconds:.2f}"]


def run(options):
    worker = Worker(__file__, "PyTorch", options)
    versions = announce({"PyTorch": worker}, PACKAGES)
    told, device = take_rounds(options, worker)
    worker.close()
    titles = ["CxHxW-FkK", "pass", "kernel", "ms", "GFLOP/s", "of peak",
              "error", "PyTorch, ms", "ratio"]
    publish(options, "conv", f"{describe(device)} {versions} "
            f"{options.threads} threads of PyTorch, bound to cores; batches "
            f"of {options.batch}, {options.rounds} rounds.\n\n" +
            table(titles, [cells(*key, *one) for key, one in told.items()]))


if __name__ == "__main__":
    serve(make)
