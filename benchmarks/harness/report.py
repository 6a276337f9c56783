"""Measured figures as a Markdown report: one table per case and precision, then the targets."""
import statistics

from .workers import PROBLEM

MIB = 2 ** 20


def seconds(row):
    return row.get("seconds") or []


def paired(a, b):
    """Median of the round-by-round ratio a / b, with its smallest and largest."""
    r = [x / y for x, y in zip(seconds(a), seconds(b))]
    return (statistics.median(r), min(r), max(r)) if r else None


def best_torch(rows):
    """Name of the PyTorch variant with the smallest median."""
    times = {n: statistics.median(seconds(r)) for n, r in rows.items() if n.startswith("PyTorch") and seconds(r)}
    return min(times, key=times.get) if times else None


def number(x, digits=0):
    return "-" if x is None else f"{x:,.{digits}f}"


def mib(row, key, less=None):
    if key not in row or (less and less not in row):
        return None
    return (row[key] - (row[less] if less else 0)) / MIB


def launches(row):
    """Forward and backward only: the optimizer's are left out on both sides."""
    if "launches_by_phase" in row:
        return sum(n for phase, n in row["launches_by_phase"].items() if phase != "optimizer")
    return row.get("kernels")


def matmul_gflop(row):
    if "flops" in row and isinstance(row["flops"], dict):
        return sum(f["matmul"] for f in row["flops"].values()) / 1e9
    return row["flops"] / 1e9 if "flops" in row else None


def own_peak(row):
    """The ledger's peak without what lies there anyway: weights and batch."""
    if "peak_by_category" not in row:
        return None
    c = row["peak_by_category"]
    return (row["peak_bytes"] - c["parameter"] - c["input"]) / MIB


def case_table(case, dtype):
    data = case["dtypes"][dtype]
    rows = data["rows"]
    best, eager = best_torch(rows), rows.get("PyTorch eager", {})
    eager_saved = mib(eager, "saved_bytes")
    lines = [f"{dtype}, {data['rounds']} rounds; best PyTorch: {best or 'none ran'}", "",
             "| variant | step ms | min - max | / best PyTorch (paired) | CPU ms | saved MiB | / eager | peak RSS + MiB | ledger peak + MiB | kernels | GFLOP | GFLOP/s | agrees |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"]
    for name, row in rows.items():
        if PROBLEM in row:
            lines.append(f"| {name} | - | | {row[PROBLEM].replace('|', '/')} | | | | | | | | | |")
            continue
        t = [1e3 * s for s in seconds(row)]
        median = statistics.median(t) if t else None
        r = paired(row, rows[best]) if best else None
        saved = mib(row, "saved_bytes")
        flop = matmul_gflop(row)
        a = row.get("agreement")
        agrees = "" if a is None else ("yes" if a["agrees"] else "NO") + (f", rms {a['rms']:.1e}" if "rms" in a else "") + (f", in f64 {a['worst_in_f64']:.0e}" if a.get("worst_in_f64") is not None else "")
        lines.append("| " + " | ".join([
            name, number(median, 1), f"{number(min(t), 1)} - {number(max(t), 1)}" if t else "-", f"{r[0]:.2f} ({r[1]:.2f} - {r[2]:.2f})" if r else "-",
            number(1e3 * statistics.median(row["cpu_seconds"]), 0) if row.get("cpu_seconds") else "-", number(saved, 1), f"{saved / eager_saved:.3f}" if saved is not None and eager_saved else "-", number(mib(row, "rss_peak", "rss_start")),
            number(own_peak(row)), number(launches(row)), number(flop, 1), number(flop / median * 1e3, 0) if flop and median else "-", agrees]) + " |")
    return "\n".join(lines)


def profile(case, dtype, policy, top=8):
    """Where reckon's step goes, by op."""
    row = case["dtypes"].get(dtype, {}).get("rows", {}).get("reckon " + policy, {})
    total = sum(o["ms"] for o in row.get("ops", []))
    return [(o["op"], o["ms"], o["ms"] / total, o["matmul_flops"] / o["ms"] / 1e6 if o["ms"] > 0 else 0) for o in row.get("ops", [])[:top]]


def pair_positions(case):
    return case["batch"]["n_res"] ** 2 * case["config"]["no_blocks"]


# Bytes kept per pair position and block in bf16; a policy's name ends in -low where residual streams are in bf16 too.
PAIR_BYTES = {"sublayer": 1500, "selective": 10000, "sublayer-low": 1500, "selective-low": 10000}
GPU_PAIR_POLICIES = ("sublayer-low", "selective-low")
# On a GPU: how much faster than each PyTorch variant of the same precision.
GPU_SPEEDUPS = {"pair": {"PyTorch eager": 3.0, "PyTorch compile": 1.5}, "qwen": {"PyTorch eager": 1.3, "PyTorch compile": 1.0}}


