from tests.runtime.scripts import script

__all__ = ["script"]
