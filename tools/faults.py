"""The faults that the tests must catch: each a text that is replaced by another, and the tests that are asked.

A fault joins by one entry. The tests are arguments of pytest, the quickest to notice first.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault.

    - `name`: What is wrong.
    - `file`: Where, from the root of the repository.
    - `sound`, `faulty`: A text that occurs once in that file, and what takes its place.
    - `tests`: Arguments of pytest.
    """

    name: str
    file: str
    sound: str
    faulty: str
    tests: tuple[str, ...]


LAWS = "tests/laws/test_families.py"
SOLVERS = ("tests/flow/test_fixed_step_solvers.py", LAWS)
DIFFRAX = ("tests/flow/test_diffrax_solver.py", "tests/flow/test_fixed_step_solvers.py", LAWS)
PATHS = ("tests/flow/test_paths.py", LAWS)
PRIORS = ("tests/flow/test_priors.py", LAWS)
FLOW = ("tests/flow/test_log_prob.py", "tests/flow/test_matching.py", "tests/flow/test_trained_flow.py")
DIVERGENCE = ("tests/flow/test_divergence_and_curvature.py", "tests/flow/test_log_prob.py")
NETWORKS = ("tests/networks", LAWS)

FAULTS = (
    # floqzoo/flow
    Fault(
        "time is one step ahead",
        "floqzoo/flow/fixed_step.py",
        "time_grid(t0, t1, self.steps, x0.dtype)[:-1]",
        "time_grid(t0, t1, self.steps, x0.dtype)[1:]",
        SOLVERS,
    ),
    Fault(
        "steps are as long as if they began at 0",
        "floqzoo/flow/fixed_step.py",
        "dt = (t1 - t0) / self.steps",
        "dt = t1 / self.steps",
        SOLVERS,
    ),
    Fault(
        "midpoint reads the time of the start",
        "floqzoo/flow/fixed_step.py",
        "velocity(t + half, x + half * velocity(t, x))",
        "velocity(t, x + half * velocity(t, x))",
        SOLVERS,
    ),
    Fault(
        "Heun adds its velocities and takes no mean",
        "floqzoo/flow/fixed_step.py",
        "x + dt / 2 * (start",
        "x + dt * (start",
        SOLVERS,
    ),
    Fault(
        "evaluations are counted as steps",
        "floqzoo/flow/fixed_step.py",
        "return self.steps * self.evaluations_per_step",
        "return self.steps",
        (LAWS,),
    ),
    Fault(
        "the last time is not the end",
        "floqzoo/flow/time_grid.py",
        "np.arange(steps + 1) / steps",
        "np.arange(steps + 1) / (steps + 1)",
        SOLVERS,
    ),
    Fault(
        "a lone step of diffrax may fall short of the end",
        "floqzoo/flow/diffrax_solver.py",
        "2 * (t1 - t0) if self.steps == 1",
        "(t1 - t0) if self.steps == 1",
        DIFFRAX,
    ),
    Fault(
        "the velocity of a path points from data to noise",
        "floqzoo/flow/path.py",
        "c.alpha_rate * x1 + c.beta_rate * x0)",
        "-c.alpha_rate * x1 - c.beta_rate * x0)",
        (LAWS,),
    ),
    Fault(
        "the marginal velocity forgets how near the end is",
        "floqzoo/flow/path.py",
        "c.alpha_rate * x1 + c.beta_rate / c.beta * (x - c.alpha * x1)",
        "c.alpha_rate * x1 + c.beta_rate * (x - c.alpha * x1)",
        (LAWS,),
    ),
    Fault(
        "the trigonometric path has a rate without its factor",
        "floqzoo/flow/path.py",
        "jnp.pi / 2 * jnp.asarray(t, dtype=float), jnp.pi / 2",
        "jnp.pi / 2 * jnp.asarray(t, dtype=float), 1.0",
        PATHS,
    ),
    Fault(
        "the diffusion runs from data to noise",
        "floqzoo/flow/path.py",
        "s = 1 - jnp.asarray(t, dtype=float)",
        "s = jnp.asarray(t, dtype=float)",
        PATHS,
    ),
    Fault(
        "optimal transport leaves too much noise",
        "floqzoo/flow/path.py",
        "shrink = 1 - jnp.asarray(self.sigma_min.value)",
        "shrink = 1 - 2 * jnp.asarray(self.sigma_min.value)",
        PATHS,
    ),
    Fault(
        "the scale of the Gaussian prior is a variance",
        "floqzoo/flow/prior.py",
        "self.mean.value + self.scale.value * jax.random.normal(key, shape)",
        "self.mean.value + self.scale.value ** 0.5 * jax.random.normal(key, shape)",
        PRIORS,
    ),
    Fault(
        "the Gaussian density is a mean over coordinates",
        "floqzoo/flow/prior.py",
        "return jnp.sum(norm.logpdf",
        "return jnp.mean(norm.logpdf",
        PRIORS,
    ),
    Fault(
        "the uniform density forgets the dimension",
        "floqzoo/flow/prior.py",
        "density = -x.size * jnp.log(",
        "density = -jnp.log(",
        PRIORS,
    ),
    Fault(
        "floq's interval is discounted twice",
        "floqzoo/flow/prior.py",
        "scale = noise_coverage / (1 - discount)",
        "scale = noise_coverage / (1 - discount) ** 2",
        PRIORS,
    ),
    Fault(
        "all coordinates share one draw",
        "floqzoo/flow/prior.py",
        "self.mean.value + self.scale.value * jax.random.normal(key, shape)",
        "self.mean.value + self.scale.value * jax.random.normal(key, (*shape[:-1], 1)) * jnp.ones(shape)",
        (LAWS,),
    ),
    Fault(
        "the log-density adds the divergence where it should subtract",
        "floqzoo/flow/flow.py",
        "self.prior.log_prob(start[:-1]) + start[-1]",
        "self.prior.log_prob(start[:-1]) - start[-1]",
        FLOW,
    ),
    Fault(
        "the matching loss is a sum over coordinates",
        "floqzoo/flow/flow.py",
        "return jnp.mean((self.field.velocity(t, point.x, code) - point.velocity) ** 2)",
        "return jnp.sum((self.field.velocity(t, point.x, code) - point.velocity) ** 2)",
        FLOW,
    ),
    Fault(
        "the field is matched to the data and not to the velocity",
        "floqzoo/flow/flow.py",
        "self.field.velocity(t, point.x, code) - point.velocity) ** 2",
        "self.field.velocity(t, point.x, code) - x1) ** 2",
        FLOW,
    ),
    Fault(
        "the field is asked at the data and not on the path",
        "floqzoo/flow/flow.py",
        "self.field.velocity(t, point.x, code) - point.velocity) ** 2",
        "self.field.velocity(t, x1, code) - point.velocity) ** 2",
        FLOW,
    ),
    Fault(
        "the sampler is biased",
        "floqzoo/flow/flow.py",
        "self.push_forward(self.prior.sample(key, (self.dim,)), self.encode(*condition))",
        "self.push_forward(self.prior.sample(key, (self.dim,)) + 0.1, self.encode(*condition))",
        FLOW,
    ),
    Fault(
        "probes of the divergence are added up",
        "floqzoo/flow/divergence.py",
        "return jnp.mean(jax.vmap(lambda sign",
        "return jnp.sum(jax.vmap(lambda sign",
        DIVERGENCE,
    ),
    Fault(
        "probes of the divergence are Gaussian",
        "floqzoo/flow/divergence.py",
        "jax.random.rademacher(",
        "jax.random.normal(",
        DIVERGENCE,
    ),
    Fault(
        "curvature does not weigh intervals by their length",
        "floqzoo/flow/curvature.py",
        "jnp.sum(share * jnp.sum(",
        "jnp.sum(jnp.sum(",
        DIVERGENCE,
    ),
    Fault(
        "training times reach the end",
        "floqzoo/flow/time_distribution.py",
        "        return jax.random.uniform(key, shape)\n\n\nclass ZeroTime",
        "        return jnp.round(jax.random.uniform(key, shape), 2)\n\n\nclass ZeroTime",
        PRIORS,
    ),
    # floqzoo/networks
    Fault(
        "weights are drawn for the inputs alone",
        "floqzoo/networks/dense.py",
        '"fan_avg"',
        '"fan_in"',
        NETWORKS,
    ),
    Fault(
        "a later part of an input reads the first weights",
        "floqzoo/networks/dense.py",
        "weight[start : start + x.shape[-1]]",
        "weight[: x.shape[-1]]",
        ("tests/networks/test_conditional_field.py", LAWS),
    ),
    Fault(
        "the code of a condition lacks the bias",
        "floqzoo/networks/conditional_field.py",
        "return stem.with_bias(stem.part(jnp.concatenate(condition) if condition else jnp.zeros(0), 0))",
        "return stem.part(jnp.concatenate(condition) if condition else jnp.zeros(0), 0)",
        ("tests/networks/test_conditional_field.py",),
    ),
    Fault(
        "time and point change places",
        "floqzoo/networks/conditional_field.py",
        "[self.point_embedding.embed_point(x), self.time_embedding.embed_time(t)]",
        "[self.time_embedding.embed_time(t), self.point_embedding.embed_point(x)]",
        ("tests/networks/test_conditional_field.py",),
    ),
    Fault(
        "the epsilon of layer norm is Equinox's",
        "floqzoo/networks/layer_norm.py",
        "epsilon: float = 1e-6",
        "epsilon: float = 1e-5",
        NETWORKS,
    ),
    Fault(
        "layer norm divides by the root mean square",
        "floqzoo/networks/layer_norm.py",
        "jnp.mean(jnp.square(wide)) - jnp.square(mean)",
        "jnp.mean(jnp.square(wide))",
        NETWORKS,
    ),
    Fault(
        "layer norm comes before the activation",
        "floqzoo/networks/mlp.py",
        "        hidden = self.activation(hidden)\n        return hidden if self.norm is None else self.norm(hidden)",
        "        return self.activation(hidden if self.norm is None else self.norm(hidden))",
        ("tests/networks/test_networks.py",),
    ),
    Fault(
        "a residual block forgets what it read",
        "floqzoo/networks/residual_mlp.py",
        "return x + hidden",
        "return hidden",
        ("tests/networks/test_networks.py",),
    ),
    Fault(
        "bin masses are not normalised",
        "floqzoo/networks/point_embedding.py",
        "mass = jnp.diff(cumulative) / (cumulative[:, -1:] - cumulative[:, :1])",
        "mass = jnp.diff(cumulative) / 2",
        ("tests/networks/test_embeddings.py",),
    ),
    Fault(
        "the width of a bin is that of an edge too many",
        "floqzoo/networks/point_embedding.py",
        "span / (self.edges - 1)",
        "span / self.edges",
        ("tests/networks/test_embeddings.py",),
    ),
    Fault(
        "Fourier features begin with a constant",
        "floqzoo/networks/time_embedding.py",
        "jnp.arange(1, self.time_features + 1, dtype=float)",
        "jnp.arange(self.time_features, dtype=float)",
        ("tests/networks/test_embeddings.py",),
    ),
    Fault(
        "members of an ensemble are built from one key",
        "floqzoo/networks/ensemble.py",
        "jax.random.split(key, size)",
        "jnp.broadcast_to(key, (size,))",
        ("tests/networks/test_ensemble_of_members.py",),
    ),
    Fault(
        "a joined ensemble begins with the other",
        "floqzoo/networks/ensemble.py",
        "jnp.concatenate([mine, theirs])",
        "jnp.concatenate([theirs, mine])",
        ("tests/networks/test_ensemble_of_members.py",),
    ),
)
