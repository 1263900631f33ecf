"""The machine, the library versions, and the import of large libraries."""

import gc
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

CPU_INFO = Path("/proc/cpuinfo")  # Linux
# The lines that TensorFlow writes to file descriptor 2 before it reads TF_CPP_MIN_LOG_LEVEL
NOTICES = "^(I0000 00:00:|To enable the following instructions: |WARNING: All log messages before absl::Init)"
NOTICE_FILTER = ("grep", "--line-buffered", "--text", "--invert-match", "--extended-regexp", NOTICES)


def describe() -> dict[str, str]:
    """Return the facts that may change the last bits of a result or its speed: processor, system and versions."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{library: version(library) for library in ("tensorflow", "keras", "numpy")},
    }


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16; True where the processor is unknown."""
    if not CPU_INFO.exists():
        return True
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(CPU_INFO.read_text().split())


@contextmanager
def gc_paused() -> Iterator[None]:
    """Import large libraries without garbage collection, which takes about half of the time.

    They create half a million lasting objects, which the collector would search in vain during the import and at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def tensorflow_import() -> Iterator[None]:
    """Import TensorFlow and Keras quickly and without TensorFlow's start-up notices.

    A filter process forwards all other lines of file descriptor 2 at once, also when this process crashes.
    """
    if "keras" in sys.modules:
        yield
        return
    with gc_paused(), _notices_dropped():
        yield
    logging.getLogger("absl").addFilter(lambda record: "as an HDF5 file" not in record.getMessage())


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


def _processor() -> str:
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {platform.machine()}"
