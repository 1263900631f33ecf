"""Stage compare: tests between runs, seeds, the published logs, and the report."""
