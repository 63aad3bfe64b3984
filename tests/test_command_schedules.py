#!/usr/bin/env python3
"""The command's schedules from the outside: pictures, numbers, runs.

test_command_schedules.py QUERN [TEST]...
"""
import json
import math
import re
import subprocess
import sys
import unittest
from pathlib import Path

# Takes QUERN from the line.
from test_command import Folder, quern, run, run_json

ROOT = Path(__file__).parent.parent
SMALL = ["8-relu-10", "--data", "digits", "--batch-size", 256, "--optimizer",
         "momentum", "--quiet"]
UTF8, PLAIN = {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def picture(text):
    """The rows of one picture: label, and where dots are."""
    rows = []
    for line in text.splitlines():
        match = re.match(r"^ *([0-9.e-]*) [┤│+|](.*)$", line)
        if match and match[2][:1] not in ("+", "-"):  # the other axis
            rows.append((match[1], match[2].rstrip()))
    return rows


class Pictures(unittest.TestCase):
    def test_every_schedule_has_one(self):
        names = [row["name"] for row in run_json("list", "schedules")[
            "schedules"]]
        text = run("list", "schedules", "--plot", env=UTF8).stdout
        for name in names:
            self.assertRegex(text, rf"(?m)(^|  ){name} ")
        self.assertIn("one_cycle, its momentum", text)
        self.assertLess(max(map(len, text.splitlines())), 80)
        self.assertEqual(text.count("epoch 100"), len(names) + 2)
        plain = run("list", "schedules", "--plot", env=PLAIN).stdout
        self.assertTrue(plain.isascii())
        self.assertEqual(plain.count("epoch 100"), len(names) + 2)

    def test_scale_is_honest(self):
        """A fall to a quarter at half the way lies where labels say."""
        text = "piecewise:at=50,factor=1/0.25"
        for env, dots in ((UTF8, "⠁⠉⠈"), (PLAIN, "'")):
            rows = picture(run("list", "schedules", "--plot", text,
                               env=env).stdout)
            self.assertEqual(len(rows), 12)
            self.assertEqual(rows[0][0], "0.1")
            self.assertEqual(rows[-1][0], "0")
            top, width = rows[0][1], 79 - 8
            self.assertAlmostEqual(len(top) / width, 0.5, delta=0.03)
            # 0.025 of 0.1: a quarter from the bottom.
            low = [i for i, row in enumerate(rows)
                   if len(row[1]) > 0.9 * width]
            self.assertEqual(len(low), 1)
            self.assertAlmostEqual((11 - low[0]) / 11, 0.25, delta=0.08)
            self.assertIn(top[5], dots)

    def test_numbers(self):
        told = run_json("list", "schedules", "--plot")
        self.assertEqual(told["epochs"] * told["epoch_steps"], 10000)
        self.assertGreaterEqual(len(told["schedules"]), 16)
        curves = {c["schedule"].split(":")[0]: c for c in told["schedules"]}
        for step, lr in zip(curves["cosine"]["step"], curves["cosine"]["lr"],
                            strict=True):
            want = told["lr"] * (1 + math.cos(math.pi * step / 10000)) / 2
            self.assertAlmostEqual(lr, want, 10)
        self.assertIsNone(curves["cosine"]["momentum"])
        self.assertAlmostEqual(max(curves["one_cycle"]["momentum"]), 0.95)
        rates = curves["plateau"]["lr"]
        self.assertEqual(rates, sorted(rates, reverse=True))
        self.assertLess(rates[-1], rates[0] / 8)
        one = run_json("list", "schedules", "--plot", "step:step_size=40")
        self.assertEqual(len(one["schedules"]), 1)
        self.assertAlmostEqual(one["schedules"][0]["lr"][-1], 0.001)

    def test_wrong_usage(self):
        for text, *args in (
                ("did you mean cosine?", "schedules", "--plot", "cosin"),
                ("only schedules have pictures", "ops", "--plot"),
                ("only schedules have pictures", "--plot"),
                ("one table at most", "schedules", "cosine")):
            with self.subTest(args):
                done = run("list", *args, status=2)
                self.assertEqual(done.stdout, "")
                self.assertIn(text, done.stderr)


class Page(unittest.TestCase):
    def test_it_names_all(self):
        rows = run_json("list", "schedules")["schedules"]
        page = (ROOT / "docs/schedules.md").read_text()
        lines = {line.split("`")[1]: line for line in page.splitlines()
                 if line.startswith("| `")}
        for row in rows:
            self.assertIn(row["name"], lines)
            self.assertIn(f"schedules/{row['name']}.svg", page)
            for key in row["settings"].split(", "):
                name = key.split("=")[0]
                self.assertIn(f"`{name}`" if name else "|",
                              lines[row["name"]])

    def test_pictures_are_those_of_the_library(self):
        done = subprocess.run(
            [sys.executable, ROOT / "tools/schedules_svg.py", quern,
             "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Runs(Folder):
    def test_rate_is_told(self):
        out = self.folder / "run"
        run("train", *SMALL, "--lr", 0.1, "--epochs", 4, "--schedule",
            "step:step_size=2,gamma=0.5", "--momentum-schedule",
            "piecewise:at=1,factor=1/0.5", "--log-every", 1, "--out", out)
        metrics = lines_of(out / "metrics.jsonl")
        self.assertEqual([m["lr"] for m in metrics], [0.1, 0.1, 0.05, 0.05])
        self.assertEqual([m["momentum"] for m in metrics],
                         [0.9, 0.45, 0.45, 0.45])
        steps = lines_of(out / "steps.jsonl")
        self.assertEqual([s["lr"] for s in steps], 12 * [0.1] + 12 * [0.05])
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["schedule"],
                         {"name": "step", "step_size": 2, "gamma": 0.5,
                          "unit": "epoch"})
        self.assertEqual(config["momentum_schedule"]["factor"], [1, 0.5])
        # What config.json holds is a schedule again.
        again = run_json("train", *SMALL, "--lr", 0.1, "--epochs", 4,
                         "--schedule", json.dumps(config["schedule"]),
                         "--momentum-schedule",
                         json.dumps(config["momentum_schedule"]), "--out",
                         self.folder / "again")
        self.assertEqual(lines_of(self.folder / "again/metrics.jsonl")[3][
            "test_loss"], metrics[3]["test_loss"])
        self.assertEqual(again["epochs"], 4)

    def test_progress_tells_schedule_and_rate(self):
        told = run("train", *SMALL[:-1], "--epochs", 2, "--lr", 0.5,
                   "--schedule", "step:unit=epoch,step_size=1", "--out",
                   self.folder / "run").stderr
        self.assertRegex(told, r"(?m)^lr +step:step_size=1$")
        self.assertRegex(told, r"(?m)^epoch 1/2: .*, lr 0\.5$")
        self.assertRegex(told, r"(?m)^epoch 2/2: .*, lr 0\.05$")

    def test_resume_in_the_middle(self):
        for schedule in ("warmup:length=3,unit=step+cosine", "one_cycle",
                         "plateau:patience=0,threshold=0.99,factor=0.5"):
            with self.subTest(schedule):
                args = ["train", *SMALL, "--epochs", 3, "--schedule",
                        schedule]
                name = schedule.split(":")[0]
                whole = run_json(*args, "--out", self.folder / (name + "-1"))
                out = self.folder / (name + "-2")
                run_json(*args, "--steps", 14, "--out", out)
                rest = run_json("train", "--resume", out, "--quiet")
                self.assertEqual(rest["parameters_sha256"],
                                 whole["parameters_sha256"])
                self.assertIn("schedule", run(
                    "train", "--resume", out, "--schedule", "step",
                    "--quiet", status=2).stderr)

    def test_range_of_rates(self):
        out = self.folder / "range"
        args = ["train", "64-relu-10", "--data", "digits", "--lr-range",
                "1e-4:100", "--out", out]
        told = run_json(*args, "--steps", 80, "--quiet")
        self.assertTrue(told["diverged"])
        self.assertLess(told["steps"], 80)
        self.assertAlmostEqual(told["suggestion"], told["least_lr"] / 10)
        self.assertTrue(0.01 < told["suggestion"] < 1)
        lines = lines_of(out / "lr_range.jsonl")
        for line, lr in zip(lines, told["lr"], strict=True):
            self.assertLess(abs(line["lr"] / lr - 1), 1e-8)
        for key in ("loss", "smooth_loss"):
            self.assertEqual(len(told[key]), told["steps"])
        self.assertEqual([p.name for p in out.iterdir()],
                         ["lr_range.jsonl"])
        # Again, with fewer steps: the file is that of the last test.
        shown = run(*args, "--steps", 40, env=UTF8)
        self.assertIn("rates of 1e-4:100", shown.stderr)
        self.assertIn("suggested learning rate: 0.", shown.stdout)
        rows = picture(shown.stdout)
        self.assertEqual(len(rows), 14)
        self.assertEqual(rows[-1][0], "0")
        self.assertIn("\u250a", rows[-1][1])
        self.assertLessEqual(len(lines_of(out / "lr_range.jsonl")), 40)
        low = run(*args[:-3], "1e-9:1e-8", "--out", out, "--quiet")
        self.assertIn("no suggestion", low.stdout)

    def test_wrong_usage(self):
        for text, *args in (
                ("the lower one first", "--lr-range", "1:0.1"),
                ("such as 1e-6:1", "--lr-range", "0.1"),
                ("such as 1e-6:1", "--lr-range", "0:1"),
                ("such as 1e-6:1", "--lr-range", "0.1:1x"),
                ("needs from 10 to", "--lr-range", "0.1:1", "--steps", 9),
                ("needs from 10 to", "--lr-range", "0.1:1", "--steps",
                 10 ** 12),
                ("takes no --lr", "--lr-range", "0.1:1", "--lr", 1),
                ("takes no --schedule", "--lr-range", "0.1:1", "--schedule",
                 "cosine"),
                ("did you mean cosine?", "--schedule", "cosin"),
                ("did you mean gamma?", "--schedule", "step:gama=1"),
                ("needs milestones", "--schedule", "multistep"),
                ("has no momentum", "--momentum-schedule", "cosine")):
            with self.subTest(args):
                done = run("train", "10", "--quiet", *args, status=2)
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
