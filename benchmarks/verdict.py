"""How often the verdict says yes where nothing was memorized, what it finds, and what the intervals hold:

    python benchmarks/verdict.py --experiments 2000

Samples are drawn into members and held-out ones as stage 1 does it; what comes out does not depend on that. Prints the
share of experiments with any false yes, beside that of Fisher's test of each group against all held-out texts; the
power at the difference that the verdict names, where the held-out rate is at the upper end of its interval; and the
share of 95 % intervals that hold the truth, beside that of the textbook's interval of independent values.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from memorization.encoding.split import draw_members
from memorization.results import roc, statistics
from memorization.results.counts import SampleValues, group_samples
from memorization.results.summary import HELD_OUT
from memorization.results.verdict import Exchange, compare_groups, strata_of
from memorization.shell.cli import Parser, run

COPIES = [(0.9, 0.02, 60, 300, 0.3), (0.5, 0.05, 100, 600, 0.1), (0.99, 0.3, 40, 200, 0.5), (0.2, 0.0, 100, 1000, 0.2)]
COPIES += [(0.7, 0.1, 30, 150, 0.25)]
CORRELATIONS = (0.1, 0.3, 0.6)


def main(args):
    random = np.random.default_rng(args.seed)
    print("| nothing memorized | any false yes, % | Fisher, all held-out texts, % |\n|---|---:|---:|")
    for name, draw in worlds(random):
        ours, plain = np.mean([alarms(*draw()) for _ in range(args.experiments)], axis=0)
        print(f"| {name} | {100 * ours:.1f} | {100 * plain:.1f} |", flush=True)
    print("\n| 200 members, 100 held out, of which come out | named, points | power, % |\n|---|---:|---:|")
    for size, held_out in ((1, 0), (1, 3), (1, 10), (1, 40), (5, 0), (5, 10), (5, 40)):
        named, power = powers(random, size, held_out, args.experiments)
        alone = "alone" if size == 1 else "in clusters of 5, all alike"
        print(f"| {held_out}, {alone} | {100 * named:.1f} | {100 * power:.1f} |", flush=True)
    print("\n| interval | holds, % | of independent values, % |\n|---|---:|---:|")
    for name, held, plain in intervals(random, args.experiments):
        print(f"| {name} | {100 * held:.1f} | {100 * plain:.1f} |", flush=True)


def worlds(random):
    """(name, function that draws (values, Probes)) of worlds in which what comes out does not depend on training."""
    for easy, hard, often, samples, share in COPIES:

        def draw(easy=easy, hard=hard, often=often, samples=samples, share=share):
            copies = np.where(np.arange(samples) < often, 16, 1)
            values = random.random(samples) < np.where(copies > 1, easy, hard)
            return values * 1.0, probes(random, np.arange(samples), copies, share)

        description = f"{often} of {samples} texts 16 times, {100 * share:g} % held out"
        yield f"{description}; {100 * easy:g} % of them come out, {100 * hard:g} % of others", draw
    for correlation in CORRELATIONS:

        def draw(spread=1 / correlation - 1):
            clusters = np.arange(60).repeat(5)
            own = random.beta(0.1 * spread, 0.9 * spread, 60)[clusters]
            return (random.random(300) < own) * 1.0, probes(random, clusters, np.ones(300, int), 0.3)

        yield f"60 clusters of 5, correlation {correlation:g}, 30 % held out", draw
    sizes = random.choice([1, 2, 5, 20], 150, p=[0.75, 0.15, 0.06, 0.04])
    clusters = np.arange(150).repeat(sizes)
    copies = np.minimum(random.geometric(0.6, len(clusters)) ** 2, 30)
    rates = np.minimum(0.03 * copies * np.sqrt(sizes[clusters]), 0.95)
    alike = random.random(len(rates)) < 0.5
    values = np.where(alike, random.random(150)[clusters], random.random(len(rates))) < rates
    for share in (0.02, 0.1, 0.4):

        def draw(share=share):
            return values * 1.0, probes(random, clusters, copies, share)

        yield f"clusters of 1 to 20, up to 30 copies, {100 * share:g} % of the same rows held out", draw


def probes(random, clusters, copies, share):
    """Probes of samples, one each. clusters: from 0, in order."""
    seed = int(random.integers(1 << 31))
    member = draw_members(np.arange(len(clusters)), np.searchsorted(clusters, clusters), share, seed)
    return SampleValues(
        np.arange(len(clusters)), member, copies, clusters, np.ones(len(clusters), int), [], len(clusters), 1
    )


def alarms(values, of):
    """Whether there is any yes: of the verdict, and of Fisher's test against all held-out texts."""
    groups = group_samples(of)
    ours = any(test.evidence for test in compare_groups(groups, of, values).values())
    (b, n), *others = ((values[mask].sum(), mask.sum()) for name, mask in reversed(groups.items()))
    plain = statistics.holm([statistics.fisher(a, m, b, n) for a, m in others])
    return ours, bool((plain <= statistics.LEVEL).any())


