"""The sweeper that Hydra finds for `pipelines.train -m`: it hands the command line on to Ray Tune."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mnist_cnn.errors import InputError


@dataclass
class RayTuneSweeperConf:
    """Hydra's group entry hydra/sweeper: ray_tune."""

    _target_: str = "hydra_plugins.ray_tune_sweeper.RayTuneSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="ray_tune", node=RayTuneSweeperConf, provider="mnist-cnn")


class RayTuneSweeper(Sweeper):
    """Reads the overrides with Hydra's parser, so that they mean what they mean everywhere in Hydra."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Take what `sweep` needs."""
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        added = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
        if added or config.hydra.searchpath or config.hydra.job.config_name != "train":
            raise InputError(
                "With -m trials are composed from conf/train.yaml: no --config-name, --config-dir or hydra.searchpath."
            )
        self._config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep that the command line describes."""
        from pipelines import sweep  # here: Hydra imports its plugins whenever it starts

        sweep.main(self._config, self._parser.parse_overrides(arguments))
