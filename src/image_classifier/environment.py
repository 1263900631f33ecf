"""The machine, the library versions, and the import of large libraries."""

import gc
import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

CPU_INFO = Path("/proc/cpuinfo")  # Linux
NOTICES = (b"I0000 00:00:", b"To enable the following instructions: ", b"WARNING: All log messages before absl::Init")
NOTICE_FILTER = f"""
import sys
for line in sys.stdin.buffer:
    if not line.startswith({NOTICES}):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


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

    TensorFlow writes these lines to file descriptor 2 before it reads TF_CPP_MIN_LOG_LEVEL. A filter process forwards
    all other lines at once, also when this process crashes.
    """
    if "keras" in sys.modules:
        yield
        return
    with gc_paused(), _notices_dropped():
        yield
    logging.getLogger("absl").addFilter(lambda record: "as an HDF5 file" not in record.getMessage())


@contextmanager
def _notices_dropped() -> Iterator[None]:
    with ExitStack() as cleanup:  # runs in reverse order
        with suppress(OSError):  # standard error is closed, or no process can be started: nothing is dropped
            stderr = os.dup(2)
            cleanup.callback(os.close, stderr)
            reader = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", NOTICE_FILTER],
                stdin=subprocess.PIPE,
                stdout=stderr,
                start_new_session=True,  # Ctrl-C does not reach it
            )
            # A process that was started in the block can keep the pipe open: wait for a second at most.
            waiter = threading.Thread(target=reader.wait, daemon=True)
            cleanup.callback(waiter.join, timeout=1)
            cleanup.callback(waiter.start)
            cleanup.callback(os.dup2, stderr, 2)
            with cast(IO[bytes], reader.stdin) as pipe:
                os.dup2(pipe.fileno(), 2)
        yield


def _processor() -> str:
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {platform.machine()}"
