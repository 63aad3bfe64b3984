#!/usr/bin/env python3
"""Matrix products: part gemm of tools/bench_peers."""
import ctypes
import math
import sys

from peers_common import (Worker, announce, describe, library, median, publish,
                          quern, serve, table, timed, torch_version)

PACKAGES = {"OpenBLAS": "libopenblas0-openmp", "oneDNN": "libdnnl2",
            "PyTorch": "python3-torch", "CLBlast": "libclblast1"}
I, L, F, P = ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


# ---- peers, each in a process of its own ----

def load(*names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    raise OSError(f"no library {names[0]}")


def make_operands(request):
    import numpy
    rng = numpy.random.default_rng(0)
    m, k, n = request["m"], request["k"], request["n"]
    a = rng.random((k, m) if request["trans_a"] else (m, k), numpy.float32)
    b = rng.random((n, k) if request["trans_b"] else (k, n), numpy.float32)
    return a, b, numpy.zeros((m, n), numpy.float32)


def answer_with(call):
    """`call(request, a, b, c)` returns what computes the product once. What
    it computed is compared with NumPy's, before it is timed."""
    def answer(request):
        import numpy
        a, b, c = make_operands(request)
        run = call(request, a, b, c)
        run()
        # One row says whether transposes and strides were understood.
        left = a[:, 0] if request["trans_a"] else a[0]
        right = b.T if request["trans_b"] else b
        if not numpy.allclose(c[0], left @ right, rtol=1e-3):
            raise SystemExit("a peer computes something else")
        return {"seconds": timed(run, request["seconds"])}
    return answer


def make_openblas(threads):
    lib = load("libopenblas.so.0", "libopenblas.so")
    lib.openblas_set_num_threads(threads)
    lib.openblas_get_config.restype = ctypes.c_char_p
    lib.cblas_sgemm.argtypes = [I, I, I, I, I, I, F, P, I, P, I, F, P, I]

    def call(r, a, b, c):
        args = (101, 111 + r["trans_a"], 111 + r["trans_b"], r["m"], r["n"],
                r["k"], 1.0, a.ctypes.data, a.shape[1], b.ctypes.data,
                b.shape[1], 0.0, c.ctypes.data, r["n"])
        return lambda: lib.cblas_sgemm(*args)
    return lib.openblas_get_config().decode(), answer_with(call)


class DnnlVersion(ctypes.Structure):
    _fields_ = [("major", I), ("minor", I), ("patch", I)]


def make_dnnl(threads):
    lib = load("libdnnl.so.2", "libdnnl.so.3", "libdnnl.so")
    lib.dnnl_version.restype = ctypes.POINTER(DnnlVersion)
    lib.dnnl_sgemm.argtypes = [ctypes.c_char, ctypes.c_char, L, L, L, F, P, L,
                               P, L, F, P, L]
    version = lib.dnnl_version().contents

    def call(r, a, b, c):
        args = (b"NT"[r["trans_a"]:][:1], b"NT"[r["trans_b"]:][:1], r["m"],
                r["n"], r["k"], 1.0, a.ctypes.data, a.shape[1], b.ctypes.data,
                b.shape[1], 0.0, c.ctypes.data, r["n"])
        return lambda: lib.dnnl_sgemm(*args)
    return (f"oneDNN {version.major}.{version.minor}.{version.patch}",
            answer_with(call))


def make_torch(threads):
    import torch
    torch.set_num_threads(threads)

    def call(r, a, b, c):
        a, b, c = map(torch.from_numpy, (a, b, c))
        a = a.t() if r["trans_a"] else a
        b = b.t() if r["trans_b"] else b
        return lambda: torch.mm(a, b, out=c)
    return torch_version(torch), answer_with(call)


def make(name, threads):
    return {"OpenBLAS": make_openblas, "oneDNN": make_dnnl,
            "PyTorch": make_torch}[name](threads)


class Clblast:
    """As quern calls it, on the same device."""

    def __init__(self, options):
        self.options, self.missing = options, None
        self.version = "CLBlast"
        try:
            ctypes.CDLL("libclblast.so.1")
            self.version += f" ({library('libclblast')})"
        except OSError as error:
            self.missing = str(error)

    def ask(self, request):
        told = None
        if not self.missing:
            told = quern(self.options, "bench", "gemm", "--shapes",
                         shape_text(request), "--seconds", request["seconds"],
                         env={"QUERN_KERNEL": "matmul:clblast"},
                         may_fail=True)
        return told and {"seconds": told["results"][0]["seconds"]}

    def close(self):
        pass


# ---- rounds ----

def shape_text(r):
    return (f"{r['m']}x{r['k']}x{r['n']}" + "nt"[r["trans_a"]] +
            "nt"[r["trans_b"]])


def take_rounds(options, workers):
    """Shape -> results of quern and seconds of each peer, by round."""
    flags = ["--shapes", options.shapes] if options.shapes else []
    first = quern(options, "bench", "gemm", "--seconds", 0.1, *flags)
    told = {shape_text(r): {name: [] for name in ("quern", *workers)}
            for r in first["results"]}
    for number in range(options.rounds):
        for shape, one in told.items():
            device = quern(options, "bench", "gemm", "--shapes", shape,
                           "--seconds", options.seconds)
            ours = device["results"][0]
            one["quern"].append(ours)
            request = {key: ours[key] for key in
                       ("m", "k", "n", "trans_a", "trans_b")}
            request["seconds"] = options.seconds
            for name, worker in workers.items():
                answer = worker.ask(request)
                if answer:
                    one[name].append(answer["seconds"])
        print(f"gemm: round {number + 1} of {options.rounds}",
              file=sys.stderr)
    return told, device


def summarise(shape, one, names):
    ours = one["quern"]
    seconds = median([r["seconds"] for r in ours])
    work = 2e-9 * ours[0]["m"] * ours[0]["k"] * ours[0]["n"]
    row = {"shape": shape, "kernel": ours[0]["kernel"],
           "rate": work / seconds, "is_small": work < 2e-9 * 128 ** 3 or
           ours[0]["n"] < 16,
           "share": median([r["fma_share"] for r in ours])}
    row["peers"] = {name: (work / median(one[name]),
                           median(one[name]) / seconds)
                    for name in names if one[name]}
    return row


def means(rows, names):
    """Of the ratios of all shapes that are not small."""
    told = []
    for name in names:
        ratios = [row["peers"][name][1] for row in rows
                  if name in row["peers"] and not row["is_small"]]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            told.append(f"{name}: {mean:.2f}, least {min(ratios):.2f}")
    return ("Geometric mean of the ratios from 128x128x128 up, N = 10 left "
            "out: " + "; ".join(told) + ".") if told else ""


def cells(row, names):
    line = [row["shape"], row["kernel"], f"{row['rate']:.0f}",
            f"{row['share']:.2f}"]
    for name in names:
        rate, ratio = row["peers"].get(name, (None, None))
        line += [f"{rate:.0f}", f"{ratio:.2f}"] if rate else ["–", "–"]
    return line


def run(options):
    workers = {name: Worker(__file__, name, options)
               for name in ("OpenBLAS", "oneDNN", "PyTorch")}
    workers["CLBlast"] = Clblast(options)
    versions = announce(workers, PACKAGES)
    told, device = take_rounds(options, workers)
    for worker in workers.values():
        worker.close()
    rows = [summarise(shape, one, workers) for shape, one in told.items()]
    titles = ["MxKxN", "kernel", "GFLOP/s", "of peak"]
    for name in workers:
        titles += [name, "ratio"]
    publish(options, "gemm", f"{describe(device)} {versions} "
            f"{options.threads} threads of peers, bound to cores; "
            f"{options.rounds} rounds. {means(rows, workers)}\n\n" +
            table(titles, [cells(row, workers) for row in rows]))


if __name__ == "__main__":
    serve(make)
