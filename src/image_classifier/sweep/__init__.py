"""Sweeps and replicates: trial choice, scheduling and execution. The only package that knows Ray and Optuna."""

import os

# Ray reads these when it is imported or started.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's next default; the present one warns
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # MLflow holds the record
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output ignores `verbose=0`


def bind_to_localhost() -> None:
    """Let Ray listen on 127.0.0.1 only. Call it before Ray is imported."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray reads this name on Linux as well
