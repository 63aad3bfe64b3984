#!/usr/bin/env python3
"""Makes cases.json and tensors.safetensors: what PyTorch computes.

make.py [FOLDER]        (needs torch; Debian: python3-torch)

For each case a model or loss of ours and PyTorch's counterpart are given the
same input, parameters and dy; the files then hold, as float32, what PyTorch
computes in double precision from these float32 values: output, gradients of
sum(y * dy) to the input and to all parameters, and the state afterwards.

A new layer or loss is one line in the lists below. test_golden.c compares.
"""
import json
import struct
import sys
import zlib
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
cases, tensors = [], {}


def rounded(t):
    """Exact in float32, computed with in double."""
    return t.float().double()


def keep(case, name, t):
    t = t.detach()
    tensors[f"{case}/{name}"] = t.int() if t.dtype == torch.int64 else t.float()


def seed(name):
    torch.manual_seed(zlib.crc32(name.encode()))


def random_state(module):
    """Parameters and statistics away from their simple first values."""
    for key, t in module.state_dict().items():
        if t.dtype.is_floating_point:
            is_variance = key.endswith("running_var")
            with torch.no_grad():
                t.copy_(rounded(torch.rand_like(t) + 0.5 if is_variance
                                else torch.randn_like(t) * 0.4))


def layer(name, model, module, shape, train=False, names=None, scale=1.0):
    """`model`: our layers. `names`: where our parameters' names are not
    PyTorch's, which are those of nn.Sequential(module)."""
    seed(name)
    names = names or {}
    net = module if isinstance(module, nn.Sequential) else nn.Sequential(
        module if isinstance(module, nn.Module) else Function(module))
    net = net.double().train(train)
    random_state(net)
    x = rounded(torch.randn(shape).double() * scale).requires_grad_()
    state = {k: v.clone() for k, v in net.state_dict().items()
             if v.dtype.is_floating_point}
    y = net(x)
    dy = rounded(torch.randn_like(y))
    (y * dy).sum().backward()
    cases.append({"name": name, "model": {"layers": model}, "training": train})
    for key, t in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        keep(name, key, t)
    parameters = dict(net.named_parameters())
    for key, t in state.items():
        ours = names.get(key, key)
        keep(name, "before/" + ours, t)
        if key in parameters:
            keep(name, "gradient/" + ours, parameters[key].grad)
        elif train:
            keep(name, "after/" + ours, net.state_dict()[key])


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def loss(name, ours, function, shape, target):
    """`ours`: a name of `quern list losses`. `target`: a tensor."""
    seed(name)
    x = rounded(torch.randn(shape).double()).requires_grad_()
    if target.dtype.is_floating_point:
        target = rounded(target)
    y = function(x, target)
    y.backward()
    cases.append({"name": name, "loss": ours})
    for key, t in (("x", x), ("target", target), ("y", y), ("dx", x.grad)):
        keep(name, key, t)


def one(kind, **keys):
    return [{"type": kind, **keys}]


# ---- layers ----

layer("dense", one("dense", units=5), nn.Linear(7, 5), [3, 7])
layer("dense without bias", one("dense", units=1, bias=False),
      nn.Linear(33, 1, bias=False), [5, 33])
layer("dense of images", one("dense", units=17),
      nn.Sequential(nn.Flatten(), nn.Linear(30, 17)), [7, 2, 3, 5],
      names={"1.weight": "0.weight", "1.bias": "0.bias"})
layer("flatten", one("flatten"), nn.Flatten(), [3, 2, 5, 3])
layer("two layers", one("dense", units=9) + one("tanh") +
      one("dense", units=4),
      nn.Sequential(nn.Linear(11, 9), nn.Tanh(), nn.Linear(9, 4)), [5, 11])

for shape in ([7, 13], [3, 5, 3, 7]):
    of = f" {len(shape)}-d"
    layer("relu" + of, one("relu"), nn.ReLU(), shape)
    layer("sigmoid" + of, one("sigmoid"), nn.Sigmoid(), shape, scale=3)
    layer("tanh" + of, one("tanh"), nn.Tanh(), shape, scale=2)
    layer("leaky_relu" + of, one("leaky_relu", slope=0.125),
          nn.LeakyReLU(0.125), shape)
    layer("softmax" + of, one("softmax"), nn.Softmax(1), shape, scale=2)
    layer("log_softmax" + of, one("log_softmax"), nn.LogSoftmax(1), shape,
          scale=2)

