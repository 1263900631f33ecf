"""Promotion: the rules by which a run becomes the champion, and the record of each change of the champion."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from textwrap import indent

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import RegisteredModel

from image_classifier.compare.pair import format_pair
from image_classifier.compare.significance import RunTest, verdict
from image_classifier.config.schema import Compare, Params
from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track import payload
from image_classifier.track.reader import compare_two_runs
from image_classifier.track.registry import (
    CHAMPION,
    FILES_TAG,
    champion_of,
    check_files,
    find_champion,
    find_origin,
    find_registered,
    is_lost,
    record_files,
)
from image_classifier.track.store import RESULT_TAG, Store, has_files
from image_classifier.track.writer import record_result

MOVE_TAG = "promotion."  # prefix of a registered model's tags; the number of a move follows


@dataclass(frozen=True)
class Move:
    """A change of the champion.

    Attributes:
        previous: Version that was the champion before, if any.
        version: Version that is the champion since.
        run: Name of the run of `version`.
        reason: Verdict of the comparison, or reason why it did not decide.
        tests: Tests of the run against the previous champion from `compare_pair`, if they were compared.
        undo: Whether the move takes back another one.
        time: Time in UTC.
        completed: Whether the alias was moved. A killed process leaves a move that is not completed.
    """

    previous: str | None
    version: str
    run: str
    reason: str
    tests: list[RunTest] = field(default_factory=list)
    undo: bool = False
    time: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    completed: bool = False


def promote(result: Result, params: Params, config: Compare, force: str | None = None) -> Move:
    """Make the model of a result the champion of its data set if `find_objection` finds nothing against it.

    The record of an ad hoc run is completed first: a training from the command line logs no MLflow model. The model is
    registered under the name of its data set only when the decision is made. The comparison takes seconds, so it does
    not hold the lock of the store: if another process moves the alias meanwhile, the comparison is repeated with the
    new champion.

    Args:
        result: Result of a pipeline run or an ad hoc run.
        params: Contents of params.yaml.
        config: Configuration of comparisons.
        force: Reason to promote the run in any case.

    Returns:
        The move; its `previous` equals its `version` if the run was the champion already.

    Raises:
        FileNotFoundError: The test images, or a file of the run, are missing.
        InputError: The run is not better than the champion, or cannot be compared with it; the store cannot be reached,
            or does not hold the complete result of a pipeline run with its metrics and model.
    """
    store = Store(result.data)
    model = result.data
    run = result.input.run
    mlflow.set_tracking_uri(store.uri)  # the registry looks there for the logged model
    if not result.is_pipeline_run:
        record_result(store, result, with_model=True)
    while True:
        logged = _find_logged_model(store, result)
        champion = find_champion(store, model)
        lost = champion is not None and is_lost(store, model, champion)
        origin, name = find_origin(store, model, champion) if champion and not lost else ("", "")
        label = f"version {champion} ({name})"
        tests: list[RunTest] = []
        objection = None
        if champion is None:
            reason = "there was no champion to compare with"
        elif lost:
            reason = f"the files of the champion, version {champion}, are lost"
        elif origin == logged.source_run_id:
            reason = "it is the champion already"
            if force is None:
                check_files(store, model, champion)
                return Move(champion, champion, run, reason)
        else:
            reason = "better than the champion"
            tests, objection = _compare_with_champion(run, label, origin, model, params, config, force)
        if objection and force is None:
            raise InputError(f"{run} does not replace {label}: {objection}. {_offer_force(run)}")
        if force is not None:
            reason = f"forced: {force} ({objection or reason})"
        with store.locked():
            if find_champion(store, model) == champion:
                version = _register(store, result, logged, force=force is not None)
                registered = store.client.get_registered_model(model)
                move = Move(champion_of(registered), version, run, reason, tests)
                return _record_move(store, registered, move)


def _find_logged_model(store: Store, result: Result) -> LoggedModel:
    with store.translate_errors():
        run = store.find_complete({RESULT_TAG: result.fingerprint})
        if run is None or not payload.test_metrics(result).items() <= run.data.metrics.items():
            raise _not_recorded(result, "its metrics")
        logged = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run.info.run_id}'")
    complete = [model for model in logged if has_files(model)]
    if not complete:
        raise _not_recorded(result, "its model")
    return complete[0]


def _not_recorded(result: Result, part: str) -> InputError:
    command = f"dvc repro --force --single-item track@{result.input.run}"
    return InputError(f"run={result.input.run} is not in MLflow with {part}. Record it: {command}")


def _register(store: Store, result: Result, logged: LoggedModel, *, force: bool) -> str:
    """Return the version of a logged model, which is registered once, and record the MD5s of its files or check them.

    Args:
        store: Store of the model.
        result: Result of the model.
        logged: The logged model.
        force: Whether MD5s that are recorded already are replaced.
    """
    client = store.client
    model = result.data
    run_id = logged.source_run_id
    if not find_registered(store, model):
        client.create_registered_model(model)
    versions = client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'") or [
        client.create_model_version(
            model,
            f"models:/{logged.model_id}",
            run_id,
            description=payload.format_description(result),
            model_id=logged.model_id,
        )
    ]
    version = str(versions[0].version)
    if FILES_TAG in versions[0].tags and not force:
        check_files(store, model, version)
    else:
        record_files(store, model, version)
    return version


def _compare_with_champion(
    run: str, champion: str, champion_run: str, data: str, params: Params, config: Compare, force: str | None
) -> tuple[list[RunTest], str | None]:
    """Compare a run with the champion, print the comparison, and return its tests and the objection to the run."""
    try:
        tests, _ = compare_two_runs(run, champion_run, data, params, config, second_name=champion)
    except (FileNotFoundError, InputError) as error:
        if force is not None:
            return [], f"not compared: {error}"
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{run} cannot be compared with {champion}. {error} {_offer_force(run)}") from None
    print(_format_evidence(tests), flush=True)  # the reason follows on standard error
    return tests, find_objection(tests, config)


def _offer_force(run: str) -> str:
    return f'To promote it in any case: image-classifier promote {run} --force "REASON"'


def find_objection(tests: list[RunTest], config: Compare) -> str | None:
    """Return the reason why a run does not replace the champion, or None if it does.

    The champion is a single model, so the test on the images has to find the run better. The test over the seeds can
    only object: an advantage on the images is luck if the configuration is worse with other seeds.

    The Brier score judges the probabilities. It is a proper scoring rule, as the log loss is, so it is lowest for the
    true probabilities (Gneiting and Raftery 2007). It is preferred because it is bounded: a single image with a
    confident error cannot decide, and label smoothing, whose probabilities of correct classes are a little below 1,
    raises it by the square of the distance from 1 and not by the distance itself.

    Args:
        tests: Tests of the run against the champion, from `compare_pair`.
        config: Confidence level and calibration margin.
    """
    verdicts = [verdict(test, config.confidence, config.margin) for test in tests]
    score, best = tests[0]["brier_scores"]
    if "worse" in verdicts:
        basis = "on the test images" if verdicts[0] == "worse" else "over the seeds"
        return f"its accuracy is significantly worse {basis}"
    if score - best > config.calibration_margin:
        margin = f"calibration_margin={config.calibration_margin:g} in conf/compare.yaml"
        return f"its Brier score is higher by {score - best:.4f}, which is more than {margin}"
    return None if verdicts[0] == "better" else "its accuracy is not significantly better on the test images"


def _format_evidence(tests: list[RunTest]) -> str:
    runs = zip((tests[0]["first"], tests[0]["second"]), tests[0]["brier_scores"], strict=True)
    scores = ", ".join(f"{run} {score:.4f}" for run, score in runs)
    return f"{format_pair(tests)}\nBrier score, lower is better: {scores}"


def undo(data: str) -> Move:
    """Make the previous champion of a data set the champion again.

    Raises:
        InputError: There is no previous champion, its files are lost or damaged, or the store cannot be reached.
    """
    store = Store(data)
    with store.locked():
        registered = find_registered(store, data)
        champions = past_champions(registered) if registered else []
        if registered is None or len(champions) < 2:
            raise InputError(
                f"{data}@{CHAMPION} has no earlier version to return to. Choose a run: image-classifier promote RUN"
            )
        version, current = champions[-2:]
        check_files(store, data, version)
        _, run = find_origin(store, data, version)
        move = Move(current, version, run, f"undo of version {current}", undo=True)
        return _record_move(store, registered, move)


def _record_move(store: Store, registered: RegisteredModel, move: Move) -> Move:
    """Move the alias and record it, so that the record agrees with the alias wherever the process is killed.

    The move is recorded before the alias moves, and marked as completed afterwards. Each step is one transaction of
    MLflow's database, and the alias is replaced and never removed, so there is always exactly one champion. The move of
    a killed process happened if the alias names its version; otherwise `read_moves` leaves it out. The next move
    completes or deletes its record first.

    Call it in `locked`, which lets one process at a time move the alias. If several machines promote runs on a tracking
    server at once, the last alias remains and all moves are recorded.
    """
    client = store.client
    model = registered.name
    moves = read_moves(registered)
    for key in filter(_is_move, registered.tags):
        if key not in moves:
            client.delete_registered_model_tag(model, key)
        elif not moves[key].completed:
            _write_move(store, model, key, replace(moves[key], completed=True))
    number = int(max(moves, default=f"{MOVE_TAG}0").split(".")[1]) + 1
    key = f"{MOVE_TAG}{number:04}.to_version_{move.version}"
    _write_move(store, model, key, move)
    client.set_registered_model_alias(model, CHAMPION, move.version)
    _write_move(store, model, key, replace(move, completed=True))
    return move


def _write_move(store: Store, model: str, key: str, move: Move) -> None:
    store.client.set_registered_model_tag(model, key, json.dumps(asdict(move)))


def describe_move(data: str, move: Move) -> str:
    """Return a sentence about the champion of a data set after a move."""
    champion = f"version {move.version} ({move.run})"
    if move.previous == move.version:
        return f"{data}@{CHAMPION} is already {champion}."
    before = f"; it was version {move.previous}" if move.previous else ""
    return f"{data}@{CHAMPION} is now {champion}{before}."


def describe_history(data: str) -> str:
    """Return each change of the champion of a data set as text, oldest first.

    Raises:
        InputError: The store cannot be reached, or a record is damaged.
    """
    registered = find_registered(Store(data), data)
    moves = read_moves(registered).values() if registered else ()
    entries = [
        f"{move.time}  version {move.previous or 'none'} -> {move.version} ({move.run}): {move.reason}"
        + (f"\n{indent(_format_evidence(move.tests), '    ')}" if move.tests else "")
        for move in moves
    ]
    return "\n".join(entries) or f"No promotion of {data} is recorded."


def past_champions(registered: RegisteredModel) -> list[str]:
    """Return the versions to which `undo` can return, oldest first, and the champion, which is the last one.

    An undo removes the champion from this list, so another undo returns to a still earlier version. A champion that no
    move made, such as one of an older version of this project or one from MLflow's UI, is in the list as well.
    """
    champions: list[str] = []

    def add(version: str | None) -> None:
        if version is not None and champions[-1:] != [version]:
            champions.append(version)

    for move in read_moves(registered).values():
        add(move.previous)
        if move.undo:
            champions.pop()
        add(move.version)
    add(champion_of(registered))
    return champions


def read_moves(registered: RegisteredModel) -> dict[str, Move]:
    """Return the moves of a registered model by their tags, oldest first, without one that did not happen.

    Raises:
        InputError: A tag is damaged.
    """
    moves = {}
    alias = champion_of(registered)
    for key in sorted(filter(_is_move, registered.tags)):
        try:
            move = Move(**json.loads(registered.tags[key]))
        except (ValueError, TypeError):
            raise InputError(
                f"Tag {key} of MLflow's model {registered.name} is damaged. Delete it in the UI."
            ) from None
        if move.completed or move.version == alias:
            moves[key] = move
    return moves


def _is_move(tag: str) -> bool:
    return tag.startswith(MOVE_TAG)
