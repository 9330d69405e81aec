"""Makes the PyTorch reference fixtures (*.safetensors) beside this file; README.md lists their keys.

    pip install torch numpy safetensors && python make_fixtures.py

CPU only, one thread, fixed seeds: running it twice with one PyTorch build on one machine writes the same bytes.
The PyTorch version is printed and kept in each file's metadata. The committed files were made with PyTorch 2.15.0
(build 2.15.0+cu132, Python 3.11, safetensors 0.8.0).
Unless a comment says otherwise, inputs are f32 and expected results are computed in float64 from those f32
values, then stored as f32.
"""

import copy
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
LONG_SENTENCE = (
    "if you want to build a ship, don't drum up people together to collect wood and don't assign them tasks "
    "and work, but rather teach them to long for the endless immensity of the sea."
)


def save(name, tensors):
    """Writes one file; float64 is stored as f32, except for the keys that end in `64`."""
    out = {}
    for key, t in tensors.items():
        t = t.detach().clone().contiguous()
        out[key] = t.float() if t.dtype == torch.float64 and not key.endswith("64") else t
    path = HERE / f"{name}.safetensors"
    # One metadata entry only: the order of several is not fixed.
    save_file(out, path, metadata={"torch": torch.__version__})
    print(f"{path.name}: {len(out)} tensors, {path.stat().st_size} bytes")


def tokens_of(text):
    """Indices into the sorted vocabulary (symbols by code point), and its size."""
    vocab = sorted(set(text))
    return torch.tensor([vocab.index(c) for c in text]), len(vocab)


def small_experiment(name, text, steps=50, seeds=(0, 1, 2)):
    """One sequence through a one-layer RNN whose outputs are the logits; the loss before each Adam update."""
    tokens, size = tokens_of(text)
    out = {"tokens": tokens}
    for seed in seeds:
        torch.manual_seed(seed)
        start = torch.nn.RNN(size, size, batch_first=True)
        for p, param in start.named_parameters():
            out[f"seed{seed}.param.rnn.{p}"] = param.clone()
        for key, dtype in (("loss", torch.float32), ("loss64", torch.float64)):
            rnn = copy.deepcopy(start).to(dtype)
            adam = torch.optim.Adam(rnn.parameters(), lr=0.1)
            x = F.one_hot(tokens[:-1], size).to(dtype)[None]
            losses = []
            for _ in range(steps):
                adam.zero_grad()
                loss = F.cross_entropy(rnn(x)[0].reshape(-1, size), tokens[1:])
                loss.backward()
                adam.step()
                losses.append(loss.detach())
            out[f"seed{seed}.{key}"] = torch.stack(losses)
    save(name, out)


