"""Writing of the page with the mistakes of all pipeline runs of a data set."""

from pathlib import Path

from image_classifier import environment, paths
from image_classifier.config.compose import select_runs
from image_classifier.config.schema import Table
from image_classifier.dataset import load_examples
from image_classifier.error_browser.page import make_page
from image_classifier.files import atomic_write
from image_classifier.track.reader import find_predictions


def write_page(data: str, params: Table, batch_size: int) -> tuple[Path, int, int]:
    """Write the page with the test images that a pipeline run of a data set classifies wrongly.

    Args:
        data: Name of the data set.
        params: Contents of params.yaml.
        batch_size: Images per forward step, see `find_predictions`.

    Returns:
        Path of the page, the number of images that it shows, and the number of images that a run classifies wrongly.

    Raises:
        FileNotFoundError: A run is not trained, or not evaluated.
        InputError: No run is trained on the data set, or a file is damaged or has other test images.
    """
    runs = select_runs(params.runs, data)
    test = load_examples(paths.prepared_data(data), "test")
    probabilities = {run: find_predictions(run, test, params, batch_size)[0] for run in runs}
    with environment.tensorflow_import():
        from image_classifier.evaluate.saved_model import load_model
    models = ((run, load_model(paths.pipeline_run(data, run).model)) for run in runs)
    page, shown, mistakes = make_page(data, test, probabilities, models)
    with atomic_write(paths.error_page(data)) as path:
        path.write_text(page, encoding="utf-8")
    return paths.error_page(data), shown, mistakes