for name, module in (("relu6", nn.ReLU6()), ("selu", nn.SELU()),
                     ("softplus", nn.Softplus(threshold=1e9)),
                     ("softsign", nn.Softsign()), ("silu", nn.SiLU()),
                     ("mish", nn.Mish()), ("gelu", nn.GELU()),
                     ("elu", nn.ELU()), ("hard_tanh", nn.Hardtanh()),
                     ("prelu", nn.PReLU()), ("rrelu", nn.RReLU())):
    layer(name, one(name), module, [5, 17], scale=3)
layer("gelu by tanh", one("gelu", approximate="tanh"),
      nn.GELU(approximate="tanh"), [5, 17], scale=3)
layer("elu, alpha", one("elu", alpha=0.5), nn.ELU(0.5), [3, 5, 7])
layer("hard_tanh, ends", one("hard_tanh", low=-0.5, high=2),
      nn.Hardtanh(-0.5, 2), [3, 5, 7], scale=2)
layer("prelu a channel", one("prelu", per_channel=True), nn.PReLU(5),
      [3, 5, 3, 7])
layer("rrelu, ends", one("rrelu", lower=0.25, upper=0.75),
      nn.RReLU(0.25, 0.75), [5, 7])
layer("maxout", one("maxout", units=5, pieces=3),
      nn.Sequential(nn.Linear(7, 15),
                    Function(lambda y: y.reshape(-1, 3, 5).amax(1))), [11, 7])
layer("conv_maxout", one("conv_maxout", filters=3, pieces=2, padding=1),
      nn.Sequential(nn.Conv2d(2, 6, 3, padding=1),
                    Function(lambda y: y.reshape(2, 2, 3, 5, 7).amax(1))),
      [2, 2, 5, 7])
layer("max_pieces", one("max_pieces", pieces=3),
      lambda x: x.reshape(2, 3, 5, 3, 7).amax(1), [2, 15, 3, 7])
layer("spatial_dropout, predicting", one("spatial_dropout", p=0.3),
      nn.Dropout2d(0.3), [2, 3, 5, 7])
layer("dropout, classic, predicting", one("dropout", p=0.3, classic=True),
      lambda x: 0.7 * x, [5, 7])
layer("stochastic_depth, predicting", one("stochastic_depth", p=0.3),
      lambda x: 0.7 * x, [5, 7])
layer("dropconnect, predicting", one("dropconnect", units=5, p=0.3),
      nn.Sequential(Function(lambda x: 0.7 * x), nn.Linear(7, 5)), [3, 7],
      names={"1.weight": "0.weight", "1.bias": "0.bias"})
layer("leaky_relu, default slope", one("leaky_relu"), nn.LeakyReLU(), [5, 7])
layer("dropout, predicting", one("dropout", p=0.3), nn.Dropout(0.3), [5, 7])



class Structure(nn.Module):
    """Modules by our containers' names, joined by `function`."""
    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.function(self, x)


def pair(join):
    """Two dense layers side by side, joined; ours is joined(kind)."""
    return nn.Sequential(Structure(
        lambda s, x: join(s.a(x), s.b(x)), a=nn.Linear(7, 5),
        b=nn.Linear(7, 5)))


def joined(kind, **keys):
    return (one("dense", units=5, name="a") +
            one("dense", units=5, name="b", input="input") +
            one(kind, input=["a", "b"], **keys))


PAIR = {f"0.{m}.{p}": f"{i}.{p}" for i, m in enumerate("ab")
        for p in ("weight", "bias")}
layer("add", joined("add"), pair(torch.add), [3, 7], names=PAIR)
layer("multiply", joined("multiply"), pair(torch.mul), [3, 7], names=PAIR)
layer("concat", joined("concat"),
      pair(lambda x, y: torch.cat((x, y), 1)), [3, 7], names=PAIR)
layer("sequential",
      one("sequential", layers=one("dense", units=5) + one("silu")) +
      one("dense", units=3),
      nn.Sequential(nn.Sequential(nn.Linear(7, 5), nn.SiLU()),
                    nn.Linear(5, 3)), [5, 7])
layer("residual",
      one("residual", layers=one("dense", units=7) + one("tanh")),
      Structure(lambda s, x: s.layers(x) + x,
                layers=nn.Sequential(nn.Linear(7, 7), nn.Tanh())), [5, 7])
layer("residual with a shortcut",
      one("residual", layers=one("dense", units=3) + one("tanh"),
          shortcut=one("dense", units=3)),
      Structure(lambda s, x: s.layers(x) + s.shortcut(x),
                layers=nn.Sequential(nn.Linear(7, 3), nn.Tanh()),
                shortcut=nn.Sequential(nn.Linear(7, 3))), [5, 7])
