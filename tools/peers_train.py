#!/usr/bin/env python3
"""Training steps: part train of tools/bench_peers."""
import resource
import sys

from peers_common import (Worker, announce, describe, median, process_seconds,
                          publish, quern, serve, table, timed, torch_version)

PACKAGES = {"PyTorch": "python3-torch"}
BATCHES = 10


# ---- PyTorch, in a process of its own for each model and round ----

def make_models(torch):
    nn = torch.nn
    functional = nn.functional

    def conv(c, o, stride=1):
        return [nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)]

    class Block(nn.Module):
        """He et al. 2016 with shortcuts of option A."""

        def __init__(self, c, o):
            super().__init__()
            self.more, self.stride = o - c, 2 if o > c else 1
            self.layers = nn.Sequential(*conv(c, o, self.stride), nn.ReLU(),
                                        *conv(o, o))

        def forward(self, x):
            y = self.layers(x)
            if self.more:
                x = functional.pad(x[:, :, ::2, ::2],
                                   [0, 0, 0, 0, 0, self.more])
            return functional.relu(x + y)

    def mlp(*dropout):
        layers, width = [nn.Flatten()], 784
        for _ in range(2):
            layers.append(nn.Linear(width, 512))
            if dropout:
                layers.append(nn.BatchNorm1d(512))
            layers += [nn.ReLU(), *(nn.Dropout(p) for p in dropout)]
            width = 512
        return nn.Sequential(*layers, nn.Linear(512, 10))

    def mean():
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]

    def cnn():
        return nn.Sequential(
            *conv(3, 32), nn.ReLU(), *conv(32, 64), nn.ReLU(),
            nn.MaxPool2d(2), *conv(64, 128), nn.ReLU(), nn.MaxPool2d(2),
            *mean(), nn.Linear(128, 10))

    def resnet20():
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        blocks = [Block(*pair) for pair in zip(widths, widths[1:])]
        return nn.Sequential(*conv(3, 16), nn.ReLU(), *blocks, *mean(),
                             nn.Linear(64, 10))

    def lenet5():
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, 10))
    return {"mlp": mlp, "mlp-bn-dropout": lambda: mlp(0.5), "cnn": cnn,
            "resnet20": resnet20, "lenet5": lenet5}


def make_step(torch, name, batch):
    net = make_models(torch)[name]()
    if name.startswith("mlp"):
        rule = torch.optim.Adam(net.parameters(), 1e-3)
    else:
        rule = torch.optim.SGD(net.parameters(),
                               0.01 if name == "lenet5" else 0.05,
                               momentum=0.9)
    sample = [3, 32, 32] if name in ("cnn", "resnet20") else [1, 28, 28]
    x = torch.rand(BATCHES * batch, *sample)
    y = torch.randint(0, 10, (BATCHES * batch,))
    at = 0

    def step():
        nonlocal at
        part = slice(at * batch, (at + 1) * batch)
        rule.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x[part]), y[part])
        loss.backward()
        rule.step()
        at = (at + 1) % BATCHES
    return step, sum(p.numel() for p in net.parameters())


def make(name, threads):
    import torch
    torch.set_num_threads(threads)

    def answer(request):
        if "model" not in request:
            return {"version": torch_version(torch)}
        step, parameters = make_step(torch, request["model"],
                                     request["batch"])
        step()
        first = process_seconds()
        seconds = timed(step, request["seconds"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"step_seconds": seconds, "first_step_seconds": first,
                "rss_bytes": peak, "parameters": parameters}
    return f"PyTorch {torch.__version__}", answer


# ---- rounds ----

def ask_torch(options, model):
    worker = Worker(__file__, "PyTorch", options)
    answer = worker.ask({"model": model, "batch": options.batch,
                         "seconds": options.seconds})
    worker.close()
    return answer


def take_rounds(options):
    """Model -> results of quern and of PyTorch, by round."""
    names = (options.models or
             "mlp,mlp-bn-dropout,cnn,resnet20,lenet5").split(",")
    told = {name: ([], []) for name in names}
    for number in range(options.rounds):
        for name in names:
            device = quern(options, "bench", "train", "--models", name,
                           "--batch", options.batch, "--seconds",
                           options.seconds)
            told[name][0].append(device["results"][0])
            answer = ask_torch(options, name)
            if answer:
                told[name][1].append(answer)
        print(f"train: round {number + 1} of {options.rounds}",
              file=sys.stderr)
    return told, device


def cells(name, batch, ours, theirs):
    def mid(results, key):
        return median([r[key] for r in results])
    ours_ms = 1e3 * mid(ours, "step_seconds")
    line = [name, f"{ours_ms:.2f}", f"{1e3 * batch / ours_ms:.0f}",
            f"{mid(ours, 'launches'):.0f}",
            f"{mid(ours, 'first_step_seconds'):.2f}",
            f"{mid(ours, 'peak_device_bytes') / 1e6:.0f}",
            f"{mid(ours, 'rss_bytes') / 1e6:.0f}"]
    if not theirs:
        return line + ["–"] * 4
    theirs_ms = 1e3 * mid(theirs, "step_seconds")
    return line + [f"{theirs_ms:.2f}",
                   f"{mid(theirs, 'first_step_seconds'):.2f}",
                   f"{mid(theirs, 'rss_bytes') / 1e6:.0f}",
                   f"{theirs_ms / ours_ms:.2f}"]


def run(options):
    worker = Worker(__file__, "PyTorch", options)
    if not worker.missing:
        worker.version = worker.ask({})["version"]
    worker.close()
    versions = announce({"PyTorch": worker}, PACKAGES)
    told, device = take_rounds(options)
    titles = ["model", "ms a step", "samples/s", "launches", "first step, s",
              "device, MB", "resident, MB", "PyTorch, ms", "its first step, s",
              "its resident, MB", "ratio"]
    publish(options, "train", f"{describe(device)} {versions} "
            f"{options.threads} threads of PyTorch, bound to cores; batches "
            f"of {options.batch}, {options.rounds} rounds, a process for each "
            "model and round.\n\n" +
            table(titles, [cells(name, options.batch, *one)
                           for name, one in told.items()]))


if __name__ == "__main__":
    serve(make)
