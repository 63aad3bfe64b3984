#!/usr/bin/env python3
"""Writes schedules.json: learning rates and momenta as PyTorch's schedulers
give them, for tests/test_schedule.c. In double precision, as they compute.

schedules.py [FOLDER]        (needs torch; Debian: python3-torch)
"""
import json
import math
import sys
import warnings
from pathlib import Path

import torch
from torch.optim import lr_scheduler as schedulers

STEPS = 120
warnings.filterwarnings("ignore")  # of calls before the first step
cases = []


def optimizer(lr, momentum):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr,
                           momentum=momentum)


def case(text, make, lr=0.1, momentum=0.9, epoch_steps=1, steps=STEPS,
         metrics=None):
    """`make` builds the scheduler; it moves on after each epoch."""
    opt = optimizer(lr, momentum)
    scheduler = make(opt)
    rates, momenta = [], []
    for step in range(STEPS):
        rates.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step()
        if (step + 1) % epoch_steps == 0 and step + 1 < STEPS:
            if metrics:
                scheduler.step(metrics[step // epoch_steps])
            else:
                scheduler.step()
    cases.append({"text": text, "base": lr, "momentum": momentum,
                  "epoch_steps": epoch_steps, "steps": steps,
                  "metrics": metrics, "lr": rates, "momenta": momenta})


def cyclic(**more):
    return lambda o: schedulers.CyclicLR(o, 0.01, 0.1, **more)


def one_cycle(total=STEPS, **more):
    return lambda o: schedulers.OneCycleLR(o, 0.5, total_steps=total, **more)


case("constant", lambda o: schedulers.ConstantLR(o, 1.0))
case("step:step_size=30", lambda o: schedulers.StepLR(o, 30))
case("step:step_size=7,gamma=0.7", lambda o: schedulers.StepLR(o, 7, 0.7),
     epoch_steps=4)
case("step:step_size=9,gamma=0.5,unit=step",
     lambda o: schedulers.StepLR(o, 9, 0.5))
case("multistep:milestones=30/80/81",
     lambda o: schedulers.MultiStepLR(o, [30, 80, 81]))
case("piecewise:at=20/50,factor=1/0.25/0.125",
     lambda o: schedulers.LambdaLR(
         o, lambda t: 1 if t < 20 else 0.25 if t < 50 else 0.125))
case(f"exponential:k={-math.log(0.95)!r}",
     lambda o: schedulers.ExponentialLR(o, 0.95), epoch_steps=3)
case("polynomial:length=100", lambda o: schedulers.PolynomialLR(o, 100))
case("polynomial:power=2.5", lambda o: schedulers.PolynomialLR(o, STEPS, 2.5))
case("cosine:eta_min=0.001",
     lambda o: schedulers.CosineAnnealingLR(o, STEPS, 0.001))
case("cosine:smooth=0", lambda o: schedulers.CosineAnnealingLR(o, 24),
     epoch_steps=5)
case("cosine_restarts:T_0=9,T_mult=2,eta_min=0.002",
     lambda o: schedulers.CosineAnnealingWarmRestarts(o, 9, 2, 0.002))
case("cosine_restarts:T_0=25",
     lambda o: schedulers.CosineAnnealingWarmRestarts(o, 25))
case("one_cycle:max_lr=0.5", one_cycle())
case("one_cycle:max_lr=0.5,anneal_strategy=linear,three_phase=1",
     one_cycle(anneal_strategy="linear", three_phase=True))
case("one_cycle:max_lr=0.5,three_phase=1,pct_start=0.4,div_factor=10,"
     "final_div_factor=100,base_momentum=0.7,max_momentum=0.99",
     one_cycle(three_phase=True, pct_start=0.4, div_factor=10,
               final_div_factor=100, base_momentum=0.7, max_momentum=0.99))
case("one_cycle:max_lr=0.5,cycle_momentum=0,length=150,pct_start=0.5",
     one_cycle(total=150, cycle_momentum=False, pct_start=0.5))
case("cyclic:base_lr=0.01,max_lr=0.1,step_size_up=20",
     cyclic(step_size_up=20))
case("cyclic:base_lr=0.01,max_lr=0.1,step_size_up=7,step_size_down=13,"
     "base_momentum=0.6,max_momentum=0.95",
     cyclic(step_size_up=7, step_size_down=13, base_momentum=0.6,
            max_momentum=0.95))
case("cyclic:base_lr=0.01,max_lr=0.1,step_size_up=16,mode=triangular2",
     cyclic(step_size_up=16, mode="triangular2"))
case("cyclic:base_lr=0.01,max_lr=0.1,step_size_up=16,mode=exp_range,"
     "gamma=0.97,cycle_momentum=0",
     cyclic(step_size_up=16, mode="exp_range", gamma=0.97,
            cycle_momentum=False))

# ---- warm-up: LinearLR in front, then or beside ----

def warm(o, length, start=1 / 3):
    return schedulers.LinearLR(o, start, 1.0, length)


case("warmup", lambda o: warm(o, 5))
case("warmup:length=20,start_factor=0.01+cosine:length=80",
     lambda o: schedulers.SequentialLR(
         o, [warm(o, 20, 0.01), schedulers.CosineAnnealingLR(o, 80)], [20]),
     steps=100)
cases[-1]["lr"] = cases[-1]["lr"][:100]  # PyTorch's cosine rises again
cases[-1]["momenta"] = cases[-1]["momenta"][:100]
case("warmup:length=12,mode=chained+step:step_size=10,gamma=0.8",
     lambda o: schedulers.ChainedScheduler(
         [warm(o, 12), schedulers.StepLR(o, 10, 0.8)]))
case("warmup:length=15,unit=step+multistep:milestones=30/60,unit=step",
     lambda o: schedulers.SequentialLR(
         o, [warm(o, 15), schedulers.MultiStepLR(o, [30, 60])], [15]))
case("inverse_sqrt:warmup=40",
     lambda o: schedulers.LambdaLR(
         o, lambda t: 512 ** -0.5 * min((t + 1) ** -0.5,
                                        (t + 1) * 40 ** -1.5) /
         (512 * 40) ** -0.5))

# ---- plateau: losses that fall, rest, jump; accuracies ----

losses = [2 * 0.9 ** min(t, 25) + 0.01 * math.sin(t) + (0.5 if t > 70 else 0)
          for t in range(STEPS)]
losses[3] = math.inf
losses[11] = math.nan
accuracies = [1 - loss / 3 for loss in losses]
for text, metrics, more in (
        ("plateau", losses, {}),
        ("plateau:factor=0.5,patience=3,cooldown=4", losses,
         {"factor": 0.5, "patience": 3, "cooldown": 4}),
        ("plateau:factor=0.5,patience=0,threshold=0.02,threshold_mode=abs,"
         "min_lr=0.001", losses,
         {"factor": 0.5, "patience": 0, "threshold": 0.02,
          "threshold_mode": "abs", "min_lr": 0.001}),
        ("plateau:monitor=test_accuracy,factor=0.9,patience=2,threshold=0.01",
         accuracies, {"mode": "max", "factor": 0.9, "patience": 2,
                      "threshold": 0.01}),
        ("plateau:monitor=train_accuracy,threshold_mode=abs,factor=0.3,"
         "patience=4,eps=0.001", accuracies,
         {"mode": "max", "factor": 0.3, "patience": 4, "eps": 0.001,
          "threshold_mode": "abs"})):
    case(text, lambda o: schedulers.ReduceLROnPlateau(o, **more),
         metrics=metrics)


def plain(value):
    """JSON has no infinities: they are words."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
rows = ",\n".join(json.dumps({k: plain(v) for k, v in c.items()})
                  for c in cases)
(folder / "schedules.json").write_text(f"[\n{rows}\n]\n")
print(len(cases), "cases")
