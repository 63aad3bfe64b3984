#!/usr/bin/env python3
"""The command from the outside: usage, output, exit status, runs, kills.

test_command.py QUERN [TEST]...
"""
import fcntl
import json
import os
import pty
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path
from xml.etree import ElementTree

quern = Path(sys.argv.pop(1)).resolve()
SMALL = ["16-relu-dropout0.2-10", "--data", "digits", "--optimizer", "adam"]


def run(*args, env=None, cwd=None, status=0):
    """Runs quern; the exit status must be as wanted."""
    done = subprocess.run([quern, *map(str, args)], capture_output=True,
                          text=True, cwd=cwd, env={**os.environ, **(env or {})})
    assert done.returncode == status, (
        f"{args}: exit status {done.returncode}, not {status}\n"
        f"{done.stdout}{done.stderr}")
    return done


def run_json(*args, **keywords):
    """The one JSON object on stdout."""
    return json.loads(run(*args, "--json", **keywords).stdout)


class Folder(unittest.TestCase):
    """Tests that write: each has a folder of its own."""

    def setUp(self):
        self.holder = tempfile.TemporaryDirectory(prefix="quern-command-")
        self.folder = Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()


class Usage(unittest.TestCase):
    def expect(self, status, text, *args, env=None):
        done = run(*args, status=status, env=env)
        self.assertEqual(done.stdout, "")
        self.assertIn(text, done.stderr)
        self.assertTrue(done.stderr.startswith("quern: ") or not args,
                        done.stderr)

    def test_wrong_usage_names_what_is_near(self):
        for text, *args in (
                ("usage: quern COMMAND",),
                ("did you mean train?", "trian"),
                ("did you mean --version?", "--versoin"),
                ("did you mean --epochs?", "train", "10", "--epoch", "3"),
                ("did you mean --batch-size?", "train", "10", "--batchsize=3"),
                ("needs a MODEL", "train"),
                ("not also 20", "train", "10", "20"),
                ("whole number from 1", "train", "10", "--epochs", "0"),
                ("whole number", "train", "10", "--epochs", "three"),
                ("whole number", "train", "10", "--seed", "-1"),
                ("number", "train", "10", "--lr", "nan"),
                ("number", "train", "10", "--lr", "0.1x"),
                ("missing argument", "train", "10", "--lr"),
                ("did you mean adam?", "train", "10", "--optimizer", "adan"),
                ("did you mean digits?", "train", "10", "--data", "digit"),
                ("relu", "train", "512-rleu-10"),
                ("--dump", "summary", "10", "--dump", "picture"),
                ("unknown table opps; there are ops", "list", "opps"),
                ("takes no arguments", "devices", "0:0"),
                ("unknown part optm; there are train, gemm, conv, ops, optim",
                 "bench", "optm"),
                ("--shapes: 8x8 is no MxKxN", "bench", "--shapes", "4x4x4,8x8"),
                ("--shapes: 8x8x0 is", "bench", "gemm", "--shapes", "8x8x0"),
                ("--shapes: 8x8x8ns is", "bench", "--shapes", "8x8x8ns"),
                ("--convs: 3x8x8 is no CxHxW-FkK", "bench", "conv", "--convs",
                 "3x8x8"),
                ("--convs: 3x8x8-4k3g2 is", "bench", "--convs", "3x8x8-4k3g2"),
                ("--convs: 3x2x2-4k3p0 is", "bench", "--convs", "3x2x2-4k3p0"),
                ("did you mean cnn?", "bench", "train", "--models", "mlp,cn"),
                ("whole number from 1", "bench", "--batch", "0"),
                ("did you mean adam?", "bench", "optim", "--optimizer",
                 "sgd,adan"),
                ("whole number from 1", "bench", "--parameters", "0"),
                ("number from", "bench", "--seconds", "0"),
                ("needs one RUN", "eval"),
                ("INPUT", "predict", "somewhere")):
            with self.subTest(args):
                self.expect(2, text, *args)

    def test_wrong_options_around_the_rule(self):
        train = ["train", "8-relu-10", "--out", "/nowhere/run"]
        for text, *args in (
                ("the nearest is 0.weight", "--freeze", "0.weigt"),
                ("no option is called \"decay\"", "--group", "*:decay=0"),
                ("all 4 parameters are frozen", "--freeze", "*"),
                ("--group: needs a value", "--group", ""),
                ("exclude each other", "--clip-norm", 1,
                 "--clip-global-norm", 1),
                ("exclude each other", "--polyak", "--ema-corrected"),
                ("has no decay", "--polyak", "--ema", 0.5),
                ("needs ema", "--ema-corrected"),
                ("--max-norm -1", "--max-norm", -1)):
            self.expect(2, text, *train, *args)

    def test_failures_are_told_in_a_line(self):
        self.expect(1, "/nowhere", "eval", "/nowhere")
        self.expect(1, "/nowhere", "train", "--resume", "/nowhere")
        with tempfile.TemporaryDirectory() as out:
            done = run("train", "16-relu-7", "--out", out, "--quiet", status=1)
            self.assertIn("digits has 10 classes", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_no_device(self):
        self.expect(3, "quern:", "train", "10",
                    env={"OCL_ICD_VENDORS": "/nowhere"})
        done = run("devices", status=3, env={"OCL_ICD_VENDORS": "/nowhere"})
        self.assertIn("install", done.stderr)
        self.expect(3, "no-such-device", "train", "10", "--device",
                    "no-such-device")
        listed = run("devices", "--json", "--device", "no-such-device",
                     status=3)
        self.assertIsNone(json.loads(listed.stdout)["chosen"])

    def test_help_and_version(self):
        header = Path(__file__).parent.parent / "include/quern/version.h"
        version = ".".join(re.findall(r"QN_VERSION_\w+ (\d+)",
                                      header.read_text()))
        self.assertEqual(run("--version").stdout, f"quern {version}\n")
        whole = run("--help").stdout
        self.assertEqual(run("help").stdout, whole)
        names = re.findall(r"^  (\w+) {2,}", whole, re.M)
        self.assertIn("train", names)
        for name in names:
            text = run(name, "--help").stdout
            self.assertEqual(run("help", name).stdout, text)
            self.assertIn(f"usage: quern {name}", text)
            self.assertIn("--help", text)
            self.assertLess(max(map(len, text.splitlines())), 81)


class Tables(unittest.TestCase):
    def test_devices(self):
        listed = run_json("devices")
        self.assertLessEqual({"platforms", "devices", "chosen", "reason"},
                             listed.keys())
        chosen = [d for d in listed["devices"] if d["id"] == listed["chosen"]]
        self.assertEqual(len(chosen), 1)
        self.assertGreater(chosen[0]["memory_bytes"], 0)
        self.assertGreater(len(listed["reason"]), 0)
        self.assertIn(chosen[0]["name"], run("devices").stdout)
        again = run_json("devices", "--device", listed["chosen"])
        self.assertEqual(again["chosen"], listed["chosen"])

    def test_list(self):
        tables = run_json("list")
        for table in ("ops", "layers", "losses", "optimizers",
                      "schedules", "inits", "datasets", "models"):
            self.assertGreater(len(tables[table]), 0)
            self.assertEqual(run_json("list", table)[table], tables[table])
            shown = run("list", table).stdout
            for row in tables[table]:
                self.assertIn(row["name"], shown)
        keys = {row["name"]: row["keys"] for row in tables["layers"]}
        self.assertIn("filters, kernel=3, stride=1, padding=same", keys["conv"])
        self.assertIn("bias=true, init=default", keys["dense"])
        self.assertIn("approximate=none", keys["gelu"])
        kinds = {row["name"]: row["kind"] for row in tables["optimizers"]}
        self.assertEqual(kinds["adam"], "mini-batches")
        self.assertEqual(kinds["lbfgs"], "full batch")
        settings = {r["name"]: r["settings"] for r in tables["optimizers"]}
        self.assertIn("history=20", settings["lbfgs"])
        self.assertIn("line_search=armijo", settings["newton_cg"])

    def test_summary(self):
        args = ("summary", "32-relu-10", "--batch-size", "64", "--optimizer",
                "adam")
        told = run_json(*args)
        self.assertEqual(told["parameters"], 64 * 32 + 32 + 32 * 10 + 10)
        self.assertEqual([layer["output"] for layer in told["layers"]],
                         [[32], [32], [10]])
        plan = told["plan"]
        self.assertLess(plan["launches"], plan["launches_unfused"])
        self.assertLessEqual(plan["arena_bytes"], plan["tensor_bytes"])
        # Parameters and two slots, each variable at a multiple of 512 bytes.
        sizes = (64 * 32, 32, 32 * 10, 10)
        state = 3 * sum((4 * size + 511) // 512 * 512 for size in sizes)
        self.assertEqual(plan["state_bytes"], state)
        self.assertIn("2,410", run(*args).stdout)
        self.assertIn("matmul", run(*args, "--dump", "text").stdout)
        self.assertIn("digraph", run(*args, "--dump", "dot").stdout)
        self.assertIn("matmul", run(*args, "--dump", "plan").stdout)

    def test_summary_predicts_memory(self):
        args = ("summary", "32-relu-10", "--batch-size", "256")
        told = run_json(*args)["training"]
        self.assertTrue(told["fits"])
        self.assertEqual(told["micro_batch"], 0)
        self.assertEqual(told["peak_bytes"],
                         told["data_bytes"] + told["state_bytes"] +
                         told["step_bytes"] + told["evaluation_bytes"])
        self.assertIn("peak ", run(*args).stdout)
        limit = {"QUERN_MEMORY_LIMIT": "220K"}
        little = run_json(*args, env=limit)
        self.assertEqual(little["device_memory_bytes"], 220 * 1024)
        self.assertEqual(little["training"]["peak_bytes"],
                         told["peak_bytes"])
        self.assertGreater(little["training"]["micro_batch"], 0)
        self.assertIn("in micro-batches of", run(*args, env=limit).stdout)
        none = run_json(*args, env={"QUERN_MEMORY_LIMIT": "92K"})
        self.assertFalse(none["training"]["fits"])
        self.assertIn("are missing", none["training"]["problem"])
        for text in ("much", "0", "-1", "5Q", "3MB"):
            self.assertIn("QUERN_MEMORY_LIMIT", run(
                *args, env={"QUERN_MEMORY_LIMIT": text}, status=2).stderr)


class Bench(unittest.TestCase):
    def expect_limit(self, result, work, limit, share):
        """Work over time is the rate; no time itself is judged."""
        rate = "gbps" if limit == "copy_gbps" else "gflops"
        self.assertAlmostEqual(
            result[rate] * result["seconds"] * 1e9 / work, 1, places=6)
        self.assertGreater(result[limit], 0)
        self.assertGreater(result[share], 0)
        self.assertGreaterEqual(result["rounds"], 5)

    def test_products_and_ops(self):
        shapes = {"33x40x10": "nn", "24x64x36": "nt", "20x32x48": "tn",
                  "17x19x23": "tt"}
        convs = ["3x8x8-16k3", "6x9x9-4k5p0", "8x8x8-8k3s2g8", "4x6x8-8k1"]
        told = run_json("bench", "gemm", "conv", "ops", "--seconds", 0.1,
                        "--batch", 3, "--elements", 70000, "--shapes",
                        ",".join(map("".join, shapes.items())),
                        "--convs", ",".join(convs))
        self.assertGreater(min(told["limits"].values()), 0)
        by_part = {part: [r for r in told["results"] if r["bench"] == part]
                   for part in ("gemm", "conv", "ops")}
        self.assertEqual(
            [f"{r['m']}x{r['k']}x{r['n']}" +
             "nt"[r["trans_a"]] + "nt"[r["trans_b"]] for r in by_part["gemm"]],
            list(map("".join, shapes.items())))
        for r in by_part["gemm"]:
            with self.subTest(r):
                self.expect_limit(r, 2 * r["m"] * r["n"] * r["k"],
                                  "fma_gflops", "fma_share")
                self.assertRegex(r["kernel"], r"\bmatmul:\w")
        passes = ("forward", "input_gradient", "weight_gradient")
        rows = {"forward": "conv2d", "input_gradient": "conv_transpose2d",
                "weight_gradient": "conv2d_weight_grad"}
        self.assertEqual([(r["shape"], r["pass"]) for r in by_part["conv"]],
                         [(shape, way) for shape in convs for way in passes])
        works = [16 * 64 * 27, 4 * 25 * 6 * 25, 8 * 16 * 9, 8 * 48 * 4]
        for i, r in enumerate(by_part["conv"]):
            with self.subTest(r):
                self.expect_limit(r, 2 * 3 * works[i // 3], "fma_gflops",
                                  "fma_share")
                self.assertIn(rows[r["pass"]] + ":", r["kernel"])
        for r in by_part["gemm"] + by_part["conv"]:
            # Rounding of at most a few hundred terms, and not of none.
            self.assertLess(r["error"], 1e-5, r)
            self.assertGreater(r["error"], 0, r)
        names = [r["op"] for r in by_part["ops"]]
        self.assertEqual(len(set(names)), len(names))
        self.assertLessEqual({"relu", "batch_norm_both", "cross_entropy_both",
                              "max_pool", "sum", "transpose"}, set(names))
        for r in by_part["ops"]:
            with self.subTest(r):
                self.expect_limit(r, r["bytes"], "copy_gbps", "copy_share")
                self.assertGreaterEqual(r["launches"], 1)
                self.assertGreaterEqual(r["bytes"], 4 * r["elements"])

    def test_train(self):
        told = run_json("bench", "train", "--models", "lenet5,mlp",
                        "--batch", 4, "--seconds", 0.1)
        first, second = told["results"]
        self.assertEqual([first["model"], second["model"]], ["lenet5", "mlp"])
        # Only of the first one is it the process that took the time.
        self.assertGreater(first["first_step_seconds"], 0)
        self.assertIsNone(second["first_step_seconds"])
        for r, parameters, slots in ((first, 61706, 1), (second, 669706, 2)):
            with self.subTest(r["model"]):
                self.assertAlmostEqual(
                    r["samples_per_second"] * r["step_seconds"] / 4, 1)
                self.assertGreaterEqual(r["launches"], 2)
                least = 4 * parameters * (1 + slots)
                self.assertGreater(r["peak_device_bytes"], least)
                self.assertGreater(r["rss_bytes"], least)
        table = run("bench", "train", "--models", "lenet5", "--batch", 4,
                    "--seconds", 0.1).stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table],
                         ["model", "lenet5"])

    def test_optim(self):
        """The table's shape and its arithmetic; times are what they are."""
        flags = ["--parameters", 100000, "--seconds", 1]
        told = run_json("bench", "optim", *flags)
        self.assertEqual([r["optimizer"] for r in told["results"]],
                         [r["name"] for r in run_json("list")["optimizers"]
                          if r["kind"] == "mini-batches"])
        bytes_each = {r["optimizer"]: r["bytes_per_parameter"]
                      for r in told["results"]}
        # 4 read of the gradient, 8 of each state.
        want = {"sgd": 12, "momentum": 20, "rmsprop": 20, "adam": 28}
        self.assertLessEqual(want.items(), bytes_each.items())
        self.assertGreater(min(told["limits"].values()), 0)
        for result in told["results"]:
            with self.subTest(result["optimizer"]):
                self.assertEqual(result["bench"], "optim")
                self.assertEqual(result["bytes_per_parameter"] % 8, 4)
                self.assertGreaterEqual(result["launches"], 1)
                self.assertGreaterEqual(result["rounds"], 5)
                self.assertAlmostEqual(
                    result["gbps"] * result["seconds"] * 1e9 /
                    (100000 * result["bytes_per_parameter"]), 1, places=6)
                for part in ("copy", "in_place"):
                    self.assertGreater(result[part + "_gbps"], 0)
                    self.assertGreater(result[part + "_share"], 0)
        table = run("bench", "optim", *flags, "--optimizer",
                    "adam,sgd").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table],
                         ["optimizer", "sgd", "adam"])


