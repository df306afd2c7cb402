"""Scripts that train without `if __name__ == "__main__":`, which every worker process would run again."""

import multiprocessing

from resnet_jax.errors import InputError

REMEDY = 'put what a script of your own does under if __name__ == "__main__":'


def refuse_import_by_worker() -> None:
    """Refuse to work in a worker process that has not begun: it only imports the script that started it.

    Raises:
        InputError: this is one.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing's own check of this
        raise InputError(f"a data worker process runs the script again, as it imports it when it starts; {REMEDY}")
