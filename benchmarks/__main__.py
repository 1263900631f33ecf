"""Run the benchmarks behind docs/performance.md: make bench.

Takes about forty minutes on two cores, which should be idle. Other pages use further benchmarks, which have command
lines of their own; docs/contributing.md lists them.
"""

import subprocess
import sys

from benchmarks import scaling, training
from benchmarks.measure import run


def main() -> None:
    changed = run(["git", "status", "--porcelain"]).strip()
    if changed:
        sys.exit(f"Error: benchmarks run in clones of the last commit. Commit these changes first:\n{changed}")
    training.main()
    scaling.main()
    subprocess.run(["make", "numbers"], check=True)


if __name__ == "__main__":
    main()