class LongSeq(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.rnn = torch.nn.RNN(size, size, num_layers=2, batch_first=True)
        self.fc = torch.nn.Linear(size, size)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


def longseq(window=10, record=(0, 10, 20, 40)):
    """Trains in float32; at some steps records the whole state and what one float64 step makes of it."""
    tokens, size = tokens_of(LONG_SENTENCE)
    windows = tokens.unfold(0, window + 1, 1)  # [170, 11]
    x, y = F.one_hot(windows[:, :-1], size), windows[:, 1:].reshape(-1)

    def step(model, adam):
        adam.zero_grad()
        loss = F.cross_entropy(model(x.to(model.fc.weight.dtype)).reshape(-1, size), y)
        loss.backward()
        adam.step()
        return loss

    torch.manual_seed(0)
    model = LongSeq(size)
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    out = {"tokens": tokens}
    for n in range(max(record) + 1):
        if n in record:
            at = f"step{n}"
            for p, param in model.named_parameters():
                state = adam.state.get(param, {})
                out[f"{at}.param.{p}"] = param.clone()
                for moment in ("exp_avg", "exp_avg_sq"):
                    out[f"{at}.{moment}.{p}"] = state.get(moment, torch.zeros_like(param)).clone()
                assert int(state.get("step", 0)) == n
            out[f"{at}.t"] = torch.tensor([n])
            # The same step in float64. Loading casts the moments; the copy keeps the step counters apart.
            model64 = copy.deepcopy(model).double()
            adam64 = torch.optim.Adam(model64.parameters(), lr=0.1)
            adam64.load_state_dict(copy.deepcopy(adam.state_dict()))
            out[f"{at}.expect.loss"] = step(model64, adam64).reshape(1)
            for p, param in model64.named_parameters():
                state = adam64.state[param]
                assert state["exp_avg"].dtype == torch.float64 and int(state["step"]) == n + 1
                out[f"{at}.expect.grad.{p}"] = param.grad
                out[f"{at}.expect.param.{p}"] = param
        step(model, adam)
    save("longseq", out)


def losses():
    """Cross-entropy: options = [label_smoothing, ignore_index, reduction (0 mean, 1 sum)]."""
    gen = torch.Generator().manual_seed(0)
    both = dict(weight=True, smoothing=0.1)
    cases = [
        {},
        dict(weight=True),
        dict(smoothing=0.1),
        dict(ignored=True),  # some labels are -100
        dict(ignore_index=2),  # an ordinary class
        dict(ignore_index=2, **both),
        dict(reduction="sum"),
        dict(reduction="sum", weight=True),
        dict(reduction="sum", smoothing=0.1),
        dict(reduction="sum", ignored=True),
        dict(reduction="sum", ignore_index=2),
        dict(reduction="sum", ignored=True, **both),
        dict(scale=1000.0),
        dict(scale=1000.0, ignored=True, **both),
        dict(c=1),
        dict(n=1),
    ]
    out = {}
    for i, case in enumerate(cases):
        n, c = case.get("n", 12), case.get("c", 7)
        ignore_index, smoothing = case.get("ignore_index", -100), case.get("smoothing", 0.0)
        reduction = case.get("reduction", "mean")
        logits = torch.randn(n, c, generator=gen) * case.get("scale", 2.0)
        labels = torch.randint(c, (n,), generator=gen)
        if case.get("ignored"):
            labels[1::3] = ignore_index
        elif ignore_index >= 0:
            labels[::4] = ignore_index  # be sure that there are some
        weight = torch.rand(c, generator=gen) + 0.25 if case.get("weight") else None
        logits64 = logits.double().requires_grad_()
        loss = F.cross_entropy(
            logits64,
            labels,
            weight=None if weight is None else weight.double(),
            ignore_index=ignore_index,
            label_smoothing=smoothing,
            reduction=reduction,
        )
        loss.backward()
        out[f"case{i}.logits"], out[f"case{i}.labels"] = logits, labels
        if weight is not None:
            out[f"case{i}.weight"] = weight
        out[f"case{i}.options"] = torch.tensor([smoothing, ignore_index, float(reduction == "sum")])
        out[f"case{i}.expect.loss"], out[f"case{i}.expect.grad"] = loss.reshape(1), logits64.grad
    save("losses", out)


def loss_options():
    """Losses of values, cross-entropy without a reduction and with probabilities; gradients of Σ loss ⊙ cotangent.
    Options of values: [kind (0 mse, 1 l1, 2 huber), delta, reduction (0 mean, 1 sum, 2 none)]; of cross-entropy:
    [label_smoothing, ignore_index, reduction].
    """
    gen = torch.Generator().manual_seed(1)
    out, reductions = {}, ("mean", "sum", "none")

    def put(key, loss, inputs, options, **tensors):
        cotangent = torch.randn(loss.shape, generator=gen)
        (loss * cotangent).sum().backward()
        for name, tensor in {**inputs, **tensors}.items():
            if tensor is not None:
                out[f"{key}.{name}"] = tensor
        out[f"{key}.options"] = torch.tensor([float(option) for option in options])
        out[f"{key}.cotangent"], out[f"{key}.expect.loss"] = cotangent.reshape(-1), loss.reshape(-1)
        for name, tensor in inputs.items():
            out[f"{key}.expect.grad.{name}"] = tensor.grad

    values = [(0, "mse", 0.0), (1, "l1", 0.0), (2, "huber", 1.0), (2, "huber", 0.25), (2, "huber", 3.0)]
    i = 0
    for kind, name, delta in values:
        for r, reduction in enumerate(reductions):
            x, target = torch.randn(5, 7, generator=gen) * 2.0, torch.randn(5, 7, generator=gen)
            x.view(-1)[::6] = target.view(-1)[::6]  # the corner of l1
            x, target = x.double().requires_grad_(), target.double().requires_grad_()
            extra = {"delta": delta} if name == "huber" else {}
            loss = getattr(F, f"{name}_loss")(x, target, reduction=reduction, **extra)
            put(f"values{i}", loss, {"x": x, "target": target}, [kind, delta, r])
            i += 1

    i = j = 0
    for n, c in ((12, 7), (3, 150)):
        for r, reduction in enumerate(reductions):
            for weighted in (False, True):
                for smoothing in (0.0, 0.1):
                    weight = torch.rand(c, generator=gen) + 0.25 if weighted else None
                    options = dict(label_smoothing=smoothing, reduction=reduction)
                    options["weight"] = None if weight is None else weight.double()
                    logits = (torch.randn(n, c, generator=gen) * 2.0).double().requires_grad_()
                    q = torch.softmax(torch.randn(n, c, generator=gen) * 2.0, -1)
                    loss = F.cross_entropy(logits, q.double(), **options)
                    put(f"soft{i}", loss, {"logits": logits}, [smoothing, -100, r], q=q, weight=weight)
                    i += 1
                    if reduction != "none":
                        continue
                    for ignore_index in (-100, 2):
                        logits = (torch.randn(n, c, generator=gen) * 2.0).double().requires_grad_()
                        labels = torch.randint(c, (n,), generator=gen)
                        labels[1::3] = ignore_index
                        loss = F.cross_entropy(logits, labels, ignore_index=ignore_index, **options)
                        tensors = dict(labels=labels, weight=weight)
                        put(f"none{j}", loss, {"logits": logits}, [smoothing, ignore_index, r], **tensors)
                        j += 1
    save("loss_options", out)


def schedules(steps=40, lr=0.1):
    """Learning rates at steps 0, 1 ..: `<name>.lr64`; the metrics that plateaus look at: `<name>.metrics64`."""
    lrs, out = torch.optim.lr_scheduler, {}

    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)

    cycle = dict(max_lr=lr, total_steps=steps, cycle_momentum=False)
    cases = {
        "constant": lambda o: lrs.LambdaLR(o, lambda _: 1.0),
        "step": lambda o: lrs.StepLR(o, step_size=7, gamma=0.5),
        "exponential": lambda o: lrs.ExponentialLR(o, gamma=0.9),
        "cosine": lambda o: lrs.CosineAnnealingLR(o, T_max=50),
        "cosine_again": lambda o: lrs.CosineAnnealingLR(o, T_max=12, eta_min=0.01),
        "linear": lambda o: lrs.LinearLR(o),
        "linear_down": lambda o: lrs.LinearLR(o, start_factor=1.0, end_factor=0.25, total_iters=20),
        "one_cycle": lambda o: lrs.OneCycleLR(o, **cycle),
        "one_cycle_options": lambda o: lrs.OneCycleLR(
            o, pct_start=0.45, div_factor=10.0, final_div_factor=100.0, **cycle
        ),
    }
    for name, make in cases.items():
        o = optimizer()
        schedule, rates = make(o), []
        for step in range(steps):
            rates.append(o.param_groups[0]["lr"])
            o.step()
            if step + 1 < steps:
                schedule.step()
        out[f"{name}.lr64"] = torch.tensor(rates, dtype=torch.float64)
    plateaus = {
        "plateau": dict(),
        "plateau_options": dict(factor=0.5, patience=2, threshold=0.05, cooldown=3, min_lr=0.01),
        "plateau_impatient": dict(factor=0.3, patience=0, threshold=0.0),
    }
    gen = torch.Generator().manual_seed(2)
    for name, options in plateaus.items():
        o = optimizer()
        schedule, rates = lrs.ReduceLROnPlateau(o, **options), []
        t = torch.arange(2 * steps, dtype=torch.float64)
        metrics = torch.exp(-t / 10) + 0.5 + 0.02 * torch.rand(2 * steps, generator=gen).double()
        metrics[5] = float("nan")
        for metric in metrics.tolist():
            schedule.step(metric)
            rates.append(o.param_groups[0]["lr"])
        out[f"{name}.metrics64"] = metrics
        out[f"{name}.lr64"] = torch.tensor(rates, dtype=torch.float64)
    save("schedules", out)


