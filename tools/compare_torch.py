#!/usr/bin/env python3
"""Trains one model here and in PyTorch and compares the losses, step by step.

usage: compare_torch.py [OPTION]... MODEL

MODEL and --data are as in quern train. Both begin with the same parameters and
take the same batches; layers that draw (dropout) are set to 0. Ends with the
largest relative difference of a loss, and status 1 if that is above --rtol.

  --quern FILE      the command               [build/tools/quern]
  --steps N         steps to compare          [50]
  --rtol F          relative difference       [1e-3]
  --double          also trains PyTorch in float64: how far float32 strays by
                    itself, where a model amplifies rounding
  --write FILE      PyTorch's losses as JSON, with the settings
  --time            also times --steps steps of each, in turns
  --threads N       of PyTorch                [all]
  --data, --batch-size, --optimizer, --lr, --seed, --device  as in quern train

Needs PyTorch and numpy; Debian has both (python3-torch).
"""
import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPUS = os.sched_getaffinity(0)
# Before torch is imported: threads that wander make its times meaningless.
os.environ.setdefault("OMP_PROC_BIND", "true")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402


# ---- quern ----

def quern(options, *args):
    """Its one JSON object. Binding torch's threads has bound this one too."""
    done = subprocess.run(
        [options.quern, *map(str, args), "--json", "--quiet"],
        stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, CPUS))
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def train_flags(options):
    names = ("data", "batch_size", "optimizer", "lr", "seed", "device")
    return [word for name in names if getattr(options, name) is not None
            for word in ("--" + name.replace("_", "-"),
                         getattr(options, name))]


def without_draws(value):
    """The model with every probability of dropping 0."""
    if isinstance(value, list):
        return [without_draws(v) for v in value]
    if not isinstance(value, dict):
        return value
    value = {k: without_draws(v) for k, v in value.items()}
    kind = value.get("type", "")
    if "drop" in kind or kind == "stochastic_depth":
        value["p"] = 0
    value.pop("drop", None)
    return value


def start(options, folder):
    """A run without a step, of the model that draws nothing."""
    probe, run = folder / "probe", folder / "run"
    flags = train_flags(options)
    quern(options, "train", options.model, *flags, "--steps", 0, "--out",
          probe)
    config = json.loads((probe / "config.json").read_text())
    model = folder / "model.json"
    model.write_text(json.dumps(without_draws(config["model"])))
    quern(options, "train", model, *flags, "--steps", 0, "--out", run)
    return run, json.loads((run / "config.json").read_text())


def train_quern(options, run):
    quern(options, "train", "--resume", run, "--epochs", 10**6, "--steps",
          options.steps, "--log-every", 1, *device_flag(options))
    lines = (run / "steps.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def device_flag(options):
    return ["--device", options.device] if options.device else []


def read_checkpoint(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            a, b = entry["data_offsets"]
            values = np.frombuffer(data[8 + size + a:8 + size + b], "<f4")
            tensors[name] = torch.from_numpy(
                values.reshape(entry["shape"]).copy())
    return tensors


# ---- data sets ----

def read_digits():
    import gzip
    with gzip.open(ROOT / "lib/data/digits.csv.gz", "rt") as file:
        rows = np.loadtxt(file, np.uint8, delimiter=",")
    x, y = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int32)
    test = np.zeros(len(y), bool)
    for c in range(10):
        of_class = np.flatnonzero(y == c)
        test[of_class[(2 * np.arange(36) + 1) * len(of_class) // 72]] = True
    return x[~test], y[~test], x[test], y[test]


def read_bytes(folder, name):
    import gzip
    path = folder / name
    if path.is_file():
        return path.read_bytes()
    with gzip.open(folder / (name + ".gz")) as file:
        return file.read()


def read_idx(folder):
    parts = []
    for part in ("train", "t10k"):
        x = read_bytes(folder, part + "-images-idx3-ubyte")
        y = read_bytes(folder, part + "-labels-idx1-ubyte")
        n, h, w = struct.unpack(">III", x[4:16])
        parts += [np.frombuffer(x, np.uint8, offset=16).reshape(n, 1, h, w),
                  np.frombuffer(y, np.uint8, offset=8).astype(np.int32)]
    return parts


def read_cifar(folder):
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    parts = []
    for files in (names, ["test_batch.bin"]):
        rows = np.frombuffer(b"".join(read_bytes(folder, name)
                                      for name in files),
                             np.uint8).reshape(-1, 3073)
        parts += [rows[:, 1:].reshape(-1, 3, 32, 32).copy(),
                  rows[:, 0].astype(np.int32)]
    return parts


def read_data(told):
    """Training samples, labels; the same as quern's, by the check sum."""
    folder = Path(told["origin"])
    if told["origin"] == "digits":
        parts = read_digits()
    elif told["shape"] == [3, 32, 32]:
        parts = read_cifar(folder)
    else:
        parts = read_idx(folder)
    crc = 0
    for part in parts:
        crc = zlib.crc32(part.tobytes(), crc)
    if crc != told["checksum"]:
        sys.exit(f"{told['origin']}: not what quern read: another check sum")
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1]).long()


def philox(counter, key):
    """Philox4x32-10 of uint32 arrays; Salmon et al. 2011."""
    c = [np.asarray(x, np.uint64) for x in counter]
    k = [int(x) for x in key]
    low = np.uint64(0xffffffff)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xd2511f53), c[2] * np.uint64(0xcd9e8d57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & low]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff,
             (k[1] + 0xbb67ae85) & 0xffffffff]
    return c


