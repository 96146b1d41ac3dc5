"""Settings: what a stage reads of the configuration, so that its artifact's recipe is complete by construction."""

from recbole_tslrec.settings.base import ConfigError, Settings, setting
from recbole_tslrec.settings.recbole_config import RecBoleConfig, derive

__all__ = ["ConfigError", "RecBoleConfig", "Settings", "derive", "setting"]
