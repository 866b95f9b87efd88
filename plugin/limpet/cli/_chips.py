r"""`limpet chips`: rebuild virtual chips by their numbers, as .npz of values by leaf path.

On a virtual chip all parts of the hardware deviate, as robustness curves
measure it: chip 17 at --scale 1.5 is the chip of that number in the curve, and so
it is at --time "1 day" in a curve over times.
--sigma gives the strength as a relative standard deviation of every leaf.
With --frozen only the parts of training.frozen deviate, at its scale, as
limpet.freeze builds them.

The values are those of MODEL as it is built. Give trained ones by --params:
an .npz by leaf path, or an Orbax checkpoint.

Each chip is a file of its own, which `limpet check --tree` reads: one chip is
written to OUT.npz, several to OUT_17.npz, OUT_18.npz and so on. Keys are leaf
paths; bfloat16 is written as float32, which holds the same values. The
archive's comment says which chip it is, of which hardware.

examples:
  limpet chips nets:build --config configs/dynapse.yaml \
      --params trained.npz --chip 17 --sigma 0.15 -o worst.npz
  limpet chips params.npz --config config.yaml hardware.weights.sigma=0.2 \
      --chip 0 --chip 1 -o chip.npz
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limpet import LimpetError
from limpet.checks import number

from ._command import add_command, add_config, add_params, named
from ._model import MODEL_HELP, TREE_HELP, configured, load_model
from ._output import show, write_json

if TYPE_CHECKING:
    from limpet import Condition, Recipe


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "chips", __doc__, run)
    parser.add_argument("network", metavar="MODEL-or-TREE", type=named, help=f"{MODEL_HELP}; or {TREE_HELP}")
    add_config(parser)
    add_params(parser)
    parser.add_argument("--chip", type=int, action="append", required=True, help="number of a chip; may be repeated")
    parser.add_argument("--seed", type=int, help="of the chips; the configuration's if left out")
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument("--scale", type=float, help="factor on every deviation (default: 1, the hardware as it is)")
    strength.add_argument("--sigma", type=float, help="relative standard deviation of everything that deviates")
    parser.add_argument("--time", help="time since programming: seconds, or '1 day' (default: as the hardware says)")
    parser.add_argument("--frozen", action="store_true", help="only the parts of training.frozen, at its scale")
    parser.add_argument("-o", "--output", metavar="OUT.npz", type=named, required=True, help="the .npz to write")


def run(arguments: argparse.Namespace) -> int:
    """Rebuild chips."""
    import limpet
    from limpet.checks import MAX_SEED, listing, whole
    from limpet.leaves import adapter_of

    for chip in arguments.chip:
        whole("--chip", chip, 0, MAX_SEED)  # all of them, before the first is written
    config = configured(arguments)
    outputs = _outputs(arguments.output, arguments.chip)
    name = arguments.network
    model = limpet.stored_parameters(name) if name.endswith(".npz") else load_model(name, config)
    _require_new(outputs.values(), name, arguments.params)
    own = adapter_of(model).leaves(model)
    trained = own.keys() if name.endswith(".npz") else {}
    if arguments.params is not None:
        trained = limpet.stored_parameters(arguments.params, model)
        model = adapter_of(model).loaded(model, trained)
    untrained = [path for path in own if path not in trained]
    tree = adapter_of(model).nominal(model)
    leaves = adapter_of(tree).leaves(tree)
    recipe, seed, condition = _asked(arguments, config, model)
    _require_numbers(arguments.params or name, leaves, recipe.paths)
    seed = whole("--seed", seed, 0, MAX_SEED)
    mark = {"fingerprint": limpet.fingerprint(recipe, model), "draws_version": limpet.DRAWS_VERSION}
    mark |= {"generator": config.generator, "scale": condition.scale}
    if condition.time is not None:
        mark["time"] = condition.time
    written = []
    for chip, path in outputs.items():
        drawn = recipe(limpet.virtual_chip(seed, chip, config.generator), tree, condition)
        left_out = limpet.save_parameters(path, drawn, {"chip": chip, "seed": seed} | mark)
        count = len(leaves) - len(left_out)
        written.append({"chip": chip, "seed": seed, "output": str(path), "leaves": count, "left_out": left_out})
    if arguments.json:
        write_json({"deviating": list(recipe.paths), "untrained": untrained, "chips": written} | mark)
        return 0
    for chip in written:
        note = f", left out as no numbers: {', '.join(chip['left_out'])}" if chip["left_out"] else ""
        show(
            f"{chip['output']}: chip {chip['chip']} of seed {seed}, {chip['leaves']} leaves, "
            f"{len(recipe.paths)} deviating{note}"
        )
    if untrained and arguments.params is None:
        show(f"values are untrained, as {name} builds them; give trained ones by --params")
    elif untrained:
        show(f"{arguments.params} holds {len(trained)} leaves; {name} gives the others: {listing(untrained, limit=10)}")
    return 0


def _outputs(output: str, chips: list[int]) -> dict[int, Path]:
    """The file of each chip."""
    path = Path(output)
    if path.suffix != ".npz":
        raise LimpetError(f"-o {output}: give a name that ends in .npz")
    if len(set(chips)) == 1:
        return {chips[0]: path}
    return {chip: path.with_name(f"{path.stem}_{chip}.npz") for chip in chips}


def _require_new(outputs: Any, *inputs: str | None) -> None:
    """Nominal values that a chip's are written over are lost."""
    for path in outputs:
        for name in inputs:
            if name is not None and path.resolve() == Path(name).resolve():
                raise LimpetError(
                    f"-o {path}: would overwrite the nominal values that it is made of; name another file"
                )


def _asked(arguments: argparse.Namespace, config: Any, model: Any) -> "tuple[Recipe, int, Condition]":
    """The recipe, the seed of the chips, and the condition under which they are looked at."""
    from limpet import Condition, LogUniform
    from limpet.results import seconds

    recipe, seed, scale, time = config.recipe(model), config.chip_seed, 1.0, None
    if arguments.frozen:
        if not config.frozen_parts:
            raise LimpetError(f"--frozen: {arguments.config} has no training.frozen")
        recipe, seed, frozen = recipe.only(*config.frozen_parts), config.frozen_seed, config.training.frozen
        scale, time = frozen.scale, frozen.time
    if arguments.sigma is not None:
        recipe, scale = recipe.with_sigma(number("--sigma", arguments.sigma, 0, 5)), 1.0
    if arguments.scale is not None:
        scale = number("--scale", arguments.scale, 0, 1000)
    if arguments.time is not None:
        time = seconds(arguments.time, "--time")
    if isinstance(time, LogUniform):
        raise LimpetError("--frozen: training.frozen.time draws a time at each step; give one by --time")
    return recipe, seed if arguments.seed is None else arguments.seed, Condition(scale, time)


def _require_numbers(name: str, leaves: dict[str, Any], deviating: Collection[str]) -> None:
    """A chip of what is no number is a mistake that was made earlier."""
    import jax
    import jax.numpy as jnp

    for path, leaf in leaves.items():
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise LimpetError(f"{name}: leaf '{path}' is a shape without values; needed are arrays")
        if path in deviating and not bool(jnp.isfinite(jnp.asarray(leaf)).all()):
            raise LimpetError(f"{name}: leaf '{path}' holds NaN or infinite values")
