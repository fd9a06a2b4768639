"""DOTA's files as one COCO file of upright boxes."""

import json

import numpy as np
import pytest
from PIL import Image

from dynnet.utils.errors import ConfigError, DataError

from ..loading import load_tool

LINE = '10 20 30 10 40 30 20 40 ship 0\n'


