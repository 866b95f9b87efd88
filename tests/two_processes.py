"""One of two processes that share a curve's chips; run by test_monte_carlo.py: `two_processes.py RANK OUTPUT PORT`."""

import sys

import jax


def main(rank: int, output: str, port: int) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

    import test_monte_carlo  # makes arrays, which must not happen before the processes have met

    assert jax.device_count() == 4
    assert jax.local_device_count() == 2
    mesh = jax.make_mesh((4,), ("chip",), axis_types=(jax.sharding.AxisType.Auto,))
    test_monte_carlo.measure(mesh=mesh).save(output)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
