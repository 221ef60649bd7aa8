"""Medians and ratios of the rows that `run` measured: python3 report.py ROWS MEMORY"""

import statistics
import sys

rows = {}
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        name, connections, *figures = line.split()
        rows.setdefault((name, int(connections)), []).append([float(figure) for figure in figures])

print("\n| server | connections | accepted/s | CPU us each | p50 us | p99 us | refused |\n|---|---|---|---|---|---|---|")
medians = {}
for (name, connections), measured in rows.items():
    columns = [statistics.median(column) for column in zip(*measured)]
    medians[(name, connections)] = columns
    print(f"| {name} | {connections} | {columns[0]:.0f} | {columns[1]:.1f} | {columns[2]:.0f} | {columns[3]:.0f} | {columns[4]:.0f} |")

ours = next(key for key in rows if key[0] == "declic" and key[1] > 1)
print("\n| ratio, pair by pair | median | min | max |\n|---|---|---|---|")
for other in [key for key in rows if key[0] != "declic"]:
    for column, what in ((0, "accepted/s"), (1, "CPU each")):
        ratios = [a[column] / b[column] for a, b in zip(rows[ours], rows[other]) if b[column]]
        if ratios:
            print(f"| declic / {other[0]}, {what} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")

print("\n| peak memory | MiB |\n|---|---|")
with open(sys.argv[2], encoding="utf-8") as file:
    for line in file:
        _, name, kilobytes = line.split()
        print(f"| {name} | {int(kilobytes) / 1024:.1f} |")
