"""Measure which settings change the bits of a training, and write benchmarks/determinism.json.

python -m benchmarks.determinism

For each setting, processes train some pipeline runs for a few gradient steps on the first images of MNIST, whose
prepared data must exist. Ends with exit code 1 if a setting changes the bits and the project neither records nor
refuses it. Takes about ten minutes on two idle cores; other work does no harm, because nothing is timed. Linux only.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import measure
from image_classifier import environment, paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.dataset import load_for_training
from image_classifier.entrypoint import exit_on_input_error

TRAININGS = {
    "SGD": ["optimizer=sgd"],
    "Adadelta": ["optimizer=adadelta"],
    "Nadam, mixed_bfloat16": ["optimizer=nadam", "training=fast"],
}
STEPS, BATCH_SIZE, VALIDATION_IMAGES = 15, 32, 20
EMULATED_STEPS, EMULATED_BATCH_SIZE = 2, 8  # where the processor emulates bfloat16, which is slow
WORKERS = 4  # trainings at the same time
PERSONAL = re.compile(
    rf"{environment.RECORDED_VARIABLES.pattern}|{environment.IGNORED_VARIABLES}|KERAS_.*|NPY_.*|GLIBC_TUNABLES"
)
RESULTS = Path(__file__).with_name("determinism.json")


@dataclass(frozen=True)
class Setting:
    """A change of the conditions of a training.

    Attributes:
        name: Markdown text that names the change.
        variables: Environment variables.
        overrides: Values of the configuration, as on the command line.
        keras_json: Values of the user's keras.json.
        one_core: Whether the process may use only one core.
        images: Number of training images; None stands for the number that gives `STEPS` full batches.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    keras_json: dict[str, Any] = field(default_factory=dict)
    one_core: bool = False
    images: int | None = None


def variable(name: str, value: str) -> Setting:
    """Return the setting of an environment variable."""
    return Setting(f"`{name}={value}`", variables={name: value})


def configured(override: str) -> Setting:
    """Return the setting of a value of the configuration."""
    return Setting(f"`{override}`", overrides=[override])


def keras_json(**values: Any) -> Setting:
    """Return the setting of a user's keras.json."""
    return Setting(f"`keras.json` with `{json.dumps(values)}`", keras_json=values)


