"""Writing of the page with the mistakes of all pipeline runs of a data set."""

from image_classifier import environment, paths
from image_classifier.config.compose import load_data
from image_classifier.config.lookup import select_runs
from image_classifier.config.schema import Params
from image_classifier.dataset import load_examples
from image_classifier.error_browser.page import make_page
from image_classifier.files import write_text
from image_classifier.prepare.picture_names import read_picture_names
from image_classifier.track.exports import log_error_page
from image_classifier.track.reader import find_predictions


def write_page(data: str, params: Params, batch_size: int) -> str:
    """Write the page with the test images that a pipeline run of a data set classifies wrongly, and log it to MLflow.

    Args:
        data: Name of the data set.
        params: Contents of params.yaml.
        batch_size: Images per forward step, see `find_predictions`.

    Returns:
        A sentence about the page and a sentence about the MLflow runs that have it.

    Raises:
        FileNotFoundError: A run is not trained, or not evaluated.
        InputError: No run is trained on the data set, a file is damaged or has other test images, or MLflow cannot be
            reached.
    """
    runs = select_runs(params.runs, data)
    test = load_examples(paths.prepared_data(data), "test")
    probabilities = {run: find_predictions(run, test, params, batch_size)[0] for run in runs}
    with environment.tensorflow_import():
        from image_classifier.evaluate.saved_model import load_model
        from image_classifier.serve.export import to_float32
    models = ((run, to_float32(load_model(paths.pipeline_run(data, run).model))) for run in runs)
    names = read_picture_names(load_data(data))["test"]
    page, shown, mistakes = make_page(data, test, probabilities, models, names)
    file = paths.error_page(data)
    write_text(file, page)
    part = f"{mistakes:,} test images" if shown == mistakes else f"{shown:,} of {mistakes:,} test images"
    written = f"Wrote {file.relative_to(paths.ROOT)} with {part} that a run classifies wrongly. Open it in a browser."
    logged = ", ".join(log_error_page(runs, params, file))
    return f"{written}\n" + (f"Logged to the MLflow runs of {logged}." if logged else "MLflow has none of the runs.")
