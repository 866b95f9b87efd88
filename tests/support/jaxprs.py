"""What a traced function holds."""

from limpet._jax import Function


def count(jaxpr, name: str) -> int:
    """How often a primitive occurs in a jaxpr, nested ones included."""
    return counted(Function(jaxpr), name)


def counted(function: Function, name: str) -> int:
    return sum(
        (operation.name == name) + sum(counted(inner, name) for inner in operation.functions)
        for operation in function.operations
    )
