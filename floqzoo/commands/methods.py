"""`floqzoo methods`."""


def methods() -> None:
    """Lists the methods: what each is, its critic and policy, its source, and the presets of its program.

    A method is trained by `python recipes/NAME.py`; settings that its paper published follow from --env_name.
    """
    import importlib

    from floqzoo.results.method_table import method_row
    from floqzoo.results.text_table import text_table

    names = importlib.import_module("recipes").NAMES
    print(
        text_table(
            "Methods", ["recipe", "method", "critic and policy", "presets"], [method_row(name) for name in names]
        ),
        end="",
    )
