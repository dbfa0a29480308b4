"""What all configuration models share."""

from pydantic import BaseModel, ConfigDict, PrivateAttr


class Settings(BaseModel):
    """A frozen configuration block; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FileSettings(Settings):
    """Settings that fill a file, which messages name."""

    name: str
    _file: str = PrivateAttr(default="")

    @property
    def where(self) -> str:
        """The file they were read from; what they describe where they were made in Python."""
        return self._file or f"{type(self).__name__.removesuffix('Config').lower()} '{self.name}'"
