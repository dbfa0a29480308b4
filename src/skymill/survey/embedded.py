"""The simulated survey behind the same interface as tables of files: a part is a cell of its sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from skymill.survey.blocks import Part
from skymill.survey.columns import Columns
from skymill.survey.errors import TableError
from skymill.survey.inventory import combined_digest

if TYPE_CHECKING:
    from skymill.config.images import RenderSettings
    from skymill.config.survey import SimulationSettings, SurveyConfig


def mapped(config: SurveyConfig) -> SurveyConfig:
    """Give the configuration with the column map of the simulation."""
    from skymill.survey.simulated import column_map

    return type(config).model_validate(config.model_dump(exclude_unset=True) | column_map())


def settings_of(config: SurveyConfig) -> SimulationSettings:
    """The settings of the simulation, which the configuration demands."""
    assert config.simulation is not None
    return config.simulation


def is_simulated(config: SurveyConfig) -> bool:
    """Tell whether a survey is made here, as a table or in pixels, rather than read from files."""
    return config.simulation is not None or rendering(config) is not None


def rendering(config: SurveyConfig) -> RenderSettings | None:
    """The settings of a survey that is simulated in pixels."""
    return config.images.render if config.images is not None else None


def digest(config: SurveyConfig) -> str:
    """Digest of everything that decides what is simulated, the code aside."""
    from skymill.survey.simulated import data_digest

    settings = rendering(config) or settings_of(config)
    return combined_digest([settings.model_dump_json(), data_digest()])


def parts(config: SurveyConfig) -> list[Part]:
    """One part per cell."""
    from skymill.survey.simulated import cells, data_digest

    settings = settings_of(config)
    whole = settings.model_dump_json(exclude={"labelled"})  # which changes no source
    return [
        Part(
            name=f"cell Norder={cell.order}/Npix={cell.pixel}",
            n_rows=cell.n_rows,
            digest=combined_digest([whole, data_digest(), str(cell.order), str(cell.pixel)]),
            file=f"{cell.order}/{cell.pixel}/{cell.n_rows}",
            stop=cell.n_rows,
        )
        for cell in cells(settings)
    ]


def blocks(config: SurveyConfig, part: Part) -> Iterator[Columns]:
    """Generate the rows of a cell."""
    from skymill.survey.simulated import Cell, raw_blocks

    order, pixel, n_rows = (int(number) for number in part.file.split("/"))
    yield from raw_blocks(settings_of(config), Cell(order, pixel, n_rows))


def check_columns(config: SurveyConfig, key: Literal["targets", "votes"], wanted: Sequence[str]) -> None:
    """Make sure that the label table has what the key of `labels` names besides the column of its classes.

    Raises
    ------
    TableError
        Naming the columns it lacks, and those there are.
    """
    from skymill.survey.images.rendered_layout import TARGETS, VOTES

    known = {"targets": TARGETS, "votes": VOTES}[key] if rendering(config) is not None else ()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise TableError(
            f"labels.{key}: {', '.join(unknown)}: no column of the labels of survey '{config.name}', which has "
            f"{', '.join(known) or 'none (it is simulated as a table)'}; correct labels.{key}"
        )


def label_blocks(config: SurveyConfig) -> Iterator[Columns]:
    """Generate the label table: objectId, ra, dec, class, redshift; of a rendered survey also shapes and votes."""
    render = rendering(config)
    if render is not None:
        from skymill.survey.images.rendered_layout import rendered_labels

        yield from rendered_labels(render)
        return
    from skymill.survey.simulated import labels

    yield from labels(settings_of(config))