def optimizers(steps=20, size=37):
    """Every optimizer with each of its options, and clipping, on given gradients."""
    kinds = {
        "sgd": (torch.optim.SGD, dict(lr=0.1)),
        "adam": (torch.optim.Adam, dict(lr=0.1)),
        "adamw": (torch.optim.AdamW, dict(lr=0.1)),
        "rmsprop": (torch.optim.RMSprop, dict(lr=0.01)),
        "adagrad": (torch.optim.Adagrad, dict(lr=0.1)),
    }
    decay = dict(weight_decay=0.01)
    cases = {
        "sgd": [{}, dict(momentum=0.9), dict(momentum=0.9, dampening=0.1), dict(momentum=0.9, nesterov=1), decay],
        "adam": [{}, decay, dict(beta1=0.8, beta2=0.95), dict(amsgrad=1), dict(eps=1e-3)],
        "adamw": [{}, dict(weight_decay=0.1), dict(amsgrad=1, **decay), dict(weight_decay=0.0)],
        "rmsprop": [{}, decay, dict(alpha=0.9), dict(centered=1), dict(momentum=0.9), dict(centered=1, momentum=0.8)],
        "adagrad": [{}, decay, dict(lr_decay=0.1), dict(initial_accumulator_value=0.5), dict(eps=1e-3)],
    }
    gen = torch.Generator().manual_seed(0)
    # Gradients from 1 down to 1e-8, so that the place of eps shows, and one that is always zero.
    scale = 10.0 ** -(torch.arange(size) % 9)
    scale[-1] = 0.0
    out = {}

    def run(kind, options, start, grads, group=None):
        """The parameters after each step; a group of its own begins at element 20."""
        make, defaults = kinds[kind]
        options = {key: bool(v) if key in ("nesterov", "amsgrad", "centered") else v for key, v in options.items()}
        if "beta1" in options:
            options["betas"] = (options.pop("beta1"), options.pop("beta2"))
        cut = [start] if group is None else [start[:20], start[20:]]
        params = [torch.nn.Parameter(part.double()) for part in cut]
        groups = [{"params": params[:1]}] + ([{"params": params[1:], **group}] if group else [])
        optimizer = make(groups, **(defaults | options))
        rows = []
        for grad in grads:
            for param, part in zip(params, grad.split([len(part) for part in cut])):
                param.grad = part.double()
            optimizer.step()
            rows.append(torch.cat([param.detach() for param in params]).clone())
        return torch.stack(rows)

    def add(name, kind, options, group=None):
        start = torch.randn(size, generator=gen)
        grads = torch.randn(steps, size, generator=gen) * scale
        expect = run(kind, options, start, grads, group)
        # The options are stored as f32; rounded to seven digits they are what they were.
        for value in [*options.values(), *(group or {}).values()]:
            assert round(torch.tensor(float(value)).item(), 7) == value
        out[f"{name}.param"], out[f"{name}.grads"], out[f"{name}.expect"] = start, grads, expect
        for key, value in ({"lr": kinds[kind][1]["lr"]} | options).items():
            out[f"{name}.option.{key}"] = torch.tensor([float(value)])
        for key, value in (group or {}).items():
            out[f"{name}.group.{key}"] = torch.tensor([float(value)])

    for kind, all_options in cases.items():
        for index, options in enumerate(all_options):
            add(f"{kind}-{index}", kind, options)
    add("adamw-groups", "adamw", dict(weight_decay=0.1), dict(weight_decay=0.0))
    add("sgd-groups", "sgd", dict(momentum=0.9, **decay), dict(lr=0.02))
    add("adagrad-groups", "adagrad", {}, dict(lr=0.3, weight_decay=0.05))

    for i, max_norm in enumerate((1.0, 1000.0)):  # the first clips, the second does not
        grads = torch.randn(101, generator=gen)
        param = torch.nn.Parameter(torch.zeros(101, dtype=torch.float64))
        param.grad = grads.double()
        norm = torch.nn.utils.clip_grad_norm_([param], max_norm)
        assert (norm > max_norm) == (i == 0)
        out[f"clip{i}.grads"], out[f"clip{i}.max_norm"] = grads, torch.tensor([max_norm])
        out[f"clip{i}.expect.norm"], out[f"clip{i}.expect.grads"] = norm.reshape(1), param.grad
    grads = 2 * torch.randn(101, generator=gen)
    param = torch.nn.Parameter(torch.zeros(101, dtype=torch.float64))
    param.grad = grads.double()
    torch.nn.utils.clip_grad_value_([param], 0.5)
    out["clip_value.grads"], out["clip_value.expect.grads"] = grads, param.grad
    save("optimizers", out)


