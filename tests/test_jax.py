"""What Limpet reads of JAX's insides is what JAX does: loops and calls are run here from what was read of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from limpet import LimpetError
from limpet._jax import Call, Cond, Function, Number, Scan, While, content_of, on_programs, size_of

A, B, C, KEYS = jnp.arange(3.0), jnp.array(2.0), jnp.eye(3) + 1, jax.random.split(jax.random.key(0), 3)


def two_constants_and_rows(a, b, c):
    return jax.lax.scan(lambda carry, row: (carry * b + row @ a, (row * carry, carry)), b, c)


def rows_alone(a, c):
    return jax.lax.scan(lambda _, row: (None, row * a), None, c)


def nothing_but_a_length(a, b):
    return jax.lax.scan(lambda carry, _: ((carry[1], carry[0] + b), None), (a, a), length=4)


def keys_as_rows(b, keys):
    return jax.lax.scan(lambda carry, key: (carry + jax.random.uniform(key), carry), b, keys)


def a_loop(a, b, c):
    return jax.lax.while_loop(lambda s: s[0] + s[1][0] < 9 * b, lambda s: (s[0] + b, s[1] + c @ a), (b, a))


def a_call(a, b):
    return jax.jit(lambda a, b: (a * b, jnp.sin(b)))(a, b)


@jax.custom_jvp
def a_gradient_of_its_own(a):
    return 2 * a


a_gradient_of_its_own.defjvp(lambda primals, tangents: (a_gradient_of_its_own(*primals), tangents[0]))


def run(structure, operands):
    """What an operation gives, computed from what was read of its structure."""
    match structure:
        case Scan(body, constants, carried, length):
            fixed, carry, rows = operands[:constants], operands[constants:][:carried], operands[constants + carried :]
            given = []
            for turn in range(length):
                results = body(body.captured, [*fixed, *carry, *(row[turn] for row in rows)])
                carry = results[:carried]
                given.append(results[carried:])
            return [*carry, *map(jnp.stack, zip(*given, strict=True))]
        case While(condition, body, first, second):
            carry = operands[first + second :]
            while condition(condition.captured, [*operands[:first], *carry])[0]:
                carry = body(body.captured, [*operands[first : first + second], *carry])
            return carry
        case Call(body):
            return body(body.captured, operands)


PROGRAMS = [
    (two_constants_and_rows, (A, B, C)),
    (rows_alone, (A, C)),
    (nothing_but_a_length, (A, B)),
    (keys_as_rows, (B, KEYS)),
    (a_loop, (A, B, C)),
    (a_call, (A, B)),
    (a_gradient_of_its_own, (A,)),
]


@pytest.mark.parametrize(("program", "arguments"), PROGRAMS)
def test_structures_are_what_jax_runs(program, arguments):
    function = Function(jax.make_jaxpr(program)(*arguments))
    values = dict(zip(function.arguments, arguments, strict=True))
    (operation,) = function.operations
    found = run(operation.structure, [values[operand] for operand in operation.operands])
    for result, reference in zip(found, jax.tree.leaves(program(*arguments)), strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-6)


@pytest.mark.parametrize(("program", "arguments"), PROGRAMS)
def test_a_program_that_is_traced_again_has_the_same_content(program, arguments):
    one, other = (content_of(Function(jax.make_jaxpr(lambda *given: program(*given))(*arguments))) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_what_a_function_within_captured_is_content():
    def content(number):
        captured = jnp.full(3, number)

        def inner(a):
            return jax.lax.scan(lambda carry, row: (carry + row @ captured, None), 0.0, a)[0]

        return content_of(Function(jax.make_jaxpr(lambda a: jax.jit(lambda a: inner(a))(a))(C)))

    assert content(1.0) == content(1.0)
    assert content(1.0) != content(2.0)


def test_branches_and_numbers_are_read():
    def program(a):
        return jax.lax.cond(a.sum() > 0, lambda a: a * 2.0, lambda a: a, a), 3.0

    function = Function(jax.make_jaxpr(program)(A))
    structures = [operation.structure for operation in function.operations]
    (branches,) = (structure.branches for structure in structures if isinstance(structure, Cond))
    assert [[operation.name for operation in branch.operations] for branch in branches] == [[], ["mul"]]
    (product,) = branches[1].operations
    assert [operand.value for operand in product.operands if isinstance(operand, Number)] == [2.0]
    assert function.results[1] == Number(3.0)
    assert size_of(function.arguments[0]) == 12


def test_jax_tells_of_programs_that_it_traces_and_compiles():
    """What the audit of a loop stands on: the two events, and where the program is found when they are reported."""
    heard = []
    on_programs(lambda function, whole: heard.append((whole, [operation.name for operation in function.operations])))
    jax.jit(lambda a: jnp.tanh(a) @ A)(A)
    assert (True, ["tanh", "dot_general"]) in heard
    assert (False, ["tanh", "dot_general"]) in heard
    assert Function(jax.make_jaxpr(lambda mine: mine + 1)(A)).argument_names == ["mine"]


def test_what_hears_of_a_program_may_refuse_it():
    refused = []

    def refuse(function, whole):
        if whole and "erf" in [operation.name for operation in function.operations] and not refused:
            refused.append(function)
            raise LimpetError("no")

    on_programs(refuse)
    program = jax.jit(jax.lax.erf)
    with pytest.raises(LimpetError, match="no"):
        program(A)
    assert program(A).shape == A.shape