layer("residual with drop, predicting",
      one("residual", layers=one("dense", units=7), drop=0.25),
      Structure(lambda s, x: 0.75 * s.layers(x) + x,
                layers=nn.Sequential(nn.Linear(7, 7))), [5, 7])
layer("subsample", one("subsample"), lambda x: x[:, :, ::2, ::2],
      [2, 3, 7, 5])
layer("subsample with more channels",
      one("subsample", stride=[3, 2], channels=5),
      lambda x: F.pad(x[:, :, ::3, ::2], (0, 0, 0, 0, 0, 2)), [2, 3, 8, 5])
layer("parallel",
      one("parallel", branches=[one("dense", units=3), [],
                                one("tanh") + one("dense", units=5)]),
      Structure(lambda s, x: torch.cat([b(x) for b in s.branches], 1),
                branches=nn.ModuleList([
                    nn.Sequential(nn.Linear(7, 3)), nn.Sequential(),
                    nn.Sequential(nn.Tanh(), nn.Linear(7, 5))])), [5, 7])
for shape in ([7, 5], [6, 5, 3], [3, 5, 3, 7]):
    module = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    for train in (False, True):
        how = f" {len(shape)}-d, " + ("training" if train else "predicting")
        layer("batch_norm" + how, one("batch_norm"),
              module[len(shape)](5), shape, train)
layer("batch_norm, momentum, eps, no affine",
      one("batch_norm", momentum=0.3, eps=0.125, affine=False),
      nn.BatchNorm2d(3, 0.125, 0.3, affine=False), [2, 3, 5, 7], True)
layer("batch_norm behind relu", one("batch_norm") + one("relu"),
      nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), [2, 3, 5, 7], True)
layer("layer_norm", one("layer_norm"), nn.LayerNorm([5, 3, 7]), [2, 5, 3, 7])
layer("layer_norm, last", one("layer_norm", dims=1, eps=0.25),
      nn.LayerNorm(17, 0.25), [2, 3, 17])
layer("layer_norm, no affine", one("layer_norm", affine=False),
      nn.LayerNorm(13, elementwise_affine=False), [5, 13])
layer("group_norm", one("group_norm", groups=3), nn.GroupNorm(3, 6),
      [2, 6, 3, 5])
layer("group_norm of one", one("group_norm", groups=1), nn.GroupNorm(1, 5),
      [3, 5, 7])
layer("group_norm a channel", one("group_norm", groups=5, affine=False),
      nn.InstanceNorm2d(5), [2, 5, 3, 4])
layer("maxpool", one("maxpool"), nn.MaxPool2d(2), [2, 3, 7, 9])
layer("maxpool, overlapping",
      one("maxpool", kernel=[3, 2], stride=[2, 1], padding=1),
      nn.MaxPool2d((3, 2), (2, 1), 1), [2, 3, 7, 9])
layer("maxpool, dilated, rounded up",
      one("maxpool", kernel=2, stride=3, ceil_mode=True, dilation=[2, 3]),
      nn.MaxPool2d(2, 3, 0, (2, 3), ceil_mode=True), [1, 2, 11, 13])
layer("avgpool", one("avgpool", kernel=3), nn.AvgPool2d(3), [2, 3, 7, 9])
for count in (False, True):
    layer(f"avgpool, padding counts: {count}",
          one("avgpool", kernel=3, stride=2, padding=1, ceil_mode=True,
              count_include_pad=count),
          nn.AvgPool2d(3, 2, 1, True, count), [2, 3, 8, 10])
for mode, corners in (("nearest", None), ("bilinear", False),
                      ("bilinear", True)):
    keys = {"scale": [3, 2], "mode": mode}
    if corners:
        keys["align_corners"] = True
    layer(f"upsample {mode}, corners {corners}", one("upsample", **keys),
          nn.Upsample(scale_factor=(3, 2), mode=mode, align_corners=corners),
          [2, 3, 5, 7])
layer("zero_pad", one("zero_pad", padding=[1, 2], behind=[0, 3]),
      nn.ZeroPad2d((2, 3, 1, 0)), [2, 3, 5, 7])
layer("adaptive_avg_pool", one("adaptive_avg_pool", size=[3, 4]),
      nn.AdaptiveAvgPool2d((3, 4)), [2, 3, 5, 7])
layer("adaptive_avg_pool, even", one("adaptive_avg_pool", size=[3, 2]),
      nn.AdaptiveAvgPool2d((3, 2)), [2, 3, 6, 8])
