"""What an import of this package does to RecBole."""

from recbole_tslrec import compatibility


def install() -> None:
    """Fix RecBole 1.2.1 and make the models, datasets and loaders of this package known to it. Safe to call twice.

    Importing ``recbole_tslrec`` calls it, unless the environment has ``RECBOLE_TSLREC_NO_INSTALL=1``.

    Raises:
        ImportError: pandas 3 or a RecBole other than 1.2.1 is installed; both would give wrong results silently.
    """
    compatibility.apply()
    # only now: RecBole must be importable first
    from recbole_tslrec.configuration.registration import register_models
    from recbole_tslrec.sequential.loaders import register_loader

    register_models()
    register_loader()
