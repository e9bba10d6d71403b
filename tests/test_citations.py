"""The BibTeX of an agent names the works behind its parts, each once, and every part of the zoo says where it comes from."""

import inspect
import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import optax
import pytest

import floqzoo as fz
from floqzoo import bibliography, critics, flow, networks, policies, successor
from floqzoo.bibliography import Reference
from floqzoo.citations import PROGRAMS, SOURCES, WITHOUT_SOURCE
from floqzoo.tasks import OGBenchTask
from recipes.c51 import C51Config, c51
from recipes.codac import CODACConfig, codac
from recipes.evor import EVORConfig, evor
from recipes.fb import FBConfig, fb
from recipes.floq import FloqConfig, floq
from recipes.ifql import IFQLConfig, ifql
from recipes.infom import InFOMConfig, infom
from recipes.iql import IQLConfig, iql
from recipes.iqn import IQNConfig, iqn
from recipes.qc import QCConfig, qc
from recipes.rebrac import ReBRACConfig, rebrac
from recipes.sac import SACConfig, sac
from recipes.sorl import SORLConfig, sorl
from recipes.td2_cfm import TD2Config, td2_cfm
from recipes.value_flows import ValueFlowsConfig, value_flows


SMALL = {"observation_dim": 3, "action_dim": 2, "reward_range": (-1.0, 0.0)}
FLOQ = FloqConfig(actor_hidden_dims=(8,), value_hidden_dims=(8,), block_width=8, block_depth=1)
REFERENCES = [value for value in vars(bibliography).values() if isinstance(value, Reference)]
ENTRY = re.compile(r"@(\w+)\{(\w+),\n((?:  \w+ = \{.*\},\n)+)\}")


def cited(*parts) -> set[str]:
    """The keys of what is cited, after a check that nothing but entries and comments is there."""
    text = fz.citation(*parts)
    keys = [key for _, key, _ in ENTRY.findall(text)]
    assert len(keys) == len(set(keys))
    assert re.sub(r"^% .*\n", "", ENTRY.sub("", text), flags=re.MULTILINE).strip() == ""
    return set(keys)


def parts_of_the_zoo() -> list[type]:
    """The modules that the packages of parts export, and the update rules, without the records of metrics."""
    packages = (networks, flow, critics, policies, successor)
    found = {
        part for package in packages for part in vars(package).values() if inspect.isclass(part) and part is not Any
    }
    found |= {
        fz.JointUpdate,
        fz.AlternatingUpdate,
        fz.SequentialUpdate,
        fz.PolyakAveraging,
        fz.State,
        fz.Hyperparameter,
        fz.Agent,
    }
    return sorted(
        (part for part in found if not part.__name__.endswith(("Metrics", "Estimate"))), key=lambda part: part.__name__
    )


@pytest.mark.parametrize("part", parts_of_the_zoo(), ids=lambda part: part.__name__)
def test_every_part_has_a_source_or_says_that_it_has_none(part):
    assert (part in SOURCES) != (part in WITHOUT_SOURCE)


def test_floq_cites_floq_and_fql_and_what_they_run_on(getkey):
    keys = cited(floq(config=FLOQ, key=getkey(), **SMALL))
    assert {"agrawalla2025floq", "park2025flow", "lipman2023flow", "farebrother2024stop"} <= keys
    assert {"jax2018github", "kidger2021equinox", "deepmind2020jax"} <= keys
    assert keys.isdisjoint({"farebrother2025temporal", "kidger2021on", "park2025ogbench", "fujimoto2018addressing"})


@pytest.mark.parametrize(
    ("build", "config", "wanted", "unwanted"),
    [
        (iql, IQLConfig, {"IQL", "AWR"}, {"TD3", "REBRAC", "IDQL", "FQL", "FLOQ"}),
        (ifql, IFQLConfig, {"IQL", "IDQL", "FQL", "FLOW_MATCHING"}, {"AWR", "REBRAC", "FLOQ"}),
        (qc, QCConfig, {"QC", "IDQL", "FQL", "FLOW_MATCHING"}, {"AWR", "IQL", "REBRAC", "FLOQ"}),
        (rebrac, ReBRACConfig, {"REBRAC", "TD3", "TD3_BC"}, {"IQL", "AWR", "IDQL", "FQL", "FLOQ"}),
        (sac, SACConfig, {"SAC", "RLPD", "TD3"}, {"IQL", "AWR", "REBRAC", "FQL", "FLOQ"}),
        (sorl, SORLConfig, {"SORL", "SHORTCUT_MODELS", "FLOW_MATCHING", "FQL"}, {"IDQL", "TD3", "REBRAC", "FLOQ"}),
        (iqn, IQNConfig, {"IQN", "QR_DQN", "VALUE_FLOWS", "IDQL", "FQL"}, {"C51", "CODAC", "IQL", "FLOQ"}),
        (c51, C51Config, {"C51", "IDQL", "FQL"}, {"IQN", "QR_DQN", "CODAC", "FLOQ"}),
        (codac, CODACConfig, {"CODAC", "IQN", "QR_DQN", "FQL"}, {"C51", "IDQL", "FLOQ"}),
        (value_flows, ValueFlowsConfig, {"VALUE_FLOWS", "IDQL", "FQL", "FLOW_MATCHING"}, {"IQN", "EVOR", "FLOQ"}),
        (evor, EVORConfig, {"EVOR", "VALUE_FLOWS", "IDQL", "FQL", "FLOW_MATCHING"}, {"IQN", "C51", "FLOQ"}),
    ],
    ids=["iql", "ifql", "qc", "rebrac", "sac", "sorl", "iqn", "c51", "codac", "value_flows", "evor"],
)
def test_a_baseline_cites_its_papers(build, config, wanted, unwanted, getkey):
    config = config(actor_hidden_dims=(8,), value_hidden_dims=(8,))
    keys = cited(build(config=config, key=getkey(), **SMALL))
    assert {getattr(bibliography, name).key for name in wanted} <= keys
    assert keys.isdisjoint({getattr(bibliography, name).key for name in unwanted})


