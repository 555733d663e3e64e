"""`sample` and `eval` of models that make arrays: files of every kind, refusals, and figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygen.cli.main import main

SMALL = ["--batch", "8", "--steps", "3", "--eval-every", "3", "--save-every", "3"]
SMALL += ["--data.eval-images", "60", "--log-every", "1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of each family of arrays. Tests only read them."""
    folder = tmp_path_factory.mktemp("runs")
    kinds = {
        "vae": ["vae", "--model.hidden", "8"],
        "vqvae": ["vqvae", "--model.channels", "8", "--prior.width", "8"],
        "gan": ["gan", "--preset", "ring", "--model.hidden", "8"],
        "diffusion": ["diffusion", "--model.width", "16", "--model.depth", "1"],
    }
    for name, options in kinds.items():
        assert main(["train", *options, *SMALL, "--out", str(folder / name)]) == 0
    return folder


def sampled(runs: Path, out: Path, *options: str) -> int:
    return main(["sample", str(runs), "--seed", "5", "--out", str(out), *options])


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "npz"])
@pytest.mark.parametrize("name", ["vae", "vqvae", "gan", "diffusion"])
def test_samples_are_written_as_the_name_says(
    runs: Path, name: str, suffix: str, tmp_path: Path
) -> None:
    out = tmp_path / f"samples.{suffix}"
    steps = ["--steps", "4"] if name == "diffusion" else []
    assert sampled(runs / name, out, "-n", "6", *steps) == 0
    if suffix == "npz":
        samples = np.load(out, allow_pickle=False)["samples"]
        assert samples.shape == ((6, 2) if name == "gan" else (6, 8, 8, 1))
        return
    with Image.open(out) as picture:
        size, frames = picture.size, getattr(picture, "n_frames", 1)
    if name != "gan":
        assert size == (3 * (8 * 8 + 1) + 1, 2 * (8 * 8 + 1) + 1)
    if name == "diffusion" and suffix != "png":
        assert 1 < frames <= 4  # equal ones are written once
    else:
        assert frames == 1


def test_the_same_seed_gives_the_same_samples_and_more_keep_the_first(
    runs: Path, tmp_path: Path
) -> None:
    for name, n in (("a", "4"), ("b", "4"), ("c", "7")):
        assert sampled(runs / "vae", tmp_path / f"{name}.npz", "-n", n) == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz")["samples"] for name in "abc")
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, c[:4], atol=1e-6)


def test_without_out_a_new_file_in_the_run_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["sample", str(runs / "gan"), "--seed", "9", "-n", "50", "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert Path(first["path"]).is_file()
    assert first["path"] != second["path"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--stream"], 2, "--stream is for text"),
        (["--out", "a.tiff"], 2, "samples are written as .png"),
        (["--temperature", "1"], 2, "unknown option --temperature"),
        (["--label", "3"], 2, "without classes"),
        (["-n", "0"], 2, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", str(runs / "vae"), *options]) == code
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["vae", "vqvae", "gan", "diffusion"])
def test_eval_says_the_criterion_its_baseline_and_the_measures(
    runs: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(runs / name), "--samples", "120", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(np.isfinite(v) for v in found.values() if isinstance(v, float))
    expected = {
        "vae": {"val_loss", "nll", "bits_per_dimension", "frechet", "frechet_ceiling", "copies"},
        "vqvae": {"val_loss", "reconstruction_error", "code_bits", "codes_in_use", "frechet_floor"},
        "gan": {"energy_distance", "modes", "on_mode", "log_density"},
        "diffusion": {"val_loss", "frechet", "frechet_floor", "class_accuracy", "precision"},
    }
    assert expected[name] <= found.keys()
    assert main(["eval", str(runs / name), "--samples", "120"]) == 0
    out = capsys.readouterr().out
    assert "step 3:" in out
    assert ("finding: mode collapse: " in out) == (name == "gan")  # three steps are too few
    assert bool(found["findings"]) == (name == "gan")
    assert main(["eval", str(runs / name), "--samples", "3"]) == 2


def test_eval_draws_as_sample_would(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def judged(*options: str) -> float:
        assert main(["eval", str(runs / "diffusion"), "--samples", "120", "--json", *options]) == 0
        found: float = json.loads(capsys.readouterr().out)["frechet"]
        return found

    plain = judged()
    assert judged("--guidance", "1", "--steps", "20", "--sampler", "heun") == plain
    assert judged("--guidance", "3") != plain
    assert judged("--steps", "4") != plain
    for options, sentence in [
        (["--label", "3"], "unknown option --label"),
        (["--mean", "true"], "unknown option --mean"),
        (["--guidance", "-1"], "--guidance must be at least 0"),
        (["--samples", "20"], "--samples must be at least 100"),
    ]:
        assert main(["eval", str(runs / "diffusion"), *options]) == 2
        assert sentence in capsys.readouterr().err


def test_help_of_a_family_has_its_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vae", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--objective.free-bits" in text
    assert "--model.block-size" not in text
    assert main(["train", "gan", "--help"]) == 0
    assert "--objective.r1" in capsys.readouterr().out
