"""What decides the training of a recommender: RecBole's keys of data and training, and those of this package."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from recbole.data.transform import construct_transform

from recbole_tslrec.settings.base import ConfigError, Settings, optional_positive_integer, setting
from recbole_tslrec.settings.recbole_config import RecBoleConfig

TRAIN_MODES = ("auto", "prefix", "all_positions")
SAMPLED_LOSSES = ("sampled_softmax", "gBCE")
LOSSES = (None, "CE", "BPR", *SAMPLED_LOSSES)

# what is done to a row that is a prefix: transformations of a batch, files that were split elsewhere, a sample
_OF_PREFIXES = ("transform", "benchmark_filename", "prefixes_per_user")
_WHERE = "where a run happens: results agree up to rounding"
_SHOWN = "what a run shows or logs"
_SAVED = "RecBole's own copies of data on the disk, which this package never reads"
_DERIVED = "follows from the model and eval_args, which are in the recipe"


@dataclass(frozen=True)
class MachineSettings(Settings):
    """Where and how a run happens. Nothing of it changes a result."""

    device: Any = setting(neutral=_WHERE)
    """(torch.device) Where tensors are; it follows from ``gpu_id``, ``use_gpu`` and ``CUDA_VISIBLE_DEVICES``."""
    gpu_id: Any = setting(neutral=_WHERE)
    """(str) RecBole's number of the GPU."""
    use_gpu: Any = setting(neutral=_WHERE)
    """(bool) Whether to take a GPU where there is one."""
    single_spec: Any = setting(neutral=_WHERE)
    """(bool) Whether RecBole has one process only; this package's processes are accelerate's."""
    local_rank: Any = setting(neutral=_WHERE)
    """(int) RecBole's number of the process."""
    state: Any = setting(neutral=_SHOWN)
    """(str) Level of logging."""
    show_progress: Any = setting(neutral=_SHOWN)
    """(bool) Whether to show progress bars."""
    log_wandb: Any = setting(neutral=_SHOWN)
    """(bool) Whether RecBole logs to Weights & Biases."""
    wandb_project: Any = setting(neutral=_SHOWN)
    """(str) The project there."""
    loss_decimal_place: Any = setting(neutral=_SHOWN)
    """(int) Decimals of a loss in the log."""
    checkpoint_dir: Any = setting(neutral="artifacts are stored in artifacts_dir")
    """(str) RecBole's folder of checkpoints."""
    save_dataset: Any = setting(neutral=_SAVED)
    """(bool) Whether RecBole saves the filtered dataset."""
    dataset_save_path: Any = setting(neutral=_SAVED)
    """(str) Refused: RecBole would unpickle what lies there."""
    save_dataloaders: Any = setting(neutral=_SAVED)
    """(bool) Whether RecBole saves the loaders."""
    dataloaders_save_path: Any = setting(neutral=_SAVED)
    """(str) Refused: RecBole would unpickle what lies there."""
    MODEL_TYPE: Any = setting(neutral=_DERIVED)
    """RecBole's kind of the model."""
    MODEL_INPUT_TYPE: Any = setting(neutral=_DERIVED)
    """RecBole's kind of a training row."""
    eval_type: Any = setting(neutral=_DERIVED)
    """RecBole's kind of an evaluation."""
    valid_neg_sample_args: Any = setting(neutral=_DERIVED)
    """(dict) How items are drawn that are ranked on the validation part."""
    test_neg_sample_args: Any = setting(neutral=_DERIVED)
    """(dict) The same for the test part."""


