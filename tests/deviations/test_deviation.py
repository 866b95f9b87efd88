"""The contract of a deviation, where a deviation of one's own breaks it: one clear line each.

The trap behind most of them: JAX keeps what it compiled under the recipe, which compares by the fields of its
deviations. A parameter kept anywhere else may change, and the draw would still be that of its old value.
"""

from dataclasses import InitVar, dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

KEY = jax.random.key(0, impl=limpet.fast)
Value = TypeVar("Value")


def drawn(deviation: Any, **options: Any) -> jax.Array:
    return limpet.Mismatch({"w": True}, deviation, **options)(KEY, {"w": jnp.ones((2, 3))})["w"]


@dataclass(frozen=True)
class Shift(limpet.Deviation):
    """Adds a constant: enough to see which parameter a draw was made with."""

    by: float

    def deviate(self, draw, value, strength):
        return value + self.by * strength


# What is refused when the class is made


def test_a_parameter_in_a_class_attribute():
    with pytest.raises(
        limpet.LimpetError, match=r"Own\.gain = 3\.0: .*a field.*write `gain: float = 3\.0`, or.*ClassVar"
    ):

        @dataclass(frozen=True)
        class Own(Shift):
            gain = 3.0


def test_an_equality_of_one_s_own():
    with pytest.raises(limpet.LimpetError, match=r"Own\.__eq__: deviations are equal when all their parameters are"):

        @dataclass(frozen=True)
        class Own(Shift):
            gain: float

            def __eq__(self, other):
                return True


# What is refused when a recipe is made


def test_a_parameter_in_a_class_attribute_that_was_set_later():
    @dataclass(frozen=True)
    class Own(Shift):
        pass

    assert float(drawn(Own(1.0))[0, 0]) == 2.0
    Own.gain = 3.0
    with pytest.raises(limpet.LimpetError, match=r"Own\.gain = 3\.0: a parameter of a deviation is a field"):
        drawn(Own(1.0))


def test_a_parameter_in_a_class_attribute_of_a_mixin():
    class Mixin:
        gain = 3.0

    with pytest.raises(limpet.LimpetError, match=r"Mixin\.gain = 3\.0: a parameter of a deviation is a field"):

        @dataclass(frozen=True)
        class Own(Mixin, Shift):
            pass


def test_a_parameter_in_an_attribute_of_the_instance():
    @dataclass(frozen=True)
    class Own(Shift):
        gain: InitVar[float]

        def __post_init__(self, gain):
            object.__setattr__(self, "kept", gain)

    with pytest.raises(limpet.LimpetError, match="Own keeps kept where equality does not see it.*make it a field"):
        drawn(Own(1.0, 2.0))


def test_a_field_that_is_not_compared():
    @dataclass(frozen=True)
    class Own(Shift):
        gain: float = field(default=1.0, compare=False)

    assert Own(1.0, 2.0) == Own(1.0, 3.0)  # the trap
    with pytest.raises(limpet.LimpetError, match="Own keeps gain where equality does not see it"):
        drawn(Own(1.0))


@pytest.mark.parametrize("decorator", [dataclass, dataclass(eq=False, frozen=True), lambda cls: cls])
def test_a_class_that_is_no_frozen_dataclass(decorator):
    @decorator
    class Own(limpet.Deviation):
        gain: float = 1.0

        def deviate(self, draw, value, strength):
            return value

    with pytest.raises(limpet.LimpetError, match=r"deviation: Own .*decorate it with @dataclass\(frozen=True\)"):
        drawn(Own())


def test_an_undecorated_subclass_with_parameters():
    class Own(Shift):
        gain: float = 2.0

    class Further(Own):
        pass

    @dataclass(frozen=True)
    class Decorated(Own):
        other: float = 1.0

    for deviation in (Own(1.0), Further(1.0), Decorated(1.0)):
        with pytest.raises(limpet.LimpetError, match="Own adds gain to its base, but is not decorated itself"):
            drawn(deviation)


@pytest.mark.parametrize("value", [np.ones(2), jnp.ones(2), [1.0], {"a": 1.0}], ids=["NumPy", "JAX", "list", "dict"])
def test_a_parameter_that_cannot_be_hashed(value):
    with pytest.raises(limpet.LimpetError, match=r"Shift cannot be hashed \(unhashable.*numbers, strings and tuples"):
        drawn(Shift(value))


