"""Fill `data.prompt_template`, a Python format string over a row's columns."""

from string import Formatter

from loratory.objectives.data.view import View, described
from loratory.spaces.errors import InputError


def fill_template(template: str, view: View, *, answer: str) -> str:
    """Return the prompt that the template makes of a row; a null column becomes "".

    Args:
        template: a format string; its fields are names of columns.
        view: the row.
        answer: the column of the answer, which a prompt must not contain.

    Raises:
        InputError: the template is no format string, or names a missing column or the answer's.
    """
    names = template_columns(template)
    answer_columns = {answer, view.actual(answer)}
    values = {}
    for name in names:
        if name in answer_columns:
            raise InputError(f"data.prompt_template must not hold the answer, has {{{name}}}")
        if not view.has(name):
            have = described(view.raw.fields)
            raise InputError(f"data.prompt_template: {view.raw.place} has no column {name}; it has {have}")
        values[name] = view.optional_text(name)
    return template.format(**values)


def template_columns(template: str) -> list[str]:
    """Return the names of the columns in a template.

    Raises:
        InputError: the template is no format string, or a field is no name of a column.
    """
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise InputError(f"data.prompt_template must be a Python format string: {error}") from error
    for _, name, spec, conversion in fields:
        if not (name or "").isidentifier() or spec or conversion:
            raise InputError(
                f"data.prompt_template: a field must be the name of a column, got {{{name}}}; "
                "write {{ and }} for braces"
            )
    return [name for _, name, _, _ in fields if name]
