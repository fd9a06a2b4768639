"""What models with several exits share: where their thresholds come from."""

import os
from collections.abc import Sequence

from dynnet.utils.errors import ConfigError

from .assign import check_thresholds
from .criteria import ExitCriterion
from .thresholds import ExitThresholds

Thresholds = Sequence[float] | ExitThresholds | str | os.PathLike | None


class ThresholdsMixin:
    """Thresholds of a model that has ``num_exits`` exits and a ``criterion``.

    Attributes:
        thresholds: One per exit but the last, or None.
    """

    criterion: ExitCriterion
    thresholds: list[float] | None
    num_exits: int

    def set_thresholds(
        self, thresholds: Thresholds, budget: float | None = None
    ) -> None:
        """Set who leaves where.

        Args:
            thresholds: One number per exit but the last; solved thresholds, or the path
                of their JSON file; None for those that the criterion itself has
                (patience), if any.
            budget: Mean cost per sample, which picks the operating point; not needed
                where there is only one.

        Raises:
            ValueError: they do not fit the net, or the budget cannot be met.
        """
        if thresholds is None:
            if budget is not None:
                raise ConfigError('a budget needs solved thresholds to choose from')
            self.thresholds = self.criterion.default_thresholds(self.num_exits)
            return
        if isinstance(thresholds, (str, os.PathLike)):
            thresholds = ExitThresholds.load(thresholds)
        if isinstance(thresholds, ExitThresholds):
            thresholds.check_model(self.criterion.config, self.num_exits)
            if budget is not None:
                point = thresholds.choose(budget)
            elif len(thresholds.points) == 1:
                point = thresholds.points[0]
            else:
                costs = [p.expected_cost for p in thresholds.points]
                raise ConfigError(
                    f'{len(costs)} operating points to choose from: give a budget from '
                    f'{min(costs):.10g} to {max(costs):.10g} {thresholds.cost_unit}'
                )
            thresholds = point.thresholds
        elif budget is not None:
            raise ConfigError(
                'a budget chooses among solved thresholds, not from a list'
            )
        self.thresholds = check_thresholds(thresholds, self.num_exits).tolist()
