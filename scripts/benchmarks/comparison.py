"""Compares two ways of doing the same, in turns, so that both meet the same weather.

The one job: measure ours and the peer's alternately and say how many times better ours is. A ratio
is taken of each pair, because on a busy machine two neighbouring measurements have more in common
than two medians. Knows nothing of what is measured.
"""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Final, Literal

Better = Literal["more", "less"]
Measure = Callable[[int], float]
"""Measures once; takes the number of the repetition, from 0."""

_FEWEST_FOR_QUARTILES: Final = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """ours, peer: medians. ratio: median over the pairs; above 1 ours is better.

    low, high: quartiles of the ratio.
    """

    ours: float
    peer: float
    ratio: float
    low: float
    high: float


def compare(
    ours: Measure,
    peer: Measure,
    repeats: int,
    better: Better,
    before: Callable[[], None] = lambda: None,
) -> Comparison:
    """Measure both `repeats` times, now one first and now the other.

    before: called before every single measurement.
    """
    our_values: list[float] = []
    peer_values: list[float] = []
    for number in range(repeats):
        turns = [(our_values, ours), (peer_values, peer)]
        for values, measure in turns if number % 2 else reversed(turns):
            before()
            values.append(measure(number))
    return compared(our_values, peer_values, better)


def compared(ours: Sequence[float], peer: Sequence[float], better: Better) -> Comparison:
    """The comparison of values that were measured in pairs."""
    pairs = zip(ours, peer, strict=True)
    ratios = [o / p if better == "more" else p / o for o, p in pairs]
    low, high = min(ratios), max(ratios)
    if len(ratios) >= _FEWEST_FOR_QUARTILES:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Comparison(
        statistics.median(ours), statistics.median(peer), statistics.median(ratios), low, high
    )