def order_of(count, seed, epoch):
    """The order of samples, as docs/run-folder.md defines it."""
    n = np.arange((count + 1) // 2, dtype=np.uint64)
    word = philox([n, np.full_like(n, epoch), np.zeros_like(n),
                   np.zeros_like(n)], [seed, 0x6f726465])
    pairs = np.stack(word, 1).reshape(-1, 2)
    bits = (pairs[:, 0] << np.uint64(32) | pairs[:, 1]) >> np.uint64(12)
    u = (bits.astype(np.float64) + 0.5) * 2.0 ** -52
    order = list(range(count))
    for draw, i in enumerate(range(count - 1, 0, -1)):
        j = int(u[draw] * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


def batches(config):
    """Sample numbers of each step's batch, without end."""
    count, size = config["data"]["train_count"], config["batch_size"]
    epoch = 0
    while True:
        epoch += 1
        order = order_of(count, config["seed"], epoch)
        for first in range(0, count, size):
            yield torch.tensor(order[first:first + size])


# ---- the model in PyTorch ----

class Flat(nn.Linear):
    """dense: flattens what comes in."""

    def forward(self, x):
        return super().forward(x.flatten(1))


class Maxout(Flat):
    """dense: the largest of its pieces."""

    def forward(self, x):
        y = super().forward(x)
        return y.reshape(len(y), self.pieces, -1).amax(1)


class Residual(nn.Module):
    def __init__(self, layers, shortcut):
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x):
        return self.layers(x) + (self.shortcut(x) if self.shortcut else x)


class Subsample(nn.Module):
    def __init__(self, stride=2, channels=0):
        super().__init__()
        self.stride = stride if isinstance(stride, list) else [stride] * 2
        self.channels = channels

    def forward(self, x):
        x = x[:, :, ::self.stride[0], ::self.stride[1]]
        more = max(self.channels - x.shape[1], 0)
        return nn.functional.pad(x, (0, 0, 0, 0, 0, more))


class Parallel(nn.Module):
    def __init__(self, branches, axis):
        super().__init__()
        self.branches, self.axis = nn.ModuleList(branches), axis

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], self.axis)


def dense(shape, units, bias=True):
    return Flat(int(np.prod(shape)), units, bias)


def maxout(shape, units, pieces=2, bias=True):
    layer = Maxout(int(np.prod(shape)), units * pieces, bias)
    layer.pieces = pieces
    return layer


def conv(shape, filters, kernel=3, stride=1, padding="same", dilation=1,
         groups=1, bias=True):
    return nn.Conv2d(shape[0], filters, kernel, stride, padding, dilation,
                     groups or shape[0], bias)


def batch_norm(shape, eps=1e-5, momentum=0.1, affine=True):
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    return kind(shape[0], eps, momentum, affine)


def prelu(shape, slope=0.25, per_channel=False):
    return nn.PReLU(shape[0] if per_channel else 1, slope)


