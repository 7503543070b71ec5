"""Rates with intervals."""

from math import sqrt

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile


def wilson(count, total):
    """95 % score interval of the rate count/total, as (low, high) in [0, 1] (Wilson 1927). (0, 1) if total is 0."""
    if total == 0:
        return 0.0, 1.0
    rate, square = count / total, Z * Z
    middle = rate + square / (2 * total)
    half = Z * sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    low, high = (middle - half) / (1 + square / total), (middle + half) / (1 + square / total)
    return (0.0 if count == 0 else low), (1.0 if count == total else high)  # exact where rounding would miss them


def difference(count_a, total_a, count_b, total_b):
    """Rate a - rate b with its 95 % interval, as (difference, low, high): Newcombe 1998, hybrid score (method 10).

    Both totals must be positive.
    """
    a, b = count_a / total_a, count_b / total_b
    (low_a, high_a), (low_b, high_b) = wilson(count_a, total_a), wilson(count_b, total_b)
    low = a - b - sqrt((a - low_a) ** 2 + (high_b - b) ** 2)
    high = a - b + sqrt((high_a - a) ** 2 + (b - low_b) ** 2)
    return a - b, low, high
