"""What all configuration models share."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen configuration block; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
