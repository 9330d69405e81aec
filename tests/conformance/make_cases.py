"""Makes random recurrent models with PyTorch's results for them, in the format that README.md beside this file describes.

    pip install torch numpy safetensors
    python make_cases.py SEED COUNT FOLDER [--small]

The same seed gives the same models. PyTorch computes in float64, from parameters and inputs that float32 holds exactly;
what it computes is stored as float32.
"""

import argparse
import json
import pathlib
import random

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

LAYERS = {"embedding": torch.nn.Embedding, "linear": torch.nn.Linear}
RECURRENT = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
VALUE_LOSS = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}
OPTIMIZER = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


class Draw(random.Random):
    """Choices that depend on the seed alone."""

    def flag(self, probability=0.5):
        return self.random() < probability


def draw_optimizer(draw):
    kind = draw.choice(sorted(OPTIMIZER))
    options = {"type": kind, "lr": draw.choice([0.002, 0.01, 0.03])}
    if kind != "adagrad":
        options["weight_decay"] = draw.choice([0.0, 0.02])
    if kind == "sgd" and draw.flag():
        nesterov = draw.flag()
        options |= {"momentum": 0.9, "nesterov": nesterov}
        if not nesterov:
            options["dampening"] = draw.choice([0.0, 0.3])
    elif kind in ("adam", "adamw"):
        options |= {"betas": draw.choice([[0.9, 0.999], [0.7, 0.9]]), "amsgrad": draw.flag(0.4)}
    elif kind == "rmsprop":
        options |= {"alpha": draw.choice([0.99, 0.8]), "centered": draw.flag(), "momentum": draw.choice([0.0, 0.8])}
    elif kind == "adagrad":
        options["lr_decay"] = draw.choice([0.0, 0.2])
    return options


def draw_case(draw, index, small):
    batch, time, hidden, features = (
        draw.randint(1, most) for most in ((4, 5, 8, 5) if small else (20, 16, 80, 40))
    )
    kind = draw.choice(sorted(RECURRENT))
    recurrent = {"type": kind, "name": "rnn", "input_size": features, "hidden_size": hidden}
    recurrent |= {"num_layers": draw.randint(1, 3), "bias": draw.flag(0.8)}
    recurrent |= {"batch_first": draw.flag(), "bidirectional": draw.flag(0.4)}
    if kind == "rnn":
        recurrent["nonlinearity"] = draw.choice(["tanh", "relu"])
    if kind == "lstm" and hidden > 1 and draw.flag(0.3):
        recurrent["proj_size"] = draw.randint(1, hidden - 1)
    width = recurrent.get("proj_size", hidden) * (1 + recurrent["bidirectional"])
    model, tokens = [recurrent], draw.flag(0.4)
    if tokens:
        sizes = {"num_embeddings": draw.randint(2, 30), "embedding_dim": features}
        model.insert(0, {"type": "embedding", "name": "embedding", **sizes})
    if draw.flag(0.4):
        model.append({"type": "last"})
    if draw.flag(0.8):
        classes = draw.randint(2, 12 if small else 50)
        model.append({"type": "linear", "name": "fc", "in_features": width, "out_features": classes, "bias": draw.flag()})
        width = classes
    loss = {"type": draw.choice(["cross_entropy", *VALUE_LOSS]), "reduction": draw.choice(["mean", "sum"])}
    if loss["type"] == "cross_entropy" and width == 1:
        loss["type"] = "mse"
    if loss["type"] == "cross_entropy":
        loss |= {"label_smoothing": draw.choice([0.0, 0.15]), "ignore_index": -100}
        loss |= {"ignored": draw.flag(0.4), "weighted": draw.flag(0.4)}
    return {
        "name": f"{index:04}-{kind}",
        "batch": batch,
        "time": time,
        "model": model,
        "input": "tokens" if tokens else "values",
        "lengths": [draw.randint(1, time) for _ in range(batch)] if draw.flag(0.4) else None,
        "initial_state": draw.flag(),
        "loss": loss,
        "optimizer": draw_optimizer(draw),
        "clip_grad_norm": draw.choice([None, 0.3]),
        "steps": 3,
        "seed": draw.getrandbits(31),
    }


