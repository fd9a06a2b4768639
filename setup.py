"""Package dynnet, its requirements and its configs."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
EXTRAS = ('classification', 'detection', 'rotated', 'video', 'tests')


def read_version() -> str:
    """Return ``__version__`` without importing the package."""
    values = {}
    exec((ROOT / 'dynnet/version.py').read_text(), values)
    return values['__version__']


def read_requirements(name: str) -> list[str]:
    """Return the requirements in ``requirements/NAME.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


class BuildWithConfigs(build_py):
    """Puts the configs where mmengine looks for ``dynnet::...``.

    In the source tree ``dynnet/.mim`` holds links to them.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'dynnet/.mim'
        shutil.copytree(
            ROOT / 'configs',
            target / 'configs',
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns('__pycache__'),
        )
        shutil.copy(ROOT / 'model-index.yml', target)


setup(
    name='dynnet',
    version=read_version(),
    description='Dynamic neural networks for the OpenMMLab toolboxes',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['dynnet', 'dynnet.*']),
    package_data={
        'dynnet.latency': ['devices/*.json'],
        'dynnet.ops.sparse_conv': ['csrc/*'],
        'dynnet.ops.mixing_cpp': ['csrc/*'],
    },
    python_requires='>=3.10',
    install_requires=read_requirements('runtime'),
    extras_require={name: read_requirements(name) for name in EXTRAS},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
)
