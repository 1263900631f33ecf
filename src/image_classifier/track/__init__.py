"""Recording of results in MLflow: the only package that knows MLflow."""

import os

# MLflow reads these when it is imported. A server that is down is reported in seconds, not after minutes of retries.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.pop("MLFLOW_REGISTRY_URI", None)  # models are registered in the tracking store
# A server on this machine is reached directly, although a proxy variable is set.
direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
if direct != "*" and "127.0.0.1" not in direct:
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, [direct, "127.0.0.1,localhost"]))
