"""One entry point for each stage: parse the command line, one library call, write the outputs."""

import os
import sys
from pathlib import Path

# An editable installation points at one tree. DVC also runs stages in copies of the project: each uses its own library.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
