"""Studies that test claims about flow matching in TD learning, one study per file.

`floqzoo study` finds every file in this folder. Each file defines `STUDY`, a [`Study`][floqzoo.studies.study.Study].
The claims come from floq (arXiv 2509.06863) and from an analysis of floq (arXiv 2603.04333).
"""

import importlib
import pkgutil

from floqzoo.studies.study import Study


def study_names() -> list[str]:
    """Returns the names of all studies."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def study_named(name: str) -> Study:
    """Returns the study with the given name.

    **Raises** `ValueError` if no study has that name.
    """
    if name not in study_names():
        raise ValueError(f"a study must be one of {', '.join(study_names())}; got {name!r}.")
    return importlib.import_module(f"{__name__}.{name}").STUDY
