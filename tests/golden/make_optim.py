#!/usr/bin/env python3
"""Makes optim.json and optim.safetensors: where update rules lead.

make_optim.py [FOLDER | --check [NAME]]    (needs torch; Debian: python3-torch)

Each case is a rule with its settings. It trains two small smooth networks in
double precision, and the parameters after some of the steps are kept: a 2-3-1
sigmoid net for 1,001 steps at a constant rate, and a convolutional net for 100
steps with a rate that changes from step to step, and where the case says so a
momentum that changes too. The rules are PyTorch's; those that it lacks are
written here in NumPy, from their papers.

--check writes nothing and tells how far float32 strays from double precision
by itself, where that is more than a tenth of what test_trajectory.c allows:
such a case amplifies rounding and should be chosen otherwise. NAME picks
the cases with that in their names.

A new case is one line in the list below. test_trajectory.c compares.
"""
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

cases = []


def case(name, rule, lr, conv_lr=None, cycle=False, **settings):
    """`cycle`: the convolutional net's momentum changes too. Settings that
    begin with "with_" are done to gradients or parameters, whatever the
    rule."""
    cases.append({"name": name, "rule": rule, "lr": lr,
                  "conv_lr": conv_lr or lr, "cycle": cycle,
                  "settings": settings})


case("sgd", "sgd", 0.5)
case("sgd, decay", "sgd", 0.5, weight_decay=0.01)
case("momentum", "momentum", 0.2, cycle=True)
case("momentum, dampened", "momentum", 0.5, dampening=0.5)
case("momentum, decay", "momentum", 0.2, momentum=0.5, dampening=0.1,
     weight_decay=0.01)
case("momentum, heavy ball", "momentum", 0.2, heavy_ball=1, cycle=True)
case("momentum, heavy ball, decay", "momentum", 0.2, heavy_ball=1,
     momentum=0.8, weight_decay=0.01)
case("nesterov", "nesterov", 0.2, cycle=True)
case("nesterov, decay", "nesterov", 0.2, momentum=0.5, weight_decay=0.01)
case("nesterov, lookahead", "nesterov", 0.2, lookahead=1)
case("nesterov, lookahead, decay", "nesterov", 0.2, lookahead=1,
     momentum=0.6, weight_decay=0.01)
case("adagrad", "adagrad", 0.1)
case("adagrad, all", "adagrad", 0.2, lr_decay=0.01, weight_decay=0.003,
     initial_accumulator_value=0.1, eps=1e-3)
case("adagrad, inside", "adagrad", 0.1, eps_inside=1, eps=0.01,
     lr_decay=0.02)
case("adadelta", "adadelta", 1.0)
case("adadelta, all", "adadelta", 0.7, rho=0.95, eps=1e-4,
     weight_decay=0.003)
case("rmsprop", "rmsprop", 0.005)
case("rmsprop, lectures", "rmsprop", 0.005, alpha=0.9, eps=1e-3)
case("rmsprop, centred", "rmsprop", 0.002, centered=1, eps=0.01)
case("rmsprop, momentum", "rmsprop", 0.001, momentum=0.9, cycle=True)
# In float32 PyTorch takes the root of a negative variance here.
case("rmsprop, all", "rmsprop", 0.002, alpha=0.95, momentum=0.5, centered=1,
     weight_decay=0.003, eps=0.02)
case("rmsprop, inside", "rmsprop", 0.005, eps_inside=1, eps=1e-4)
case("rmsprop, inside, all", "rmsprop", 0.002, alpha=0.9, momentum=0.5,
     centered=1, eps_inside=1, eps=1e-3, weight_decay=0.003)
case("adam", "adam", 0.005, cycle=True)
case("adam, decay", "adam", 0.01, beta1=0.5, beta2=0.9, eps=1e-3,
     weight_decay=0.003)
case("adam, uncorrected", "adam", 0.003, bias_correction=0)
case("adam, inside", "adam", 0.005, eps_inside=1, eps=1e-5)
case("amsgrad", "amsgrad", 0.005)
case("amsgrad, decay", "amsgrad", 0.01, beta1=0.8, beta2=0.9, eps=1e-3,
     weight_decay=0.003)
