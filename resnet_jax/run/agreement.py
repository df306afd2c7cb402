"""Comparison of the processes of a run: options, code and data before its first step, then the program and the state.

Processes that differ would wait for each other for ever, or train one half of a batch with another network.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import resnet_jax
from resnet_jax.config.options import PROCESS_OPTIONS, Config
from resnet_jax.data.build import Data
from resnet_jax.errors import InputError, StalledRunError
from resnet_jax.run.step import StepFunction
from resnet_jax.runtime.distributed import check_equal
from resnet_jax.workdir.folder import git_commit, versions
from resnet_jax.workdir.sealed import digest_of


def check_same_config(config: Config) -> None:
    """Compare options, code and the versions of packages over the processes of the run.

    Raises:
        InputError: some differ.
    """

    def facts() -> dict[str, Any]:
        options = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in PROCESS_OPTIONS}
        # As a folder, because each may name it from where it is; data are compared by what is in them.
        options["workdir"] = Path(config.workdir).absolute()
        return {
            **{f"--{name}": value for name, value in options.items()},
            **{f"the version of {name}": found for name, found in versions().items()},
            "the git commit": git_commit(),
            "the code of resnet_jax": digest_of_code(),
        }

    check_equal("config", facts)


def check_same_data(data: Data) -> None:
    """Compare the data sets over the processes of the run.

    Raises:
        InputError: they differ.
    """
    check_equal(
        "data",
        lambda: {
            "the number of training images": data.num_train,
            "the number of test images": data.num_test,
            "the number of classes": len(data.class_names),
            "the digest of the class names": digest_of(data.class_names),
            "the digest of the training images' names": data.train_examples,
            "the digest of the test images' names": data.test_examples,
            "the digest of the masks": data.mask_content,
        },
    )


def compared(step_at: Callable[[int], jax.stages.Wrapped]) -> Callable[[int], StepFunction]:
    """Return the programs of the steps; with several processes, each checks first that all lowered the same program."""
    if jax.process_count() == 1:
        return step_at
    known: set[int] = set()

    def compared_step_at(number: int) -> StepFunction:
        step = step_at(number)

        def compared_step(*arguments: Any) -> Any:
            if id(step) not in known:
                known.add(id(step))
                lowered = step.lower(*arguments).as_text()
                check_equal(f"program of step {number}", lambda: {"the lowered step": digest_of(lowered)})
            return step(*arguments)

        return compared_step

    return compared_step_at


def check_same_state(step: int, digest: str) -> None:
    """Compare the digests of the replicas of a state that is about to be saved.

    Raises:
        StalledRunError: they differ, so that this state is not saved.
    """
    try:
        check_equal(f"state after {step}", lambda: {f"the state after step {step:,}": digest})
    except InputError as error:
        raise StalledRunError(
            f"{error}; it is not saved, and the same command continues from the checkpoint before"
        ) from error


def digest_of_code() -> str:
    """Return a digest of the package's own files, for copies that no git commit describes."""
    package = Path(resnet_jax.__file__).parent
    return digest_of({str(path.relative_to(package)): path.read_text("utf-8") for path in package.rglob("*.py")})
