#!/usr/bin/env python3
"""Measures bptt, PyTorch, burn and candle on the same work, one after the other, and prints the ratios.

    benches/peers/run.py                       # on the CPU
    benches/peers/run.py --gpu                 # on a GPU through wgpu: bptt and burn
    benches/peers/run.py --cuda                # on an NVIDIA GPU: bptt, and PyTorch with CUDA
    benches/peers/run.py --only lstm_mid --peers bptt-cpu,torch-cpu
    benches/peers/run.py --cuda --precision f16   # mixed precision: PyTorch's is autocast

The cases are those of cases.json: shapes, data, losses and how to time. Every case of every peer runs in a process of its
own, so that a crash or a hang costs one result. Before each the script waits for the machine to be idle, and it
notes how many cores other programs used meanwhile. Each result is a line of --out (default: results.jsonl beside this
script). bptt, burn and candle are built first; PyTorch must be there (pip install torch)."""
import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = [case["name"] for case in json.load(open(f"{HERE}/cases.json"))["cases"]]
CPU = ["bptt-cpu", "torch-cpu", "torch-cpu+fused", "burn-cpu", "candle-cpu"]
GPU = ["bptt-gpu", "burn-wgpu"]
CUDA = ["bptt-gpu", "torch-cuda", "torch-cuda+tf32", "torch-cuda+graph", "torch-cuda+tf32+graph"]

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--gpu", action="store_true", help="the peers that use a GPU through wgpu")
options.add_argument("--cuda", action="store_true", help="the peers that use CUDA, and bptt")
options.add_argument("--peers", default="", help="comma-separated: " + ", ".join(dict.fromkeys(CPU + GPU + CUDA)))
options.add_argument("--only", default="", help="comma-separated cases")
options.add_argument("--precision", choices=["f32", "f16", "bf16"], default="f32", help="of bptt and PyTorch; burn and candle have f32 alone")
options.add_argument("--out", default=f"{HERE}/results.jsonl")
options.add_argument("--wait", type=float, default=20, help="seconds to wait for an idle machine before a case")
options.add_argument("--timeout", type=float, default=330, help="seconds that a case may take")
options.add_argument("--python", default=sys.executable, help="the Python that has torch")
options.add_argument("--bptt", default="", help="the bptt to measure, in place of one built here")
options.add_argument("--device", default="gpu", help="bptt's name for the GPU")
args = options.parse_args()

peers = [peer for peer in args.peers.split(",") if peer] or [
    *(CUDA if args.cuda else []), *(GPU if args.gpu and not args.cuda else []), *([] if args.cuda or args.gpu else CPU)]
only = [case for case in args.only.split(",") if case]
if args.precision != "f32":
    # A peer's flag, as --tf32 is.
    peers = [f"{peer}+{args.precision}" for peer in peers if peer.startswith(("bptt", "torch")) and "tf32" not in peer]
for name in set(only) - set(CASES):
    sys.exit(f"no case '{name}'; there are {', '.join(CASES)}")


def build(folder):
    """The release build of the package in a folder, and how it ended."""
    return subprocess.run(["cargo", "build", "--release"], cwd=folder).returncode == 0


if any(peer.startswith("bptt") for peer in peers) and not args.bptt:
    build(ROOT) or sys.exit("bptt could not be built")
bptt = args.bptt or f"{ROOT}/target/release/bptt"
for name in ("burn", "candle"):
    if any(peer.startswith(name) for peer in peers) and not build(f"{HERE}/{name}peer"):
        print(f"{name} could not be built and is left out", file=sys.stderr)
        peers = [peer for peer in peers if not peer.startswith(name)]


def command(peer, case, result):
    """What measures a case. A peer prints JSON lines, bptt writes the file `result`."""
    name, *flags = peer.split("+")
    if name.startswith("bptt"):
        part = "kernels" if case in ("softmax_xent", "adam_10m") or case.startswith("sgemm") else "train"
        device = "cpu" if name == "bptt-cpu" else args.device
        precision = flags[0] if flags else "f32"
        return [bptt, "bench", part, "--device", device, "--only", case, "--precision", precision, "--json", result]
    if name.startswith("torch-"):
        given = {"tf32": ["--tf32", "on"], "graph": ["--graph"], "fused": ["--fused"], "compile": ["--compile"],
                 "f16": ["--precision", "f16"], "bf16": ["--precision", "bf16"]}
        flags = [word for flag in flags for word in given[flag]]
        return [args.python, f"{HERE}/torch_bench.py", "--device", name[6:], *flags, "--only", case]
    built = {"burn-cpu": ("burnpeer", ["--backend", "flex"]), "burn-wgpu": ("burnpeer", ["--backend", "wgpu"]),
             "candle-cpu": ("candlepeer", [])}
    if name not in built:
        sys.exit(f"no peer '{peer}'")
    folder, flags = built[name]
    return [f"{HERE}/{folder}/target/release/{folder}", *flags, "--only", case]


def busy():
    """Seconds of CPU that everything on the machine has used; None where that cannot be known."""
    try:
        fields = [int(x) for x in open("/proc/stat").readline().split()[1:]]
        return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None


def own():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_until_idle():
    end = time.time() + args.wait
    while busy() is not None and time.time() < end:
        before, start = busy(), time.time()
        time.sleep(1)
        if (busy() - before) / (time.time() - start) < 0.25:
            return


def measure(peer, case):
    wait_until_idle()
    env = dict(os.environ, PEER_CASES=f"{HERE}/cases.json")
    env.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    before, used, start = busy(), own(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        result = f"{folder}/result.json"
        process = subprocess.Popen(command(peer, case, result), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=env, start_new_session=True)
        try:
            out, err = process.communicate(timeout=args.timeout)
            why = f"exit status {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            why = f"no result within {args.timeout:.0f} s"
        if os.path.exists(result):
            document = json.load(open(result))
            rows = [{**row, "device": document["device"], "driver": document["driver"]} for row in document["results"]]
        else:
            rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    row = rows[0] if rows else {"error": (why + "; " + " ".join(err.split()[-40:])).strip("; ")}
    row = {**row, "peer": peer, "case": case}
    if before is not None:
        row["other_cpu"] = round(max(0.0, busy() - before - (own() - used)) / (time.time() - start), 2)
    return row


def figure(row):
    ms = row.get("ms")
    if ms is None:
        return row.get("error", "no result").split(";")[0][:18]
    return f"{ms:.4g}" + (" ~" if row.get("other_cpu", 0) > 0.3 else "")


ours = next((peer for peer in peers if peer.startswith("bptt")), None)
print("ms a step; ratio: the fastest peer's time by bptt's, above 1 where bptt is faster; ~ where other programs ran\n")
print(f"{'case':20}" + "".join(f"{peer:>22}" for peer in peers) + f"{'ratio':>10}")
with open(args.out, "a") as out:
    for case in only or CASES:
        found = {}
        for peer in peers:
            found[peer] = measure(peer, case)
            out.write(json.dumps(found[peer]) + "\n")
            out.flush()
        others = [row["ms"] for peer, row in found.items() if peer != ours and row.get("ms")]
        mine = found.get(ours, {}).get("ms")
        ratio = f"{min(others) / mine:.2f}x" if mine and others else ""
        print(f"{case:20}" + "".join(f"{figure(found[peer]):>22}" for peer in peers) + f"{ratio:>10}", flush=True)
