"""Faults of goals that are drawn in hindsight."""

from .fault import Fault


GOALS_FILE = "floqzoo/tasks/goal_dataset.py"
TESTS = "tests/tasks/test_goal_dataset.py"
LOOP = f"{TESTS}::test_goals_are_those_of_a_loop_with_the_same_draws"
REWARD = f"{TESTS}::test_a_transition_ends_with_reward_0_where_its_goal_is_its_own_state"

GOALS = (
    Fault(
        "a later goal is one state too far",
        GOALS_FILE,
        "1 + jnp.log1p(-share)",
        "2 + jnp.log1p(-share)",
        (LOOP,),
    ),
    Fault(
        "later goals are less probable",
        GOALS_FILE,
        "kind < self.p_current + self.p_future,",
        "kind < self.p_future,",
        (LOOP, f"{TESTS}::test_goals_have_the_stated_distribution"),
    ),
    Fault(
        "random goals are drawn with the key of the kinds",
        GOALS_FILE,
        "self._random_states(random_key, len(at))",
        "self._random_states(kind_key, len(at))",
        (LOOP,),
    ),
    Fault(
        "a goal that is reached does not end the episode",
        GOALS_FILE,
        "discount=jnp.where(reached, 0, step.discount),",
        "discount=step.discount,",
        (REWARD,),
    ),
    Fault(
        "a goal is given to the observation alone",
        GOALS_FILE,
        "step.with_observations(lambda observation: observation.at[:, -self.goal_dim :].set(goal)),",
        "replace(step, observation=step.observation.at[:, -self.goal_dim :].set(goal)),",
        (REWARD, f"{TESTS}::test_a_sample_is_drawn_uniformly_from_the_transitions_each_with_goals"),
    ),
    Fault(
        "the fingerprint of goals is that of the states",
        GOALS_FILE,
        'hashlib.sha256(f"{self.states.fingerprint()} {distribution}".encode()).hexdigest()',
        "self.states.fingerprint()",
        (f"{TESTS}::test_a_fingerprint_is_that_of_the_states_and_of_the_distribution",),
    ),
    Fault(
        "the goals do not have the discount of the method",
        "floqzoo/training/prepared_run.py",
        'getattr(config.agent, "discount", None) if name.goal_conditioned else None',
        "None",
        ("tests/commands/test_goal_conditioned_run.py::test_a_run_on_goals_trains_and_is_evaluated",),
    ),
)
