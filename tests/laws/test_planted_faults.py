"""The faults of `tools/plant_faults.py` can still be planted; that each is caught, that program shows."""

from pathlib import Path

import pytest

from tools.faults import FAULTS


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_once_and_its_tests_exist(fault):
    assert (ROOT / fault.file).read_text().count(fault.sound) == 1
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists()
        assert f"def {name.partition('[')[0]}" in (ROOT / path).read_text()


def test_faults_have_names_of_their_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
