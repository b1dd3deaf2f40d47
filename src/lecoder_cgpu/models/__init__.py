"""Every document that we print, store or accept, by topic.

The JSON Schemas in `schemas/` are made from these classes. Field names follow the reference page where it has them
(`errorCode`, `display_data`, `duration_ms`); fields that we add are camelCase. An optional field that does not apply is
absent, never null, unless its docstring says otherwise. Import a document from its topic
(`from ..models.runs import Run`), and under TYPE_CHECKING where only an annotation needs it: making a class costs a
tenth of a millisecond.
Who may use it: every package.
Never here: how a document is computed, or how it is shown to a person.
"""
