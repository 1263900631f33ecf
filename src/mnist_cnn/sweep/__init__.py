"""Sweeps: what is tried, in which order, and where. With pipelines.trial all that knows Ray and Optuna."""

import os

# Read when Ray is imported or started.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its next default; the present one warns
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # MLflow keeps the record
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # else it prints tables of its own


def stay_on_this_machine() -> None:
    """Let Ray listen on 127.0.0.1 only; call it before Ray is imported."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its name on Linux, too