# Fixed: ceil(2.25 (i + 1/2)) - 2 is 0, 2, 4, 6, 9.
layer("fractional_max_pool, predicting",
      one("fractional_max_pool", size=[4, 3]),
      lambda x: torch.stack([torch.stack([
          x[..., a:b, c:d].amax((-2, -1)) for c, d in ((0, 2), (2, 4), (4, 6))],
          -1) for a, b in ((0, 2), (2, 4), (4, 6), (6, 9))], -2),
      [2, 3, 9, 6])
layer("global_avg_pool", one("global_avg_pool"),
      nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), [2, 3, 5, 7])
layer("global_max_pool", one("global_max_pool"),
      nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), [2, 3, 5, 7])
# ---- convolutions ----

for name, ours, module, shape in (
        ("conv", dict(filters=5, padding=0), nn.Conv2d(3, 5, 3), [2, 3, 7, 9]),
        ("conv same", dict(filters=17), nn.Conv2d(3, 17, 3, padding="same"),
         [3, 3, 5, 7]),
        ("conv same, even kernel", dict(filters=2, kernel=[2, 4]),
         nn.Conv2d(1, 2, (2, 4), padding="same"), [1, 1, 5, 7]),
        ("conv strided", dict(filters=4, kernel=[3, 2], stride=[2, 3],
                              padding=[1, 0], dilation=[1, 2], bias=False),
         nn.Conv2d(3, 4, (3, 2), (2, 3), (1, 0), (1, 2), bias=False),
         [2, 3, 11, 9]),
        ("conv grouped", dict(filters=6, groups=2, padding=1),
         nn.Conv2d(4, 6, 3, padding=1, groups=2), [2, 4, 5, 5]),
        ("conv depthwise", dict(filters=10, groups=0, kernel=5, stride=2,
                                padding=2),
         nn.Conv2d(5, 10, 5, 2, 2, groups=5), [2, 5, 9, 7]),
        ("conv 1x1", dict(filters=7, kernel=1, padding=0),
         nn.Conv2d(19, 7, 1), [2, 19, 3, 5]),
        ("conv_transpose", dict(filters=5, padding=0),
         nn.ConvTranspose2d(3, 5, 3), [2, 3, 5, 4]),
        ("conv_transpose strided",
         dict(filters=4, kernel=[3, 4], stride=[2, 3], padding=[1, 0],
              output_padding=[1, 2]),
         nn.ConvTranspose2d(3, 4, (3, 4), (2, 3), (1, 0), (1, 2)),
         [2, 3, 5, 4]),
        ("conv_transpose grouped",
         dict(filters=6, kernel=2, stride=2, padding=0, groups=2, bias=False),
         nn.ConvTranspose2d(4, 6, 2, 2, groups=2, bias=False), [1, 4, 3, 5]),
        ("conv_transpose same", dict(filters=2, kernel=4, stride=2),
         nn.ConvTranspose2d(3, 2, 4, 2, 1), [2, 3, 5, 3])):
    layer(name, one(name.replace(",", " ").split()[0], **ours), module, shape)

layer("conv in blocks of channels", one("conv", filters=32),
      nn.Conv2d(16, 32, 3, padding=1), [2, 16, 9, 11])
layer("conv, relu, maxpool", one("conv", filters=16, kernel=5, padding=2) +
      one("relu") + one("maxpool"),
      nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(),
                    nn.MaxPool2d(2)), [3, 3, 13, 10])
layer("a small net, training",
      one("conv", filters=16, bias=False) + one("batch_norm") +
      one("relu") + one("maxpool") +
      one("residual", layers=one("conv", filters=16, bias=False) +
          one("batch_norm")) +
      one("relu") + one("global_avg_pool") + one("dense", units=5),
      nn.Sequential(
          nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16),
          nn.ReLU(), nn.MaxPool2d(2),
          Structure(lambda s, x: s.layers(x) + x, layers=nn.Sequential(
              nn.Conv2d(16, 16, 3, padding=1, bias=False),
              nn.BatchNorm2d(16))),
          nn.ReLU(), nn.Flatten(2), Function(lambda x: x.mean(2)),
          nn.Linear(16, 5)), [5, 3, 11, 9], True,
      names={f"8.{p}": f"7.{p}" for p in ("weight", "bias")})

# ---- losses ----

loss("softmax_cross_entropy", "softmax_cross_entropy", nn.CrossEntropyLoss(),
     [7, 5], torch.tensor([0, 4, 2, 2, 1, 3, 0]))