def gpu_targets(case):
    for dtype, data in case["dtypes"].items():
        rows = data["rows"]
        own = {n.removeprefix("reckon "): r for n, r in rows.items() if n.startswith("reckon") and PROBLEM not in r}
        fair = {p: r for p, r in own.items() if not p.endswith("-low") and r.get("agreement", {}).get("agrees")}
        for variant, factor in GPU_SPEEDUPS.get(case["family"], {}).items():
            times = {p: paired(r, rows[variant])[0] for p, r in fair.items() if seconds(r) and seconds(rows.get(variant, {}))}
            if times:
                p = min(times, key=times.get)
                yield f"{case['name']} {dtype}: step time of {p} / {variant}", 1 / factor, times[p], times[p] <= 1 / factor, ""
        for policy in GPU_PAIR_POLICIES if case["family"] == "pair" and dtype == "bf16" else ():
            if policy in own:
                bound = PAIR_BYTES[policy]
                kept = own[policy]["saved_bytes"] / pair_positions(case)
                yield f"{case['name']} {dtype}: bytes kept per pair position and block, {policy}", bound, kept, kept <= bound, " B"


def targets(cases):
    """(what, bound, measured, met, unit) for every target these cases can speak about."""
    out = []

    def add(what, bound, value, unit=""):
        if value is not None:
            out.append((what, bound, value, value <= bound, unit))

    for case in cases:
        family = case["family"]
        if case.get("device") == "cuda":
            out += gpu_targets(case)
            continue
        for dtype, data in case["dtypes"].items():
            rows = data["rows"]
            best = best_torch(rows)
            own = {n.removeprefix("reckon "): r for n, r in rows.items() if n.startswith("reckon") and PROBLEM not in r}
            where = f"{case['name']} {dtype}"
            eager = rows.get("PyTorch eager", {})
            # Rows whose gradients disagree, or that round more than PyTorch does, carry no time target.
            fair = {p: r for p, r in own.items() if not p.endswith("-low") and r.get("agreement", {}).get("agrees")}
            times = {p: paired(r, rows[best])[0] for p, r in fair.items() if best and seconds(r)}
            if times:
                p = min(times, key=times.get)
                bound = {"qwen": 0.8, "evoformer": 0.5, "pair": 0.5, "outer": 1.0}[family]
                add(f"{where}: step time of {p} / {best}", bound, times[p])
            if "saved_bytes" in eager:
                share = {p: r["saved_bytes"] / eager["saved_bytes"] for p, r in own.items()}
                for policy, bound in {"qwen": (("selective", 0.6), ("block", 0.1)), "evoformer": (("selective", 0.35),), "pair": (("selective", 0.35),),
                                      "outer": ()}[family]:
                    if policy in share:
                        add(f"{where}: bytes kept, {policy} / eager", bound, share[policy])
            if family == "pair" and dtype == "bf16":
                for policy, bound in PAIR_BYTES.items():
                    if policy in own:
                        add(f"{where}: bytes kept per pair position and block, {policy}", bound, own[policy]["saved_bytes"] / pair_positions(case), " B")
            if family == "outer" and "rss_peak" in eager:
                for p, r in own.items():
                    if own_peak(r) is not None:
                        add(f"{where}: peak, {p} / eager einsum", 0.05, own_peak(r) / mib(eager, "rss_peak", "rss_start"))
    return out


def target_table(cases):
    rows = targets(cases)
    lines = ["| target | at most | measured | |", "|---|---:|---:|---|"]
    for what, bound, value, met, unit in rows:
        show = (lambda v: f"{v:,.0f}{unit}") if unit else (lambda v: f"{v:.3f}")
        lines.append(f"| {what} | {show(bound)} | {show(value)} | {'met' if met else 'missed'} |")
    lines.append("")
    lines.append(f"{sum(r[3] for r in rows)} of {len(rows)} met.")
    return "\n".join(lines)


def render(meta, cases):
    lines = [f"# reckon and PyTorch on {meta.get('device', 'a CPU')}, {meta['date']}", ""]
    lines += [f"- {k}: {v}" for k, v in meta.items() if k not in ("date", "commands")]
    lines += ["", "Made by:", "", "```"] + meta["commands"] + ["```", "",
              "Method and definitions: `docs/performance.md`. Ratios are medians of round-by-round ratios with their range; \"+ MiB\" counts above a process that",
              "holds weights and batch only. \"saved\" is what backward holds after forward, distinct storages, without parameters and inputs.", ""]
    disagree = [f"{c['name']} {d} {n}" for c in cases for d, data in c["dtypes"].items() for n, r in data["rows"].items()
                if "agreement" in r and not r["agreement"]["agrees"]]
    checked = sum("agreement" in r for c in cases for data in c["dtypes"].values() for r in data["rows"].values())
    lines += [f"Loss and all gradients were compared before timing: {checked - len(disagree)} of {checked} reckon settings agree."
              + ("" if not disagree else " **Disagree: " + ", ".join(disagree) + ".**"), "", "## Targets", "", target_table(cases), ""]
    for case in cases:
        lines += [f"## {case['title']}", ""] + ([f"Measured with reckon {case['reckon']}.", ""] if "reckon" in case else [])
        for dtype in case["dtypes"]:
            lines += [case_table(case, dtype), ""]
            for policy in ("none", "selective"):
                top = profile(case, dtype, policy)
                if top:
                    lines += [f"reckon {policy}, last step by op: " + ", ".join(f"{op} {ms:.0f} ms ({share:.0%}" + (f", {rate:.0f} GFLOP/s)" if rate else ")")
                                                                               for op, ms, share, rate in top), ""]
    return "\n".join(lines)
