"""Do a recorded training again, and compare."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from mnist_cnn import paths, schema
from mnist_cnn.errors import InputError
from pipelines.command import command, heavy_imports


@command("verify", schema.Verify, {f"^({schema.RUN_ID})$": r"run_id='\1'"})
def main(config: schema.Verify) -> None:
    with heavy_imports():
        from mnist_cnn import results, verification
        from mnist_cnn.tracking import recorded
        from mnist_cnn.tracking.store import Store

    record = recorded.read(Store(config.tracking.experiment), config.run_id)
    committed = results.commit_of(record.identity)  # the one that was checked out may be the one before
    commit = committed or record.commit
    if commit is None:
        raise InputError(f"MLflow run {config.run_id} ({record.run}) was trained outside a git repository.")
    print(f"{record.run} of commit {commit[:10]}: {record.command}", flush=True)
    if not committed and record.uncommitted != "nothing":
        print(f"Not committed when it was trained: {record.uncommitted}", flush=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the folder has to go
    try:
        with results.checked_out(commit) as root:
            files = _train_again(root, record.command, record.run)
            verdict = verification.compare(record, root, files, config.tolerance)
    except KeyboardInterrupt:
        sys.exit(130)
    print(verdict)
    sys.exit(not verdict.verified)


def _train_again(root: Path, typed: str, run: str) -> paths.RunFiles:
    """Make the data and train, in a copy of the project that keeps everything to itself."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
    train = [*shlex.split(typed)[1:], f"run={run}"]  # without a name it would get another one
    for command_line in (["-m", "pipelines.fetch"], ["-m", "pipelines.prepare"], train):
        done = subprocess.run([sys.executable, *command_line], cwd=root, env=own, check=False)
        if done.returncode:
            raise InputError(f"exit code {done.returncode} of {shlex.join(['python', *command_line])}")
    return paths.trained_in(root, run)


if __name__ == "__main__":
    main()