case("amsgrad, uncorrected, inside", "amsgrad", 0.003, bias_correction=0,
     eps_inside=1, eps=1e-5)
case("adamax", "adamax", 0.005, cycle=True)
case("adamax, decay", "adamax", 0.01, beta1=0.8, beta2=0.9, eps=1e-3,
     weight_decay=0.003)
case("nadam", "nadam", 0.005)
case("nadam, decay", "nadam", 0.01, beta1=0.8, beta2=0.99, eps=1e-3,
     momentum_decay=0.02, weight_decay=0.003)
case("nadam, cycle", "nadam", 0.005, cycle=True)
case("radam", "radam", 0.005, cycle=True)
case("radam, decay", "radam", 0.01, beta1=0.8, beta2=0.9, eps=1e-3,
     weight_decay=0.003)
case("adamw", "adamw", 0.005, cycle=True)
case("adamw, decay", "adamw", 0.01, beta1=0.8, beta2=0.99, eps=1e-3,
     weight_decay=0.3)
case("adamw, uncorrected, inside", "adamw", 0.003, bias_correction=0,
     eps_inside=1, eps=1e-5, weight_decay=0.2)
case("lion", "lion", 1e-4, 1e-3, cycle=True)
case("lion, decay", "lion", 3e-4, 1e-3, beta1=0.8, beta2=0.95,
     weight_decay=0.5)
case("lars", "lars", 0.2, 1.0, cycle=True)
case("lars, decay", "lars", 0.1, momentum=0.5, trust_coefficient=0.02,
     eps=1e-3, weight_decay=0.003)
case("lars, biases from zero", "lars", 0.1, with_zero_biases=1)
case("lamb", "lamb", 0.002, cycle=True)
case("lamb, biases from zero", "lamb", 0.002, with_zero_biases=1)
case("lamb, uncorrected", "lamb", 0.002, beta1=0.8, beta2=0.998, eps=1e-3,
     bias_correction=0, weight_decay=0.02)
case("sgd, values clipped", "sgd", 0.5, with_clip_value=0.01)
case("momentum, each norm clipped", "momentum", 0.2, with_clip_norm=0.02)
case("adam, global norm clipped", "adam", 0.005, with_clip_global_norm=0.05,
     with_clip_value=0.02)
case("sgd, penalties", "sgd", 0.5, weight_decay=0.001, with_l1=1e-3,
     with_l2=2e-3)
case("sgd, soft thresholds", "sgd", 0.5, with_proximal=3e-3)
case("momentum, maximum norm, average", "momentum", 0.2, with_max_norm=1.5,
     with_average=0.98)

RECORDS = {"net": [1, 2, 10, *range(100, 1001, 100), 1001],
           "conv": [1, 2, 5, 10, 20, 50, 100]}


def rate(of, lr, step):
    return lr if of == "net" else lr * (1 + 0.5 * math.cos(step / 7))


def momentum(of, case, value, step):
    cycles = of == "conv" and case["cycle"]
    return value * (0.9 + 0.1 * math.cos(step / 5)) if cycles else value


# ---- the networks; a weight and a bias for each layer, in turns ----

def rounded(t):
    """Exact in float32, computed with in double."""
    return t.float().double()


torch.manual_seed(20)
DATA = {
    "net": {"x": rounded(torch.rand(8, 2).double() * 2 - 1),
            "start": [rounded(torch.randn(s).double())
                      for s in ([3, 2], [3], [1, 3], [1])]},
    "conv": {"x": rounded(torch.randn(5, 1, 6, 6).double()),
             "target": torch.tensor([2, 0, 1, 1, 2]),
             "start": [rounded(torch.randn(s).double() * 0.5)
                       for s in ([2, 1, 3, 3], [2], [3, 8], [3])]},
}
DATA["net"]["target"] = (DATA["net"]["x"].prod(1, keepdim=True) > 0).double()


def net(p, x, target):
    y = torch.sigmoid(F.linear(x, p[0], p[1]))
    return F.mse_loss(torch.sigmoid(F.linear(y, p[2], p[3])), target)