SETTINGS = (
    Setting("nothing"),
    configured("training.intra_op_threads=1"),
    configured("training.intra_op_threads=4"),
    configured("training.steps_per_execution=1"),
    configured("training.validation_batch_size=10"),
    configured("training.precision=float16"),
    Setting("200 training images", images=200),
    variable("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16"),  # bfloat16 without AMX, where the processor has AMX
    variable("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"),  # bfloat16 is emulated
    variable("ONEDNN_MAX_CPU_ISA", "AVX2"),
    variable("ONEDNN_MAX_CPU_ISA", "SSE41"),
    variable("TF_ENABLE_ONEDNN_OPTS", "0"),
    variable("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
    variable("TF_SET_ONEDNN_FPMATH_MODE", "BF16"),
    variable("TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE", "false"),
    variable("TF_XLA_FLAGS", "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"),
    variable("TF_FUNCTION_JIT_COMPILE_DEFAULT", "1"),
    variable("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
    variable("TF_NUM_INTRAOP_THREADS", "1"),
    variable("TF_NUM_INTEROP_THREADS", "1"),
    variable("TF_DETERMINISTIC_OPS", "1"),
    variable("OMP_NUM_THREADS", "1"),
    variable("NPY_DISABLE_CPU_FEATURES", "AVX2 FMA3"),
    variable("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-FMA"),
    Setting("one core (`taskset`)", one_core=True),
    variable("KERAS_BACKEND", "jax"),
    keras_json(floatx="float16", epsilon=0.001),
    keras_json(floatx="float8"),
)


def main() -> None:
    """Train under each setting in a process of its own, and compare with the first setting."""
    if len(sys.argv) > 1:
        with exit_on_input_error():
            print(json.dumps(train(Setting(**json.loads(sys.argv[1])), sys.argv[2])))
        return
    settings = []
    with ThreadPoolExecutor(WORKERS) as pool:
        cases = [(setting, run) for setting in (SETTINGS[0], *SETTINGS) for run in TRAININGS]
        results = pool.map(train_in_process, *zip(*cases, strict=True))
        baseline = {run: next(results) for run in TRAININGS}
        if any("treatment" in trained for trained in baseline.values()):
            sys.exit("Error: a training failed without any change. The message is above.")
        for setting in SETTINGS:
            settings.append({"name": setting.name, **compare(baseline, {run: next(results) for run in TRAININGS})})
            measure.say(json.dumps(settings[-1]))
    machine = measure.machine_facts("instructions")
    runs = {run: trained["summary"] for run, trained in baseline.items()}
    RESULTS.write_text(json.dumps({"runs": runs, "settings": settings, **machine}, indent=2) + "\n", encoding="utf-8")
    if missed := [one["name"] for one in settings if any(one["changed"].values()) and one["treatment"] != "recorded"]:
        sys.exit(f"Error: these settings change bits, and environment.py does not record them: {', '.join(missed)}")


def train_in_process(setting: Setting, run: str) -> dict[str, Any]:
    """Return the result of `train` in a process with the variables of the setting, or why there is none."""
    own = {name: value for name, value in measure.environment().items() if not PERSONAL.fullmatch(name)}
    command = [sys.executable, "-m", "benchmarks.determinism", json.dumps(asdict(setting)), run]
    with TemporaryDirectory() as keras_home:
        (Path(keras_home) / "keras.json").write_text(json.dumps(setting.keras_json), encoding="utf-8")
        variables = {**own, "KERAS_HOME": keras_home, **setting.variables}
        completed = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if completed.returncode:
        measure.say(completed.stderr)
        last = completed.stderr.strip().rpartition("\n")[2]
        return {"treatment": "refused" if last.startswith("Error: ") else "crashes"}
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result


def train(setting: Setting, run: str) -> dict[str, Any]:
    """Train a run under a setting in this process, as `pipelines.train` does, but on a few images.

    Returns:
        A summary, the digest of the weights, the history, and all recorded facts. `replaced` says whether the project
        has replaced the values of the setting.
    """
    if setting.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    steps = STEPS
    config = resolve(
        Train, compose("train", [*TRAININGS[run], f"batch_size={BATCH_SIZE}", "epochs=1", *setting.overrides])
    )
    if config.training.precision == "mixed_bfloat16" and not environment.has_bfloat16():
        config, steps = config.model_copy(update={"batch_size": EMULATED_BATCH_SIZE}), EMULATED_STEPS
    with environment.tensorflow_import():
        import keras

        from image_classifier.determinism import set_seed_and_threads
        from image_classifier.provenance.differences import training_facts
        from image_classifier.provenance.fingerprint import TrainingInput, training_files
        from image_classifier.train.loop import fit
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer, complete_config, dump_config

    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    training, validation = load_for_training(paths.prepared_data(config.data.name), 0)
    training = training[: setting.images or steps * config.batch_size]
    shape, classes = training.images.shape[1:], len(training.classes)
    model = build_model(config.model.name, config.model.layers, shape, classes, config.training.precision)
    optimizer = build_optimizer(config.optimizer, steps=steps)
    configuration = dump_config(complete_config(config.fingerprint_config(), optimizer))
    files = training_files(config.data.name)
    history = fit(model, optimizer, training, validation[:VALIDATION_IMAGES], config, verbose=0)
    facts = training_facts(TrainingInput(run, "", configuration, files), len(training), None, environment.describe())
    requested = {**setting.variables, **setting.keras_json}
    in_force = {**os.environ, "floatx": keras.config.floatx(), "epsilon": keras.config.epsilon()}
    return {
        "summary": {
            "optimizer": type(optimizer).__name__,
            "precision": config.training.precision,
            "batch_size": config.batch_size,
            "steps": steps,
        },
        "weights": hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest(),
        "history": history.drop(columns="seconds").to_csv(),
        "facts": {name: fact for section in facts.values() for name, fact in section.items()},
        "replaced": bool(requested) and not requested.items() & in_force.items(),
    }


def compare(baseline: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the results of `train_in_process` for all runs under two settings.

    Returns:
        `changed` lists for each run that gave a result the outputs that differ. `treatment` is "recorded", "replaced"
        or "none", or without any result "refused" or "crashes". `facts` lists the recorded facts that differ.
    """
    pairs = {run: (baseline[run], result) for run, result in changed.items() if "treatment" not in result}
    if not pairs:
        return {"changed": {}, "treatment": next(iter(changed.values()))["treatment"], "facts": []}
    facts = {name for a, b in pairs.values() for name in a["facts"] if a["facts"][name] != b["facts"].get(name)}
    replaced = any(result["replaced"] for _, result in pairs.values())
    return {
        "changed": {
            run: [part for part in ("weights", "history") if a[part] != b[part]] for run, (a, b) in pairs.items()
        },
        "treatment": "recorded" if facts else "replaced" if replaced else "none",
        "facts": sorted(facts),
    }


if __name__ == "__main__":
    main()
