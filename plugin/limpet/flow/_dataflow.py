"""What is known of the values of a traced function, from those that go in to those that come out.

A fact (depends on these leaves; is known to be zero) is carried through the function's operations in order. Calls are
entered, so are all branches of a condition, and loops are gone through until nothing changes any more.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from .._jax import Call, Cond, Function, Number, Operation, Scan, While

Fact = TypeVar("Fact")


class Dataflow(ABC, Generic[Fact]):
    """One kind of fact, and how operations pass it on."""

    nothing: Fact
    """What is known of a value of which nothing is known: a constant that the function captured."""

    @abstractmethod
    def number(self, value: Any) -> Fact:
        """What is known of a number that stands in the program."""

    @abstractmethod
    def operation(self, operation: Operation, facts: Sequence[Fact]) -> list[Fact]:
        """What is known of each result of an operation, from what is known of its operands."""

    @abstractmethod
    def either(self, one: Fact, other: Fact) -> Fact:
        """What is known of a value that is one of two."""

    @abstractmethod
    def chosen(self, fact: Fact, choice: Fact) -> Fact:
        """What is known of a value, if it also hangs on a number that chose it."""

    def results(self, function: Function, facts: Sequence[Fact]) -> list[Fact]:
        """What is known of each result of a traced function, from what is known of its arguments."""
        known: dict[Any, Fact] = dict(zip(function.arguments, facts, strict=True))

        def of(operand: Any) -> Fact:
            return self.number(operand.value) if isinstance(operand, Number) else known.get(operand, self.nothing)

        for operation in function.operations:
            known |= zip(operation.results, self.through(operation, list(map(of, operation.operands))), strict=True)
        return list(map(of, function.results))

    def through(self, operation: Operation, facts: list[Fact]) -> list[Fact]:
        """What is known of each result of an operation, which may be a loop, a condition or a call."""
        match operation.structure:
            case Scan() as scan:
                return self.scan(scan, facts)
            case While() as loop:
                return self.loop(loop, facts)
            case Cond(branches):
                return self._cond([self.results(branch, facts[1:]) for branch in branches], facts[0])
            case Call(body):
                return self.results(body, facts)
        return self.operation(operation, facts)

    def scan(self, scan: Scan, facts: list[Fact]) -> list[Fact]:
        """What is known of each result of a scan, from what is known of its operands."""
        carry, results = self.scanned(scan, facts)
        return results if scan.length else [*carry, *results[scan.carried :]]

    def scanned(self, scan: Scan, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
        """What is known at every turn of a scan of what it carries, and of the results of its body."""
        carried = scan.constants + scan.carried
        constants, carry, rows = facts[: scan.constants], facts[scan.constants : carried], facts[carried:]
        while True:
            results = self.results(scan.body, [*constants, *carry, *rows])
            joined = list(map(self.either, carry, results))
            if joined == carry:
                return carry, results
            carry = joined

    def loop(self, loop: While, facts: list[Fact]) -> list[Fact]:
        """What is known of what a loop carries, at every turn and as a result, from what is known of its operands."""
        first, second = loop.condition_constants, loop.condition_constants + loop.body_constants
        carry = facts[second:]
        while True:
            results = self.results(loop.body, [*facts[first:second], *carry])
            (condition,) = self.results(loop.condition, [*facts[:first], *carry])
            joined = [self.chosen(self.either(*pair), condition) for pair in zip(carry, results, strict=True)]
            if joined == carry:
                return carry
            carry = joined

    def _cond(self, branches: list[list[Fact]], choice: Fact) -> list[Fact]:
        joined = branches[0]
        for branch in branches[1:]:
            joined = list(map(self.either, joined, branch))
        return [self.chosen(fact, choice) for fact in joined]
