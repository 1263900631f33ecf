"""What MLflow shows, whatever happens to the pipeline, the cache, the tracker or the machine."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from project import ENVIRONMENT, RUNS, query, recorded, replace, run
from servers import free_port, running

KILLS = 20
STAGES = ("fetch", "prepare", "diagram", "train", "evaluate", "compare", "track")
PYTHON = (sys.executable, "-m")


def contents(project: Path) -> dict[str, dict[str, Any]]:
    """Return what MLflow holds of each documented result: parameters, metrics, hashes."""
    results = dict(query(project, "SELECT run_uuid, value FROM tags WHERE key = 'result'"))
    held: dict[str, dict[str, Any]] = {result: {} for result in results.values()}
    for table, kept in (("params", "1"), ("metrics", "key NOT LIKE 'system/%'"), ("tags", "key LIKE 'dvc.%'")):
        step = "step" if table == "metrics" else "0"
        for run_id, key, at, value in query(project, f"SELECT run_uuid, key, {step}, value FROM {table} WHERE {kept}"):
            if run_id in results:
                held[results[run_id]][f"{table}.{key}.{at}"] = value
    return {result: values for result, values in held.items() if "tags.dvc.stage.0" in values}


def test_a_deleted_store_is_filled_with_the_same_runs_without_training(project: Path) -> None:
    before = contents(project)
    (project / "mlflow.db").rename(project / "mlflow.db.before")
    planned = run(project, *PYTHON, "pipelines.sync", "--dry-run")
    assert not recorded(project)
    printed = run(project, *PYTHON, "pipelines.sync")
    assert "Epoch" not in printed
    after = contents(project)
    assert len(after) == planned.count("Would record") == printed.count("Recorded ") >= len(RUNS)
    assert after == {result: before[result] for result in after}
    assert "MLflow lacks 0 of them." in run(project, *PYTHON, "pipelines.sync")


def test_a_fresh_clone_that_makes_what_dvc_lock_has_already_records_it(finished: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(finished, "git", "clone", "--quiet", str(finished), str(clone))
    run(clone, "dvc", "repro")
    assert run(clone, "git", "status", "--porcelain") == ""
    statuses = [(name, status) for name, status, _ in recorded(clone)]
    assert sorted(statuses) == sorted((name, "FINISHED") for name in RUNS)


def test_a_fresh_clone_has_the_same_runs_after_dvc_pull_and_sync(finished: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(finished, "dvc", "remote", "add", "--default", "--local", "team", str(tmp_path / "remote"))
    run(finished, "dvc", "push")
    run(finished, "git", "clone", "--quiet", str(finished), str(clone))
    assert "Warning: sgd_32 of the workspace is in no cache or remote." in run(clone, *PYTHON, "pipelines.sync")
    assert not recorded(clone)
    run(clone, "dvc", "remote", "add", "--default", "--local", "team", str(tmp_path / "remote"))
    run(clone, "dvc", "pull")
    run(clone, *PYTHON, "pipelines.sync")
    pulled, original = contents(clone), contents(finished)
    assert len(pulled) == len(RUNS)
    for result, values in pulled.items():
        times = {key for key in original[result] if "seconds" in key or "per_second" in key}
        assert values == {key: value for key, value in original[result].items() if key not in times}


def test_an_unreachable_tracker_stops_no_training_and_the_next_repro_records_it(project: Path) -> None:
    before = recorded(project)
    replace(project / "conf/training/default.yaml", "seed: 42", "seed: 43")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENT, "MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        printed = run(project, "dvc", "repro", fails=True)
    for name in RUNS:
        assert f"Wrote runs/{name}/" in printed
    assert printed.count("The training is not affected.") == len(RUNS)
    assert "Running stage 'compare'" in printed
    assert "Error: MLflow at http://127.0.0.1:9: " in printed
    assert recorded(project) == before
    assert "Epoch 1/" not in run(project, "dvc", "repro")
    new = [row for row in recorded(project) if row not in before]
    assert sorted((name, status) for name, status, _ in new) == sorted((name, "FINISHED") for name in RUNS)


def test_a_run_by_hand_is_recorded_and_stays_out_of_dvc(finished: Path) -> None:
    before = recorded(finished)
    train = (*PYTHON, "pipelines.train", "optimizer=adam", "batch_size=50", "epochs=1", "run=mine")
    assert "Wrote outputs/mine/" in run(finished, *train)
    assert {file.name for file in (finished / "outputs" / "mine").iterdir()} == {
        "config.yaml",
        "history.csv",
        "model.h5",
    }
    ((name, status, _),) = [row for row in recorded(finished) if row not in before]
    assert (name, status) == ("mine", "FINISHED")
    assert "Data and pipelines are up to date." in run(finished, "dvc", "repro")


def test_an_interrupted_training_leaves_nothing_but_a_run_that_is_marked_as_killed(finished: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored, and children inherit it
    with subprocess.Popen(
        [*PYTHON, "pipelines.train", "epochs=30", "run=interrupted"],
        cwd=finished,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("Epoch 2/"))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "Interrupted. The same command starts it again."
    assert not (finished / "outputs" / "interrupted").exists()
    assert [status for name, status, _ in recorded(finished) if name == "interrupted"] == ["KILLED"]


def test_the_promoted_model_answers_over_http_as_the_pipeline_predicted(finished: Path) -> None:
    missing = run(finished, *PYTHON, "pipelines.serve", fails=True)
    assert missing == "Error: There is no mnist-cnn@champion yet. Choose a run: python -m pipelines.promote run=…\n"
    promoted = run(finished, *PYTHON, "pipelines.promote", "run=adadelta_128")
    assert promoted == "mnist-cnn@champion is version 1 now (adadelta_128)\n"
    with np.load(finished / "data/prepared/mnist.npz") as arrays:
        images = arrays["test_images"][:20].astype(np.float32) / 255
    with np.load(finished / "runs/adadelta_128/predictions.npz") as arrays:
        expected = arrays["probabilities"][:20]

    port = free_port()

    def post(inputs: object) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": inputs}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    serve = [*PYTHON, "pipelines.serve", f"port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(serve, f"http://127.0.0.1:{port}/ping", cwd=finished, env=ENVIRONMENT, **quiet):
        status, answer = post(images.tolist())
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], expected, atol=1e-5)
        for malformed in ([[0.0] * 784], images[:, :14].tolist(), "seven", None):
            status, answer = post(malformed)
            assert status == 400
            assert answer["message"]


def test_twenty_kills_at_random_moments_of_all_stages_leave_exactly_one_complete_run_of_each(
    finished: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "tmp"))

    def forget() -> None:
        for made in ("runs", ".dvc/cache/runs", "executions"):
            shutil.rmtree(project / made, ignore_errors=True)
        (project / "dvc.lock").unlink(missing_ok=True)

    forget()
    moments, killed = random.Random(0), 0
    for _ in range(3 * KILLS):
        if killed == KILLS:
            break
        with subprocess.Popen(
            ["dvc", "repro"],
            cwd=project,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            begins = f"Running stage '{STAGES[killed % len(STAGES)]}"
            begun = any(line.startswith(begins) for line in process.stdout)
            if begun:
                time.sleep(moments.uniform(0, 3))
            alive = begun and process.poll() is None
            if alive:
                os.killpg(process.pid, signal.SIGKILL)
        if alive:
            killed += 1
        else:
            forget()  # this stage was done before
    assert killed == KILLS
    status = subprocess.run(
        ["dvc", "status"], cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if "dvc.lock" in status.stdout + status.stderr:  # DVC was killed while it wrote it; the README has the remedy
        run(project, "git", "checkout", "dvc.lock")
    run(project, "dvc", "repro")
    statuses = sorted((name, status) for name, status, _ in recorded(project))
    assert statuses == sorted((name, "FINISHED") for name in RUNS)
    uninterrupted = contents(finished)
    complete = contents(project)
    assert len(complete) == len(RUNS)
    for result, values in complete.items():
        exact = {key: value for key, value in values.items() if "second" not in key}
        assert exact == {key: value for key, value in uninterrupted[result].items() if "second" not in key}
