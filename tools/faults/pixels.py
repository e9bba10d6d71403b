"""Faults of pixels: of stacks, of crops and of encoders."""

from .fault import Fault


STACKS = "tests/tasks/test_pixel_dataset.py"
CROPS = "tests/training/test_random_crop.py"
ENCODER = "tests/networks/test_impala_encoder.py"
RECIPES = "tests/recipes/test_pixels.py"

PIXELS = (
    Fault(
        "a stack reaches into the episode before",
        "floqzoo/tasks/pixel_dataset.py",
        "self.first[at][..., None])",
        "0 * self.first[at][..., None])",
        (f"{STACKS}::test_no_stack_crosses_the_start_of_its_episode", f"{STACKS}::test_stacks_are_those_of_a_loop"),
    ),
    Fault(
        "a stack has the newest frame first",
        "floqzoo/tasks/pixel_dataset.py",
        "jnp.arange(self.frame_stack - 1, -1, -1, dtype=at.dtype)",
        "jnp.arange(self.frame_stack, dtype=at.dtype)",
        (f"{STACKS}::test_stacks_are_those_of_a_loop",),
    ),
    Fault(
        "the next stack is the stack itself",
        "floqzoo/tasks/pixel_dataset.py",
        "(self.stacks(at), self.stacks(at + 1))",
        "(self.stacks(at), self.stacks(at))",
        (f"{STACKS}::test_stacks_are_those_of_a_loop",),
    ),
    Fault(
        "rows and columns of a crop are exchanged",
        "floqzoo/learner/random_crop.py",
        "dtype=place.dtype) + place[0] - self.padding",
        "dtype=place.dtype) + place[1] - self.padding",
        (f"{CROPS}::test_a_crop_is_a_window_of_the_padded_frames",),
    ),
    Fault(
        "the largest shift of a crop is never drawn",
        "floqzoo/learner/random_crop.py",
        "0, 2 * self.padding + 1)",
        "0, 2 * self.padding)",
        (f"{CROPS}::test_places_are_uniform",),
    ),
    Fault(
        "frames are not next to each other in the channels",
        "floqzoo/networks/impala_encoder.py",
        "jnp.moveaxis(frames, 0, 2)",
        "frames",
        (f"{ENCODER}::test_the_features_are_those_of_the_papers",),
    ),
    Fault(
        "a block forgets its first activation",
        "floqzoo/networks/impala_encoder.py",
        "first(jax.nn.relu(x))",
        "first(x)",
        (f"{ENCODER}::test_the_features_are_those_of_the_papers",),
    ),
    Fault(
        "members of an ensemble share nothing",
        "floqzoo/networks/ensemble.py",
        "return isinstance(node, Shared)",
        "return False",
        (f"{ENCODER}::test_members_share_one_encoder_and_nothing_else",),
    ),
    Fault(
        "observation and action are joined before the encoder",
        "floqzoo/networks/input_parts.py",
        "if len({part.dtype for part in parts}) == 1:",
        "if True:",
        (f"{ENCODER}::test_a_pixel_network_is_its_network_of_the_features_and_what_follows",),
    ),
)
