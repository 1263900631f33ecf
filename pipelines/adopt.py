"""Make the winner of a sweep a documented run."""

from mnist_cnn import configuration, paths, schema
from pipelines.command import command, heavy_imports


# In Hydra's grammar sweep=… would choose a file of conf/sweep/, and ten digits without quotes would be a number.
@command("adopt", schema.Adopt, {r"^sweep=(.*)$": r"sweep_id='\1'"})
def main(config: schema.Adopt) -> None:
    configuration.load_table(paths.PARAMS)
    with heavy_imports():
        from mnist_cnn import adoption
        from mnist_cnn.tracking import sweeps
        from mnist_cnn.tracking.store import Store

    winner = sweeps.winner(Store(config.tracking.experiment), config.sweep_id)
    origin = f"Won sweep {config.sweep_id} with {winner.accuracy:.2%} of the held-out images."
    adopted = adoption.adopt(winner.configuration, config.name, origin, paths.CONF)
    table = adoption.add_row(paths.PARAMS.read_text(), config.name, adopted.row)

    if adopted.optimizer:
        with paths.replacing(paths.CONF / "optimizer" / f"{config.name}.yaml") as path:
            path.write_text(adopted.optimizer)
        print(f"Wrote conf/optimizer/{config.name}.yaml")
    with paths.replacing(paths.PARAMS) as path:
        path.write_text(table)
    print(f"Wrote the row {config.name} of params.yaml. Train, evaluate and record it: dvc repro")


if __name__ == "__main__":
    main()
