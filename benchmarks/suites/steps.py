"""Training steps and decoding against PyTorch eager and HIPS autograd, where these are installed.

tinygen bench run benchmarks/suites/steps.py --out steps.json
"""

from tinygen.measure import Benchmark


def _step(file: str, *rivals: str, tolerance: float = 1e-4) -> Benchmark:
    """A benchmark of `benchmarks/<file>_candidates.py`."""
    builders = {"tinygen": "tinygen_step"} | {
        name.removesuffix("_step").replace("_", " "): name for name in rivals
    }
    where = f"../{file}_candidates.py"
    contenders = {title: f"{where}:{builder}" for title, builder in builders.items()}
    return Benchmark(file.removesuffix("_step"), contenders, tolerance)


BENCHMARKS = [
    _step("gpt_step", "torch_step", "hips_step"),
    _step("vae_step", "torch_fused_step", "torch_default_step"),
    # Adam begins with lr sign(g), and rounding decides the sign of the smallest gradients.
    _step("dcgan_step", "torch_step", "torch_channels_last_step", tolerance=5e-3),
    _step("unet_step", "torch_step"),
    _step("decoding", "torch_step"),
]
