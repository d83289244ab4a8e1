"""Owns the arithmetic over the rounds and the words of the report: medians, ratios to nginx, tables, targets.
compare calls it. Pure: it measures nothing and writes no file."""

import statistics

BASE = "nginx"

ROW_COLUMNS = [  # title, key, digits, shown with its ratio to nginx
    ("user µs", "user_us", 1, True),
    ("system µs", "system_us", 1, True),
    ("total µs", "total_us", 1, True),
    ("spread", "spread", 0, False),
    ("requests/s", "requests_s", 0, True),
    ("p50 µs", "p50_us", 0, True),
    ("p99 µs", "p99_us", 0, True),
    ("calls", "system_calls", 2, True),
    ("busy %", "busy", 0, False),
]

SERVER_COLUMNS = [
    ("resident KiB", "rss_kib", 0, True),
    ("anonymous KiB", "anonymous_kib", 0, True),
    ("bytes an idle connection", "idle_connection_bytes", 0, True),
    ("over TLS", "idle_tls_connection_bytes", 0, True),
    ("first answer ms", "start_ms", 1, True),
    ("user instructions", "instructions", 0, True),
    ("allocations", "allocations", 2, False),
    ("retains and releases", "reference_counts", 2, False),
]


def summarise(results):
    """Adds the medians over the rounds to each cell."""
    for cells in results["rows"].values():
        for cell in cells.values():
            rounds = cell["rounds"]
            for key in rounds[0]:
                values = [sample[key] for sample in rounds]
                cell[key] = None if None in values else statistics.median(values)
            cell["failed"] = sum(sample["failed"] for sample in rounds)
            totals = [sample["total_us"] for sample in rounds]
            cell["spread"] = (max(totals) - min(totals)) / 2 / cell["total_us"] * 100
            cell["busy"] *= 100


def ratio(cells, server, key, base=BASE):
    """A server's figure over nginx's, or None where either is missing or nought."""
    value, base = cells.get(server, {}).get(key), cells.get(base, {}).get(key)
    return value / base if value is not None and base else None


def judge(results, targets):
    """Each target with the value found and its verdict: pass, miss or not measured."""
    verdicts = []
    for title, (kind, *where), relation, bound in targets:
        if kind == "server":
            value = results["servers"].get("proxyd", {}).get(where[0])
        elif kind == "server ratio":
            value = ratio(results["servers"], "proxyd", where[0])
        elif kind == "row":
            value = results["rows"].get(where[0], {}).get("proxyd", {}).get(where[1])
        else:
            value = ratio(results["rows"].get(where[0], {}), "proxyd", *where[1:])
        if value is not None:
            value = round(value, 3)
        met = value is not None and (value < bound if relation == "<" else value <= bound)
        verdict = "not measured" if value is None else "pass" if met else "MISS"
        verdicts.append({"title": title, "relation": relation, "bound": bound, "value": value, "verdict": verdict})
    return verdicts


def _cell(cells, server, key, digits, with_ratio):
    value = cells[server].get(key)
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    if with_ratio and server != BASE and (quotient := ratio(cells, server, key)) is not None:
        text += f" ({quotient:.2f})"
    return text


def _row_table(results):
    lines = [["row", "server"] + [column[0] for column in ROW_COLUMNS]]
    for name, cells in results["rows"].items():
        for server, cell in cells.items():
            line = [name, server] + [_cell(cells, server, *column[1:]) for column in ROW_COLUMNS]
            if cell["failed"]:
                line[1] += f" ({cell['failed']} failed)"
            lines.append(line)
    return lines


def _server_table(results):
    lines = [["server"] + [column[0] for column in SERVER_COLUMNS]]
    for server in results["servers"]:
        if "start_ms" not in results["servers"][server]:
            continue
        lines.append([server] + [_cell(results["servers"], server, *column[1:]) for column in SERVER_COLUMNS])
    return lines


def _target_table(verdicts):
    lines = [["verdict", "target", "bound", "found"]]
    for verdict in verdicts:
        found = "-" if verdict["value"] is None else f"{verdict['value']:g}"
        lines.append([verdict["verdict"], verdict["title"], f"{verdict['relation']} {verdict['bound']:g}", found])
    return lines


def _heading(results):
    yield "In brackets: ratio to nginx. A request's processor time is the proxy's alone; spread is ± % over the rounds."
    yield (f"{results['rounds']} rounds of {results['seconds']} s, {results['cores']} cores ({results['placement']}), "
           f"kernel {results['kernel']}, took {results['took_s']} s")
    taken = results["neighbours"] * 100
    if taken >= 5:
        yield f"Other work took {taken:.0f} % of the machine: run again when it is quiet before believing a small difference."
    for name, server in results["servers"].items():
        dropped = f"; without {', '.join(server['dropped'])}" if server.get("dropped") else ""
        yield f"{name}: {server['version']}{dropped}"


def _aligned(table):
    widths = [max(len(line[index]) for line in table) for index in range(len(table[0]))]
    last = None
    for line in table:
        if last is not None and line[0] != last and len(table[0]) == len(ROW_COLUMNS) + 2:
            yield ""
        last = line[0]
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()


def text(results, verdicts):
    """The report for a terminal."""
    tables = [_row_table(results), _server_table(results), _target_table(verdicts)]
    return "\n".join([*_heading(results), *(line for table in tables for line in ("", *_aligned(table)))])


def markdown(results, verdicts):
    """The same report for a page."""
    lines = [f"{line}  " for line in _heading(results)]
    for table in (_row_table(results), _server_table(results), _target_table(verdicts)):
        lines += ["", "| " + " | ".join(table[0]) + " |", "|" + " --- |" * len(table[0])]
        lines += ["| " + " | ".join(line) + " |" for line in table[1:]]
    return "\n".join(lines) + "\n"
