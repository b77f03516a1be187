"""A picture of SQLAlchemy models: inheritance and relations, in the language of Graphviz.

A script draws the models of an application, as ``python models_graph.py | dot -Tsvg``::

    from c2cotel.models_graph import generate_model_graph
    from hello_app import models

    if __name__ == "__main__":
        generate_model_graph(models)

and so does ``c2cotel models-graph hello_app.models --format svg``. What is drawn:

=====================  ===========================================================================
class                  a box: its table, and of each column name, type, primary and foreign key;
                       with a parent, only what it adds
mixin, abstract class  a dashed box, with the columns that it brings
inheritance            an arrow with an empty head, to the parent
relationship           a line with its name, of both sides if there are two; a crow's foot is at
                       the side of which there may be many, an empty circle where there may be none
association table      a grey box, and dotted arrows to what it associates
foreign key            a dotted arrow, if no relationship and no inheritance is on it
base                   a frame around its classes, if there are several
=====================  ===========================================================================
"""

import sys
from types import ModuleType
from typing import Final

from c2cotel.models_graph.classes import ModelsGraphError, mappers_below, mappers_of
from c2cotel.models_graph.drawing import Graph

__all__ = ["ModelsGraphError", "generate_model_graph", "model_graph"]

_HEAD: Final = """\
digraph models {
  graph [rankdir=BT, fontname="Helvetica", nodesep=0.4, ranksep=0.7];
  node [shape=plain, fontname="Helvetica", fontsize=10];
  edge [fontname="Helvetica", fontsize=9, color="#555555"];
"""


def generate_model_graph(module: ModuleType, base: str | None = None) -> None:
    """Print the graph of the models of *module*, see :func:`model_graph`.

    *base*: without it, the first argument on the command line if there is one.
    """
    arguments = sys.argv[1:2]
    print(model_graph(module, base or (arguments[0] if arguments else None)), end="")  # noqa: T201 - its result


def model_graph(module: ModuleType, base: str | None = None) -> str:
    """The graph, for ``dot``, of all models that share a declarative base with those of *module*.

    *base* is the name of a class in *module*: only what is derived from it is drawn.

    Raises:
        ModelsGraphError: there are no such models, or SQLAlchemy cannot make them out.
    """
    mappers = mappers_below(module, base) if base else mappers_of(module)
    if not mappers:
        raise ModelsGraphError(
            f"{module.__name__} has no models: no class with a table is derived from "
            f"{base or 'a declarative base in it'}."
        )
    return _HEAD + "".join(f"  {line}\n" for line in Graph(mappers).lines()) + "}\n"
