"""Outcomes of the trials of a sweep."""

from dataclasses import dataclass, field
from typing import Literal, get_args

State = Literal["complete", "pruned", "failed", "crashed", "unfinished"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a trial.

    Attributes:
        state: complete: trained all epochs; pruned: stopped by the scheduler; failed: ended by an error that would
            recur; crashed: ended by any other error, so that the same sweep tries it again; unfinished: not run, or
            interrupted.
        accuracies: Validation accuracy, 0 to 1, after each epoch, from 1.
        reason: Reason why the trial is not complete.
        origin: now: run by this command; before: by an earlier attempt of the sweep; elsewhere: by another command.
        node: Ray's id of the machine that ran the trial now.
    """

    state: State
    accuracies: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    origin: Literal["now", "before", "elsewhere"] = "now"
    node: str = ""

    @property
    def failed(self) -> bool:
        """Whether the trial ended with an error."""
        return self.state in ("failed", "crashed")

    @property
    def epochs(self) -> int:
        """Number of trained epochs."""
        return max(self.accuracies, default=0)

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy after the last epoch, or None if no epoch was trained."""
        return self.accuracies.get(self.epochs)