def pool(kind):
    def build(_, kernel=2, stride=0, padding=0):
        return kind(kernel, stride or kernel, padding)
    return build


def plain(kind):
    return lambda _, **keys: kind(**keys)


def sequential(shape, layers):
    return build(layers, shape)


def residual(shape, layers, shortcut=None):
    return Residual(build(layers, shape), shortcut and build(shortcut, shape))


def parallel(shape, branches, axis=1):
    return Parallel([build(layers, shape) for layers in branches], axis)


BUILDERS = {
    "dense": dense,
    "maxout": maxout,
    "conv": conv,
    "batch_norm": batch_norm,
    "maxpool": pool(nn.MaxPool2d),
    "avgpool": pool(nn.AvgPool2d),
    "global_avg_pool": lambda _: nn.Sequential(nn.AdaptiveAvgPool2d(1),
                                               nn.Flatten()),
    "flatten": plain(nn.Flatten),
    "subsample": plain(Subsample),
    "relu": plain(nn.ReLU),
    "relu6": plain(nn.ReLU6),
    "tanh": plain(nn.Tanh),
    "sigmoid": plain(nn.Sigmoid),
    "leaky_relu": lambda _, slope=0.01: nn.LeakyReLU(slope),
    "prelu": prelu,
    "elu": plain(nn.ELU),
    "selu": plain(nn.SELU),
    "gelu": plain(nn.GELU),
    "silu": plain(nn.SiLU),
    "mish": plain(nn.Mish),
    "softplus": plain(nn.Softplus),
    "softsign": plain(nn.Softsign),
    "dropout": lambda _, **__: nn.Identity(),
    "spatial_dropout": lambda _, **__: nn.Identity(),
    "stochastic_depth": lambda _, **__: nn.Identity(),
    "sequential": sequential,
    "residual": residual,
    "parallel": parallel,
}
# How parameters begin says nothing here: they come from the checkpoint.
BEGIN = {"type", "name", "init", "gain", "fan", "value", "bias_init",
         "bias_value"}


def build(layers, shape):
    """nn.Sequential with quern's names, fed with samples of `shape`."""
    net = nn.Sequential()
    for i, layer in enumerate(layers):
        keys = {k: v for k, v in layer.items() if k not in BEGIN}
        if layer["type"] not in BUILDERS:
            sys.exit(f"layer {i}: {layer['type']} is not known here")
        try:
            part = BUILDERS[layer["type"]](shape, **keys)
        except TypeError as error:
            sys.exit(f"layer {i}, {layer['type']}: {error}")
        net.add_module(str(i), part)
        with torch.no_grad():
            shape = list(part.eval()(torch.zeros(1, *shape)).shape[1:])
    return net.train()


def load(net, tensors):
    """All parameters and statistics; what is left over is no network's."""
    odd = net.load_state_dict({k: v for k, v in tensors.items()
                               if k in net.state_dict()}, strict=False)
    missing = [k for k in odd.missing_keys
               if not k.endswith("num_batches_tracked")]
    left = [k for k in tensors if k not in net.state_dict()
            and not k.startswith(("optimizer.", "training.", "average",
                                  "lookahead."))]
    if missing or left:
        sys.exit(f"parameters do not fit: {missing} missing, {left} left")


# Where PyTorch has a rule, and settings of ours that it lacks, at the only
# value that it knows.
RULES = {"sgd": "SGD", "momentum": "SGD", "nesterov": "SGD",
         "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop",
         "adam": "Adam", "amsgrad": "Adam", "adamax": "Adamax",
         "nadam": "NAdam", "radam": "RAdam", "adamw": "AdamW"}
LACKING = {"heavy_ball": 0, "lookahead": 0, "eps_inside": 0,
           "bias_correction": 1}


def make_optimizer(net, config):
    told, lr = dict(config["optimizer"]), config["lr"]
    name = told.pop("name")
    if name not in RULES:
        sys.exit(f"optimizer {name}: PyTorch has none")
    for key, value in LACKING.items():
        if told.pop(key, value) != value:
            sys.exit(f"optimizer {name}: PyTorch has no {key}")
    if "beta1" in told:
        told["betas"] = told.pop("beta1"), told.pop("beta2")
    if name in ("nesterov", "amsgrad"):
        told[name] = True
    if name == "rmsprop":
        told["centered"] = told["centered"] != 0
    if name == "nadam":
        told["foreach"] = True  # without, PyTorch 1.13 multiplies mu twice
    return getattr(torch.optim, RULES[name])(net.parameters(), lr, **told)


