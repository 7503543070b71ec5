"""A stage that is killed at any instant and started again ends in the same bytes, and leaves nothing else behind."""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from memorization.store.files import fingerprint, read_json
from memorization.store.manifests import read_manifest
from memorization.store.provenance import model_fingerprint
from support.stage_commands import STAGES, compare, contents, renew, report, train, train_over
from support.zygote import Zygote

KILLS = 20  # at random instants, of most stages
MOST = 20  # renames and removals of a stage, of which each is an instant
KILLED = [*STAGES, compare]


@pytest.fixture(scope="module")
def killings(zygote):
    """The outcome of `kill` for each stage; two go on at a time, each in a directory of its own."""
    other = zygote.work.parent.with_name("other")
    left_out = shutil.ignore_patterns("work", "tmp", "cache")
    shutil.copytree(zygote.work.parent, other, ignore=left_out)
    second, free = Zygote(other), SimpleQueue()
    for one in (zygote, second):
        free.put(one)

    def kill_with_a_free_one(stage):
        one = free.get()
        try:
            kill(one, stage)
        finally:
            free.put(one)

    with ThreadPoolExecutor(2) as pool:
        yield {stage: pool.submit(kill_with_a_free_one, stage) for stage in KILLED}
    second.close()


def kill(zygote, stage):
    """Kill a stage in the place of each rename and removal, over what another run left, and at random, from nothing."""
    work, before = zygote.work, zygote.work.with_name(f"before-{stage.__name__}")
    command = stage(work, 1)
    renew(work)
    if stage is not train:  # which goes on with nothing but its own
        assert zygote.run(stage(work, 2), work).status == 0
    shutil.copytree(work, before)
    whole = zygote.run(command, work)
    assert whole.status == 0, whole.said
    wanted, beside = contents(work), set(work.parent.iterdir())

    def check(before, **when):
        renew(work, before)
        killed = zygote.run(command, work, **when)
        check_manifests(work)
        again = zygote.run(command, work)
        assert again.status == 0, again.said
        assert contents(work) == wanted, when
        assert not list(zygote.tmp.iterdir()) and set(work.parent.iterdir()) == beside, when
        return killed.status

    draw, steps = random.Random(5), range(1, whole.steps + 1)
    if len(steps) > MOST:  # the removal of many files is much the same after each
        steps = sorted({*steps[:2], *draw.sample(steps[2:-1], 2), steps[-1]})
    for step in steps:
        assert check(before, at=step) == -9
    for _ in range(0 if stage in (train_over, compare, report) else KILLS):  # to these they add nothing
        assert check(None, after=draw.uniform(0, whole.seconds)) in (-9, 0)


def check_manifests(work):
    """What has a manifest is the whole result that it describes, and of one run with what lies beside it."""
    identities = set()
    for path in work.rglob("*.manifest.json"):
        result, kind = path.with_name(path.name.removesuffix(".manifest.json")), read_json(path)["kind"]
        if kind == "index" or not result.exists():  # an index says itself what it holds
            continue
        manifest = read_manifest(result, kind)
        assert (model_fingerprint if kind == "model" else fingerprint)(result) == manifest.contents, result
        if kind != "exposures" and ".base." not in path.name:  # of their own, which the generations' manifest names
            identities.add(manifest.identity)
    assert len(identities) < 2


@pytest.mark.parametrize("stage", KILLED, ids=lambda stage: stage.__name__)
def test_a_kill_at_any_instant(killings, stage):
    killings[stage].result()
