"""One of two processes that share the work; run by test_two_processes.py: `two_processes.py RANK OUTPUT PORT`."""

import sys

import jax
import numpy as np


def main(rank: int, output: str, port: int) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

    # It makes arrays, which must not happen before the processes have met.
    from shared_work import find_tail, measure, replicated_step

    assert jax.device_count() == 4
    assert jax.local_device_count() == 2
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    measure(mesh=mesh).save(f"{output}/curve_{rank}.npz")
    find_tail(mesh=mesh).save(f"{output}/tail_{rank}.json")
    value, kernel = replicated_step(mesh)
    np.savez(f"{output}/step_{rank}.npz", value=value, kernel=kernel)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
