"""Stage evaluate: metrics and plots of one run."""
