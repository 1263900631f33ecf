"""Evaluate a run, and draw its plots."""

from image_classifier import environment, paths
from image_classifier.config.compose import load_data, load_params
from image_classifier.config.lookup import check_prepared_data, find_run_files, read_data_name
from image_classifier.config.schema import Evaluate
from image_classifier.dataset import load_examples
from image_classifier.entrypoint import entrypoint
from image_classifier.files import write_arrays, write_figure, write_json
from image_classifier.provenance.result import check_training_data, read_result


@entrypoint("evaluate", Evaluate)
def main(config: Evaluate) -> str:
    table = load_params().runs
    files = find_run_files(config.run, table)
    if config.run not in table:
        check_training_data(read_result(config.run))
    data = read_data_name(files)
    check_prepared_data(load_data(data))
    test = load_examples(paths.prepared_data(data), "test")
    with environment.tensorflow_import():
        from image_classifier.evaluate.run import evaluate_run
    metrics, probabilities, calibration, figures = evaluate_run(files, test, config)
    write_json(files.metrics, metrics)
    write_json(files.calibration, calibration)
    write_arrays(files.predictions, probabilities=probabilities, labels=test.labels)
    for name, figure in figures.items():
        write_figure(files.plot(name), figure)
    return f"{config.run} has {metrics['test_accuracy']:.2%} test accuracy, loss {metrics['test_loss']:.4f}"


if __name__ == "__main__":
    main()