def conv(p, x, target):
    y = F.avg_pool2d(torch.tanh(F.conv2d(x, p[0], p[1])), 2)
    return F.cross_entropy(F.linear(y.flatten(1), p[2], p[3]), target)


NETS = {"net": net, "conv": conv}

# ---- PyTorch's rules ----


def betas(s, first=0.9, second=0.999):
    return s.pop("beta1", first), s.pop("beta2", second)


def truth(s, *names):
    return {n: bool(s.pop(n)) for n in names if n in s}


def torch_rule(case, p, s):
    """PyTorch's optimizer, or None where it has no such rule or setting."""
    o, rule = torch.optim, case["rule"]
    if s.get("bias_correction", 1) == 0 or any(
            k in s for k in ("eps_inside", "heavy_ball", "lookahead")):
        return None
    s.pop("bias_correction", None)
    s.update(lr=case["lr"], foreach=False)
    if rule in ("sgd", "momentum", "nesterov"):
        if rule != "sgd":
            s.setdefault("momentum", 0.9)
        return o.SGD(p, nesterov=rule == "nesterov", **s)
    if rule == "adagrad":
        return o.Adagrad(p, **s)
    if rule == "adadelta":
        return o.Adadelta(p, **s)
    if rule == "rmsprop":
        return o.RMSprop(p, **truth(s, "centered"), **s)
    if rule in ("adam", "amsgrad"):
        return o.Adam(p, betas=betas(s), amsgrad=rule == "amsgrad", **s)
    if rule == "nadam":
        # Without foreach, PyTorch 1.13 multiplies the product of the next mu
        # by mu twice, unlike its documentation and later versions.
        s["foreach"] = True
    classes = {"adamax": o.Adamax, "nadam": o.NAdam, "radam": o.RAdam,
               "adamw": o.AdamW}
    return classes[rule](p, betas=betas(s), **s) if rule in classes else None


class Torch:
    def __init__(self, optimizer, p):
        self.optimizer, self.p = optimizer, p
        group = optimizer.param_groups[0]
        self.momentum = (group["momentum"] if "momentum" in group else
                         group["betas"][0] if "betas" in group else None)

    def step(self, lr, momentum):
        group = self.optimizer.param_groups[0]
        group["lr"] = lr
        if momentum is None:
            pass
        elif "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = momentum, group["betas"][1]
        self.optimizer.step()


# ---- those that it lacks, on NumPy's arrays ----

DEFAULTS = {
    "momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9},
    "adagrad": {"eps": 1e-10}, "rmsprop": {"alpha": 0.99, "eps": 1e-8},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "amsgrad": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
              "weight_decay": 0.01},
    "lion": {"beta1": 0.9, "beta2": 0.99},
    "lars": {"momentum": 0.9, "trust_coefficient": 0.001, "eps": 1e-8},
    "lamb": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6,
             "weight_decay": 0.01},
}


def length(x):
    return np.sqrt((x * x).sum())


