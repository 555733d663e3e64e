"""Every convolution of a DCGAN and a U-Net, three passes each: tinygen against PyTorch eager.

    python benchmarks/conv_layers.py [--model dcgan|unet] [--layer NAME] [--rounds 7] [--json FILE]

The DCGAN has 32x32 images, batch 64, 64 filters; the U-Net 32x32 images, batch 32, 64 channels.
Time is the CPU time of one thread, median over interleaved blocks, and each ratio is tinygen's time
by PyTorch's, in its default layout (NCHW) and in channels_last. The last line of a model weighs its
layers by how often a training step runs each pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

import tinygen as tg
from tinygen.backend.geometry import Geometry
from tinygen.ops.convolution import Conv2d, Conv2dWeightGradient, ConvTranspose2d

PASSES = ("forward", "input gradient", "weight gradient")


@dataclass(frozen=True)
class Layer:
    """x (batch, side, side, inputs) -> outputs channels; `runs` of each pass in a training step."""

    name: str
    batch: int
    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    runs: tuple[int, int, int]
    transposed: bool = False


def dcgan(batch: int = 64, width: int = 64, latent: int = 100) -> list[Layer]:
    """A step: D on real and on fake images, forward and backward; then G through D. The gradients
    of D's weights in G's step are not counted: nobody needs them."""
    w, G, D = width, (1, 1, 1), (3, 3, 2)
    return [
        Layer("G 1", batch, 1, latent, 4 * w, 4, 1, 0, (1, 0, 1), transposed=True),
        Layer("G 2", batch, 4, 4 * w, 2 * w, 4, 2, 1, G, transposed=True),
        Layer("G 3", batch, 8, 2 * w, w, 4, 2, 1, G, transposed=True),
        Layer("G 4", batch, 16, w, 3, 4, 2, 1, G, transposed=True),
        Layer("D 1", batch, 32, 3, w, 4, 2, 1, (3, 1, 2)),
        Layer("D 2", batch, 16, w, 2 * w, 4, 2, 1, D),
        Layer("D 3", batch, 8, 2 * w, 4 * w, 4, 2, 1, D),
        Layer("D 4", batch, 4, 4 * w, 1, 4, 1, 0, D),
    ]


def unet(batch: int = 32, width: int = 64) -> list[Layer]:
    c = width

    def layer(
        name: str, side: int, inputs: int, outputs: int, k: int = 3, s: int = 1, times: int = 1
    ) -> Layer:
        return Layer(name, batch, side, inputs, outputs, k, s, k // 2, (times,) * 3)

    return [
        Layer("in", batch, 32, 3, c, 3, 1, 1, (1, 0, 1)),
        layer("64 @ 32", 32, c, c, times=3),
        layer("down 32", 32, c, c, s=2),
        layer("64-128 @ 16", 16, c, 2 * c),
        layer("128 @ 16", 16, 2 * c, 2 * c, times=2),
        layer("skip 64-128", 16, c, 2 * c, k=1),
        layer("down 16", 16, 2 * c, 2 * c, s=2),
        layer("128 @ 8", 8, 2 * c, 2 * c, times=2),
        layer("256-128 @ 16", 16, 4 * c, 2 * c),
        layer("skip 256-128", 16, 4 * c, 2 * c, k=1),
        layer("192-64 @ 32", 32, 3 * c, c),
        layer("skip 192-64", 32, 3 * c, c, k=1),
        layer("out", 32, c, 3),
    ]


MODELS = {"dcgan": dcgan, "unet": unet}


def candidates(layer: Layer) -> dict[str, dict[str, Callable[[], Any]]]:
    """By pass and by candidate, a function that runs the pass once on the same numbers."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    N, H, k, s, p = layer.batch, layer.side, layer.kernel, layer.stride, layer.padding
    ends, transposed = (layer.inputs, layer.outputs), int(layer.transposed)
    x = normal(N, H, H, ends[0])
    weight = normal(ends[1 - transposed], k, k, ends[transposed]) / np.float32(k * ends[0] ** 0.5)
    geometry = Geometry((s, s), (p, p), (1, 1), 1)
    resize = geometry.sides_before if transposed else geometry.sides_after
    size = resize((H, H), (k, k))
    g = normal(N, *size, ends[1])
    forward, back = (ConvTranspose2d, Conv2d) if transposed else (Conv2d, ConvTranspose2d)
    image, grad = (g, x) if transposed else (x, g)
    options = {"geometry": geometry}
    runs: dict[str, dict[str, Callable[[], Any]]] = {
        "forward": {"tinygen": lambda: forward.apply(x, weight, None, size=size, **options)},
        "input gradient": {"tinygen": lambda: back.apply(g, weight, None, size=(H, H), **options)},
        "weight gradient": {
            "tinygen": lambda: Conv2dWeightGradient.apply(image, grad, size=(k, k), **options)
        },
    }
    for name, memory_format in (
        ("NCHW", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        tx, tw, tg_ = (
            torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
            for a in (x, weight, g)
        )

        def torch_forward(tx: Any = tx, tw: Any = tw) -> Any:
            with torch.no_grad():
                convolve = F.conv_transpose2d if transposed else F.conv2d
                return convolve(tx, tw, stride=s, padding=p)

        def torch_backward(mask: list[bool], tx: Any = tx, tw: Any = tw, tg_: Any = tg_) -> Any:
            return torch.ops.aten.convolution_backward(
                tg_, tx, tw, None, [s, s], [p, p], [1, 1], bool(transposed), [0, 0], 1, mask
            )

        runs["forward"][name] = torch_forward
        runs["input gradient"][name] = lambda f=torch_backward: f([True, False, False])[0]
        runs["weight gradient"][name] = lambda f=torch_backward: f([False, True, False])[1]
    return runs


def agree(runs: dict[str, Callable[[], Any]]) -> float:
    """The largest difference of tinygen from PyTorch, relative to the largest element."""
    ours, theirs = runs["tinygen"](), runs["NCHW"]().permute(0, 2, 3, 1).numpy()
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def measure(runs: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, float]:
    """Milliseconds of CPU time a call, median of blocks that take turns."""
    blocks: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for number in range(rounds):
        for name in runs if number % 2 == 0 else reversed(runs):
            calls, started = 0, time.process_time()
            while calls < 2 or time.process_time() - started < seconds:
                runs[name]()
                calls += 1
            blocks[name].append((time.process_time() - started) / calls * 1e3)
    return {name: statistics.median(times) for name, times in blocks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--layer", help="only layers whose name contains this")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threadpool_limits(1)  # NumPy's, to the end of the process
    torch.set_num_threads(1)
    tg.tune_allocator()
    record = []
    for model in options.model or MODELS:
        layers = [one for one in MODELS[model]() if (options.layer or "") in one.name]
        if not layers:
            continue
        print(f"{model:14} {'pass':16} {'runs':>4} {'ms':>8} {'/ NCHW':>7} {'/ c_last':>8}  error")
        totals = dict.fromkeys(("tinygen", "NCHW", "channels_last"), 0.0)
        for layer in layers:
            for (name, runs), times in zip(candidates(layer).items(), layer.runs, strict=True):
                if not times:
                    continue
                error = agree(runs)
                if not error < 1e-4:
                    raise SystemExit(f"{layer.name}, {name}: off by {error:.1e}")
                found = measure(runs, options.rounds, options.seconds)
                ratios = [found["tinygen"] / found[rival] for rival in ("NCHW", "channels_last")]
                print(
                    f"{layer.name:14} {name:16} {times:4} {found['tinygen']:8.2f} {ratios[0]:7.2f} "
                    f"{ratios[1]:8.2f}  {error:.0e}",
                    flush=True,
                )
                record.append({"model": model, "layer": layer.name, "pass": name, **found})
                for candidate, ms in found.items():
                    totals[candidate] += times * ms
        ratios = [totals["tinygen"] / totals[rival] for rival in ("NCHW", "channels_last")]
        print(f"{model + ' step':36} {totals['tinygen']:8.2f} {ratios[0]:7.2f} {ratios[1]:8.2f}\n")
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
