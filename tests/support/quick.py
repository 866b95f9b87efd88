"""Flags by which XLA compiles quickly what runs for milliseconds: `XLA_FLAGS=$(python tests/support/quick.py) ...`."""

from importlib.metadata import version

FLAGS = ["--xla_backend_optimization_level=0"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # 0.12 does not know it, and ends
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")

if __name__ == "__main__":
    print(*FLAGS)