def powers(random, size, held_out, experiments):
    """(the difference named where so many held-out texts of 100 come out, how often as large a one is found)."""
    member, clusters, values = np.arange(300) < 200, np.arange(300) // size, np.zeros(300)
    values[200 : 200 + held_out] = values[: 2 * held_out] = 1
    of = SampleValues(np.arange(300), member, np.ones(300, int), clusters, np.ones(300, int), [], 300, 1)
    (test,) = compare_groups({"members": member, HELD_OUT: ~member}, of, values).values()
    total = statistics.effective(values[200:], clusters[200:])
    rate = statistics.wilson(held_out / 100 * total, total)[1]
    rates = rate + np.where(member, test.detectable_difference, 0)
    drawn = random.random((experiments, 300 // size)).repeat(size, 1) < rates
    p = [Exchange(of_values * 1.0, of, strata_of(of), of.ids >= 0).p() for of_values in drawn]
    return test.detectable_difference, np.mean(np.array(p) <= statistics.LEVEL)


def intervals(random, experiments):
    """(name, share that hold the truth, the same of intervals that take all values for independent or normal)."""

    def shares(covered):
        return np.mean([[low <= truth <= high for truth, (low, high) in both] for both in covered], axis=0)

    for correlation in CORRELATIONS:
        for rate in (0.05, 0.5):
            covered, threshold = [], stats.norm.ppf(rate)
            for _ in range(experiments):
                (a, of_a), (b, of_b) = (latent(random, clusters, correlation) for clusters in (30, 20))
                a, b = (a < threshold) * 1.0, (b < threshold) * 1.0
                m, n = statistics.effective(a, of_a), statistics.effective(b, of_b)
                ours = statistics.rate_difference(a.mean() * m, m, b.mean() * n, n)[1:]
                covered.append([(0, ours), (0, statistics.rate_difference(a.sum(), len(a), b.sum(), len(b))[1:])])
            yield (
                f"difference of rates of {rate:g}, 30 and 20 clusters of 5, correlation {correlation:g}",
                *shares(covered),
            )
    for correlation in CORRELATIONS:
        covered, truth = [], stats.norm.cdf(1 / np.sqrt(2))
        for _ in range(experiments):
            (a, of_a), (b, of_b) = (latent(random, clusters, correlation) for clusters in (24, 16))
            covered.append([(truth, roc.auc(a + 1, b, (of_a, of_b))[1:]), (truth, roc.auc(a + 1, b)[1:])])
        yield f"AUC, 24 and 16 clusters of 5, correlation {correlation:g}", *shares(covered)
    for larger_a, larger_b in ((0.07, 0.07), (0.12, 0.03), (0.02, 0.02)):
        for m, n in ((60, 40), (30, 200)):
            covered, truth = [], 0.5 + (larger_a - larger_b) / 2
            for _ in range(experiments):
                a, b = (random.random(m) < larger_a) * 1.0, (random.random(n) < larger_b) * 1.0
                covered.append([(truth, roc.auc(a, b)[1:]), (truth, delong(a, b))])
            description = f"{100 * larger_a:g} and {100 * larger_b:g} % over 0, the others equal"
            yield f"AUC, {m} members, {n} held out, {description}", *shares(covered)
    for number in (15, 60):
        covered = []
        for _ in range(experiments):
            large = np.where(random.random(number) < 0.5, 100, 1 + random.integers(0, 9, number))
            values = np.where(random.random(number) < 0.1, large, 0)
            ours = statistics.bounded_mean(values, np.arange(number), 0.0, 100.0)[1:]
            covered.append([(5.25, ours), (5.25, statistics.mean(values)[1:])])
        yield f"mean of {number} values, 90 % of them 0", *shares(covered)


def latent(random, clusters, correlation):
    """(normal values in clusters of 5, their clusters)."""
    alike, own = random.normal(size=clusters).repeat(5), random.normal(size=5 * clusters)
    return np.sqrt(correlation) * alike + np.sqrt(1 - correlation) * own, np.arange(clusters).repeat(5)


def delong(members, held_out):
    """DeLong's interval on the logit scale, of no width where its variance is 0."""
    pairs = (members[:, None] > held_out) + (members[:, None] == held_out) / 2
    area = pairs.mean()
    error = np.sqrt(pairs.mean(1).var(ddof=1) / len(members) + pairs.mean(0).var(ddof=1) / len(held_out))
    middle, half = np.log(area / (1 - area)), statistics.Z * error / (area * (1 - area))
    return tuple(1 / (1 + np.exp(-end)) for end in (middle - half, middle + half))


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--experiments", type=int, default=2000, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of what is drawn (default: %(default)s)")
    sys.exit(run(main, parser.parse_args()))
