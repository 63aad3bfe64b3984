"""What the parts of tools/bench_peers share: running quern, timing, tables,
and peers in processes of their own.
"""
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
CPUS = os.sched_getaffinity(0)


def core_type():
    """What OpenBLAS calls this processor's instructions: it knows processors
    by their model, and takes one from before AVX for a newer model."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    known = [("avx512f", "SkylakeX"), ("avx2", "Haswell")]
    name = next((name for flag, name in known if flag in flags), None)
    return {"OPENBLAS_CORETYPE": name} if name else {}


# Threads that wander between cores make times meaningless.
BOUND = {"OMP_PROC_BIND": "true", **core_type(), **{
    name: os.environ[name] for name in ("OPENBLAS_CORETYPE",)
    if name in os.environ}}


# ---- quern ----

def free():
    """A child may use all processors, whatever its parent is bound to."""
    os.sched_setaffinity(0, CPUS)


def quern(options, *args, env=None, may_fail=False):
    """Its one JSON object; None if it failed and may."""
    device = ["--device", options.device] if (
        options.device and args[0] == "bench") else []
    done = subprocess.run(
        [options.quern, *map(str, args), *device, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(env or {})}, preexec_fn=free)
    if done.returncode and not may_fail:
        sys.exit(done.stderr)
    return json.loads(done.stdout) if not done.returncode else None


# ---- timing ----

def timed(run, seconds):
    """Seconds of a run: median of samples of at least 10 ms; the first runs do
    not count."""
    run()
    run()
    samples = []
    end = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        runs, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + 0.01:
            run()
            runs += 1
        samples.append((time.perf_counter() - begin) / runs)
    return statistics.median(samples)


def process_seconds():
    """Since this process began."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return (time.clock_gettime(time.CLOCK_BOOTTIME) -
            int(fields[19]) / os.sysconf("SC_CLK_TCK"))


# ---- peers ----

def library(word):
    """The file of a library that this process has loaded, or None."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split()[-1]
        if word in path.rpartition("/")[2]:
            return path
    return None


def torch_version(torch, warm_up=True):
    """With the libraries that it computes by, of which Debian's BLAS is a
    matter of what else is installed."""
    if warm_up:
        x = torch.rand(256, 256)
        torch.mm(x, x)
    blas = library("blas") or "its own"
    text = f"PyTorch {torch.__version__} (BLAS: {blas}"
    if blas.rpartition("/")[2].startswith("libblas.so"):
        text += (", the reference one, which is slow: install "
                 "libopenblas0-openmp for PyTorch's real speed")
    return text + ")"


class Worker:
    """A peer in a process of its own, which answers a line for a line. It says
    first what it is, or what is missing."""

    def __init__(self, script, name, options):
        self.process = subprocess.Popen(
            [sys.executable, script, "--peer", name, "--threads",
             str(options.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **BOUND,
                 "OMP_NUM_THREADS": str(options.threads),
                 "OPENBLAS_NUM_THREADS": str(options.threads)},
            preexec_fn=free)
        hello = self.read()
        self.version, self.missing = hello.get("version"), hello.get("missing")

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "it ended early"}

    def ask(self, request):
        if self.missing:
            return None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(make):
    """The other end: `make(name, threads)` returns the version and what
    answers a request; ImportError and OSError tell what is missing."""
    name, threads = sys.argv[2], int(sys.argv[4])
    try:
        version, answer = make(name, threads)
    except (ImportError, OSError) as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def announce(workers, packages):
    """Says on stderr what is not there; returns a sentence for the page."""
    told = []
    for name, worker in workers.items():
        if worker.missing:
            print(f"{name} is not compared: {worker.missing} "
                  f"(Debian: {packages[name]})", file=sys.stderr)
            told.append(f"{name} was not there.")
        else:
            told.append(f"{worker.version}.")
    return " ".join(told)


# ---- reports ----

def median(values, digits=None):
    value = statistics.median(values)
    return value if digits is None else round(value, digits)


def table(titles, rows):
    """Markdown; all columns but the first hold numbers."""
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def processor():
    """The processor's own name, which PoCL's device name has at its end."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def describe(told):
    """The device of a run of quern bench."""
    limits = told["limits"]
    return (
        f"Device: {told['device']}, {told['compute_units']} compute units "
        f"({processor()}); {told['platform']}, driver {told['driver']}. "
        f"Quern {told['quern']}. "
        f"Multiply-adds {limits['fma_gflops']:.0f} GFLOP/s, copy "
        f"{limits['copy_gbps']:.1f} GB/s, in place "
        f"{limits['in_place_gbps']:.1f} GB/s over "
        f"{limits['bytes'] / 1e6:.0f} MB.")


def replace(key, body):
    """Writes `body` between the two markers of `key` in the page."""
    text = PAGE.read_text()
    begin, end = f"<!-- {key}: begin -->\n", f"<!-- {key}: end -->\n"
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        sys.exit(f"{PAGE}: the markers of {key} are gone")
    PAGE.write_text(head + begin + body + "\n" + end + tail)


def publish(options, part, body):
    print(body)
    if options.docs:
        replace(f"bench {part}", body)
