"""What a traced function holds."""

from jax.extend.core import jaxprs_in_params


def count(jaxpr, name: str) -> int:
    """How often a primitive occurs in a jaxpr, nested ones included."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == name
        found += sum(count(inner, name) for inner in jaxprs_in_params(equation.params))
    return found
