"""Search a data set for duplicates, unusual pictures and classes out of balance."""

from image_classifier import environment, paths
from image_classifier.config.lookup import check_prepared_data
from image_classifier.config.schema import Audit
from image_classifier.dataset import load_examples
from image_classifier.entrypoint import entrypoint
from image_classifier.files import write_figure, write_text


@entrypoint("audit", Audit)
def main(config: Audit) -> str:
    with environment.gc_paused():
        from image_classifier.audit.findings import audit_dataset, format_page
        from image_classifier.audit.pictures import Pictures
        from image_classifier.audit.plots import plot_findings
        from image_classifier.prepare.picture_names import read_picture_names

    name = config.data.name
    check_prepared_data(config.data)
    training, test = (load_examples(paths.prepared_data(name), part) for part in ("train", "test"))
    names = read_picture_names(config.data)
    findings = audit_dataset(Pictures(training, test, [*names["train"], *names["test"]]), config)
    write_text(paths.audit(name, "md"), format_page(name, findings, config))
    write_figure(paths.audit(name, "png"), plot_findings(name, findings))
    page = paths.audit(name, "md").relative_to(paths.ROOT)
    return f"{page}: {len(findings.pairs):,} copies or near copies, {findings.count_unusual():,} unusual pictures"


if __name__ == "__main__":
    main()
