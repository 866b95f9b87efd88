"""What is known of the values of a traced function, from those that go in to those that come out.

A fact (depends on these leaves; is known to be zero) is carried through the function's equations in order. Calls are
entered, so are all branches of a condition, and loops are gone through until nothing changes any more.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from jax.extend.core import Literal, jaxprs_in_params

Fact = TypeVar("Fact")


class Dataflow(ABC, Generic[Fact]):
    """One kind of fact, and how operations pass it on."""

    nothing: Fact
    """What is known of a value of which nothing is known: a constant that the function captured."""

    @abstractmethod
    def literal(self, value: Any) -> Fact:
        """What is known of a number that stands in the program."""

    @abstractmethod
    def operation(self, equation: Any, facts: Sequence[Fact]) -> list[Fact]:
        """What is known of each result of an operation, from what is known of its operands."""

    @abstractmethod
    def either(self, one: Fact, other: Fact) -> Fact:
        """What is known of a value that is one of two."""

    @abstractmethod
    def chosen(self, fact: Fact, choice: Fact) -> Fact:
        """What is known of a value, if it also hangs on a number that chose it."""

    def results(self, jaxpr: Any, facts: Sequence[Fact]) -> list[Fact]:
        """What is known of each result of a traced function.

        Args:
            jaxpr: a `jax.extend.core.Jaxpr`.
            facts: of each argument.
        """
        known: dict[Any, Fact] = dict(zip(jaxpr.invars, facts, strict=True))

        def of(atom: Any) -> Fact:
            return self.literal(atom.val) if isinstance(atom, Literal) else known.get(atom, self.nothing)

        for equation in jaxpr.eqns:
            known |= zip(equation.outvars, self.equation(equation, [of(atom) for atom in equation.invars]), strict=True)
        return [of(atom) for atom in jaxpr.outvars]

    def equation(self, equation: Any, facts: Sequence[Fact]) -> list[Fact]:
        """What is known of each result of an equation, which may be a loop, a condition or a call."""
        match equation.primitive.name:
            case "scan":
                return self._scan(equation.params, list(facts))
            case "while":
                return self._while(equation.params, list(facts))
            case "cond":
                return self._cond(equation.params, list(facts))
        inner = list(jaxprs_in_params(equation.params))
        if len(inner) == 1 and len(inner[0].invars) == len(facts) and len(inner[0].outvars) == len(equation.outvars):
            return self.results(inner[0], facts)
        return self.operation(equation, facts)

    def _scan(self, params: Any, facts: list[Fact]) -> list[Fact]:
        constants, carried = params["num_consts"], params["num_carry"]
        carry = facts[constants : constants + carried]
        while True:
            results = self.results(params["jaxpr"].jaxpr, [*facts[:constants], *carry, *facts[constants + carried :]])
            joined = list(map(self.either, carry, results[:carried]))
            if joined == carry:
                return results if params["length"] else [*carry, *results[carried:]]
            carry = joined

    def _while(self, params: Any, facts: list[Fact]) -> list[Fact]:
        first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        carry = facts[second:]
        while True:
            results = self.results(params["body_jaxpr"].jaxpr, [*facts[first:second], *carry])
            (condition,) = self.results(params["cond_jaxpr"].jaxpr, [*facts[:first], *carry])
            joined = [self.chosen(self.either(*pair), condition) for pair in zip(carry, results, strict=True)]
            if joined == carry:
                return carry
            carry = joined

    def _cond(self, params: Any, facts: list[Fact]) -> list[Fact]:
        choice, *operands = facts
        branches = [self.results(branch.jaxpr, operands) for branch in params["branches"]]
        joined = branches[0]
        for branch in branches[1:]:
            joined = list(map(self.either, joined, branch))
        return [self.chosen(fact, choice) for fact in joined]