def test_a_successor_measure_cites_its_paper(getkey):
    config = TD2Config(network="mlp", hidden_dims=(8,))
    keys = cited(td2_cfm(config=config, key=getkey(), **SMALL))
    assert "farebrother2025temporal" in keys and "agrawalla2025floq" not in keys


def test_forward_backward_representations_cite_their_papers(getkey):
    config = FBConfig(latent_dim=4, width=8, embedding=4, backward_width=4)
    keys = cited(fb(config=config, key=getkey(), **SMALL))
    assert {"touati2021learning", "touati2023does", "fujimoto2018addressing"} <= keys
    assert keys.isdisjoint({"farebrother2025temporal", "agrawalla2025floq"})


def test_intention_conditioned_occupancy_models_cite_their_papers(getkey):
    small = ("value_hidden_dims", "intention_encoder_hidden_dims", "reward_hidden_dims", "actor_hidden_dims")
    config = InFOMConfig(latent_dim=4, **dict.fromkeys(small, (8,)))
    keys = cited(infom(config=config, key=getkey(), **SMALL))
    assert {"zheng2026intention", "farebrother2025temporal", "lipman2023flow", "fujimoto2021minimalist"} <= keys
    assert keys.isdisjoint({"agrawalla2025floq", "touati2021learning"})


def test_a_part_that_is_exchanged_changes_what_is_cited(getkey):
    field = fz.ConditionalField(2, 0, build=partial(fz.MLP, hidden=(8,)), key=getkey())
    plain = cited(fz.Flow(field, 2))
    assert cited(fz.Flow(field, 2, solver=fz.DiffraxSolver(diffrax.Tsit5()))) - plain == {"kidger2021on"}
    assert cited(fz.Flow(field, 2, path=fz.VariancePreservingPath())) - plain == {"song2021score"}
    assert cited((fz.Flow(field, 2), {"how": optax.adam(1e-3)})) - plain == {"deepmind2020jax"}


def test_a_task_adds_its_benchmark_and_a_subclass_keeps_its_parents_sources():
    class Mine(fz.ExpectedBackup):
        pass

    assert cited(Mine()) == cited(fz.ExpectedBackup())
    task = object.__new__(OGBenchTask)
    assert cited(task) == {"park2025ogbench"}
    assert cited(3.0, None) == set()


def test_papers_stand_before_programs(getkey):
    text = fz.citation(floq(config=FLOQ, key=getkey(), **SMALL))
    keys = [key for _, key, _ in ENTRY.findall(text)]
    assert keys[-3:] == ["kidger2021equinox", "jax2018github", "deepmind2020jax"]
    assert re.search(r"^% FlowCritic, .*\n@inproceedings\{agrawalla2025floq,", text, re.MULTILINE)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.key)
def test_every_entry_is_bibtex_with_balanced_braces_and_no_empty_field(reference):
    text = reference.bibtex()
    kind, key, body = ENTRY.fullmatch(text).groups()
    names = re.findall(r"^  (\w+) = \{(.+)\},$", body, re.MULTILINE)
    assert (kind, key) == (reference.kind, reference.key)
    assert {"title", "author", "year"} <= {name for name, _ in names}
    assert all(value.count("{") == value.count("}") and value.strip("{} ") for _, value in names)
    assert "None" not in text
    assert reference.arxiv is None or re.fullmatch(r"\d{4}\.\d{5}", reference.arxiv)


def test_keys_are_used_once_and_every_reference_is_a_source():
    assert len({reference.key for reference in REFERENCES}) == len(REFERENCES)
    assert {reference for references in SOURCES.values() for reference in references} == set(REFERENCES)
    assert set(PROGRAMS) <= set(SOURCES) and issubclass(eqx.Module, PROGRAMS[0])
    assert [field.name for field in fields(Reference)][:2] == ["key", "kind"]


def test_the_works_of_the_metadata_are_cited_alike():
    metadata = (Path(fz.__file__).parents[1] / "CITATION.cff").read_text()
    for key in ("agrawalla2025floq", "park2025flow", "park2025ogbench"):
        reference = next(reference for reference in REFERENCES if reference.key == key)
        assert reference.title in metadata and f"arxiv.org/abs/{reference.arxiv}" in metadata


def test_jax_is_cited_for_every_module():
    assert cited(fz.MLP(2, 1, hidden=(4,), key=jax.random.key(0))) == {"jax2018github", "kidger2021equinox"}