@dataclass(frozen=True)
class DatasetSettings(Settings):
    """How RecBole reads and filters a dataset. Its files enter by their content, see ``Data.contents``."""

    dataset: str = setting(neutral="interactions enter the recipe by their fingerprint, other files by their content")
    """(str) Name of the folder and of the files in it."""
    data_path: str = setting(neutral="interactions enter the recipe by their fingerprint, other files by their content")
    """(str) The folder of the atomic files."""
    encoding: Any = setting()
    """(str) Encoding of the files."""
    field_separator: Any = setting()
    """(str) Between two columns."""
    seq_separator: Any = setting()
    """(str) Between two values of a sequence."""
    USER_ID_FIELD: Any = setting()
    """(str) Column of the user."""
    ITEM_ID_FIELD: Any = setting()
    """(str) Column of the item."""
    RATING_FIELD: Any = setting()
    """(str) Column of the rating."""
    TIME_FIELD: Any = setting()
    """(str) Column of the time."""
    LABEL_FIELD: Any = setting()
    """(str) Column of the label."""
    seq_len: Any = setting()
    """(dict) Longest sequence of a column."""
    threshold: Any = setting()
    """(dict) Values from which a label is 1."""
    NEG_PREFIX: Any = setting()
    """(str) In front of the columns of negative items."""
    numerical_features: Any = setting()
    """(list) Columns of numbers that are embedded."""
    load_col: Any = setting()
    """(dict) Columns to read, by the suffix of the file."""
    unload_col: Any = setting()
    """(dict) Columns not to read."""
    unused_col: Any = setting()
    """(dict) Columns that are read for filtering only."""
    additional_feat_suffix: Any = setting()
    """(list) Further files."""
    rm_dup_inter: Any = setting()
    """(str) Which of a user's interactions with the same item stays."""
    val_interval: Any = setting()
    """(dict) Interval of values, by column."""
    filter_inter_by_user_or_item: Any = setting()
    """(bool) Whether interactions of removed users and items go too."""
    user_inter_num_interval: Any = setting()
    """(str) How many interactions a user must have."""
    item_inter_num_interval: Any = setting()
    """(str) How many interactions an item must have."""
    alias_of_user_id: Any = setting()
    """(list) Columns that share the users' ids."""
    alias_of_item_id: Any = setting()
    """(list) Columns that share the items' ids."""
    alias_of_entity_id: Any = setting()
    """(list) Columns that share the entities' ids."""
    alias_of_relation_id: Any = setting()
    """(list) Columns that share the relations' ids."""
    preload_weight: Any = setting()
    """(dict) Columns of pretrained vectors, by the column of their ids."""
    normalize_field: Any = setting()
    """(list) Columns that are scaled to 0..1."""
    normalize_all: Any = setting()
    """(bool) Whether all columns of numbers are."""
    discretization: Any = setting()
    """(dict) How numbers become classes."""
    ITEM_LIST_LENGTH_FIELD: Any = setting()
    """(str) Column of a history's length."""
    LIST_SUFFIX: Any = setting()
    """(str) Behind the columns of histories."""
    MAX_ITEM_LIST_LENGTH: Any = setting()
    """(int) L, the most recent items that a model sees."""
    POSITION_FIELD: Any = setting()
    """(str) Column of positions."""
    HEAD_ENTITY_ID_FIELD: Any = setting()
    """(str) Column of a triple's head."""
    TAIL_ENTITY_ID_FIELD: Any = setting()
    """(str) Column of a triple's tail."""
    RELATION_ID_FIELD: Any = setting()
    """(str) Column of a triple's relation."""
    ENTITY_ID_FIELD: Any = setting()
    """(str) Column of an item's entity."""
    kg_reverse_r: Any = setting()
    """(bool) Whether relations are added in reverse."""
    entity_kg_num_interval: Any = setting()
    """(str) How many triples an entity must have."""
    relation_kg_num_interval: Any = setting()
    """(str) How many triples a relation must have."""
    benchmark_filename: Any = setting()
    """(list) Suffixes of files that are split already."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How a recommender is trained, and how its best epoch is chosen."""

    seed: int = setting()
    """(int) Of weights, dropout, batches and negatives."""
    reproducibility: Any = setting()
    """(bool) Whether cuDNN is held to deterministic algorithms."""
    worker: Any = setting()
    """(int) Processes that load batches; with drawn negatives they have random numbers of their own. There are none
    with ``all_positions`` or ``prefixes_per_user``, whose batches are cut out of memory."""
    shuffle: Any = setting()
    """(bool) Whether an epoch has its rows in random order."""
    epochs: Any = setting()
    """(int) Passes over the training rows, at most."""
    minimum_epochs: Any = setting()
    """(int) Early stopping ends no training before this many epochs."""
    train_batch_size: Any = setting()
    """(int) Rows per step."""
    learner: Any = setting()
    """(str) The optimizer."""
    learning_rate: Any = setting()
    """(float) Its learning rate."""
    weight_decay: Any = setting()
    """(float) Its weight decay."""
    train_neg_sample_args: Any = setting()
    """(dict) How negatives are drawn; ``None``: none are."""
    eval_step: Any = setting()
    """(int) Epochs between two validations."""
    stopping_step: Any = setting()
    """(int) Validations without a better one before training stops."""
    valid_users: int | None = setting(check=optional_positive_integer)
    """(int) Users that a validation of an epoch ranks for, drawn once; the best epoch is validated on all in the end.
    ``None``, or as many as there are: always all."""
    average_weights: bool | None = setting(choices=(None, False, True))
    """(bool) Whether the weights that are validated and kept are averages over the steps, not those of the last.
    ``None``, in a model that was saved without the key: no."""
    clip_grad_norm: Any = setting()
    """(dict) Bound of the gradient."""
    require_pow: Any = setting()
    """(bool) A form of RecBole's L2 loss on embeddings."""
    enable_amp: Any = setting()
    """(bool) Whether to train under autocast."""
    enable_scaler: Any = setting()
    """(bool) Whether to scale the loss under autocast."""
    transform: Any = setting()
    """(str) What RecBole does to a batch."""
    train_mode: str = setting(choices=TRAIN_MODES)
    """(str) ``prefix``: a row per prefix of a history, as in RecBole; ``all_positions``: a row per history. ``auto`` in
    a configuration becomes one of the two, see :func:`valid_train_mode`."""
    prefixes_per_user: int | None = setting(check=optional_positive_integer)
    """(int) Prefixes of each user that an epoch draws; ``None``: all of them."""
    loss_type: Any = setting(choices=LOSSES)
    """(str) The loss; ``None`` where a model has but one."""
    loss_negatives: Any = setting()
    """(int) Items drawn for a step by a sampled loss."""
    loss_calibration: Any = setting()
    """(float) gBCE's t."""
    loss_memory: Any = setting(neutral="chunks of the full cross entropy: the same sum up to rounding")
    """(float) MiB of scores held at once."""
    eval_args: Any = setting()
    """(dict) How interactions are split, and which items are ranked."""
    repeatable: Any = setting()
    """(bool) Whether items of the history may be ranked; RecBole sets it for sequential models."""
    valid_metric: Any = setting()
    """(str) Chooses the best epoch."""
    valid_history: str = setting()
    """(str) The history mode in which it does."""
    valid_metric_bigger: Any = setting()
    """(bool) Whether larger is better."""
    metric_decimal_place: Any = setting()
    """(int) Decimals of a metric; RecBole compares epochs by rounded ones."""
    tail_ratio: Any = setting()
    """(float) Share of items that TailPercentage counts as the tail."""
    metrics: Any = setting(neutral="valid_metric alone chooses the epoch; an evaluation has metrics in its own recipe")
    """(list) What RecBole's trainer computes at a validation."""
    topk: Any = setting(neutral="valid_metric alone chooses the epoch; an evaluation has topk in its own recipe")
    """(list) Cut-offs of the metrics."""
    eval_batch_size: Any = setting(neutral="each row is ranked independently")
    """(int) Rows that are ranked at once."""

    def recipe(self) -> dict[str, Any]:
        """Without what nothing reads: keys of sampled losses where the loss is another one, a sample of no users."""
        unread = [] if self.loss_type in SAMPLED_LOSSES else ["loss_negatives", "loss_calibration"]
        unread += ["valid_users"] if self.valid_users is None else []
        return {key: value for key, value in super().recipe().items() if key not in unread}


