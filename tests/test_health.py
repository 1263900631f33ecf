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


def test_a_folder_of_lost_outputs_is_not_reported_again() -> None:
    status = {
        "train@sgd_32": [{"changed outs": {"runs/sgd_32/model.h5": "deleted"}}],
        "compare": [{"changed deps": {"runs": "modified"}}],
    }
    assert len(list(of_pipeline(status))) == 1


def test_an_output_that_is_in_no_cache_may_be_in_a_remote() -> None:
    (ailment,) = of_pipeline({"train@sgd_32": [{"changed outs": {"runs/sgd_32/model.h5": "not in cache"}}]})
    assert ailment.remedy == "dvc pull, or dvc repro"
