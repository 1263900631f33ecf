"""Run the benchmarks and write docs/benchmarks.md: make bench. Takes forty minutes on two cores, which should be idle.

The benchmarks of sweeps and of large MLflow stores run by themselves: python -m benchmarks.sweep, .tracking.
"""

import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from benchmarks.measure import run, say
from mnist_cnn import environment, paths

PARTS = ("training", "scaling")


def main() -> None:
    changed = run(["git", "status", "--porcelain"]).strip()
    if changed:
        sys.exit(f"Error: benchmarks run in clones, which would not have these changes. Commit them:\n{changed}")
    commit = run(["git", "rev-parse", "--short=10", "HEAD"]).strip()
    machine = environment.describe()
    try:
        machine["torch"] = version("torch")
    except PackageNotFoundError:
        machine["torch"] = "not installed"
    described = ", ".join(f"{name}: {value}" for name, value in machine.items())
    run(["dvc", "repro", "prepare"])
    parts = []
    for part in PARTS:
        say(f"benchmarks.{part}")
        parts.append(run([sys.executable, "-m", f"benchmarks.{part}"], stderr=None).strip())
    header = (
        "# Benchmarks\n\nWritten by `make bench`. Times are medians, with the least, the greatest and the number of "
        f"repetitions.\n\nCommit {commit}, {datetime.now(UTC):%Y-%m-%d}. {described}."
    )
    paths.BENCHMARKS.write_text("\n\n".join([header, *parts]) + "\n")
    say(f"Wrote {paths.BENCHMARKS.relative_to(paths.ROOT)}")


if __name__ == "__main__":
    main()
