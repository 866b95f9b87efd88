"""What the wheel and the sdist hold: the wheel the package and nothing else, the sdist every file of the checkout.

Usage: python .ci/archives.py CHECKOUT DIST
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

checkout, dist = map(Path, sys.argv[1:])
(wheel,) = dist.glob("limpet-*.whl")
(sdist,) = dist.glob("limpet-*.tar.gz")

package = {
    file.relative_to(checkout / "plugin").as_posix()
    for file in (checkout / "plugin/limpet").rglob("*")
    if file.is_file() and "__pycache__" not in file.parts
}
with zipfile.ZipFile(wheel) as archive:
    held = {name for name in archive.namelist() if ".dist-info/" not in name}
assert held == package, f"the wheel differs from plugin/limpet: {sorted(held ^ package)}"
assert {"limpet/tensorboard/web/tab.js", "limpet/config/presets/rockpool-30.yaml", "limpet/py.typed"} <= held

with tarfile.open(sdist) as archive:
    sources = {name.partition("/")[2] for name in archive.getnames()}
listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True, check=True).stdout
missing = {name for name in listed.split("\0") if name and (checkout / name).exists()} - sources
assert not missing, f"the sdist lacks {sorted(missing)}"
print(f"{wheel.name}: {len(held)} files, {wheel.stat().st_size / 1e3:.0f} kB; {sdist.name}: {len(sources)} files")
