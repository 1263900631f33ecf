"""The machine, the library versions, and the import of large libraries."""

import gc
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

from image_classifier.errors import InputError

CPU_INFO = Path("/proc/cpuinfo")  # Linux
GPU_INFO = Path("/proc/driver/nvidia/gpus")  # NVIDIA's driver for Linux
LIBRARIES = ("tensorflow", "keras", "numpy", "h5py", "ml_dtypes")
# Instruction sets for which the libraries have kernels of their own, with the names that Linux gives them
INSTRUCTION_SETS = "fma avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 asimd bf16 i8mm sve"
# RECORDED_VARIABLES change how TensorFlow and its libraries compute. Terraform's variables (TF_VAR_…), which can be
# secret, and log settings also begin with TF_, so only names that continue with one of these words are recorded.
# Libraries set IGNORED_VARIABLES themselves, and they do not change results.
TF_VARIABLES = (
    "AUTO|CONV|CPU|CU|DETERMINISTIC|DISABLE|EAGER|ENABLE|FORCE|FP16|FUNCTION|GPU|JIT|MATMUL|MKL|NUM|ONEDNN|OVERRIDE"
    "|SET_ONEDNN|USE|XLA"
)
IGNORED_VARIABLES = "OMP_NUM_THREADS|KMP_INIT_AT_FORK|KMP_DUPLICATE_LIB_OK"
GPU_VARIABLES = "CUDA_VISIBLE_DEVICES|NVIDIA_TF32_OVERRIDE"
RECORDED_VARIABLES = re.compile(
    rf"(?!({IGNORED_VARIABLES})$)(TF_({TF_VARIABLES})|ONEDNN_|DNNL_|XLA_|OMP_|KMP_|MKL_|{GPU_VARIABLES}).*"
)
# The lines that TensorFlow writes to file descriptor 2 before it reads TF_CPP_MIN_LOG_LEVEL
NOTICES = "^(I0000 00:00:|To enable the following instructions: |WARNING: All log messages before absl::Init)"
UNUSED_LIBRARIES = ("matplotlib", "sklearn")  # optional ones of Keras, whose import takes a fifth of the time
NOTICE_FILTER = ("grep", "--line-buffered", "--text", "--invert-match", "--extended-regexp", NOTICES)


def describe() -> dict[str, str]:
    """Return the facts that may change the last bits of a result or its speed: machine, variables, versions."""
    cpu_info = _cpu_info()
    flags = set(cpu_info.split())
    in_force = {**_gpu_defaults(), **os.environ}
    variables = (f"{name}={value}" for name, value in sorted(in_force.items()) if RECORDED_VARIABLES.fullmatch(name))
    return {
        "processor": _processor(cpu_info),
        "processor_family": _processor_family(cpu_info),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "instructions": " ".join(name for name in INSTRUCTION_SETS.split() if name in flags) or "unknown",
        "variables": " ".join(variables) or "none",
        "gpus": _gpus(),
        **{library: version(library) for library in LIBRARIES},
    }


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16; True where the processor is unknown."""
    info = _cpu_info().split()
    return not info or not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(info)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Import large libraries without garbage collection, which takes about half of the time.

    They create half a million lasting objects, which the collector would search in vain during the import and at exit.
    Matplotlib's own defaults then replace a matplotlibrc in the working directory, which no variable can switch off.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if matplotlib := sys.modules.get("matplotlib"):
            matplotlib.rcdefaults()


@contextmanager
def tensorflow_import() -> Iterator[None]:
    """Import TensorFlow and Keras quickly, without TensorFlow's start-up notices and with Keras' own defaults.

    A filter process forwards all other lines of file descriptor 2 at once, also when this process crashes. On a machine
    with an NVIDIA GPU, TensorFlow uses deterministic operations only, unless TF_DETERMINISTIC_OPS has a value.

    Raises:
        InputError: Keras cannot use the user's keras.json, not even to replace its values.
    """
    if "keras" in sys.modules:
        yield
        return
    os.environ.update({**_gpu_defaults(), **os.environ})
    with gc_paused(), _notices_dropped():
        _import_keras()
        yield
    logging.getLogger("absl").addFilter(lambda record: "as an HDF5 file" not in record.getMessage())


def _import_keras() -> None:
    """Import Keras, and replace the user's settings of keras.json, which would decide results, by the defaults."""
    try:
        with _unused_libraries_hidden():
            import keras
    except ValueError as error:
        folder = os.environ.get("KERAS_HOME", "~/.keras")
        raise InputError(f"{folder}/keras.json: {error} Correct or remove this file.") from None
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


@contextmanager
def _unused_libraries_hidden() -> Iterator[None]:
    """Let Keras do without the optional libraries; they can be imported after the block."""
    hidden = [name for name in UNUSED_LIBRARIES if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # Python's documented mark of such a module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _notices_dropped() -> Iterator[None]:
    try:
        stderr = os.dup(2)
        # Ctrl-C does not reach a session of its own.
        notice_filter = subprocess.Popen(NOTICE_FILTER, stdin=subprocess.PIPE, stdout=stderr, start_new_session=True)
    except OSError:  # standard error is closed, or no process can be started: nothing is dropped
        yield
        return
    with cast(IO[bytes], notice_filter.stdin) as pipe:
        os.dup2(pipe.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with suppress(subprocess.TimeoutExpired):  # a process that was started in the block can keep the pipe open
            notice_filter.wait(timeout=1)


def _cpu_info() -> str:
    return CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""


def _processor(cpu_info: str) -> str:
    return f"{_cpu_entry(cpu_info, 'model name') or platform.processor()}, {platform.machine()}"


def _processor_family(cpu_info: str) -> str:
    """Return the family and model numbers, which virtual machines show even where they mask the name."""
    family, model = (_cpu_entry(cpu_info, name) for name in ("cpu family", "model"))
    return f"{family}.{model}" if family and model else "unknown"


def _cpu_entry(cpu_info: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*: *(.*\S)", cpu_info, re.MULTILINE)
    return found[1] if found else None


def _gpu_defaults() -> dict[str, str]:
    """Return the variables that the project sets on a machine with an NVIDIA GPU, unless the user has set them."""
    return {"TF_DETERMINISTIC_OPS": "1"} if _gpus() != "none" else {}


def _gpus() -> str:
    texts = [file.read_text(encoding="utf-8") for file in sorted(GPU_INFO.glob("*/information"))]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("Model:")]
    return ", ".join(line.partition(":")[2].strip() for line in lines) or "none"
