"""What a function does with the leaves of a tree, as a trace of it shows."""

import jax

from limpet._jax import Function
from limpet.flow._probe import ProbeNotes
from limpet.flow._products import uses_of
from limpet.leaves._adapters import adapter_of
from limpet.leaves._probed import probed


def uses_in(function, tree, *args):
    values, structure = jax.tree.flatten((tree, args))

    def traced(values):
        tree, args = structure.unflatten(values)
        return function(probed(tree, adapter_of(tree).flattened(tree)[0], ProbeNotes()), *args)

    return uses_of(Function(jax.make_jaxpr(traced)(values)))
