"""One entry point for each stage: parse the command line, one library call, write the outputs."""

import importlib.util
import sys
from pathlib import Path

if not importlib.util.find_spec("hydra"):
    sys.exit("Error: the environment is not active. Type: source .venv/bin/activate (make install creates it)")

# An editable installation points at one tree. DVC also runs stages in copies of the project: each uses its own library.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import image_classifier  # noqa: F401  # first of all: it handles Ctrl-C
