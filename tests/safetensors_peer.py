#!/usr/bin/env python3
"""Opens a checkpoint with the Python package safetensors and writes it again:

    safetensors_peer.py IN OUT

Exit status 77 where the package or numpy is not installed.
"""
import sys

try:
    from safetensors import safe_open
    from safetensors.numpy import save_file
except ImportError:
    sys.exit(77)

with safe_open(sys.argv[1], framework="numpy") as file:
    notes = file.metadata()
    # In another order than they came.
    tensors = {name: file.get_tensor(name)
               for name in sorted(file.keys(), reverse=True)}
assert tensors["0.weight"].shape == (5, 3), tensors["0.weight"].shape
assert tensors["0.weight"].dtype == "float32"
assert tensors["trainer.position"].dtype == "int32"
assert notes["epoch"] == "7" and notes["format"] == "pt", notes
# The hash is over the data in the old order.
del notes["quern.sha256"]
save_file(tensors, sys.argv[2], metadata=notes)
