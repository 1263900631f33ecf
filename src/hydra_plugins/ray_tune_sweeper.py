"""Hydra sweeper of `python -m pipelines.train -m …`, which runs sweeps on Ray Tune."""

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from image_classifier.errors import InputError

TARGET = {"_target_": "hydra_plugins.ray_tune_sweeper.RayTuneSweeper"}
ConfigStore.instance().store(group="hydra/sweeper", name="ray_tune", node=TARGET, provider="image-classifier")


class RayTuneSweeper(Sweeper):
    """Parses the command line with Hydra's own parser and runs the sweep."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Keep the parser and the composed configuration.

        Raises:
            InputError: The configuration comes from other files than conf/train.yaml, from which trials are composed.
        """
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        added = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
        if added or config.hydra.searchpath or config.hydra.job.config_name != "train":
            raise InputError(
                "With -m, trials are composed from conf/train.yaml: no --config-name, --config-dir or hydra.searchpath."
            )
        self._config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep that the command line describes."""
        from image_classifier.sweep.sweep import run_sweep  # Hydra imports its plugins at every start

        run_sweep(self._config, self._parser.parse_overrides(arguments))
