"""The machine and the library versions that a result came from."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, str]:
    """Return what may change the last bits of a result or its speed: processor, system, and versions."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{library: version(library) for library in ("tensorflow", "keras", "numpy")},
    }


def has_bfloat16() -> bool:
    """Tell whether the processor has instructions for bfloat16; true where nothing says that it has not."""
    description = Path("/proc/cpuinfo")  # Linux
    if not description.exists():
        return True
    flags = description.read_text().split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def _processor() -> str:
    description = Path("/proc/cpuinfo")  # Linux; `platform` names only the architecture there
    lines = description.read_text().splitlines() if description.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {platform.machine()}"
