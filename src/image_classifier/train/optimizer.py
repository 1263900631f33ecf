"""The optimizer, made from conf/optimizer/, and the values that Keras adds to it."""

from typing import Any

import keras
import yaml
from hydra.errors import HydraException
from hydra.utils import instantiate

from image_classifier.errors import InputError
from image_classifier.train.model import keras_reason

DEFAULT_STEPS = 100  # length of a training for optimizers that are built to read their defaults


def build_optimizer(config: dict[str, Any], steps: int = DEFAULT_STEPS) -> keras.optimizers.Optimizer:
    """Build a Keras optimizer.

    Args:
        config: Optimizer in Hydra's form: `_target_` and arguments. The learning rate is a number or a schedule in the
            same form, where "15%" stands for that share of the training's gradient steps.
        steps: Gradient steps of the training: epochs times batches in an epoch.

    Raises:
        InputError: Keras does not have the class or refuses its arguments.
    """
    rate = config["learning_rate"]
    rate = (
        {key: _absolute_steps(value, steps) for key, value in rate.items()} if isinstance(rate, dict) else float(rate)
    )
    try:
        return instantiate({**config, "learning_rate": rate}, _convert_="all")
    except (HydraException, TypeError, ValueError) as error:
        raise InputError(f"Keras refuses optimizer {config}: {keras_reason(error)}") from error


def _absolute_steps(value: Any, steps: int) -> Any:
    is_share = isinstance(value, str) and value.endswith("%")
    return round(float(value.removesuffix("%")) / 100 * steps) if is_share else value


def complete_config(config: dict[str, Any], optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Add the arguments of the optimizer that Keras chose to a configuration.

    Args:
        config: Values that decide a training, from `Train.fingerprint_config`; `optimizer` is in Hydra's form.
        optimizer: Optimizer that was built from it.

    Returns:
        The values that decide the result, with every argument of the optimizer. Written arguments keep their values.
        `library_defaults` lists the arguments that decide the result and were chosen by Keras, whose next version may
        choose others. Arguments that are switched off (None, False, an average that is not used) are not listed.
    """
    written = config["optimizer"]
    complete = _merge(written, optimizer.get_config())
    return {**config, "optimizer": complete, "library_defaults": _added(complete, written, "optimizer.")}


def dump_config(complete: dict[str, Any]) -> str:
    """Return the text of a config.yaml."""
    return yaml.safe_dump(complete, sort_keys=True)


def _merge(written: dict[str, Any], keras_config: dict[str, Any]) -> dict[str, Any]:
    merged = {"_target_": written["_target_"]}
    for key, value in keras_config.items():
        if isinstance(value, dict) and isinstance(written.get(key), dict):  # a schedule in Keras' form
            merged[key] = _merge(written[key], value["config"])
        elif key != "name":
            merged[key] = written.get(key, value)
            if isinstance(value, float) and isinstance(merged[key], int):
                merged[key] = float(merged[key])  # learning_rate=1 and learning_rate=1.0 are the same training
    return merged


def _added(complete: dict[str, Any], written: dict[str, Any], prefix: str) -> list[str]:
    names = []
    for key, value in complete.items():
        unused = key.startswith("ema_") and not complete["use_ema"]
        if isinstance(value, dict):
            names += _added(value, written.get(key, {}), f"{prefix}{key}.")
        elif key not in written and value not in (None, False) and not unused:
            names.append(f"{prefix}{key}")
    return names