class Model(torch.nn.Module):
    """The layers of a case."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        for spec in case["model"]:
            if "name" in spec:
                options = {key: value for key, value in spec.items() if key not in ("type", "name")}
                setattr(self, spec["name"], (LAYERS | RECURRENT)[spec["type"]](**options))
        self.double()
        for parameter in self.parameters():
            parameter.data = parameter.data.float().double()

    def forward(self, x, state):
        """The output, and the final states of the recurrent layer."""
        lengths, final = self.case["lengths"], None
        for spec in self.case["model"]:
            if spec["type"] in RECURRENT:
                first, layer = spec["batch_first"], getattr(self, spec["name"])
                if lengths:
                    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=first, enforce_sorted=False)
                    packed, final = layer(packed, state)
                    x, _ = pad_packed_sequence(packed, batch_first=first, total_length=self.case["time"])
                else:
                    x, final = layer(x, state)
            elif spec["type"] == "last":
                rows = x if first else x.transpose(0, 1)
                ends = lengths or [self.case["time"]] * self.case["batch"]
                x = torch.stack([row[end - 1] for row, end in zip(rows, ends)])
            else:
                x = getattr(self, spec["name"])(x)
        return x, final if isinstance(final, tuple) else (final,)


def loss_of(case, output, given):
    spec = case["loss"]
    if spec["type"] in VALUE_LOSS:
        return VALUE_LOSS[spec["type"]](output, given["target"], reduction=spec["reduction"])
    return F.cross_entropy(
        output.flatten(0, -2),
        given["target"].flatten(),
        given.get("class_weight"),
        ignore_index=spec["ignore_index"],
        reduction=spec["reduction"],
        label_smoothing=spec["label_smoothing"],
    )


def tensors_of(case):
    """What is given, and what PyTorch makes of it."""
    torch.manual_seed(case["seed"])
    normal = lambda *shape: torch.randn(*shape).double()
    recurrent = next(spec for spec in case["model"] if spec["type"] in RECURRENT)
    batch, time = case["batch"], case["time"]
    lead = (batch, time) if recurrent["batch_first"] else (time, batch)
    model, given = Model(case), {}
    if case["input"] == "tokens":
        given["x"] = torch.randint(case["model"][0]["num_embeddings"], lead)
    else:
        given["x"] = normal(*lead, recurrent["input_size"]).requires_grad_()
    state = None
    if case["initial_state"]:
        rows = recurrent["num_layers"] * (1 + recurrent["bidirectional"])
        hidden = recurrent["hidden_size"]
        given["h0"] = state = normal(rows, batch, recurrent.get("proj_size", hidden)).requires_grad_()
        if recurrent["type"] == "lstm":
            given["c0"] = normal(rows, batch, hidden).requires_grad_()
            state = (given["h0"], given["c0"])
    shape = model(given["x"], state)[0].shape
    if case["loss"]["type"] in VALUE_LOSS:
        given["target"] = normal(*shape)
    else:
        given["target"] = torch.randint(shape[-1], shape[:-1])
        if case["loss"]["ignored"]:
            # One label stays: the mean over none is not a number.
            given["target"].flatten()[1:][torch.rand(given["target"].numel() - 1) < 0.4] = case["loss"]["ignore_index"]
        if case["loss"]["weighted"]:
            given["class_weight"] = (0.1 + 2 * torch.rand(shape[-1])).double()
    out = dict(given) | {f"param.{name}": p.detach().clone() for name, p in model.named_parameters()}

    options = {key: value for key, value in case["optimizer"].items() if key != "type"}
    optimizer = OPTIMIZER[case["optimizer"]["type"]](model.parameters(), **options)
    losses, norms = [], []
    for step in range(case["steps"]):
        optimizer.zero_grad()
        output, final = model(given["x"], state)
        loss = loss_of(case, output, given)
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            out |= {f"expect.{key}": t for key, t in zip(("output", "h_n", "c_n"), (output, *final))}
            leaves = {key: given[key] for key in ("x", "h0", "c0") if key in given} | dict(model.named_parameters())
            out |= {f"expect.grad.{key}": t.grad.clone() for key, t in leaves.items() if t.requires_grad}
        if case["clip_grad_norm"]:
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), case["clip_grad_norm"]))
        optimizer.step()
    out["expect.loss"] = torch.stack(losses)
    if norms:
        out["expect.grad_norm"] = torch.stack(norms)
    out |= {f"expect.param.{name}": p for name, p in model.named_parameters()}
    store = lambda t: t.detach().to(torch.float32 if t.is_floating_point() else torch.int64).contiguous()
    return {key: store(t) for key, t in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--small", action="store_true", help="sizes of cases that are to be kept")
    args = parser.parse_args()
    draw = Draw(args.seed)
    for index in range(args.count):
        case = draw_case(draw, index, args.small)
        folder = args.folder / case["name"]
        folder.mkdir(parents=True)
        (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
        save_file(tensors_of(case), folder / "tensors.safetensors")
    print(f"{args.count} cases in {args.folder}, made with PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
