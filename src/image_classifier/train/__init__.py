"""Stage train: every module that decides the weights of a run."""
