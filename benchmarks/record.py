"""What is told of a workload: a record with every number, and a row of the terminal's table."""

from benchmarks import limits
from benchmarks.memory import peak_resident_bytes, program_bytes
from benchmarks.timing import Spread, rate, speed_ratio, spread
from benchmarks.workloads import Workload

PRODUCTS = "products, "  # before the name of the library that ran the bare products
LARGE_PRODUCT, TRIAD = "the large product", "the triad"  # a machine's own rates


def record_of(workload: Workload, source: str, seconds: dict[str, list[float]], amounts: dict[str, float]) -> dict:
    """Everything that is known about a workload.

    Args:
        workload: that was measured.
        source: of its pictures.
        seconds: name -> [repeats], as `timing.in_turns` gives it; "ours" is the library.
        amounts: name -> what one repetition does: images, or operations of the large product, or bytes of the triad.

    Returns:
        A dict for JSON.
    """

    def ratio(name: str) -> dict:
        return speed_ratio(amounts["ours"], seconds["ours"], amounts[name], seconds[name])._asdict()

    rates = {name: rate(amounts[name], values) for name, values in seconds.items()}
    arithmetic, memory = rates.pop(LARGE_PRODUCT), rates.pop(TRIAD)
    fastest = max((name for name in rates if name.startswith(PRODUCTS)), key=lambda name: rates[name].median)
    flops = limits.flops(workload.products) / workload.images_per_step
    counted_by_xla = workload.program.cost_analysis() or {}
    ours = rates.pop("ours")
    return {
        "name": workload.name,
        "description": workload.description,
        "data": source,
        "images_per_repeat": workload.images,
        "repeats": len(seconds["ours"]),
        "images_per_second": ours._asdict(),
        "flops_per_image": flops,
        # XLA counts the body of a loop once, and the body is one step.
        "flops_per_image_by_xla": counted_by_xla.get("flops", 0) / workload.images_per_step or None,
        "bytes_per_image_by_xla": counted_by_xla.get("bytes accessed", 0) / workload.images_per_step or None,
        "gigaflops_per_second": flops * ours.median / 1e9,
        "large_product_gigaflops_per_second": arithmetic.median / 1e9,
        "memory_gigabytes_per_second": memory.median / 1e9,
        "share_of_large_product": flops * ours.median / arithmetic.median,
        "others_images_per_second": {name: value._asdict() for name, value in rates.items()},
        "fastest_products": fastest.removeprefix(PRODUCTS),
        "share_of_products": ratio(fastest),
        "ratios": {name: ratio(name) for name in rates if not name.startswith(PRODUCTS)},
        "compile_seconds": workload.first_call_seconds - spread(seconds["ours"]).median,
        "program_bytes": program_bytes(workload.program),
        "peak_resident_bytes": peak_resident_bytes(),
    }


HEADER = (
    f"{'':15}{'images/s [quartiles]':^28}{'of products by':^24}{'MFLOP/image':>12}{'by XLA':>8}{'GFLOP/s':>9}"
    f"{'of largest':>11}{'compile s':>11}{'program MB':>12}{'peak MB':>9}  data, workload"
)
LEGEND = (
    "of products: of the speed of the workload's matrix products alone, by the fastest library. MFLOP: in these\n"
    "products, and in the whole step as XLA counts it. of largest: GFLOP/s against one large product in the same turns."
)


def line(record: dict) -> str:
    """A row of the table."""
    speed, share = Spread(**record["images_per_second"]), Spread(**record["share_of_products"])
    program, by_xla = record["program_bytes"], record["flops_per_image_by_xla"]
    return (
        f"{record['name']:15}"
        f"{f'{speed.median:,.0f} [{speed.lower:,.0f}, {speed.upper:,.0f}]':^28}"
        f"{f'{share.median:.0%} [{share.lower:.0%}, {share.upper:.0%}] ' + record['fastest_products']:^24}"
        f"{record['flops_per_image'] / 1e6:12,.2f}{'?' if by_xla is None else f'{by_xla / 1e6:,.2f}':>8}"
        f"{record['gigaflops_per_second']:9,.0f}{record['share_of_large_product']:11.0%}{record['compile_seconds']:11.1f}"
        f"{'?' if program is None else f'{program / 1e6:,.0f}':>12}{record['peak_resident_bytes'] / 1e6:9,.0f}"
        f"  {record['data']}; {record['description']}"
    )


def ratio_lines(record: dict) -> list[str]:
    """How a workload compares with each rival."""
    return [
        f"{'':15}{ratio['median']:.2f} [{ratio['lower']:.2f}, {ratio['upper']:.2f}] times as fast as {rival}"
        for rival, ratio in record["ratios"].items()
    ]
