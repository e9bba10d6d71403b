"""Faults of datasets of many files: of their order, their memory and their checks."""

from .fault import Fault


RESIDENT = "floqzoo/training/resident_shard.py"
ONE_SHARD = "tests/training/test_shards.py::test_one_shard_is_on_the_device_and_at_most_one_is_read_ahead[3-5]"

SHARDS = (
    Fault(
        "a shard is replaced one update too early",
        RESIDENT,
        "step // self._interval % self._shards",
        "(step + 1) // self._interval % self._shards",
        (ONE_SHARD,),
    ),
    Fault(
        "a shard stays on the device until the next one is there",
        RESIDENT,
        "            self._shard = None\n            self._shard = Dataset",
        "            self._shard = Dataset",
        (ONE_SHARD,),
    ),
    Fault(
        "a shard is read ahead that no update needs",
        RESIDENT,
        "following < self._updates and",
        "following <= self._updates + 1 and",
        (ONE_SHARD,),
    ),
    Fault(
        "a call runs past a replacement",
        "floqzoo/training/phases.py",
        "config.replace_interval if sharded else 0",
        "0",
        ("tests/training/test_shards.py::test_no_call_runs_past_a_replacement",),
    ),
    Fault(
        "the fingerprint of shards is that of the first one",
        "floqzoo/tasks/sharded_dataset.py",
        "{self._contents}{self.excerpt",
        "{self.excerpt",
        (
            "tests/tasks/test_sharded_dataset.py::"
            "test_a_fingerprint_is_of_the_contents_in_their_order_and_of_nothing_else",
        ),
    ),
    Fault(
        "a download with a changed byte is kept",
        "floqzoo/tasks/shard_download.py",
        "bad = archive.testzip()",
        "bad = None",
        ("tests/tasks/test_shard_download.py::test_what_is_damaged_comes_from_the_next_mirror_or_is_refused[changed]",),
    ),
)
