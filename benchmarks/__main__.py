"""Run the benchmarks and write docs/performance.md: make bench. Takes forty minutes on two cores, which should be idle.

Others have command lines of their own: python -m benchmarks.sweep (sweeps), benchmarks.tracking (large stores),
benchmarks.turn (the time around one training), and benchmarks.determinism (settings that change bits).
"""

import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import run, say
from image_classifier import environment, paths

PARTS = ("training", "scaling")
DISCUSSION = Path(__file__).with_name("discussion.md")


def main() -> None:
    changed = run(["git", "status", "--porcelain"]).strip()
    if changed:
        sys.exit(f"Error: benchmarks run in clones of the last commit. Commit these changes first:\n{changed}")
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
        "# Performance\n\n`make bench` writes this page. Times are medians, followed by the minimum, the maximum and "
        f"the number of repetitions (n). Conditions: commit {commit}, {datetime.now(UTC):%Y-%m-%d}; {described}."
    )
    paths.PERFORMANCE.write_text(
        "\n\n".join([header, *parts, DISCUSSION.read_text(encoding="utf-8").strip()]) + "\n", encoding="utf-8"
    )
    run(["cog", "-r", "-P", "-I", "docs", "-p", "import tables", str(paths.PERFORMANCE)])  # from benchmarks/turn.json
    say(f"Wrote {paths.PERFORMANCE.relative_to(paths.ROOT)}")


if __name__ == "__main__":
    main()
