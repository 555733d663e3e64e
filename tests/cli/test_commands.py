"""What the commands do, in real processes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinygen.training.metrics import read_metrics

Command = Callable[..., subprocess.CompletedProcess[str]]


def trace(run: Path) -> list[dict[str, Any]]:
    return read_metrics(run / "metrics.jsonl")


def done(result: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


# ---- train


def test_a_run_folder_holds_what_the_contract_says(trained: Path) -> None:
    names = ["checkpoints", "command.txt", "config.json", "environment.json", "metrics.jsonl"]
    assert sorted(path.name for path in trained.iterdir()) == names
    config = json.loads((trained / "config.json").read_text())
    assert (config["family"], config["model"]["width"]) == ("gpt", 16)
    environment = json.loads((trained / "environment.json").read_text())
    assert len(environment["corpus"]["sha256"]) == 64
    assert [line["step"] for line in trace(trained)] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in trace(trained) if "val_loss" in line] == [3, 6]
    checkpoint = trained / "checkpoints" / "step-000006"
    names = ["model.safetensors", "optimizer.safetensors", "state.json"]
    assert sorted(path.name for path in checkpoint.iterdir()) == names


def test_the_printed_command_reproduces_the_run(
    tinygen: Command, trained: Path, tmp_path: Path
) -> None:
    words = (trained / "command.txt").read_text().split()
    done(tinygen(*words[1:], "--out", "again"))
    assert trace(tmp_path / "again") == trace(trained)
    assert (tmp_path / "again" / "command.txt").read_text().split() == words


def test_a_runs_own_config_reproduces_it_too(
    tinygen: Command, trained: Path, tmp_path: Path
) -> None:
    done(tinygen("train", "gpt", "--config", str(trained / "config.json"), "--out", "again"))
    assert trace(tmp_path / "again") == trace(trained)


def test_a_longer_run_continues_where_the_shorter_one_ended(
    tinygen: Command, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    done(tinygen("train", "--resume", "run", "--steps", "8"))
    assert trace(tmp_path / "run")[:6] == trace(trained)
    assert [line["step"] for line in trace(tmp_path / "run")] == list(range(1, 9))
    again = tinygen("train", "--resume", "run")
    assert "has all its 8 steps" in again.stderr
    done(again)
    for line in (tmp_path / "run" / "command.txt").read_text().splitlines():
        done(tinygen(*shlex.split(line)[1:]))
    assert trace(tmp_path / "again") == trace(tmp_path / "run")


def test_a_run_on_its_own_folder_resumes_and_only_there(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    done(tinygen("train", "gpt", "--data", ".", *tiny, "--out", "run"))
    done(tinygen("train", "--resume", "run", "--steps", "7"))
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"source": "."', '"source": "moved.txt"'))
    elsewhere = tinygen("train", "--resume", "run", "--steps", "8")
    assert elsewhere.returncode == 3
    assert "no data 'moved.txt'" in elsewhere.stderr
    assert "paths of the run run count from the folder in which it was started" in elsewhere.stderr


def test_a_budget_becomes_steps_in_the_reproducing_command(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    options = [option for option in tiny if option not in ("--steps", "6")]
    result = tinygen("train", "gpt", "--data", "text.txt", *options, "--budget", "0.2s", "--json")
    record = json.loads(done(result))
    words = record["command"].split()
    steps = int(words[words.index("--steps") + 1])
    assert steps >= 1
    assert trace(tmp_path / record["run"])[-1]["step"] == steps
    assert "--budget" not in words


def test_settings_come_from_preset_then_file_then_command_line(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    (tmp_path / "f.toml").write_text("[optimizer]\nlr = 0.5\nweight_decay = 0.25\n")
    arguments = ["train", "gpt", "--config", "f.toml", "--data", "text.txt", "--lr", "0.01"]
    done(tinygen(*arguments, *tiny, "--out", "run"))
    optimizer = json.loads((tmp_path / "run" / "config.json").read_text())["optimizer"]
    assert (optimizer["lr"], optimizer["weight_decay"]) == (0.01, 0.25)
    assert optimizer["betas"] == [0.9, 0.99]


def test_divergence_exits_5_and_debug_names_the_op(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    arguments = ["train", "gpt", "--data", "text.txt", *tiny, "--optimizer.warmup", "0"]
    result = tinygen(*arguments, "--lr", "1e30", "--steps", "50", "--out", "run", "--debug")
    assert result.returncode == 5
    last = result.stderr.splitlines()[-1]
    assert "became nan at step" in last or "became inf at step" in last
    assert "the first op that produced a value that is not finite" in last
    before = tinygen("--debug", *arguments, "--lr", "1e30", "--steps", "50", "--out", "run-2")
    assert before.stderr.splitlines()[-1] == last.replace("run/", "run-2/")


def test_an_update_that_overflows_never_reaches_a_checkpoint(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    extreme = ["--lr", "1e10", "--optimizer.weight-decay", "1e30", "--optimizer.warmup", "0"]
    arguments = ["--data", "text.txt", *tiny, "--save-every", "1", *extreme, "--out", "run"]
    result = tinygen("train", "gpt", *arguments, "--debug")
    assert result.returncode == 5
    assert "no longer finite after step 1" in result.stderr
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    last = result.stderr.splitlines()[-1]
    assert "AdamW made a parameter that is not finite, at recipes/optimisation.py:" in last


# ---- sample, eval


def test_samples_depend_on_the_seed_alone(tinygen: Command, trained: Path) -> None:
    arguments = ["sample", str(trained), "--prompt", "The ", "--tokens", "12"]
    two = done(tinygen(*arguments, "-n", "2", "--seed", "7"))
    assert done(tinygen(*arguments, "-n", "2", "--seed", "7")) == two
    assert done(tinygen(*arguments, "--seed", "7", "--stream")) in two
    assert done(tinygen(*arguments, "-n", "2", "--seed", "8")) != two
    fresh = tinygen(*arguments, "--json")
    result = json.loads(done(fresh))
    assert f"seed {result['seed']}" in fresh.stderr
    assert result["samples"][0].startswith("The ")
    assert len(result["samples"][0]) == 16
    again = done(tinygen(*arguments, "--seed", str(result["seed"])))
    assert again == result["samples"][0] + "\n"


def test_a_sample_may_go_on_beyond_the_block_and_start_from_nothing(
    tinygen: Command, trained: Path
) -> None:
    result = json.loads(done(tinygen("sample", str(trained), "--tokens", "40", "--json")))
    assert len(result["samples"][0]) == 40
    long_prompt = "The quick brown fox jumps"
    arguments = ["sample", str(trained), "--prompt", long_prompt, "--temperature", "0"]
    greedy = [done(tinygen(*arguments, "--tokens", "9", "--seed", seed)) for seed in "12"]
    assert greedy[0] == greedy[1]
    assert greedy[0].startswith(long_prompt)


def test_samples_go_to_a_new_file_whole(tinygen: Command, trained: Path, tmp_path: Path) -> None:
    arguments = ["sample", str(trained), "--tokens", "5", "--seed", "1"]
    printed = done(tinygen(*arguments))
    assert done(tinygen(*arguments, "--out", "sample.txt")) == ""
    assert (tmp_path / "sample.txt").read_text(encoding="utf-8") == printed


def test_a_reader_that_leaves_early_is_no_error(trained: Path, tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m tinygen sample "{trained}" -n 50 --tokens 50 --stream'
    project = Path(__file__).parents[2]
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -c 20"],
        cwd=project,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0
    assert len(result.stdout) == 20
    assert b"Error" not in result.stderr
    assert b"Exception" not in result.stderr


def test_eval_gives_the_loss_that_training_logged(tinygen: Command, trained: Path) -> None:
    logged = trace(trained)[-1]["val_loss"]
    result = json.loads(done(tinygen("eval", str(trained), "--step", "6", "--json")))
    assert (result["step"], result["val_loss"]) == (6, logged)
    assert result["bigram"] > 0
    assert f"{logged:.4f}" in done(tinygen("eval", str(trained), "--step", "6"))


# ---- data, doctor, and the frame


def test_data_lists_what_train_takes(tinygen: Command) -> None:
    rows = {row["name"]: row for row in json.loads(done(tinygen("data", "list", "--json")))}
    assert {"docs", "stdlib", "tinyshakespeare", "digits", "mnist"} <= rows.keys()
    assert (rows["docs"]["kind"], rows["digits"]["kind"]) == ("text", "images")
    assert rows["docs"]["bytes"] > 100_000


def test_doctor_tells_the_environment(tinygen: Command) -> None:
    result = json.loads(done(tinygen("doctor", "--json")))
    assert result["findings"] == []
    assert result["packages"].keys() == {"safetensors", "rich", "Pillow", "threadpoolctl"}
    assert set(result["devices"]) == {"cpu", "sim", "cuda:0"}
    assert "linear_forward" in result["devices"]["sim"] or "plain ops" in result["devices"]["sim"]
    assert "all is well" in done(tinygen("doctor"))


def test_version_and_help_are_answers(tinygen: Command) -> None:
    assert done(tinygen("--version")).startswith("tinygen ")
    assert "demo" in done(tinygen())
    assert done(tinygen("--help")) == done(tinygen())
    assert "--model.n-layer" in done(tinygen("train", "--help"))


@pytest.mark.deep
def test_the_demo_meets_all_its_gates(tinygen: Command, tmp_path: Path) -> None:
    result = json.loads(done(tinygen("demo", "--json", timeout=600)))
    assert all(gate["met"] for gate in result["gates"])
    assert (tmp_path / "runs" / "demo" / "index.html").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_gpt_with_dropout_resumes_to_the_same_bits(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    options = [*tiny, "--model.dropout", "0.2", "--steps", "120"]
    arguments = ["train", "gpt", "--data", "text.txt", *options, "--out"]
    done(tinygen(*arguments, "straight"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tinygen", *arguments, "killed"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "killed" / "metrics.jsonl"
    while not (log.exists() and len(read_metrics(log)) >= 20):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert len(trace(tmp_path / "killed")) < 120
    done(tinygen("train", "--resume", "killed"))
    assert trace(tmp_path / "killed") == trace(tmp_path / "straight")
