"""Checks of the classes of a user's data."""

import unicodedata
from collections.abc import Iterable, Mapping

from image_classifier.config.schema import MAX_CLASSES
from image_classifier.errors import InputError


def check_class_names(names: Iterable[str], origin: str) -> None:
    """Refuse names of classes that differ only in case or Unicode form.

    Args:
        names: Names in the spelling of the data.
        origin: File or folder, for the message.

    Raises:
        InputError: Two names are alike.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        other = seen.setdefault(nfc(nfc(name).casefold()), name)
        if other != name:
            raise InputError(
                f"{origin}: the classes {other!a} and {name!a} differ only in case or Unicode form. "
                "Give both the same name, or distinct names."
            )


def check_class_counts(counts: Mapping[str | None, Mapping[str, int]], origin: str) -> None:
    """Refuse a number of classes, or of pictures in a class, that cannot train and test a classifier.

    Args:
        counts: Number of pictures of each class, by part: {None: …}, or {"train": …, "test": …}. A class without
            pictures in a part is absent or has the number 0.
        origin: File or folder, for the message.

    Raises:
        InputError: There are fewer than 2 classes or more than `MAX_CLASSES`, a part has no picture of a class, or a
            class has a single picture.
    """
    classes = sorted({name for part in counts.values() for name in part})
    if len(classes) < 2:
        raise InputError(
            f"{origin} has fewer than two classes ({', '.join(classes) or 'none'}). Add pictures of others."
        )
    if len(classes) > MAX_CLASSES:
        raise InputError(f"{origin} has {len(classes):,} classes. Use at most {MAX_CLASSES:,}.")
    for name in classes:
        if lacking := [part for part, found in counts.items() if not found.get(name)]:
            place = f"{origin}: the {lacking[0]} part" if lacking[0] else origin
            raise InputError(f"{place} has no picture of the class {name}. Add one.")
        if sum(found[name] for found in counts.values()) == 1:
            raise InputError(
                f"{origin}: the class {name} has a single picture. Add another one: training and test need one each."
            )


def nfc(text: str) -> str:
    """Return a text in Unicode's composed form, NFC, in which file systems do not differ."""
    return unicodedata.normalize("NFC", text)
