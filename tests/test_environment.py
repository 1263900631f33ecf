import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from image_classifier import environment, paths


@pytest.mark.parametrize(
    ("described", "has_it"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sha_ni\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f\n", False),
    ],
)
def test_instructions_for_bfloat16_are_found_in_cpuinfo(
    monkeypatch: pytest.MonkeyPatch, described: str, has_it: bool
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    monkeypatch.setattr(Path, "read_text", lambda _path, encoding: described)  # noqa: ARG005
    assert environment.has_bfloat16() is has_it


def test_an_unknown_processor_is_assumed_to_have_instructions_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    assert environment.has_bfloat16()


def test_a_crash_while_tensorflow_is_imported_loses_its_notices_and_no_other_line() -> None:
    program = """
import os
from image_classifier.environment import tensorflow_import
with tensorflow_import():
    os.write(2, b"I0000 00:00:1.2 a notice\\nlast words\\n")
    os.abort()
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == -signal.SIGABRT
    assert completed.stderr == "last words\n"


def test_variables_that_change_the_computation_are_recorded_without_logs_and_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if environment.RECORDED_VARIABLES.fullmatch(name)]:
        monkeypatch.delenv(name)
    assert environment.describe()["variables"] == "none"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("TF_SET_ONEDNN_FPMATH_MODE", "BF16")
    monkeypatch.setenv("TF_FUNCTION_JIT_COMPILE_DEFAULT", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("TF_VAR_password", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment.describe()["variables"].split() == [
        "CUDA_VISIBLE_DEVICES=-1",
        "ONEDNN_MAX_CPU_ISA=AVX2",
        "TF_ENABLE_ONEDNN_OPTS=0",
        "TF_FUNCTION_JIT_COMPILE_DEFAULT=1",
        "TF_SET_ONEDNN_FPMATH_MODE=BF16",
    ]


def test_instruction_sets_that_have_kernels_are_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: a\nflags\t\t: fpu avx512f avx2 amx_bf16 sha_ni\n")
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "cpuinfo")
    assert environment.describe()["instructions"] == "avx2 avx512f amx_bf16"


def test_the_family_and_model_of_the_processor_are_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\ncpu family\t: 25\n")
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "cpuinfo")
    described = environment.describe()
    assert described["processor"].startswith("AMD EPYC, ")
    assert described["processor_family"] == "25.1"
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "absent")
    assert environment.describe()["processor_family"] == "unknown"


def test_the_models_of_nvidia_gpus_are_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "GPU_INFO", tmp_path)
    assert environment.describe()["gpus"] == "none"
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / address).mkdir()
        (tmp_path / address / "information").write_text("Model: \t\t NVIDIA L4\nIRQ:   \t\t 90\n")
    assert environment.describe()["gpus"] == "NVIDIA L4, NVIDIA L4"


def run_at_home(home: Path, program: str, **variables: str) -> str:
    """Return the output of a program in a process with a home folder of its own, or its error."""
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return completed.stdout or completed.stderr


def test_a_gpu_switches_deterministic_operations_on(tmp_path: Path) -> None:
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus/0000:01:00.0/information").write_text("Model: \t\t NVIDIA L4\n")
    program = f"""
import os
from pathlib import Path
from image_classifier import environment
environment.GPU_INFO = Path({str(tmp_path / "gpus")!r})
with environment.tensorflow_import():
    print(os.environ["TF_DETERMINISTIC_OPS"])
"""
    assert run_at_home(tmp_path, program).strip() == "1"


KERAS = """
from image_classifier.environment import tensorflow_import
with tensorflow_import():
    from keras import config
print(config.floatx(), config.epsilon(), config.image_data_format(), config.backend(), config.max_epochs())
"""


def test_a_personal_keras_json_and_variables_of_keras_do_not_decide_results(tmp_path: Path) -> None:
    settings = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(json.dumps(settings))
    variables = {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1"}
    assert run_at_home(tmp_path, KERAS, **variables) == "float32 1e-07 channels_last tensorflow None\n"


def test_a_keras_json_that_keras_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text('{"floatx": "float8"}')
    assert "InputError: ~/.keras/keras.json: Invalid `floatx` configuration." in run_at_home(tmp_path, KERAS)


MATPLOTLIB = """
from image_classifier.environment import gc_paused
with gc_paused():
    from matplotlib import rcParams
print(rcParams['text.usetex'])
"""


@pytest.mark.parametrize("folder", [".", ".config/matplotlib"])
def test_a_matplotlibrc_does_not_decide_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT / "src"))
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "matplotlibrc").write_text("text.usetex: True\n")
    assert run_at_home(tmp_path, MATPLOTLIB, MPLBACKEND="nonsense") == "False\n"


def test_libraries_that_are_hidden_from_keras_can_be_imported_afterwards(tmp_path: Path) -> None:
    program = (
        f"{KERAS}\nimport sys\nprint('sklearn' in sys.modules)\nimport matplotlib, sklearn\nprint(sklearn.__name__)"
    )
    assert run_at_home(tmp_path, program).splitlines()[1:] == ["False", "sklearn"]
