"""The range of discounted returns, computed from the range of rewards in a dataset."""


def return_range(
    reward_range: tuple[float | int, float | int], discount: float | int, otherwise: str
) -> tuple[float, float]:
    r"""Returns the range of discounted returns, $[r_{\min}, r_{\max}] / (1 - \gamma)$.

    - `reward_range`: The minimum and the maximum reward of the dataset.
    - `discount`: $\gamma$ in [0, 1).
    - `otherwise`: What the error message advises the user to do if the rewards are constant.

    **Raises** `ValueError` if the minimum reward is not below the maximum, or `discount` is out of range.
    """
    low, high = reward_range
    if not low < high:
        raise ValueError(
            f"`reward_range` must have a minimum below its maximum; got {reward_range}. If all rewards of a dataset are "
            f"equal, for example because no episode reaches the goal, use more episodes (`--collect_episodes`); for a task "
            f"with constant rewards, {otherwise}."
        )
    if not 0 <= discount < 1:
        raise ValueError(f"`discount` must lie in [0, 1); got {discount}.")
    return low / (1 - discount), high / (1 - discount)