class Numpy:
    """One object a parameter; `m` is the step's momentum."""

    def __init__(self, case, x, settings):
        self.rule = getattr(self, case["rule"])
        self.h = {"weight_decay": 0, "bias_correction": 1, "eps_inside": 0,
                  **DEFAULTS[case["rule"]], **settings}
        self.momentum_value = self.h.get("momentum", self.h.get("beta1"))
        self.t = 0
        self.a, self.b, self.c = (np.zeros_like(x) for _ in range(3))

    def ahead(self, x, m):
        return x - m * self.a if self.h.get("lookahead") else x

    def step(self, x, g, lr, m):
        self.t += 1
        # Lookahead's gradient and decay are both those of the point ahead.
        return self.rule(x, g, self.h["weight_decay"], lr, m)

    def root(self, v):
        eps = self.h["eps"]
        return np.sqrt(v + eps) if self.h["eps_inside"] else np.sqrt(v) + eps

    def momentum(self, x, g, wd, lr, m):
        self.a = m * self.a + lr * (g + wd * x)
        return x - self.a

    def nesterov(self, x, g, wd, lr, m):
        self.a = m * self.a + lr * (g + wd * self.ahead(x, m))
        return x - self.a

    def adagrad(self, x, g, wd, lr, m):
        g = g + wd * x
        if self.t == 1:
            self.a += self.h.get("initial_accumulator_value", 0)
        self.a += g * g
        decay = 1 + (self.t - 1) * self.h.get("lr_decay", 0)
        return x - lr / decay * g / self.root(self.a)

    def rmsprop(self, x, g, wd, lr, m):
        g, alpha = g + wd * x, self.h["alpha"]
        self.a = alpha * self.a + (1 - alpha) * g * g
        self.b = alpha * self.b + (1 - alpha) * g
        v = self.a - self.b * self.b if self.h.get("centered") else self.a
        self.c = (m or 0) * self.c + g / self.root(v)
        return x - lr * self.c

    def corrected(self, g, m):
        b2 = self.h["beta2"]
        self.a = m * self.a + (1 - m) * g
        self.b = b2 * self.b + (1 - b2) * g * g
        self.c = np.maximum(self.c, self.b)
        if not self.h["bias_correction"]:
            return self.a, self.b, self.c
        second = 1 - b2 ** self.t
        return self.a / (1 - m ** self.t), self.b / second, self.c / second

    def adam(self, x, g, wd, lr, m):
        first, second, _ = self.corrected(g + wd * x, m)
        return x - lr * first / self.root(second)

    def amsgrad(self, x, g, wd, lr, m):
        first, _, most = self.corrected(g + wd * x, m)
        return x - lr * first / self.root(most)

    def adamw(self, x, g, wd, lr, m):
        first, second, _ = self.corrected(g, m)
        return x - lr * wd * x - lr * first / self.root(second)

    def lion(self, x, g, wd, lr, m):
        c, b2 = m * self.a + (1 - m) * g, self.h["beta2"]
        self.a = b2 * self.a + (1 - b2) * g
        return x - lr * (np.sign(c) + wd * x)

    def lars(self, x, g, wd, lr, m):
        trust = (self.h["trust_coefficient"] * length(x) /
                 (length(g) + wd * length(x) + self.h["eps"])
                 if length(x) * length(g) > 0 else 1)
        self.a = m * self.a + trust * lr * (g + wd * x)
        return x - self.a

    def lamb(self, x, g, wd, lr, m):
        first, second, _ = self.corrected(g, m)
        r = first / (np.sqrt(second) + self.h["eps"]) + wd * x
        return x - lr * (length(x) / length(r)
                         if length(x) * length(r) > 0 else 1) * r


class Lacking:
    def __init__(self, case, p, settings):
        self.p = p
        self.each = [Numpy(case, t.detach().numpy(), settings) for t in p]
        self.momentum = self.each[0].momentum_value

    def peek(self, momentum):
        """Moves to where the gradient is taken; returns the way back."""
        x = [t.detach().clone() for t in self.p]
        with torch.no_grad():
            for t, one in zip(self.p, self.each):
                t.copy_(torch.from_numpy(one.ahead(t.numpy(), momentum)))
        return x

    def step(self, lr, momentum):
        with torch.no_grad():
            for t, one in zip(self.p, self.each):
                t.copy_(torch.from_numpy(one.step(
                    t.numpy().copy(), t.grad.numpy(), lr, momentum)))


# ---- what is done whatever the rule ----

def change_gradients(p, extra):
    if "with_clip_value" in extra:
        torch.nn.utils.clip_grad_value_(p, extra["with_clip_value"])
    clip = torch.nn.utils.clip_grad_norm_
    if "with_clip_norm" in extra:
        for t in p:
            clip(t, extra["with_clip_norm"])
    if "with_clip_global_norm" in extra:
        clip(p, extra["with_clip_global_norm"])
    for t in p:
        if t.dim() > 1:  # weights
            t.grad.add_(extra.get("with_l1", 0) * t.detach().sign() +
                        extra.get("with_l2", 0) * t.detach())


