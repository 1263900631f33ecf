"""Train, compare, track and serve image classifiers; MNIST is the worked example.

Every command and every node of a sweep imports this module before all others.
"""

import os
import signal
import sys
import warnings
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

# Personal settings of libraries would decide results. See also `environment.tensorflow_import`.
os.environ |= {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "false"}
os.environ |= {"MATPLOTLIBRC": os.devnull, "MPLBACKEND": "agg"}  # an empty file: Matplotlib's defaults
for _limit in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
    os.environ.pop(_limit, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def exit_on_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End the process on Ctrl-C at once: unwinding through a callback of TensorFlow corrupts its memory."""
    os.write(2, b"Interrupted. The same command resumes.\n")
    os._exit(130)


# `python -m` sets sys.argv[0] to "-m" until the module is found. Other programs that import the
# library keep their settings.
if Path(sys.argv[0]).name in ("-m", "image-classifier"):
    os.environ.pop("PYTHONWARNINGS", None)
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.simplefilter("ignore")  # a deprecation warning inside a library would end the command
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that does not have every character
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup ignores the signal
        signal.signal(signal.SIGINT, exit_on_interrupt)