numbers = torch.linspace(-2, 2, 21).double().reshape(3, 7)
shares = torch.softmax(3 * numbers.cos(), 1)
shares[1, 2] = 0
parts = torch.linspace(0, 1, 21).double().reshape(3, 7)
labels = torch.tensor([0, 4, 2, 2, 1, 3, 0])
places = torch.arange(30).reshape(2, 3, 5) % 4
weights = torch.tensor([1, 2, 0.5, 0, 3]).double()
few = torch.tensor([1, 2, 0.5, 0.25]).double()
entropy, likelihood = "softmax_cross_entropy", "nll"
for name, ours, function, shape, target in (
        ("smoothed", ":label_smoothing=0.1",
         nn.CrossEntropyLoss(label_smoothing=0.1), [7, 5], labels),
        ("weighted", ":weights=1/2/0.5/0/3", nn.CrossEntropyLoss(weights),
         [7, 5], labels),
        ("ignoring", ":ignore_index=2", nn.CrossEntropyLoss(ignore_index=2),
         [7, 5], labels),
        ("all at once", ":label_smoothing=0.3,ignore_index=2,"
         "weights=1/2/0.5/0/3",
         nn.CrossEntropyLoss(weights, ignore_index=2, label_smoothing=0.3),
         [7, 5], labels),
        ("of places", ":weights=1/2/0.5/0.25,ignore_index=3",
         nn.CrossEntropyLoss(few, ignore_index=3), [2, 4, 3, 5], places),
        ("of places, smoothed", ":weights=1/2/0.5/0.25,label_smoothing=0.2",
         nn.CrossEntropyLoss(few, label_smoothing=0.2), [2, 4, 3, 5], places),
        ("of shares", "", nn.CrossEntropyLoss(), [3, 7], shares),
        ("of shares, smoothed", ":label_smoothing=0.2",
         nn.CrossEntropyLoss(label_smoothing=0.2), [3, 7], shares)):
    loss(f"{entropy}, {name}", entropy + ours, function, shape, target)
loss("nll", likelihood, nn.NLLLoss(), [7, 5], labels)
loss("nll, weighted", likelihood + ":weights=1/2/0.5/0/3",
     nn.NLLLoss(weights), [7, 5], labels)
loss("nll, of places", likelihood + ":ignore_index=1",
     nn.NLLLoss(ignore_index=1), [2, 4, 3, 5], places)
for name, function in (("mean_squared", nn.MSELoss()), ("l1", nn.L1Loss()),
                       ("huber", nn.HuberLoss()),
                       ("smooth_l1", nn.SmoothL1Loss()),
                       ("huber:delta=0.5", nn.HuberLoss(delta=0.5)),
                       ("smooth_l1:beta=0.5", nn.SmoothL1Loss(beta=0.5))):
    loss(name, name, function, [3, 7], numbers)
loss("bce_with_logits", "bce_with_logits", nn.BCEWithLogitsLoss(), [3, 7],
     parts)
loss("bce_with_logits, weighted", "bce_with_logits:pos_weight=3",
     nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0).double()), [3, 7],
     parts)
loss("kl_divergence", "kl_divergence", nn.KLDivLoss(), [3, 7], shares)
loss("kl_divergence, batch", "kl_divergence:batch_mean=1",
     nn.KLDivLoss(reduction="batchmean"), [3, 7], shares)


def hinge(margin=1, p=1):
    # PyTorch divides by the number of classes.
    f = nn.MultiMarginLoss(p=p, margin=margin)
    return lambda x, target: f(x, target) * x.shape[1]


loss("hinge", "hinge", hinge(), [7, 5], labels)
loss("hinge, squared", "hinge:margin=0.5,squared=1", hinge(0.5, 2), [7, 5],
     labels)

# ---- the files ----

assert len({c["name"] for c in cases}) == len(cases), "a name twice"
header, data = {"__metadata__": {"format": "pt"}}, b""
for name, t in tensors.items():
    content = t.contiguous().numpy().tobytes()
    header[name] = {"dtype": "I32" if t.dtype == torch.int32 else "F32",
                    "shape": list(t.shape),
                    "data_offsets": [len(data), len(data) + len(content)]}
    data += content
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
(folder / "tensors.safetensors").write_bytes(
    struct.pack("<Q", len(text)) + text + data)
(folder / "cases.json").write_text(
    "[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{len(cases)} cases, {len(tensors)} tensors, "
      f"{len(data) + len(text)} bytes")