@pytest.mark.parametrize("value", [limpet.Gaussian, 0.1, None, "gaussian", lambda key, value: value])
def test_what_is_no_deviation(value):
    with pytest.raises(
        limpet.LimpetError, match=r"deviation = .*: give a deviation such as limpet.Gaussian\(sigma=0.1\)"
    ):
        drawn(value)


def test_a_chain_checks_its_members_by_their_place():
    for members, message in (
        ((limpet.Gaussian(0.1), 0.2), r"Chain\.members\[1\] = 0\.2: give a deviation"),
        ((), r"Chain\.members = \(\): give one deviation or more"),
        (limpet.Gaussian(0.1), r"Chain\.members = Gaussian\(sigma=0\.1\): give one deviation or more, in a tuple"),
    ):
        with pytest.raises(limpet.LimpetError, match=message):
            limpet.Chain(members)
    assert limpet.Chain([limpet.Gaussian(0.1)]) == limpet.Chain((limpet.Gaussian(0.1),))


# What is refused when it draws


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda value: value[0], r"Own\.deviate gave shape \(3,\) for values of shape \(2, 3\)"),
        (lambda value: value[None] * jnp.ones((4, 1, 1)), r"Own\.deviate gave shape \(4, 2, 3\)"),
        (lambda value: value.sum(), r"Own\.deviate gave shape \(\)"),
        (lambda value: value * 1j, r"Own\.deviate gave complex64, not an array of real floating-point numbers"),
        (lambda value: value > 0, r"Own\.deviate gave bool, not an array of real"),
        (lambda value: None, r"Own\.deviate gave NoneType, not an array of real"),
        (lambda value: [value], r"Own\.deviate gave list, not an array of real"),
    ],
)
def test_a_draw_of_another_shape_or_kind(result, message):
    @dataclass(frozen=True)
    class Own(limpet.Deviation):
        def deviate(self, draw, value, strength):
            return result(value)

    for gradient in ("through", "straight_through"):
        with pytest.raises(limpet.LimpetError, match=message):
            drawn(Own(), gradient=gradient)


# What keeps the contract


def test_another_parameter_is_another_draw_after_the_first_was_compiled():
    assert float(drawn(Shift(1.0))[0, 0]) == 2.0
    assert float(drawn(Shift(2.0))[0, 0]) == 3.0
    for gain in (4.0, 5.0):

        @dataclass(frozen=True)
        class Own(Shift):
            """The same name and fields each time, but another class: what it closes over is another gain."""

            def deviate(self, draw, value, strength, gain=gain):
                return value * gain

        assert float(drawn(Own(0.0))[0, 0]) == gain


def test_what_is_no_parameter_is_left_alone():
    class Helper:
        def method(self):
            return 0.0

    @dataclass(frozen=True, slots=True)
    class Slotted(Shift):
        gain: float = 1.0

    @dataclass(frozen=True)
    class Own(Helper, Shift, Generic[Value]):
        LIMIT: ClassVar[float] = 3.0
        start: InitVar[float] = 0.0
        derived: float = field(init=False, default=0.0)

        class Inner:
            pass

        def __post_init__(self, start):
            object.__setattr__(self, "derived", start)

        @cached_property
        def doubled(self):
            return 2 * self.by

        @property
        def sigma(self):
            return self.by

        @staticmethod
        @lru_cache
        def table():
            return 1.0

        halved = lru_cache(lambda self: self.by / 2)

        def deviate(self, draw, value, strength):
            return value + self.doubled * self.table()

    class Quiet(Own):
        """No parameters of its own: need not be decorated."""

        def deviate(self, draw, value, strength):
            return super().deviate(draw, value, strength)

    assert float(drawn(Slotted(1.0))[0, 0]) == 2.0
    assert float(drawn(Own(1.0))[0, 0]) == float(drawn(Quiet(1.0))[0, 0]) == 3.0
    assert drawn(Own(1.0)) is not None  # again: what the cached property left in the instance is no parameter
    assert limpet.Mismatch({"w": True}, Own(0.25)).sigma("w") == 0.25
    assert limpet.Mismatch({"w": True}, Slotted(0.25)).sigma("w") is None


@pytest.mark.parametrize("sigma", [-0.3, float("nan"), "0.1"])
def test_a_sigma_of_ones_own_is_checked_as_every_other(sigma):
    @dataclass(frozen=True)
    class Own(limpet.Deviation):
        sigma: float

        def deviate(self, draw, value, strength):
            return value * (1 + self.sigma * strength * draw.normal(value.shape))

    with pytest.raises(limpet.StrengthError, match=r"Own.sigma = .*allowed is a finite number >= 0"):
        limpet.Part("w", Own(sigma))
