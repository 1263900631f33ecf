"""Origin of a result: fingerprints, git revision, run metadata, dvc.lock and its history, verification."""

import os

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # a missing git is an error of the command that needs it
