"""A stage that is killed at any instant and started again ends in the same bytes, and leaves nothing else behind."""

import random
import shutil

import pytest

from memorization.detection.kinds import DETECTIONS
from memorization.encoding.kinds import OF_ENCODING
from memorization.extraction.kinds import EXPOSURES, GENERATIONS
from memorization.models.trained import MODEL
from memorization.results.attention import ATTENTION
from memorization.store.files import fingerprint, read_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import read_manifest
from support.stage_commands import STAGES, compare, contents, renew, report, train, train_over

MOST = 20  # renames and removals of a stage, of which each is an instant
KINDS = OF_ENCODING | {kind.name: kind for kind in (MODEL, GENERATIONS, EXPOSURES, DETECTIONS, ATTENTION)}
KILLED = [*STAGES, compare]


class Kills:
    """Kills of one stage, each in a directory as it was before; `steps` of an undisturbed run, which took `seconds`."""

    def __init__(self, fork_server, stage, before=None):
        """before: what the directory holds at the start; None: nothing."""
        self._fork_server, self._before, self._command = fork_server, before, stage(fork_server.work, 1)
        renew(fork_server.work, before)
        whole = fork_server.run(self._command, fork_server.work)
        assert whole.status == 0, whole.output
        self.steps, self.seconds = whole.steps, whole.seconds
        self._contents, self._beside = contents(fork_server.work), set(fork_server.work.parent.iterdir())

    def check(self, **when):
        """Kill a run, run the command again and compare. Returns the killed run's exit status."""
        work = self._fork_server.work
        renew(work, self._before)
        killed = self._fork_server.run(self._command, work, **when)
        check_manifests(work)
        again = self._fork_server.run(self._command, work)
        assert again.status == 0, again.output
        assert contents(work) == self._contents, when
        assert not list(self._fork_server.tmp.iterdir()) and set(work.parent.iterdir()) == self._beside, when
        return killed.status


def check_manifests(work):
    """Check that whatever has a manifest is the whole result that it describes, all of one run."""
    identities = set()
    for path in work.rglob("*.manifest.json"):
        result, kind = path.with_name(path.name.removesuffix(".manifest.json")), read_json(path)["kind"]
        if kind == "index" or not result.exists():  # an index holds its own description
            continue
        manifest = read_manifest(result, KINDS[kind])
        assert (model_fingerprint if kind == "model" else fingerprint)(result) == manifest.contents, result
        if kind != "exposures" and ".base." not in path.name:  # they have an identity of their own
            identities.add(manifest.identity)
    assert len(identities) < 2


@pytest.mark.parametrize("stage", KILLED, ids=lambda stage: stage.__name__)
def test_a_kill_in_the_place_of_each_rename_and_removal(fork_server, stage, tmp_path):
    """Over the result of another run, except for `train`, which goes on with nothing but its own."""
    renew(fork_server.work)
    if stage is not train:
        assert fork_server.run(stage(fork_server.work, 2), fork_server.work).status == 0
    before = shutil.copytree(fork_server.work, tmp_path / "before")
    kills = Kills(fork_server, stage, before)
    steps = range(1, kills.steps + 1)
    if len(steps) > MOST:  # the removal of many files is much the same after each
        steps = sorted({*steps[:2], *random.Random(5).sample(steps[2:-1], 2), steps[-1]})
    for step in steps:
        assert kills.check(at=step) == -9


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "stage",
    [stage for stage in KILLED if stage not in (train_over, compare, report)],  # to which it adds nothing
    ids=lambda stage: stage.__name__,
)
def test_a_kill_at_a_random_time(fork_server, stage):
    kills = Kills(fork_server, stage)
    for _ in range(20):
        assert kills.check(after=random.uniform(0, kills.seconds)) in (-9, 0)
