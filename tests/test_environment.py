import signal
import subprocess
import sys
from pathlib import Path

import pytest

from image_classifier import environment


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
    monkeypatch.setattr(Path, "read_text", lambda _path: described)
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
