"""Real servers for tests, on loopback, in temporary folders."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

SECONDS_TO_START = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], ready_url: str | None = None, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, and wait until its URL responds."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:  # type: ignore[call-overload]
        try:
            if ready_url:
                wait_for(ready_url, process)
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended already
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{url} does not respond"
            time.sleep(0.2)


@contextmanager
def serving(application: FastAPI) -> Iterator[int]:
    """Serve an application in a thread, and yield its port."""
    served = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            served.should_exit = True
            thread.join()


@contextmanager
def mlflow_server(store: str, artifacts: Path) -> Iterator[str]:
    """Run an MLflow tracking server and yield its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    listen = ["--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", "1"]
    places = ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its workers are as large as the server
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # no processes for jobs that no test starts
    command = [sys.executable, "-m", "mlflow", "server", *places, *listen]
    with running(command, f"{url}/health", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield url


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server with an empty database and yield its URL; skip the test where it is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # PostgreSQL refuses to run as root. Debian's package creates a user for it.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        data, port = f"{folder}/data", free_port()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        subprocess.run([*as_user, initdb, "-D", data, "-U", "test", "--auth", "trust"], check=True, **quiet)  # type: ignore[call-overload]
        server = [str(Path(initdb).with_name("postgres")), "-D", data, "-k", folder, "-p", str(port)]
        with running([*as_user, *server, "-c", "listen_addresses=127.0.0.1"], **quiet) as process:  # type: ignore[arg-type]
            deadline = time.monotonic() + SECONDS_TO_START
            while not is_listening(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"postgresql+psycopg2://test@127.0.0.1:{port}/postgres"
