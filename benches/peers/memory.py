#!/usr/bin/env python3
"""The most memory that tensors take at once in a training step: of PyTorch on the CPU, and of bptt.

    benches/peers/memory.py                    # the training cases of cases.json
    benches/peers/memory.py --only lstm_mid --device gpu

PyTorch's is what its allocator counts while torch.profiler watches it: in a process of its own a model is made and trained
for three steps as by torch_bench.py. oneDNN's scratch memory is not in it. bptt's is `bytes_peak` of `bptt bench train`, in
which each tensor takes the size class of its pool. Parameters, gradients, moments and the data of a step are in both."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = [case for case in json.load(open(f"{HERE}/cases.json"))["cases"] if case["kind"] == "train"]

# What the process of a case runs.
OF_TORCH = """
import json, sys
case = json.loads(sys.argv[1])
sys.argv[1:] = ["--only", "nothing"]  # torch_bench.py measures what it is told to as it is loaded
import torch_bench
from torch.profiler import ProfilerActivity, profile
with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
    step, _ = torch_bench.train_case(case)
    for _ in range(3):
        step()
watched.export_chrome_trace("trace.json")
"""


def of_torch(case):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", OF_TORCH, json.dumps(case)], cwd=folder, check=True, capture_output=True,
                       env=dict(os.environ, PYTHONPATH=HERE))
        events = json.load(open(f"{folder}/trace.json"))["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]")


def of_bptt(case):
    with tempfile.TemporaryDirectory() as folder:
        result = f"{folder}/result.json"
        command = [bptt, "bench", "train", "--device", args.device, "--only", case["name"], "--seconds", "0.01"]
        subprocess.run([*command, "--json", result], check=True, stdout=subprocess.DEVNULL)
        return json.load(open(result))["results"][0]["bytes_peak"]


options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--only", default="", help="comma-separated cases")
options.add_argument("--device", default="cpu", help="bptt's device")
options.add_argument("--bptt", default="", help="the bptt to measure, in place of one built here")
args = options.parse_args()
only = [name for name in args.only.split(",") if name]
for name in set(only) - {case["name"] for case in CASES}:
    sys.exit(f"no case '{name}'; there are {', '.join(case['name'] for case in CASES)}")
if not args.bptt and subprocess.run(["cargo", "build", "--release"], cwd=ROOT).returncode:
    sys.exit("bptt could not be built")
bptt = args.bptt or f"{ROOT}/target/release/bptt"

print(f"{'kB':12}{'PyTorch':>12}{'bptt':>12}{'ratio':>8}")
for case in CASES:
    if not only or case["name"] in only:
        torch, ours = of_torch(case), of_bptt(case)
        print(f"{case['name']:12}{torch / 1e3:12.1f}{ours / 1e3:12.1f}{ours / torch:8.2f}", flush=True)
