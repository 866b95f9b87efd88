"""`limpet chips`: rebuild virtual chips by their numbers."""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import LimpetError
from ._model import MODEL_HELP, TREE_HELP, load_model, load_tree
from ._output import show, write_json

EXAMPLES = """\
A virtual chip is everything that deviates, weights and frozen values, as robustness curves measure it: chip 17 at
--sigma 0.1 is the chip of that number in the curve. Without --sigma each leaf deviates at its own section's sigma.
With --frozen only the values of the frozen section deviate, as limpet.freeze builds them before training.

Each chip is a file of its own, which `limpet check --tree` reads: one chip is written to OUT.npz, several to
OUT_17.npz, OUT_18.npz and so on. Keys are leaf paths; bfloat16 is written as float32, which holds the same values.

examples:
  limpet chips nets:build --config configs/dynapse.yaml --chip 17 --sigma 0.15 -o worst.npz
  limpet chips params.npz --config config.yaml dynamic.sigma=0.2 --chip 0 --chip 1 -o chip.npz
"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "chips",
        help="rebuild virtual chips by number, as .npz",
        description="Rebuild virtual chips by their numbers, and write the deviated values by leaf path.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("network", metavar="MODEL-or-TREE", help=f"{MODEL_HELP}; or {TREE_HELP}")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="overrides of the configuration")
    parser.add_argument("--config", required=True, help="a .yaml, .yml or .toml file")
    parser.add_argument("--chip", type=int, action="append", required=True, help="number of a chip; may be repeated")
    parser.add_argument("--seed", type=int, help="of the chips; the configuration's if left out")
    parser.add_argument("--sigma", type=float, help="relative standard deviation of everything that deviates")
    parser.add_argument("--frozen", action="store_true", help="only what the frozen section selects")
    parser.add_argument("-o", "--output", required=True, help="the .npz to write")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Rebuild chips."""
    from ..config._load_config import load_config
    from ..draws._keys import checked_number
    from ..training._freeze import freeze

    for chip in arguments.chip:
        checked_number(chip, "--chip")  # all of them, before the first is written
    config = load_config(arguments.config, *arguments.overrides)
    outputs = _outputs(arguments.output, arguments.chip)
    name = arguments.network
    model = load_tree(name) if name.endswith(".npz") else load_model(name, config)
    _require_values(name, model)
    recipe, seed = _recipe(arguments, config, model)
    written = []
    for chip, path in outputs.items():
        values, left_out = _values(freeze(model, recipe, seed=seed, chip=chip, generator=config.generator))
        _write(path, values)
        written.append({"chip": chip, "seed": seed, "output": str(path), "leaves": len(values), "left_out": left_out})
    if arguments.json:
        write_json({"deviating": list(recipe.paths), "chips": written})
        return 0
    for chip in written:
        note = f", left out as no numbers: {', '.join(chip['left_out'])}" if chip["left_out"] else ""
        show(
            f"{chip['output']}: chip {chip['chip']} of seed {seed}, {chip['leaves']} leaves, "
            f"{len(recipe.paths)} deviating{note}"
        )
    return 0


def _outputs(output: str, chips: list[int]) -> dict[int, Path]:
    """The file of each chip."""
    path = Path(output)
    if path.suffix != ".npz":
        raise LimpetError(f"-o {output}: give a name that ends in .npz")
    if len(set(chips)) == 1:
        return {chips[0]: path}
    return {chip: path.with_name(f"{path.stem}_{chip}.npz") for chip in chips}


def _recipe(arguments: argparse.Namespace, config: Any, model: Any) -> tuple[Any, int]:
    """Who deviates, and the seed of the chips."""
    if arguments.frozen:
        if config.frozen is None:
            raise LimpetError(f"--frozen: {arguments.config} has no frozen section")
        recipe, seed = config.frozen.recipe(model), config.frozen.seed
    else:
        if config.robustness.targets is not None and arguments.sigma is None:
            raise LimpetError("robustness.targets says what deviates, but not how much: give --sigma")
        recipe = config.chip_recipe(model)
        seed = config.seed if config.robustness.seed is None else config.robustness.seed
    if arguments.sigma is not None:
        recipe = recipe.with_sigma(arguments.sigma)
    return recipe, seed if arguments.seed is None else arguments.seed


def _require_values(name: str, model: Any) -> None:
    import jax

    from ..leaves import rockpool as _rockpool
    from ..leaves._paths import leaves_by_path

    leaves = {} if _rockpool.is_module(model) else leaves_by_path(model)[0]
    for path, leaf in leaves.items():
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise LimpetError(f"{name}: leaf '{path}' is a shape without values; needed are arrays")


def _write(path: Path, values: dict[str, np.ndarray]) -> None:
    """What `numpy.savez` writes; that takes names as keywords, and so cannot write a leaf called `file`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in values.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, value, allow_pickle=False)


def _values(chip: Any) -> tuple[dict[str, np.ndarray], list[str]]:
    """The numbers of a chip by leaf path, and the paths of what holds none (functions, random keys)."""
    import jax
    import jax.numpy as jnp

    from ..leaves import rockpool as _rockpool
    from ..leaves._paths import leaves_by_path

    leaves, _ = leaves_by_path(_rockpool.attributes(chip) if _rockpool.is_module(chip) else chip)
    values, left_out = {}, []
    for path, leaf in leaves.items():
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if jnp.issubdtype(dtype, jax.dtypes.prng_key) or np.dtype(dtype).kind in "OSUM":
            left_out.append(path)
        elif np.dtype(dtype).kind == "V":  # bfloat16 and the like, which .npz cannot name
            values[path] = np.asarray(jnp.asarray(leaf, jnp.float32))
        else:
            values[path] = np.asarray(leaf)
    return values, left_out
