"""Every group of keys, so that the configuration is checked as a whole before anything starts."""

from recbole_tslrec.augmentation.settings import CategoryFusionSettings, ExportSettings, KnowledgeFusionSettings
from recbole_tslrec.baselines.settings import LlamaRecSettings, P5Settings, PODSettings, RetrieverSettings
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.settings import Settings
from recbole_tslrec.settings.recommender import DatasetSettings, MachineSettings, TrainingSettings

SETTINGS: tuple[type[Settings], ...] = (
    MachineSettings,
    DatasetSettings,
    TrainingSettings,
    ReconstructionSettings,
    ExportSettings,
    KnowledgeFusionSettings,
    CategoryFusionSettings,
    EvaluationSettings,
    LlamaRecSettings,
    P5Settings,
    PODSettings,
    RetrieverSettings,
)
