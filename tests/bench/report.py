"""The table: what a run measured, as people read it."""

MIB = 1 << 20


def seconds(value):
    if value is None:
        return "–"
    if value < 0.0995:
        return f"{1000 * value:.1f} ms"
    return f"{value:.2f} s" if value < 99.5 else f"{value:.0f} s"


def count(value):
    return "–" if value is None else f"{value:g}"


def size(value):
    if value is None:
        return "–"
    value /= MIB
    return "0" if value == 0 else f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


HEAD = ("workload", "contender", "median", "min – max", "runs", "to koofs", "pages", "links", "GETs", "wire MiB", "peak MiB", "CPU s", "also")


def ratio(summary, ours):
    if not ours or ours.get("median") is None:
        return "–"
    if summary.get("cut") and summary.get("median") is None:
        return f"> {summary['cut'] / ours['median']:.1f}"
    if summary.get("median") is None:
        return "–"
    times = summary["median"] / ours["median"]
    return f"{times:.2f}" if times < 10 else f"{times:.0f}"


def also(summary):
    said = []
    for key, value in summary.get("more", {}).items():
        said.append(f"{key} {value:.3g}" if abs(value) < 1000 else f"{key} {value:.0f}")
    if summary.get("others"):
        said.append(f"other requests {summary['others']:g}")
    if summary.get("complaints"):
        said.append(f"COMPLAINTS {summary['complaints']:g}")
    if summary.get("failed"):
        said.append("FAILED: " + summary["failed"].replace("|", "/").replace("\n", " ")[:160])
    return "; ".join(said)


def table(found, workloads):
    lines = [row(*HEAD), row(*["---"] * 2, *["---:"] * 10, "---")]
    for workload in workloads:
        if workload.name not in found:
            continue
        contenders = found[workload.name]
        for name, summary in contenders.items():
            median = summary.get("median")
            spread = f"{seconds(summary['min'])} – {seconds(summary['max'])}" if summary.get("runs", 0) > 1 else "–"
            shown = seconds(median)
            if median is None and summary.get("cut"):
                shown = f"> {summary['cut']:g} s"
            numbers = [count(summary.get(key)) for key in ("pages", "links", "gets")]
            lines.append(row(
                workload.title.replace("|", "\\|") if name == next(iter(contenders)) else "", name, shown, spread, summary.get("runs", 0),
                ratio(summary, contenders.get("koofs")), *numbers, size(summary.get("wire")), size(summary.get("peak")),
                "–" if summary.get("cpu") is None else f"{summary['cpu']:.2f}", also(summary),
            ))
        least = workload.least
        lines.append(row(
            "", "*the least*", *[""] * 4, count(least.get("pages")), 0, count(least.get("gets")), size(least.get("bytes")),
            "", "", "",
        ))
    return "\n".join(lines)


def goals(lines):
    out = [row("profile", "goal", "measured", ""), row("---", "---", "---", "---")]
    for profile, goal, measured, met in lines:
        out.append(row(profile, goal, measured, "met" if met else "**NOT MET**"))
    return "\n".join(out)