@dataclass(frozen=True)
class RecommenderSettings:
    """All that the training of one model can read.

    Attributes:
        model: its name, e.g. ``TSLRecSASRec``.
        machine: where it is trained.
        dataset: on which data.
        training: how.
        own: the keys of the model itself, such as ``n_layers``: those of its own yaml file.
        fusion: how knowledge or categories are fused; ``None`` for a backbone alone.
    """

    model: str
    machine: MachineSettings
    dataset: DatasetSettings
    training: TrainingSettings
    own: Mapping[str, Any]
    fusion: Settings | None = None

    @classmethod
    def read(
        cls, config: Any, model: str, own_keys: Collection[str], fusion: type[Settings] | None = None
    ) -> "RecommenderSettings":
        """Read the settings of a model.

        Args:
            config: RecBole's configuration.
            model: its name.
            own_keys: the keys of the model itself.
            fusion: the settings of what is fused.

        Raises:
            ConfigError: a value is wrong.
        """
        own = {key: config[key] for key in sorted(own_keys)}
        return cls(
            model,
            MachineSettings.of(config),
            DatasetSettings.of(config),
            TrainingSettings.of(config),
            own,
            fusion.of(config) if fusion else None,
        )

    def recipe(self) -> dict[str, Any]:
        """The keys that decide the trained model."""
        fused = self.fusion.recipe() if self.fusion else {}
        return {**self.own, **self.dataset.recipe(), **self.training.recipe(), **fused, "model": self.model}

    def config(self, **changes: Any) -> RecBoleConfig:
        """RecBole's configuration with these settings and no other key: what RecBole's own classes are given."""
        fused = self.fusion.values() if self.fusion else {}
        groups = {**self.machine.values(), **self.dataset.values(), **self.training.values()}
        config = RecBoleConfig({**self.own, **groups, **fused, "model": self.model, **changes})
        construct_transform(config)  # it names the columns that it adds here, where copies must find them
        return config