def single_sequences():
    """Cells and layers on a batch and on one sequence without that dimension; gradients of Σ result ⊙ cotangent."""
    torch.manual_seed(5)
    nn, out = torch.nn, {}
    size = {"input_size": 3, "hidden_size": 4}
    two = {**size, "num_layers": 2, "bidirectional": True}
    modules = {
        "rnn_cell": nn.RNNCell(**size),
        "rnn_cell_relu": nn.RNNCell(**size, nonlinearity="relu"),
        "lstm_cell": nn.LSTMCell(**size),
        "gru_cell": nn.GRUCell(**size, bias=False),
        "rnn": nn.RNN(**two),
        "lstm": nn.LSTM(**two, proj_size=2),
        "gru": nn.GRU(**two, batch_first=True),
    }
    for name, module in modules.items():
        module.double()
        with torch.no_grad():
            for param in module.parameters():
                param.copy_(param.float())
        for key, param in module.named_parameters():
            out[f"{name}.param.{key}"] = param
        for case, batch in (("batched", [2]), ("unbatched", [])):
            cell, lstm = name.endswith(("cell", "relu")), name.startswith("lstm")
            steps = [] if cell else [5]
            lead = [*batch, *steps] if name == "gru" else [*steps, *batch]
            rows = [] if cell else [4]
            widths = [2 if name == "lstm" else 4] + ([4] if lstm else [])
            draw = lambda *shape: torch.randn(*shape).double().requires_grad_()
            x, states = draw(*lead, 3), [draw(*rows, *batch, width) for width in widths]
            module.zero_grad()
            results = module(x, tuple(states) if lstm else states[0])
            if cell:
                results = list(results) if lstm else [results]
            else:
                results = [results[0], *(results[1] if lstm else [results[1]])]
            cotangents = [torch.randn(r.shape) for r in results]
            sum((r * c).sum() for r, c in zip(results, cotangents)).backward()
            names = ["h", "c"] if cell else ["output", "h_n", "c_n"]
            key = f"{name}.{case}"
            out[f"{key}.x"], out[f"{key}.expect.grad.x"] = x, x.grad
            for state, tensor in zip(("h0", "c0"), states):
                out[f"{key}.{state}"], out[f"{key}.expect.grad.{state}"] = tensor, tensor.grad
            for result, tensor, cotangent in zip(names, results, cotangents):
                out[f"{key}.expect.{result}"], out[f"{key}.cotangent.{result}"] = tensor, cotangent
            for param_name, param in module.named_parameters():
                out[f"{key}.expect.grad.param.{param_name}"] = param.grad
    save("single_sequences", out)


