"""Record in MLflow what DVC holds."""

from mnist_cnn import schema
from pipelines.command import command, heavy_imports


@command("sync", schema.Sync, {"^--dry-run$": "dry_run=true"})
def main(config: schema.Sync) -> None:
    with heavy_imports():
        from mnist_cnn import results
        from mnist_cnn.tracking.record import missing, record
        from mnist_cnn.tracking.store import Store

    store = Store(config.tracking.experiment)
    held = results.held()
    lacking = missing(store, held)
    print(f"DVC holds {len(held)} results, MLflow lacks {len(lacking)} of them.")
    for result in lacking:
        if config.dry_run:
            print(f"Would record {result}")
            continue
        try:
            with results.restored(result) as files:
                print(f"Recorded {result} as MLflow run {record(store, files).run_id}")
        except results.NotHeldError as error:
            print(f"Warning: {error}")


if __name__ == "__main__":
    main()