def valid_train_mode(given: Mapping[str, Any], causal: bool) -> str:
    """What ``train_mode: auto`` means: all positions where that is valid, prefixes elsewhere; other modes as they are.

    Args:
        given: the configuration's values by key.
        causal: whether all positions of the backbone can be trained at once.
    """
    if given["train_mode"] != "auto":
        return str(given["train_mode"])
    of_prefixes = (given.get(key) for key in _OF_PREFIXES)
    prefixes_only = any(of_prefixes) or _has_several_negatives(given.get("train_neg_sample_args"))
    return "all_positions" if causal and not prefixes_only else "prefix"


def _draws_negatives(given: Any) -> bool:
    """Whether ``train_neg_sample_args`` draw any."""
    return isinstance(given, Mapping) and bool(given) and given.get("distribution") != "none"


def _has_several_negatives(given: Any) -> bool:
    """Whether ``train_neg_sample_args`` draw several negatives of a target, for all or the best of them."""
    if not _draws_negatives(given):
        return False
    return given.get("sample_num", 1) > 1 or bool(given.get("dynamic"))


def check_loss(settings: TrainingSettings, model: str, plain_loss: bool, causal: bool) -> None:
    """Refuse a ``train_mode`` or ``loss_type`` that a backbone cannot be trained with.

    Args:
        settings: the settings of the training.
        model: its name.
        plain_loss: whether the loss may be one of :data:`SAMPLED_LOSSES`.
        causal: whether all positions can be trained at once.

    Raises:
        ConfigError: names the key and the cure.
    """
    if settings.train_mode == "all_positions" and not causal:
        raise ConfigError(
            f"train_mode all_positions is not valid for {model}, whose positions see later items or are not read one "
            "by one; set --train_mode=auto or prefix, or choose a model that docs/models.md names, such as SASRec"
        )
    for key in ("transform", "prefixes_per_user") if settings.train_mode == "all_positions" else ():
        if getattr(settings, key):
            raise ConfigError(
                f"{key} [{getattr(settings, key)}] is for rows that are prefixes, and train_mode all_positions has "
                "none; leave one of the two out, or set --train_mode=auto"
            )
    if settings.train_mode == "all_positions" and _has_several_negatives(settings.train_neg_sample_args):
        raise ConfigError(
            f"train_neg_sample_args {settings.train_neg_sample_args} has several negatives or dynamic ones, and "
            "train_mode all_positions draws one for each position; leave one of the two out, or set --train_mode=auto"
        )
    if settings.loss_type in SAMPLED_LOSSES and not plain_loss:
        raise ConfigError(
            f"loss_type [{settings.loss_type}] cannot replace the loss of {model}; set --loss_type=CE, or choose a "
            "model that docs/models.md names, such as SASRec"
        )
    draws = _draws_negatives(settings.train_neg_sample_args)
    if settings.loss_type == "BPR" and not draws:
        raise ConfigError("loss_type BPR needs a negative for each target; leave train_neg_sample_args out")
    if settings.loss_type in SAMPLED_LOSSES and draws:
        raise ConfigError(
            f"loss_type [{settings.loss_type}] draws loss_negatives of its own, and train_neg_sample_args would draw "
            "others; leave those out"
        )