class Trainer:
    def __init__(self, config, tensors, real=torch.float32):
        told = config["data"]
        self.x, self.y = read_data(told)
        self.offset, self.scale = told["offset"], told["scale"]
        self.net = build(config["model"]["layers"], told["shape"])
        load(self.net, tensors)
        self.net.to(real)
        self.real = real
        self.optimizer = make_optimizer(self.net, config)
        self.loss = nn.CrossEntropyLoss()
        self.batches = batches(config)

    def step(self):
        at = next(self.batches)
        x = (self.x[at].to(self.real) - self.offset) * self.scale
        self.optimizer.zero_grad()
        loss = self.loss(self.net(x), self.y[at])
        loss.backward()
        self.optimizer.step()
        return loss.item()


# ---- comparing ----

def compare(name, ours, theirs):
    """The largest relative difference."""
    worst = 0
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
        difference = abs(a - b) / abs(b)
        worst = max(worst, difference)
        if i in (1, 2, 5) or i % 10 == 0 or i == len(ours):
            print(f"step {i:4}  quern {a:.6f}  {name} {b:.6f}  "
                  f"relative difference {difference:.2e}")
    print(f"largest relative difference of {len(ours)} losses: {worst:.2e}",
          flush=True)
    return worst


def compare_double(options, config, tensors, ours, theirs):
    trainer = Trainer(config, tensors, torch.float64)
    exact = [trainer.step() for _ in range(options.steps)]
    compare("float64", ours, exact)
    worst = max(abs(a - b) / abs(b) for a, b in zip(theirs, exact))
    print(f"that of PyTorch in float32 from float64: {worst:.2e}")


def time_both(options, run, trainer, config):
    """Seconds an epoch, from steps timed in turns; the first do not count."""
    turns, count = 4, config["data"]["train_count"]
    each = max(options.steps // turns, 2)
    done, ours, theirs = options.steps, [], []
    size = config["batch_size"]
    for _ in range(turns):
        done += each + 1
        told = quern(options, "train", "--resume", run, "--epochs", 10**6,
                     "--steps", done, *device_flag(options))
        ours.append(count / told["samples_per_second"])
        trainer.step()
        begin = time.perf_counter()
        for _ in range(each):
            trainer.step()
        theirs.append((time.perf_counter() - begin) * count / size / each)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"seconds an epoch, medians of {turns} turns of {each} steps: "
          f"quern {a:.1f} ({min(ours):.1f} to {max(ours):.1f}), "
          f"torch {b:.1f} ({min(theirs):.1f} to {max(theirs):.1f})")


def write(options, config, losses):
    keys = ("model", "optimizer", "lr", "batch_size", "seed")
    told = {key: config[key] for key in keys}
    told |= {"data": config["data"]["origin"], "torch": torch.__version__,
             "losses": losses}
    Path(options.write).write_text(json.dumps(told, indent=1) + "\n")


def read_options():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("model")
    parser.add_argument("--quern", default=ROOT / "build/tools/quern")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rtol", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=len(CPUS))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--write")
    for name in ("data", "batch-size", "optimizer", "lr", "seed", "device"):
        parser.add_argument("--" + name)
    return parser.parse_args()


def main():
    options = read_options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="quern-torch-") as folder:
        run, config = start(options, Path(folder))
        tensors = read_checkpoint(run / "last.safetensors")
        trainer = Trainer(config, tensors)
        ours = train_quern(options, run)
        theirs = [trainer.step() for _ in range(options.steps)]
        worst = compare("torch", ours, theirs)
        if options.double:
            compare_double(options, config, tensors, ours, theirs)
        if options.time:
            time_both(options, run, trainer, config)
    if options.write:
        write(options, config, theirs)
    return 0 if worst <= options.rtol else 1


if __name__ == "__main__":
    sys.exit(main())
