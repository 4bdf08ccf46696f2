"""The bare matrix products of a network in PyTorch; it stands alone, and needs only torch.

`echo | python torch_products.py '[[[128, 784], [784, 400], 1, 0]]' 100` multiplies the operands of these shapes, summed
over these axes, a hundred times, and prints the seconds, for each line of its input.
"""

import functools
import json
import sys
import time

import torch


@functools.cache
def operand(shape: tuple[int, int]) -> torch.Tensor:
    """A matrix of this shape, shared by all the products that need one."""
    return torch.randn(shape)


def main() -> None:
    """Run the steps once for each line of standard input."""
    sequence, steps = json.loads(sys.argv[1]), int(sys.argv[2])
    calls = []
    for shape_left, shape_right, axis_left, axis_right in sequence:
        left, right = operand(tuple(shape_left)), operand(tuple(shape_right))
        left, right = left if axis_left else left.T, right.T if axis_right else right
        calls.append((left, right, torch.empty(left.shape[0], right.shape[1])))
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(steps):
            for left, right, out in calls:
                torch.mm(left, right, out=out)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
