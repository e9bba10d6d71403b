"""Faults of networks and embeddings."""

from .fault import Fault, law


LAYERS = "tests/networks/test_layers.py"
FIELD = "tests/networks/test_conditional_field.py::test_two_stages_are_the_network_of_all_inputs_at_once"
EMBEDDINGS = "tests/networks/test_embeddings.py"
MEMBERS = "tests/networks/test_ensemble_of_members.py"

NETWORKS = (
    Fault(
        "weights are drawn for the inputs alone",
        "floqzoo/networks/dense.py",
        '"fan_avg"',
        '"fan_in"',
        (f"{LAYERS}::test_weights_are_uniform_within_the_glorot_bound_and_biases_are_zero",),
    ),
    Fault(
        "a later part of an input reads the first weights",
        "floqzoo/networks/dense.py",
        "weight[start : start + x.shape[-1]]",
        "weight[: x.shape[-1]]",
        (law("parts_of_an_input_add_up", "Dense-0"),),
    ),
    Fault(
        "the code of a condition lacks the bias",
        "floqzoo/networks/conditional_field.py",
        "return stem.with_bias(product_of_parts(stem, *condition))",
        "return product_of_parts(stem, *condition)",
        (FIELD,),
    ),
    Fault(
        "a range may be of any width",
        "floqzoo/hyperparameter.py",
        "return (width >= 1e-20) & (width <= 1e20)",
        "return width > 0",
        (f"{EMBEDDINGS}::test_embeddings_that_cannot_be_are_refused",),
    ),
    Fault(
        "rounding widens the margin of a range",
        "floqzoo/networks/point_embedding.py",
        "above = jnp.where(above - high > 1.25 * margin, high, above)",
        "above = jnp.asarray(above)",
        (f"{EMBEDDINGS}::test_features_and_gradients_are_finite_at_every_number",),
    ),
    Fault(
        "time and point change places",
        "floqzoo/networks/conditional_field.py",
        "[self.point_embedding.embed_point(x), self.time_embedding.embed_time(t)]",
        "[self.time_embedding.embed_time(t), self.point_embedding.embed_point(x)]",
        (FIELD,),
    ),
    Fault(
        "the epsilon of layer norm is Equinox's",
        "floqzoo/networks/layer_norm.py",
        "epsilon: float = 1e-6",
        "epsilon: float = 1e-5",
        (LAYERS,),
    ),
    Fault(
        "layer norm divides by the root mean square",
        "floqzoo/networks/layer_norm.py",
        "jnp.mean(jnp.square(x)) - jnp.square(mean)",
        "jnp.mean(jnp.square(x))",
        (f"{LAYERS}::test_layer_norm_is_the_formula_of_the_textbook",),
    ),
    Fault(
        "the scale of FiLM begins at 0",
        "floqzoo/networks/film.py",
        "((1 + scale) * normal + shift)",
        "(scale * normal + shift)",
        ("tests/networks/test_unet_field.py::test_film_has_the_moments_that_its_condition_says",),
    ),
    Fault(
        "layer norm comes before the activation",
        "floqzoo/networks/mlp.py",
        "        hidden = self.activation(hidden)\n        return hidden if self.norm is None else self.norm(hidden)",
        "        return self.activation(hidden if self.norm is None else self.norm(hidden))",
        ("tests/networks/test_networks.py::test_an_mlp_is_dense_gelu_norm_again_and_again",),
    ),
    Fault(
        "a residual block forgets what it read",
        "floqzoo/networks/residual_mlp.py",
        "return x + hidden",
        "return hidden",
        ("tests/networks/test_networks.py::test_a_residual_mlp_adds_each_block_to_what_it_read",),
    ),
    Fault(
        "bin masses are not normalised",
        "floqzoo/networks/point_embedding.py",
        "mass = jnp.diff(cumulative) / (cumulative[:, -1:] - cumulative[:, :1])",
        "mass = jnp.diff(cumulative) / 2",
        (f"{EMBEDDINGS}::test_a_value_becomes_a_distribution_over_bins",),
    ),
    Fault(
        "the width of a bin is that of an edge too many",
        "floqzoo/networks/point_embedding.py",
        "span / (self.edges - 1)",
        "span / self.edges",
        (f"{EMBEDDINGS}::test_masses_are_those_of_the_gaussian_cut_at_the_range",),
    ),
    Fault(
        "Fourier features begin with a constant",
        "floqzoo/networks/time_embedding.py",
        "jnp.arange(1, self.time_features + 1, dtype=float)",
        "jnp.arange(self.time_features, dtype=float)",
        (law("different_times_look_different", "FourierTime-2"),),
    ),
    Fault(
        "members of an ensemble are built from one key",
        "floqzoo/networks/ensemble.py",
        "jax.random.split(key, size)",
        "jnp.broadcast_to(key, (size,))",
        (f"{MEMBERS}::test_members_are_built_from_keys_of_their_own",),
    ),
    Fault(
        "a joined ensemble begins with the other",
        "floqzoo/networks/ensemble.py",
        "jnp.concatenate([mine, theirs])",
        "jnp.concatenate([theirs, mine])",
        (f"{MEMBERS}::test_a_joined_ensemble_has_the_members_of_both",),
    ),
)
