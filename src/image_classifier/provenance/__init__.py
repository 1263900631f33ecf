"""Origin of a result: fingerprints, git revision, run metadata, dvc.lock and its history, verification."""
