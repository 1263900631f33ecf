"""Say what disagrees, and how to mend it."""

import sys
from collections.abc import Iterator

from mnist_cnn import configuration, health, paths, schema
from mnist_cnn.errors import InputError
from mnist_cnn.health import Ailment
from pipelines.command import command, heavy_imports


@command("doctor", schema.Doctor)
def main(config: schema.Doctor) -> None:
    well = True
    for ailment in _examine(config):
        print(f"{ailment.symptom}\n    {ailment.remedy}", flush=True)
        well = False
    if not well:
        sys.exit(1)
    print("conf/, params.yaml, dvc.lock, the files and MLflow agree.")


def _examine(config: schema.Doctor) -> Iterator[Ailment]:
    try:
        table = configuration.check(paths.PARAMS, paths.CONF)
    except InputError as error:
        yield Ailment(str(error), "Then: python -m pipelines.doctor")
        return  # DVC and MLflow follow from it
    for leftover in paths.runs_beside(table):
        yield Ailment(f"{leftover}/ is not a row of params.yaml.", f"rm -r {leftover}")

    with heavy_imports():
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        from mnist_cnn import replicates, results
        from mnist_cnn.tracking import store
        from mnist_cnn.tracking.record import missing

    try:
        status = Repo(str(paths.ROOT)).status()
    except DvcException as error:
        yield Ailment(f"DVC: {' '.join(str(error).split())}", "Then: python -m pipelines.doctor")
        return
    yield from health.of_pipeline(status)
    trained = [run for run in table if paths.documented_run(run).configuration.exists()]
    known = replicates.read(paths.REPLICATES)
    for run, recipe in (results.recipes(trained) if paths.PREPARED_DATA.exists() else {}).items():
        if set(known["recipe"][known["run"] == run]) - {recipe}:
            yield Ailment(
                f"reports/replicates.csv has seeds of what {run} was before.",
                f"python -m pipelines.replicate run={run}",
            )
    held = [result for result in results.held() if result.newest is None]
    lacking = missing(store.Store(config.tracking.experiment), held) if store.exists() else held
    for result in lacking:
        yield Ailment(f"MLflow lacks {result}.", "python -m pipelines.sync")


if __name__ == "__main__":
    main()
