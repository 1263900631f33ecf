"""Benchmarks; `make bench` writes docs/performance.md with them."""

import signal

import pipelines  # noqa: F401  # uses the library of this tree, as the stages do

signal.signal(signal.SIGINT, signal.default_int_handler)  # removes temporary folders, unlike the handler of the stages
