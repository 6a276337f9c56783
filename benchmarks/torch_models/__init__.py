"""The models of the comparison in plain PyTorch. Each module has `forward(batch)` and parameters under the names that
reckon's case files use; `blocks(module)` gives what `checkpoint` and the counts are about."""
from .cases import CASES, Case, build_module, write_case

__all__ = ["CASES", "Case", "build_module", "write_case"]