def limit(p, extra, lr):
    threshold = lr * extra.get("with_proximal", 0)
    for t in p:
        if t.dim() > 1 and threshold:
            t.copy_(F.softshrink(t, threshold))
    if "with_max_norm" in extra:
        for t in p:
            if t.dim() > 1:
                norms = t.flatten(1).norm(dim=1, keepdim=True)
                t.flatten(1).mul_((extra["with_max_norm"] / norms).clamp(max=1))


# ---- runs ----

def flat(p):
    return torch.cat([t.detach().flatten() for t in p]).double().numpy()


def run(case, of, dtype):
    """The parameters after each of RECORDS, and then their averages."""
    data, records, averages = DATA[of], [], []
    p = [t.to(dtype) for t in data["start"]]
    if "with_zero_biases" in case["settings"]:
        p = [t if t.dim() > 1 else torch.zeros_like(t) for t in p]
    p = [t.clone().requires_grad_() for t in p]
    x, target = data["x"].to(dtype), data["target"]
    target = target if of == "conv" else target.to(dtype)
    settings = {k: v for k, v in case["settings"].items()
                if not k.startswith("with_")}
    extra = {k: v for k, v in case["settings"].items() if k not in settings}
    optimizer = torch_rule(case, p, dict(settings))
    rule = Torch(optimizer, p) if optimizer else Lacking(case, p, settings)
    lr = case["lr" if of == "net" else "conv_lr"]
    average = flat(p)
    for step in range(1, RECORDS[of][-1] + 1):
        m = momentum(of, case, rule.momentum, step) if rule.momentum else None
        back = None if optimizer else rule.peek(m)
        for t in p:
            t.grad = None
        NETS[of](p, x, target).backward()
        if back:
            with torch.no_grad():
                for t, old in zip(p, back):
                    t.copy_(old)
        change_gradients(p, extra)
        rule.step(rate(of, lr, step), m)
        with torch.no_grad():
            limit(p, extra, rate(of, lr, step))
        d = extra.get("with_average", 0)
        average = d * average + (1 - d) * flat(p)
        if step in RECORDS[of]:
            records.append(flat(p))
            averages.append(average)
    loss = NETS[of](p, x, target).item()
    return np.array(records + (averages if d else [])), loss, bool(optimizer)


def check(only):
    for case in cases:
        if only not in case["name"]:
            continue
        for of in NETS:
            exact, loss, _ = run(case, of, torch.float64)
            single = run(case, of, torch.float32)[0]
            off = np.abs(single - exact) / (5e-4 + 1e-3 * np.abs(exact))
            note = "" if off.max() <= 0.1 else "  <- amplifies rounding"
            print(f"{case['name']:32} {of:4} moved "
                  f"{np.abs(exact[0] - flat(DATA[of]['start'])).max():.1e} "
                  f"{np.abs(exact[-1] - exact[0]).max():.1e} loss {loss:.4f} "
                  f"float32 off {off.max():.1e}{note}")


def write(folder):
    tensors = {}
    for of, data in DATA.items():
        tensors[f"{of}/x"] = data["x"].numpy()
        tensors[f"{of}/target"] = data["target"].numpy()
        tensors[f"{of}/start"] = flat(data["start"])
    for case in cases:
        for of in NETS:
            tensors[f"{case['name']}/{of}"], _, case["torch"] = run(
                case, of, torch.float64)
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors.items():
        is_label = t.dtype == np.int64
        part = t.astype("<i4" if is_label else "<f8").tobytes()
        header[name] = {"dtype": "I32" if is_label else "F64",
                        "shape": list(t.shape),
                        "data_offsets": [len(content),
                                         len(content) + len(part)]}
        content += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (folder / "optim.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + content)
    lines = ",\n  ".join(json.dumps(c) for c in cases)
    (folder / "optim.json").write_text(
        f'{{"torch": "{torch.__version__}",\n'
        f' "records": {json.dumps(RECORDS)},\n "cases": [\n  {lines}\n]}}\n')
    print(f"{len(cases)} cases, {len(text) + len(content)} bytes")


assert len({c["name"] for c in cases}) == len(cases), "a name twice"
arguments = sys.argv[1:]
if arguments[:1] == ["--check"]:
    check("".join(arguments[1:2]))
else:
    write(Path(arguments[0]) if arguments else Path(__file__).parent)
