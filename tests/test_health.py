from mnist_cnn.health import Ailment, of_pipeline


def test_a_pipeline_without_changes_is_well() -> None:
    assert list(of_pipeline({})) == []


def test_a_changed_dependency_is_named() -> None:
    status = {"train@sgd_32": [{"changed deps": {"conf/optimizer/sgd.yaml": "modified"}}]}
    expected = Ailment("train@sgd_32 is not as dvc.lock has it: conf/optimizer/sgd.yaml modified.", "dvc repro")
    assert list(of_pipeline(status)) == [expected]


def test_a_changed_row_of_params_is_named() -> None:
    status = {"train@sgd_32": [{"changed deps": {"params.yaml": {"runs.sgd_32": "modified"}}}]}
    (ailment,) = of_pipeline(status)
    assert "params.yaml: runs.sgd_32 modified" in ailment.symptom


def test_a_lost_output_is_reported_once_not_again_by_the_stages_that_read_it() -> None:
    status = {
        "train@sgd_32": [{"changed outs": {"runs/sgd_32/model.h5": "deleted"}}],
        "evaluate@sgd_32": [{"changed deps": {"runs/sgd_32/model.h5": "deleted"}}],
    }
    expected = Ailment("train@sgd_32 is not as dvc.lock has it: runs/sgd_32/model.h5 deleted.", "dvc repro")
    assert list(of_pipeline(status)) == [expected]


def test_another_command_is_named() -> None:
    (ailment,) = of_pipeline({"compare": ["changed command"]})
    assert ailment.symptom == "compare is not as dvc.lock has it: another command."


def test_an_output_that_is_in_no_cache_is_committed_not_made_again() -> None:
    (ailment,) = of_pipeline({"train@sgd_32": [{"changed outs": {"runs/sgd_32/model.h5": "not in cache"}}]})
    assert ailment == Ailment("train@sgd_32: runs/sgd_32/model.h5 not in DVC's cache.", "dvc commit train@sgd_32")
