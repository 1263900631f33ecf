"""Benchmarks; `make bench` writes docs/performance.md with them."""

import pipelines  # noqa: F401  # uses the library of this tree, as the stages do
