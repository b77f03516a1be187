"""The Grafana dashboards and Prometheus rules that come with c2cotel, and how they get elsewhere.

==================================  ==============================================================
:mod:`c2cotel.boards.core`          what there is, and what of it is exported with which changes
:mod:`c2cotel.boards.promql`        names of metrics and labels changed in PromQL
:mod:`c2cotel.boards.grafana`       the same, in the JSON of a dashboard
:mod:`c2cotel.boards.rules`         the same, in YAML; thresholds and links of alerts
:mod:`c2cotel.boards.provisioning`  data sources and folders, for a Grafana that starts
:mod:`c2cotel.boards.writing`       files into a folder, all or none
:mod:`c2cotel.boards.push`          dashboards to a Grafana, over its HTTP API
:mod:`c2cotel.boards.exchange`      one question and answer of it, or why there is none
==================================  ==============================================================
"""
