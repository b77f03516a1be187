"""The dashboards as code: ``python -m c2cotel_boards.build`` writes the JSON in ``dashboards/``.

==============  =================================================================================
module          what
==============  =================================================================================
``promql``      pieces of queries, each with the variables of the dashboard in it
``panels``      the kinds of panels; ``tables`` the tables, ``look`` what they share
``links``       where clicks lead
``house``       a dashboard: rows of panels, links, annotations, variables
``variables``   the variables
``catalogue``   the metrics that c2cotel emits, with their labels
``reading``     what a dashboard's JSON asks, for those who check it
``build``       writes the JSON, or tells whether it is what would be written
==============  =================================================================================

Each other module is one dashboard, made by its function ``board``, or a part of one. What they make
is the classic JSON, which every Grafana imports, provisions and has in its API.
"""

import warnings

with warnings.catch_warnings():
    # They would rather have Grafana's second schema, which Grafana before version 12 cannot read;
    # they say so when they are first imported, whoever imports them.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.builders.dashboardv2beta1
    import grafana_foundation_sdk.cog.plugins  # noqa: F401 - only for the warnings
