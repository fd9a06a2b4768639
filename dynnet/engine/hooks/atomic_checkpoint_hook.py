"""A checkpoint hook that never costs the previous checkpoint."""

import os.path as osp

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from dynnet.registry import HOOKS
from dynnet.utils.atomic import remove_leftovers, write_atomic
from dynnet.utils.errors import CheckpointError

BACKEND = 'dynnet_atomic'


class AtomicLocalBackend(LocalBackend):
    """The local disk, with whole files only."""

    def put(self, obj: bytes, filepath: str) -> None:
        """Write a file atomically.

        Args:
            obj: The whole content.
            filepath: Final name.

        Raises:
            CheckpointError: It could not be written; what was there before still is.
        """
        try:
            write_atomic(filepath, obj)
        except OSError as error:
            raise CheckpointError(
                f'cannot write {filepath} ({error.strerror or error}); '
                'the checkpoints written before are kept'
            ) from error


class _DeferredRemoval:
    """A file backend that notes what to remove instead of removing it."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self._paths: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._paths.append(path)

    rmtree = remove

    def flush(self, keep: set[str]) -> None:
        """Remove everything noted, except the paths in ``keep``."""
        for path in self._paths:
            if path in keep:
                continue
            if self._backend.isdir(path):
                self._backend.rmtree(path)
            elif self._backend.isfile(path):
                self._backend.remove(path)
        self._paths = []


register_backend(BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's :class:`CheckpointHook` with saves that are whole or not there.

    A checkpoint is written aside, flushed and renamed; ``last_checkpoint`` follows, in
    the same way; only then the checkpoints that are no longer wanted are removed, the
    former best one included. Therefore the disk must hold one checkpoint more than
    ``max_keep_ckpts``. Arguments are those of :class:`mmengine.hooks.CheckpointHook`.

    Note:
        A remote ``out_dir`` or an explicit ``backend_args`` keeps the writer of that
        backend; object stores put whole files anyway.

    Example:
        >>> default_hooks = dict(
        ...     checkpoint=dict(type='dynnet.AtomicCheckpointHook', max_keep_ckpts=2))
    """

    def before_train(self, runner: Runner) -> None:
        """Choose the writer and clean up after a killed run.

        Args:
            runner: The runner of the training.
        """
        out_dir = str(self.out_dir or runner.work_dir)
        if (
            self.backend_args is None
            and self.file_client_args is None
            and type(get_file_backend(out_dir)) is LocalBackend
        ):
            self.backend_args = dict(backend=BACKEND)
        super().before_train(runner)
        self.file_backend = _DeferredRemoval(self.file_backend)
        if is_main_process():
            folders = {runner.work_dir}
            if self.backend_args == dict(backend=BACKEND):
                folders.add(self.out_dir)
            for path in [p for f in folders for p in remove_leftovers(f)]:
                runner.logger.info(f'Removed {path}, left by a killed save.')

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, then point ``last_checkpoint`` at it, then drop the oldest."""
        outdated = self._note_step(runner, step)
        filename = self.filename_tmpl.format(step)
        last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.last_ckpt = last_ckpt
        if not is_main_process():
            return
        pointer = osp.join(runner.work_dir, 'last_checkpoint')
        AtomicLocalBackend().put(last_ckpt.encode(), pointer)
        for old in outdated:
            self.file_backend.remove(
                self.file_backend.join_path(
                    self.out_dir, self.filename_tmpl.format(old)
                )
            )
        self.file_backend.flush(keep=self._wanted_paths())

    def _note_step(self, runner: Runner, step: int) -> list[int]:
        """Add ``step`` to the kept checkpoints.

        The message hub, saved with the checkpoint, still lists the outdated ones: a run
        killed before their removal removes them when it is resumed.

        Returns:
            The steps whose checkpoints are outdated once this one is saved.
        """
        if self.max_keep_ckpts <= 0:
            return []
        steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
        runner.message_hub.update_info('keep_ckpt_ids', steps)
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(steps)  # a deque that drops what is too much
        return steps[: -self.max_keep_ckpts]

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save a new best checkpoint and remove the former one afterwards."""
        super()._save_best_checkpoint(runner, metrics)
        if self.save_best and is_main_process():
            self.file_backend.flush(keep=self._wanted_paths())

    def _wanted_paths(self) -> set[str | None]:
        """The last and the best checkpoints as they are named by now."""
        wanted = {self.last_ckpt, getattr(self, 'best_ckpt_path', None)}
        return wanted | set(getattr(self, 'best_ckpt_path_dict', {}).values())