def state_dict():
    """A model's state dict as `safetensors.torch.save_file` writes it, for the library to load, and what it computes."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)

    torch.manual_seed(6)
    model = Model()
    state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    save("state_dict", state)
    x = torch.randn(5, 2, 3)
    output, (h_n, c_n) = copy.deepcopy(model).double().rnn(x.double())
    results = {"output": output, "h_n": h_n, "c_n": c_n}
    save("state_dict_results", {"x": x} | {f"expect.{key}": tensor for key, tensor in results.items()})


def forecaster():
    """What examples/from_pytorch.rs loads: the state dict of the module in its comment, a batch, and the module's outputs."""

    class Forecaster(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(3, 8, num_layers=2, batch_first=True)
            self.head = torch.nn.Linear(8, 2)

        def forward(self, x):
            output, _ = self.lstm(x)
            return self.head(output)

    torch.manual_seed(7)
    model = Forecaster()
    save("forecaster", {k: v.contiguous().clone() for k, v in model.state_dict().items()})
    x = torch.randn(4, 6, 3)
    save("forecaster_results", {"x": x, "expect.y": copy.deepcopy(model).double()(x.double())})


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}")
    small_experiment("hihello", "hihello")
    small_experiment("charseq", " if you want you")
    longseq()
    losses()
    loss_options()
    schedules()
    optimizers()
    single_sequences()
    state_dict()
    forecaster()
