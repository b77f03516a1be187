"""Metrics that count right in every worker: the metrics API on a store that all processes share.

Each process counts in a memory-mapped file of its own (:mod:`.slab`, :mod:`.store`,
:mod:`.instruments`, :mod:`.provider`) in one directory (:mod:`.directory`). Whoever serves
(:mod:`.serving`) merges them (:mod:`.merge`), folds those whose process has ended (:mod:`.fold`)
and gives the result as Prometheus text (:mod:`.exposition`, :mod:`.server`) and as the SDK's
``MetricsData`` (:mod:`.sdk`).
"""
