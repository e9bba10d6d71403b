"""Lets the API pages show the exports of a package, and the constructor of an Equinox module."""

import griffe


class FloqzooPages(griffe.Extension):
    """Adds two things that griffe does not find in the source."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Runs after a package is loaded, before griffe looks for dataclasses."""
        if pkg.name == "floqzoo":
            _visit(pkg)


def _visit(module: griffe.Module) -> None:
    if module.is_init_module and module.imports:
        module.exports = list(module.imports)  # `from package.file import Part as Part` exports Part
        module.docstring = None  # its page describes the package, and may show it in several groups
    for submodule in module.modules.values():
        if not submodule.is_alias:
            _visit(submodule)
    for cls in module.classes.values():
        if not cls.is_alias:
            _mark_as_dataclass(cls)


def _mark_as_dataclass(cls: griffe.Class) -> None:
    """Equinox makes a dataclass of every module; one without `__init__` is constructed from its fields."""
    family = [cls, *cls.mro()]
    bases = [base for parent in family for base in parent.bases if isinstance(base, griffe.Expr)]
    if "equinox.Module" not in {base.canonical_path for base in bases}:
        return
    if any("__init__" in parent.members for parent in family):
        return
    cls.decorators.append(griffe.Decorator(griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None))
    for attribute in cls.attributes.values():
        if str(attribute.annotation).startswith(("eqx.AbstractVar", "eqx.AbstractClassVar")):
            attribute.labels.discard("instance-attribute")  # required of subclasses, not an argument
            attribute.labels.add("class-attribute")
        elif isinstance(attribute.value, griffe.ExprCall) and attribute.value.canonical_path == "equinox.field":
            attribute.value.function = griffe.ExprName("dataclasses.field")
