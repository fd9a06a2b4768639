"""Our parts against the published implementations' own numbers.

A case is ``NAME.json`` (facts) with ``NAME.npz`` (what the published implementation
returned). Its weights and inputs are rebuilt from names (``fill.py``, ``loader.py``).
An adapter in ``adapters/`` runs our part; ``harness.py`` compares.
"""