class Performance(unittest.TestCase):
    def test_page_and_figure_agree(self):
        """Both come from one run of tools/bench_peers, of rules there are."""
        docs = Path(__file__).parent.parent / "docs"
        page = (docs / "performance.md").read_text()
        lines = page.partition("optim: begin -->")[2].splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]]
                for line in lines if line.startswith("| ")][2:]
        drawn = [element.text for element in
                 ElementTree.parse(docs / "optimizers.svg").iter()
                 if element.tag.endswith("text")]
        rules = [r["name"] for r in run_json("list")["optimizers"]]
        self.assertGreater(len(rows), 0)
        for name, _, _, _, rate, *_ in rows:
            with self.subTest(name):
                self.assertIn(name, rules)
                self.assertEqual(drawn[drawn.index(name) + 1], rate)


class Runs(Folder):
    def test_train_eval_predict(self):
        out = self.folder / "run"
        done = run("train", *SMALL, "--epochs", 12, "--lr", 0.01, "--out", out,
                   "--json")
        result = json.loads(done.stdout)
        self.assertEqual(done.stdout.count("\n"), 1)
        self.assertNotIn("\x1b", done.stderr)
        self.assertEqual(done.stderr.count("epoch "), 12)
        for key in ("device", "model", "parameters", "epochs", "seconds",
                    "first_step_seconds", "samples_per_second", "train_loss",
                    "test_loss", "test_accuracy", "run", "parameters_sha256"):
            self.assertIn(key, result)
        self.assertEqual(result["parameters"], 64 * 16 + 16 + 16 * 10 + 10)
        self.assertEqual(result["run"], str(out))
        self.assertGreater(result["test_accuracy"], 0.85)
        self.assertGreater(result["seconds"], 0)
        self.assertGreater(result["first_step_seconds"], 0)
        lines = [json.loads(line) for line in
                 (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([line["epoch"] for line in lines],
                         list(range(1, 13)))
        self.assertAlmostEqual(lines[-1]["test_loss"], result["test_loss"], 6)
        told = run_json("eval", out, "--quiet")
        self.assertEqual(told["test_accuracy"], result["test_accuracy"])
        self.assertEqual(told["test_loss"], result["test_loss"])
        drawn = run_json("eval", out, "--mc-samples", "3", "--seed", "5",
                         "--quiet")
        self.assertEqual(drawn["mc_samples"], 3)
        self.assertEqual(drawn.keys(), told.keys())
        best = run_json("eval", out / "best.safetensors", "--quiet")
        self.assertEqual(best["test_accuracy"], result["best_test_accuracy"])
        told = run_json("predict", out, "digits:0-359", "--quiet")
        right = [p["class"] == p["label"] for p in told["predictions"]]
        self.assertAlmostEqual(sum(right) / 360, result["test_accuracy"])
        shown = run("predict", out, "digits:5", "--quiet").stdout
        self.assertIn(f"digits:5: {told['predictions'][5]['class']} (", shown)

    def test_predict_reads_files(self):
        out, csv = self.folder / "run", self.folder / "x.csv"
        run("train", *SMALL, "--epochs", 1, "--out", out, "--quiet")
        csv.write_text(",".join(["3"] * 64) + "\n" + ",".join(["7"] * 64))
        told = run_json("predict", out, csv, "--quiet")
        self.assertEqual(len(told["predictions"]), 2)
        self.assertIsNone(told["predictions"][0]["label"])
        self.assertAlmostEqual(
            sum(told["predictions"][0]["probabilities"]), 1, 5)
        csv.write_text("1,2,3\n")
        self.assertIn("64", run("predict", out, csv, "--quiet",
                                status=1).stderr)

    def test_colour_images_from_files(self):
        """A small set in CIFAR's format; classes by their brightness."""
        def record(label, i):
            return bytes([label]) + bytes([20 * label + i % 13]) * 3072
        data, out = self.folder / "bright", self.folder / "run"
        data.mkdir()
        records = [record(i % 10, i) for i in range(20)]
        for i in range(1, 6):
            (data / f"data_batch_{i}.bin").write_bytes(b"".join(records))
        (data / "test_batch.bin").write_bytes(b"".join(records))
        names = [f"light {c}" for c in "abcdefghij"]
        (data / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
        told = run_json("summary", "16-relu-10", "--data", data, "--quiet")
        self.assertEqual(told["parameters"], 3073 * 16 + 17 * 10)
        run("train", "16-relu-10", "--data", data, "--epochs", 2, "--out",
            out, "--quiet")
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["data"]["shape"], [3, 32, 32])
        self.assertEqual(config["data"]["class_names"], names)
        raw = self.folder / "two.raw"
        raw.write_bytes(records[3][1:] + records[4][1:])
        told = {name: run_json("predict", out, name, "--quiet")["predictions"]
                for name in (data / "test_batch.bin", raw, f"{data}:3-4")}
        files = list(told.values())
        self.assertEqual([len(file) for file in files], [20, 2, 2])
        for i in range(2):
            for file, at in ((files[1], i), (files[2], i)):
                for p, q in zip(file[at]["probabilities"],
                                files[0][3 + i]["probabilities"]):
                    self.assertAlmostEqual(p, q, 5)
            self.assertEqual(files[2][i]["label"], 3 + i)
            self.assertIsNone(files[1][i]["label"])
            self.assertEqual(files[1][i]["class_name"],
                             names[files[1][i]["class"]])
        self.assertRegex(run("predict", out, raw, "--quiet").stdout,
                         r"two.raw #0: \d light [a-j] \(")
        self.assertIn("3072", run("predict", out, out / "config.json",
                                  "--quiet", status=1).stderr)

    def test_same_seed_same_parameters(self):
        results = [run_json("train", *SMALL, "--epochs", 2, "--seed", seed,
                            "--out", self.folder / str(i), "--quiet")
                   for i, seed in enumerate((1, 1, 2))]
        hashes = [result["parameters_sha256"] for result in results]
        self.assertEqual(hashes[0], hashes[1])
        self.assertNotEqual(hashes[0], hashes[2])
        files = [(self.folder / str(i) / "last.safetensors").read_bytes()
                 for i in range(2)]
        self.assertEqual(files[0], files[1])

    def test_average(self):
        out = self.folder / "run"
        told = run_json("train", "16-relu-10", "--epochs", 2, "--out", out,
                        "--quiet", "--optimizer", "adam", "--ema", 0.9)
        lines = [json.loads(line) for line in
                 (out / "metrics.jsonl").read_text().splitlines()]
        self.assertAlmostEqual(lines[-1]["average_test_loss"],
                               told["average_test_loss"], 6)
        self.assertNotEqual(told["average_test_loss"], told["test_loss"])
        average = run_json("eval", out, "--average", "--quiet")
        self.assertEqual(average["test_loss"], told["average_test_loss"])
        self.assertEqual(average["test_accuracy"],
                         told["average_test_accuracy"])
        plain = run_json("eval", out, "--quiet")
        self.assertEqual(plain["test_loss"], told["test_loss"])
        scores = [run_json("predict", out, "digits:0", "--quiet", *flag)
                  ["predictions"][0]["probability"]
                  for flag in ([], ["--average"])]
        self.assertNotEqual(*scores)
        run("train", "10", "--epochs", 1, "--out", self.folder / "plain",
            "--quiet")
        self.assertIn("holds no moving average",
                      run("eval", self.folder / "plain", "--average",
                          "--quiet", status=2).stderr)

    def test_groups_of_parameters(self):
        out = self.folder / "run"
        run("train", "8-relu-10", "--epochs", 1, "--out", out, "--quiet",
            "--freeze", "*", "--group", "2.*:frozen=0,lr_scale=2",
            "--clip-global-norm", 1, "--max-norm", 3, "--no-decay-bias")
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["groups"],
                         [{"pattern": "*", "frozen": 1},
                          {"pattern": "2.*", "frozen": 0, "lr_scale": 2}])
        self.assertEqual(config["clip_global_norm"], 1)
        self.assertEqual(config["max_norm"], 3)
        self.assertTrue(config["no_decay_bias"])
        again = ["train", "--resume", out, "--epochs", 2, "--quiet"]
        self.assertIn("has groups", run(*again, "--freeze", "0.*",
                                        status=2).stderr)
        self.assertIn("has max_norm 3", run(*again, "--max-norm", 2,
                                            status=2).stderr)
        run(*again)

    def test_steps_end_a_run(self):
        out = self.folder / "run"
        done = run("train", *SMALL, "--steps", 0, "--out", out, "--quiet")
        self.assertIn("go on by: quern train --resume", done.stdout)
        told = run_json("train", "--resume", out, "--steps", 14,
                        "--log-every", 2, "--quiet")
        self.assertEqual((told["steps"], told["epochs"]), (14, 1))
        self.assertFalse(told["interrupted"])
        lines = [json.loads(line) for line in
                 (out / "steps.jsonl").read_text().splitlines()]
        self.assertEqual([line["step"] for line in lines],
                         [2, 4, 6, 8, 10, 12, 14])
        self.assertEqual([line["epoch"] for line in lines], 6 * [1] + [2])

    def test_full_batch_methods(self):
        out = self.folder / "run"
        flags = ["10", "--optimizer", "lbfgs:history=5", "--l2", 0.01,
                 "--batch-size", 500, "--quiet"]
        told = run_json("train", *flags, "--epochs", 4, "--out", out)
        self.assertEqual((told["steps"], told["epochs"]), (4, 4))
        self.assertIsNone(told["stopped"])
        again = run_json("train", "--resume", out, "--epochs", 300, "--quiet")
        self.assertRegex(again["stopped"], "tolerance_(grad|change)")
        self.assertLess(again["epochs"], 300)
        whole = run("train", *flags, "--epochs", 300, "--out",
                    self.folder / "whole").stdout
        self.assertIn(f"converged after {again['epochs']} iterations", whole)
        losses = [json.loads(line)["train_loss"] for line in
                  (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(len(losses), again["epochs"])
        self.assertEqual(losses, sorted(losses, reverse=True))
        run("eval", out)
        told = run_json("train", "64-relu-10", "--optimizer", "lbfgs",
                        "--epochs", 99, "--quiet", cwd=self.folder)
        self.assertLess(told["train_loss"], 1e-3)
        done = run("summary", "10", "--optimizer", "lbfgs", status=2)
        self.assertIn("all samples at once", done.stderr)

    def test_run_folders_are_numbered(self):
        for i in (1, 2):
            told = run_json("train", *SMALL, "--epochs", 1, "--quiet",
                            cwd=self.folder)
            self.assertEqual(told["run"],
                             f"runs/16-relu-dropout0.2-10-digits-{i}")
            self.assertTrue((self.folder / told["run"] / "last.safetensors")
                            .is_file())

    def test_resume_refuses_what_differs(self):
        out = self.folder / "run"
        run("train", *SMALL, "--epochs", 1, "--out", out, "--quiet")
        for text, *args in (("batch_size", "--batch-size", 64),
                            ("seed", "--seed", 5), ("lr", "--lr", 0.5),
                            ("optimizer", "--optimizer", "sgd"),
                            ("model", "16-relu-10")):
            model = args if args[0][0] != "-" else []
            flags = [] if model else args
            done = run("train", *model, "--resume", out, "--epochs", 2,
                       *flags, "--quiet", status=2)
            self.assertIn(text, done.stderr)

    def test_micro_batches_come_to_the_same(self):
        whole, parts = (run_json("train", *SMALL, "--epochs", 1, "--out",
                                 self.folder / name, "--quiet", *flags)
                        for name, *flags in (("whole",),
                                             ("parts", "--micro-batch", 48)))
        self.assertEqual(parts["steps"], whole["steps"])
        self.assertAlmostEqual(parts["train_loss"], whole["train_loss"], 5)
        self.assertAlmostEqual(parts["test_loss"], whole["test_loss"], 5)
        config = json.loads((self.folder / "parts/config.json").read_text())
        self.assertEqual(config["micro_batch"], 48)
        for flags, warns in (((), False), (("--micro-batch", 60), True)):
            done = run("train", "--resume", self.folder / "parts", "--epochs",
                       2 + warns, "--quiet", *flags)
            self.assertEqual("micro_batch 48, now 60" in done.stderr, warns)
        little = {"QUERN_MEMORY_LIMIT": "210K"}
        args = ("train", *SMALL, "--epochs", 1, "--out",
                self.folder / "little", "--quiet", "--batch-size", 512)
        done = run(*args, "--json", env=little)
        told = json.loads(done.stdout)
        self.assertRegex(done.stderr, "^quern: warning: a step of 512 samples "
                         "at once needs .* micro-batches of "
                         f"{told['micro_batch']}, .*\n$")
        done = run(*args, "--strict", env=little, status=1)
        self.assertIn(f"--micro-batch {told['micro_batch']})", done.stderr)
        done = run("train", "16-batch_norm-10", "--micro-batch", 48, "--out",
                   self.folder / "run", "--quiet", status=2)
        self.assertIn("layer 1 (batch_norm)", done.stderr)
        self.assertIn("--allow-micro-statistics", done.stderr)

    def test_diverging_run_fails(self):
        done = run("train", "32-32-10", "--optimizer", "sgd", "--lr", 1e6,
                   "--out", self.folder / "run", "--quiet", "--json",
                   status=1)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, "^quern: .* step .*learning rate.*\n$")
        self.assertFalse((self.folder / "run/last.safetensors").exists())
        done = run("train", "32-32-10", "--optimizer", "sgd", "--lr", 1e6,
                   "--on-nan", "skip", "--out", self.folder / "run",
                   "--quiet", "--json", status=1)
        self.assertRegex(done.stderr, "in a row were skipped")
        done = run("train", "10", "--on-nan", "hope", "--out",
                   self.folder / "run", status=2)
        self.assertIn("must be stop or skip", done.stderr)

    def test_skipping_nothing_changes_nothing(self):
        stop, skip = (run_json("train", *SMALL, "--epochs", 1, "--out",
                               self.folder / how, "--quiet", "--on-nan", how)
                      for how in ("stop", "skip"))
        self.assertEqual(skip["parameters_sha256"], stop["parameters_sha256"])
        self.assertEqual(skip["train_loss"], stop["train_loss"])
        self.assertEqual(skip["skipped_steps"], 0)
        config = json.loads((self.folder / "skip/config.json").read_text())
        self.assertEqual(config["on_nan"], "skip")

    def test_profile_prints_a_table(self):
        done = run("train", *SMALL, "--epochs", 1, "--out",
                   self.folder / "run", "--profile", "--quiet", "--json")
        json.loads(done.stdout)
        self.assertIn("GFLOP/s", done.stderr)
        self.assertIn("matmul", done.stderr)


class Interrupts(Folder):
    ARGS = [*SMALL, "--epochs", "6", "--batch-size", "8", "--seed", "3",
            "--checkpoint-every", "5", "--quiet", "--json"]

    def start(self, out):
        """Begins the run, or goes on with it."""
        going = (out / "last.safetensors").exists()
        args = (["--resume", out, "--checkpoint-every", "5", "--quiet",
                 "--json"] if going else [*self.ARGS, "--out", out])
        return subprocess.Popen([quern, "train", *args],
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    @staticmethod
    def wait_for_saves(process, path, count):
        """Until `path` was replaced `count` times or the process ended."""
        last = None
        while count >= 0 and process.poll() is None:
            try:
                now = path.stat().st_ino
            except FileNotFoundError:
                now = None
            count -= now != last
            last = now
            time.sleep(0.0005)

    def finish(self, process, status=0):
        stdout, stderr = process.communicate()
        self.assertEqual(process.returncode, status, stderr)
        return json.loads(stdout)

    def test_killed_runs_end_the_same(self):
        whole = run_json("train", *self.ARGS[:-1], "--out",
                         self.folder / "whole")
        out, kills, rng = self.folder / "killed", 0, random.Random(1)
        while kills < 12:
            process = self.start(out)
            self.wait_for_saves(process, out / "last.safetensors",
                                rng.randrange(1, 12))
            time.sleep(rng.random() * 0.02)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            self.assertIn(process.returncode, (0, -signal.SIGKILL))
            if process.returncode == 0:
                break
        result = self.finish(self.start(out))
        self.assertGreaterEqual(kills, 10)
        for key in ("parameters_sha256", "steps", "epochs", "train_loss",
                    "test_loss", "best_epoch"):
            self.assertEqual(result[key], whole[key], key)
        lines = [json.loads(line) for line in
                 (out / "metrics.jsonl").read_text().splitlines()]
        wanted = [json.loads(line) for line in
                  (self.folder / "whole/metrics.jsonl").read_text()
                  .splitlines()]
        for a, b in zip(lines, wanted, strict=True):
            for key in ("epoch", "step", "train_loss", "train_accuracy",
                        "test_loss", "test_accuracy"):
                self.assertEqual(a[key], b[key])
        for name in ("last", "best"):
            files = [(folder / f"{name}.safetensors").read_bytes()
                     for folder in (out, self.folder / "whole")]
            self.assertEqual(files[0], files[1])
        self.assertEqual(sorted(p.name for p in out.iterdir()
                                if not p.name.endswith(".tmp")),
                         ["best.safetensors", "config.json",
                          "last.safetensors", "metrics.jsonl"])

    def test_interrupt_saves_and_stops(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            out = self.folder / number.name
            process = self.start(out)
            self.wait_for_saves(process, out / "last.safetensors", 3)
            process.send_signal(number)
            part = self.finish(process, 1)
            self.assertTrue(part["interrupted"])
            self.assertLess(part["epochs"], 6)
        whole = run_json("train", *self.ARGS[:-1], "--out",
                         self.folder / "whole")
        rest = self.finish(self.start(self.folder / "SIGINT"))
        self.assertEqual(rest["parameters_sha256"],
                         whole["parameters_sha256"])


class Terminal(Folder):
    def on_terminal(self, *args, columns=100, env=None):
        """What quern writes to a terminal of that width."""
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        process = subprocess.Popen(
            [quern, *map(str, args)], stdout=subprocess.DEVNULL, stderr=child,
            env={**clean, "TERM": "xterm", "LC_ALL": "C.UTF-8",
                 **(env or {})})
        os.close(child)
        text = b""
        while True:
            try:
                piece = os.read(parent, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.close(parent)
        self.assertEqual(process.wait(), 0, text)
        return text.decode()

    def bars(self, text):
        """The bars, without colours."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        return re.findall(r"\r([^\r\n]*?)\x1b\[K", plain)

    def test_bar_fits_the_terminal(self):
        for columns in (20, 40, 80, 200):
            text = self.on_terminal(
                "train", *SMALL, "--epochs", 2, "--out", self.folder / "run",
                columns=columns)
            bars = [bar for bar in self.bars(text) if bar]
            self.assertGreater(len(bars), 0)
            for bar in bars:
                self.assertLess(len(bar), columns)
            if columns >= 80:
                self.assertIn("loss", bars[-1])
                self.assertIn("━", bars[-1])

    def test_colours_can_be_refused(self):
        args = ("train", *SMALL, "--epochs", 1, "--out", self.folder / "run")
        colour = re.compile(r"\x1b\[[0-9;]*m")
        self.assertRegex(self.on_terminal(*args), colour)
        self.assertNotRegex(self.on_terminal(*args, env={"NO_COLOR": "1"}),
                            colour)
        dumb = self.on_terminal(*args, env={"TERM": "dumb"})
        self.assertNotIn("\x1b", dumb)
        self.assertIn("epoch 1/1: loss", dumb)

    def test_other_character_sets_get_plain_bars(self):
        text = self.on_terminal("train", *SMALL, "--epochs", 1, "--out",
                                self.folder / "run", env={"LC_ALL": "C"})
        self.assertTrue(text.isascii())
        self.assertIn("#", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
