"""Transforms."""

from mmcv.transforms import LoadImageFromFile

from dynnet.registry import TRANSFORMS
from dynnet.utils.errors import DataError


@TRANSFORMS.register_module()
class LoadImageStrict(LoadImageFromFile):
    """mmcv's :class:`LoadImageFromFile` that names every file it cannot read.

    mmcv names the file of most damaged pictures, but an empty file or a decoder's own
    error comes without it. Arguments are those of :class:`LoadImageFromFile`;
    ``ignore_empty`` stays False: a damaged file is never silently replaced.

    Raises:
        DataError: The file is missing, cut short or no picture.

    Example:
        >>> train_pipeline = [dict(type='dynnet.LoadImageStrict')]
    """

    def transform(self, results: dict) -> dict:
        """Load ``results['img_path']``.

        Args:
            results: A sample with ``img_path``.

        Returns:
            The sample with ``img`` (H, W, C) uint8 and its shapes.
        """
        path = results['img_path']
        try:
            loaded = super().transform(results)
        except FileNotFoundError as error:
            raise DataError(f'picture {path} does not exist') from error
        except Exception as error:  # decoders raise whatever they like
            raise DataError(f'picture {path} is damaged or no picture') from error
        if loaded is None:
            raise DataError(f'picture {path} is damaged or no picture')
        return loaded
